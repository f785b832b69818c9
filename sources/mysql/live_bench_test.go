package mysql

import (
	"context"
	"database/sql"
	"log/slog"
	"strings"
	"testing"
	"time"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/splashdam/splashdam/connect"
)

// benchRows is how many rows the live benchmarks read in one round.
const benchRows = 300_000

// eachBench runs a benchmark on each server of SPLASHDAM_TEST_MYSQL, with a table of
// rows as in makeOrders, and with a function that inserts them.
func eachBench(b *testing.B, run func(b *testing.B, s *liveServer, conn *sql.Conn, fill func())) {
	for _, s := range liveServers(b) {
		b.Run(s.version, func(b *testing.B) {
			conn := s.session(b)
			execute(b, conn, `CREATE TABLE orders (id bigint primary key auto_increment, user_id int unsigned, name varchar(64), email varchar(128),
				amount decimal(12,2), status enum('new','paid','sent'), flag tinyint(1), created datetime(3), updated timestamp(6), note text) CHARACTER SET utf8mb4`)
			run(b, s, conn, func() {
				one := "(977, 'Customer 000031', 'customer.000031@example.com', 12345.67, 2, 1, '2024-02-03 12:01:56.789', '2024-02-03 04:05:06.007919', 'a note of 000013 that is not so short, nor long')"
				insert := "INSERT INTO orders (user_id, name, email, amount, status, flag, created, updated, note) VALUES " + one + strings.Repeat(","+one, 999)
				for range benchRows / 1000 {
					execute(b, conn, insert)
				}
			})
		})
	}
}

// BenchmarkSnapshot reads a table through a source, and says how that compares with
// nothing but the same SELECTs.
func BenchmarkSnapshot(b *testing.B) {
	eachBench(b, func(b *testing.B, s *liveServer, conn *sql.Conn, fill func()) {
		fill()
		s.compare(b, "of-plain-SELECTs", func() { selectByKey(b, conn) }, "initial", nil)
	})
}

// compare reads all rows through a source in turn with the ceiling, and reports the
// ratio under the name.
func (s *liveServer) compare(b *testing.B, name string, ceiling func(), mode string, positions []connect.Position) {
	var plain, source time.Duration
	for b.Loop() {
		begun := time.Now()
		ceiling()
		plain += time.Since(begun)

		src, _ := s.source(b, mode, positions)
		begun = time.Now()
		readRows(b, src, benchRows)
		source += time.Since(begun)
		if err := src.Close(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(benchRows*b.N)/source.Seconds(), "rows/s")
	b.ReportMetric(plain.Seconds()/source.Seconds(), name)
}

// selectByKey is the ceiling: all rows in chunks, and nothing done with them.
func selectByKey(b *testing.B, conn *sql.Conn) {
	statement, err := conn.PrepareContext(b.Context(), "SELECT * FROM orders WHERE id > ? ORDER BY id LIMIT 10000")
	if err != nil {
		b.Fatal(err)
	}
	defer statement.Close()
	values := make([]sql.RawBytes, 9)
	id := int64(0)
	to := []any{&id}
	for i := range values {
		to = append(to, &values[i])
	}
	for n := 0; n < benchRows; {
		rows, err := statement.QueryContext(b.Context(), id)
		if err != nil {
			b.Fatal(err)
		}
		for rows.Next() {
			if err := rows.Scan(to...); err != nil {
				b.Fatal(err)
			}
			n++
		}
		if err := rows.Err(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTail reads changes through a source, and says how that compares with
// nothing but the events as they come from the server.
func BenchmarkTail(b *testing.B) {
	eachBench(b, func(b *testing.B, s *liveServer, conn *sql.Conn, fill func()) {
		src, positions := s.source(b, "no_data", nil)
		if err := src.Close(context.Background()); err != nil {
			b.Fatal(err)
		}
		info, err := inspect(b.Context(), conn)
		if err != nil {
			b.Fatal(err)
		}
		info.byFile = true
		w, err := info.watermark(b.Context(), conn)
		if err != nil {
			b.Fatal(err)
		}
		fill()
		from := gomysql.Position{Name: w.file, Pos: uint32(w.pos)}
		s.compare(b, "of-raw-events", func() { s.rawEvents(b, from, benchRows/1000) }, "no_data", positions)
	})
}

// rawEvents is the ceiling: so many transactions as they come.
func (s *liveServer) rawEvents(b *testing.B, from gomysql.Position, transactions int) {
	host, port := s.address()
	flavor := gomysql.MySQLFlavor
	if s.mariadb {
		flavor = gomysql.MariaDBFlavor
	}
	syncer := replication.NewBinlogSyncer(replication.BinlogSyncerConfig{
		ServerID: 4712, Flavor: flavor, Host: host, Port: port, User: s.config.User, Password: s.config.Passwd,
		RawModeEnabled: true, VerifyChecksum: true, Logger: slog.New(slog.DiscardHandler),
	})
	defer syncer.Close()
	stream, err := syncer.StartSync(from)
	if err != nil {
		b.Fatal(err)
	}
	for transactions > 0 {
		e, err := stream.GetEvent(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if e.Header.EventType == replication.XID_EVENT {
			transactions--
		}
	}
}

// source connects a source of the table, and says where it is stored to be then.
func (s *liveServer) source(b *testing.B, mode string, positions []connect.Position) (connect.Source, []connect.Position) {
	src := s.newSource(b, "splashdam_test.orders", "snapshot.mode", mode)
	if err := src.Connect(b.Context(), positions); err != nil {
		b.Fatal(err)
	}
	batch, ack, err := src.Read(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	ack(nil)
	return src, batch.Marks[0].Positions
}

// readRows reads until so many rows have come.
func readRows(b *testing.B, src connect.Source, rows int) {
	for n := 0; n < rows; {
		batch, ack, err := src.Read(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		n += batch.Rows()
		ack(nil)
	}
}
