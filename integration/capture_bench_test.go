package integration

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// captureRows is how many rows BenchmarkCapture copies, and then follows.
const captureRows = 1_000_000

// BenchmarkCapture brings a table of about 134 bytes a row in the binlog into a topic,
// with real processes: first its rows, then as many that were inserted while nobody
// followed. Beside that it sends as many bytes to a topic, and selects the rows, as
// fast as that goes by itself:
//
//	SPLASHDAM_TEST_MYSQL='user:password@tcp(127.0.0.1:3306)/' go test -run XXX -bench Capture -benchtime 1x ./integration
//
// Database, connector and broker share the cores.
func BenchmarkCapture(b *testing.B) {
	dsn, _, _ := strings.Cut(os.Getenv("SPLASHDAM_TEST_MYSQL"), ",")
	Need(b, "mysql", dsn != "", "SPLASHDAM_TEST_MYSQL is not set: no server to test against")
	c, err := mysql.ParseDSN(dsn)
	if err != nil {
		b.Fatal(err)
	}
	ctx := b.Context()
	for b.Loop() {
		db := emptyDatabase(b, c)
		execAll(ctx, b, db, `CREATE TABLE orders (id bigint primary key auto_increment, user_id int unsigned, name varchar(64), email varchar(128),
			amount decimal(12,2), status enum('new','paid','sent'), flag tinyint(1), created datetime(3), updated timestamp(6), note text)`)
		insertCaptured(ctx, b, db)
		n := Start(b, "--set", "num.partitions=1")
		cl, err := kgo.NewClient(kgo.SeedBrokers(n.Addr), kgo.MetadataMinAge(10*time.Millisecond)) // to see the new topic soon
		if err != nil {
			b.Fatal(err)
		}
		defer cl.Close()
		p := newPipeline(b, n.Addr, "name: shop # %s\n"+mysqlSource(c, "shop", c.DBName+".orders"))
		topic := "shop." + c.DBName + ".orders"
		capture := func(what string, until int64) {
			begun := time.Now()
			p.start()
			awaitEnd(ctx, b, cl, topic, until)
			took := time.Since(begun)
			used := p.stop()
			cpu := time.Duration(used.Utime.Nano() + used.Stime.Nano())
			b.ReportMetric(captureRows/took.Seconds(), what+"-rows/s")
			b.ReportMetric(cpu.Seconds()*1e6/captureRows, what+"-cpu-s/Mrows")
			b.ReportMetric(float64(used.Maxrss)/1024, what+"-MiB")
		}
		capture("copy", captureRows)
		insertCaptured(ctx, b, db)
		capture("tail", 2*captureRows)

		p.start()
		delays := delaysOf(ctx, b, db, n.Addr, topic)
		p.stop()
		b.ReportMetric(1000*delays[len(delays)/2].Seconds(), "delay-p50-ms")
		b.ReportMetric(1000*delays[len(delays)*99/100].Seconds(), "delay-p99-ms")

		begun := time.Now()
		rows, err := db.QueryContext(ctx, "SELECT * FROM orders WHERE id <= ? ORDER BY id", captureRows)
		if err != nil {
			b.Fatal(err)
		}
		for rows.Next() {
		}
		if err := rows.Err(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(captureRows/time.Since(begun).Seconds(), "select-rows/s")
	}
	b.ReportMetric(0, "ns/op")
}

func insertCaptured(ctx context.Context, b *testing.B, db *sql.DB) {
	one := "(977, 'Customer 000031', 'customer.000031@example.com', 12345.67, 2, 1, '2024-02-03 12:01:56.789', '2024-02-03 04:05:06.007919', 'a note of 000013 that is not so short, nor long')"
	insert := "INSERT INTO orders (user_id, name, email, amount, status, flag, created, updated, note) VALUES " + one + strings.Repeat(","+one, 999)
	for range captureRows / 1000 {
		execAll(ctx, b, db, insert)
	}
	// What the server still does about them is not what is measured.
	for last, n := int64(-1), int64(0); n != last; time.Sleep(time.Second) {
		last = n
		var name string
		if err := db.QueryRowContext(ctx, "SHOW GLOBAL STATUS LIKE 'Innodb_data_written'").Scan(&name, &n); err != nil {
			b.Fatal(err)
		}
	}
}

// delaysOf changes single rows, and says how long after each commit a consumer has the
// change, in order of length.
func delaysOf(ctx context.Context, b *testing.B, db *sql.DB, addr, topic string) []time.Duration {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()))
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	change := func(n int) {
		execAll(ctx, b, db, fmt.Sprintf("UPDATE orders SET user_id = %d WHERE id = %d", 1_000_000+n, 1+n%captureRows))
	}
	arrives := func(patience time.Duration) bool {
		waiting, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return cl.PollFetches(waiting).NumRecords() > 0
	}
	n := 0
	for change(n); !arrives(300 * time.Millisecond); change(n) { // until both have connected
		n++
	}
	for arrives(300 * time.Millisecond) {
	}
	var delays []time.Duration
	for range 300 {
		n++
		change(n)
		begun := time.Now()
		if !arrives(time.Minute) {
			b.Fatal("a change does not come")
		}
		delays = append(delays, time.Since(begun))
		time.Sleep(5 * time.Millisecond)
	}
	slices.Sort(delays)
	return delays
}

// awaitEnd waits until a topic of one partition has so many records.
func awaitEnd(ctx context.Context, b *testing.B, cl *kgo.Client, topic string, end int64) {
	admin := kadm.NewClient(cl)
	for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		offsets, err := admin.ListEndOffsets(ctx, topic)
		at, ok := offsets.Lookup(topic, 0)
		if err == nil && ok && at.Err == nil && at.Offset >= end {
			return
		}
		if time.Now().After(deadline) {
			b.Fatalf("%s ends at %d, and should at %d: %v", topic, at.Offset, end, err)
		}
	}
}
