package mysql

import (
	"database/sql"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/splashdam/splashdam/connect"
)

// makeOrders inserts rows of ten columns, about 134 bytes each in the binlog.
func makeOrders(t *testing.T, _ *liveServer, conn *sql.Conn) {
	execute(t, conn, "SET time_zone='+00:00', NAMES utf8mb4", `CREATE TABLE orders (id bigint primary key, user_id int unsigned, name varchar(64), email varchar(128),
		amount decimal(12,2), status enum('new','paid','sent'), flag tinyint(1), created datetime(3), updated timestamp(6), note text) CHARACTER SET utf8mb4`)
	var rows []string
	for i := range 122 {
		rows = append(rows, fmt.Sprintf("(%d,%d,'Customer %06d','customer.%06d@example.com',%d.%02d,%d,%d,'2024-%02d-%02d 12:%02d:56.789','2024-02-%02d 04:05:06.%06d','a note of %06d that is not so short, nor long')",
			i+1, i*977, i*31, i*31, i*12345, i%100, i%3+1, i%2, i%12+1, i%28+1, i%60, i%28+1, i*7919, i*13))
	}
	execute(t, conn, "INSERT INTO orders VALUES "+strings.Join(rows, ","))
}

func checkOrders(t *testing.T, r recording) {
	s := decodeAll(t, r, "orders")[0]
	want := "c -> id=122 user_id=118217 name=Customer 003751 email=customer.003751@example.com amount=1493745.21 status=paid flag=1" +
		" created=2024-02-10 12:01:56.789 updated=2024-02-10 04:05:06.958199 note=a note of 001573 that is not so short, nor long"
	if rows := strings.Split(rowsOf(s), "\n"); len(rows) != 123 || rows[121] != want {
		t.Errorf("%d rows, the last is\n%s, want\n%s", len(rows)-1, rows[len(rows)-2], want)
	}
}

func TestOrdersRead(t *testing.T)     { recorded(t, "orders", checkOrders) }
func TestOrdersReadLive(t *testing.T) { live(t, "", "orders", makeOrders, checkOrders) }

// pass decodes all events of a table into the section, whose columns it empties first.
func pass(t testing.TB, r recording, table *table, f *inflater, s *connect.Section) int {
	for i := range s.After {
		s.After[i].Reset()
	}
	s.Op = s.Op[:0]
	for _, e := range r.events {
		if e.kind == eventTableMap {
			if !table.same(e.bytes) {
				t.Fatal("another table")
			}
			continue
		}
		event, err := parseRows(e.kind, e.bytes, f)
		if err != nil {
			t.Fatal(err)
		}
		if err := table.decode(&event, s, 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	return s.Rows()
}

func ordersTable(t testing.TB, r recording) *table {
	table, err := parseTableMap(r.events[0].bytes, "test", r.server, r.declarations["orders"])
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestDecodingAllocatesNothing(t *testing.T) {
	recorded(t, "orders", func(t *testing.T, r recording) {
		table := ordersTable(t, r)
		var f inflater
		var s connect.Section
		pass(t, r, table, &f, &s) // the columns grow
		if n := testing.AllocsPerRun(10, func() { pass(t, r, table, &f, &s) }); n != 0 {
			t.Errorf("%v allocations for %d rows", n, s.Rows())
		}
	})
}

// BenchmarkDecode compares the decoder with copying the events, which nothing can
// beat that has columns in the end, and with go-mysql's, whose values have no
// columns yet.
func BenchmarkDecode(b *testing.B) {
	files, err := filepath.Glob("testdata/*/orders.events")
	if err != nil || len(files) == 0 {
		b.Fatal("testdata has no recording orders", err)
	}
	for _, file := range files {
		b.Run(filepath.Base(filepath.Dir(file)), func(b *testing.B) {
			r := readRecording(b, file)
			table := ordersTable(b, r)
			var f inflater
			var s connect.Section
			var copied []byte
			parser := peerParser(b)
			var whole [][]byte
			for _, e := range r.events {
				whole = append(whole, withHeader(e))
			}
			rows, bytes := pass(b, r, table, &f, &s), 0
			var ours, copying, peer time.Duration
			b.ReportAllocs()
			for b.Loop() {
				start := time.Now()
				pass(b, r, table, &f, &s)
				ours += time.Since(start)

				start = time.Now()
				copied = copied[:0]
				for _, e := range r.events {
					copied = append(copied, e.bytes...)
				}
				bytes = len(copied)
				copying += time.Since(start)

				b.StopTimer() // its allocations are its own
				start = time.Now()
				for _, e := range whole {
					if _, err := parser.Parse(e); err != nil {
						b.Fatalf("%.300v", err)
					}
				}
				peer += time.Since(start)
				b.StartTimer()
			}
			rate := func(d time.Duration) float64 { return float64(rows*b.N) / d.Seconds() }
			b.ReportMetric(float64(bytes)/float64(rows), "B/row")
			b.ReportMetric(rate(ours)/1e6, "Mrows/s")
			b.ReportMetric(rate(ours)/rate(peer), "x-go-mysql")
			b.ReportMetric(rate(ours)/rate(copying), "decode/copy")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// peerParser is go-mysql's, which has been told of events of before checksums.
func peerParser(b *testing.B) *replication.BinlogParser {
	parser := replication.NewBinlogParser()
	format := make([]byte, 2+50+4+1+171)
	format[0] = 4
	copy(format[2:], "5.5.0")
	format[56] = replication.EventHeaderSize
	for i := range format[57:] {
		format[57+i] = tableHeader
	}
	if _, err := parser.Parse(withHeader(recordedEvent{byte(replication.FORMAT_DESCRIPTION_EVENT), format})); err != nil {
		b.Fatal(err)
	}
	return parser
}

func withHeader(e recordedEvent) []byte {
	event := make([]byte, replication.EventHeaderSize, replication.EventHeaderSize+len(e.bytes))
	event[4] = e.kind
	binary.LittleEndian.PutUint32(event[9:], uint32(cap(event)))
	return append(event, e.bytes...)
}
