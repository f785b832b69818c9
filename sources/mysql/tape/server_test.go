package tape_test

import (
	"context"
	"database/sql"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/splashdam/splashdam/sources/mysql/tape"
)

func TestWhatIsNotOnTheTapeIsAnErrorThatNamesIt(t *testing.T) {
	s, db := serve(t)
	for statement, want := range map[string]string{
		"SELECT NOW()":                        `no answer to the statement "SELECT NOW()"`,
		"SELECT colour FROM " + s.Table():     "no such column: colour",
		"SELECT * FROM shop.invoices":         "no such table: shop.invoices",
		"SHOW BINARY LOGS":                    `no answer to the statement "SHOW BINARY LOGS"`,
		"SHOW INDEX FROM `shop`.`invoices`":   "Table 'shop.invoices' doesn't exist",
		"SET SESSION time_zone = '+01:00'":    "time_zone = '+01:00'",
		"SET @master_binlog_checksum='CRC32'": "CRC32",
		"START TRANSACTION":                   "START TRANSACTION",
		"DELETE FROM " + s.Table():            "DELETE",
		"KILL 1":                              "Unknown thread id: 1",
	} {
		if _, err := db.ExecContext(t.Context(), statement); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, and not %s", statement, err, want)
		}
	}
}

func TestASnapshotStaysWhereItWasBegun(t *testing.T) {
	s, db := serve(t)
	ctx := t.Context()
	conn, err := db.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	look := func() (rows int, place string) {
		t.Helper()
		var name string
		err := conn.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+s.Table()).Scan(&rows)
		if err == nil {
			err = conn.QueryRowContext(ctx, "SHOW STATUS LIKE 'binlog_snapshot_position'").Scan(&name, &place)
		}
		if err != nil {
			t.Fatal(err)
		}
		return rows, place
	}
	run := func(statement string) {
		t.Helper()
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
	run("START TRANSACTION WITH CONSISTENT SNAPSHOT")
	rows, place := look()
	s.Advance()
	if again, still := look(); again != rows || still != place {
		t.Errorf("%d rows at %s became %d rows at %s", rows, place, again, still)
	}
	run("ROLLBACK")
	if _, later := look(); later == place {
		t.Errorf("behind the transaction it is still at %s", later)
	}
}

// dump begins to read the binlog, and returns the names of the first events.
func dump(t *testing.T, s *tape.Server, events int, begin func(*replication.BinlogSyncer) (*replication.BinlogStreamer, error)) (kinds []string, err error) {
	t.Helper()
	c := s.Config()
	host, portText, err := net.SplitHostPort(c.Addr)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	syncer := replication.NewBinlogSyncer(replication.BinlogSyncerConfig{
		ServerID: 7002, Flavor: gomysql.MariaDBFlavor, Host: host, Port: uint16(port), User: c.User, Password: c.Passwd,
		HeartbeatPeriod: 10 * time.Millisecond, DisableRetrySync: true, Logger: slog.New(slog.DiscardHandler),
	})
	defer syncer.Close()
	stream, err := begin(syncer)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range events {
		e, err := stream.GetEvent(ctx)
		if err != nil {
			return kinds, err
		}
		kinds = append(kinds, e.Header.EventType.String())
	}
	return kinds, nil
}

func TestTheBinlogBeginsWhereItIsAskedTo(t *testing.T) {
	s, db := serve(t)
	place, gtids := where(t, db)
	s.Advance()
	later, _ := where(t, db)
	for name, begin := range map[string]func(*replication.BinlogSyncer) (*replication.BinlogStreamer, error){
		"a place": func(b *replication.BinlogSyncer) (*replication.BinlogStreamer, error) { return b.StartSync(place) },
		"GTIDs":   func(b *replication.BinlogSyncer) (*replication.BinlogStreamer, error) { return b.StartSyncGTID(gtids) },
	} {
		kinds, err := dump(t, s, 4, begin)
		if got, want := strings.Join(kinds, " "), "RotateEvent FormatDescriptionEvent MariadbGTIDEvent TableMapEvent"; err != nil || got != want {
			t.Errorf("at %s: %s, %v", name, got, err)
		}
	}
	kinds, err := dump(t, s, 3, func(b *replication.BinlogSyncer) (*replication.BinlogStreamer, error) { return b.StartSync(later) })
	if got, want := strings.Join(kinds, " "), "RotateEvent FormatDescriptionEvent HeartbeatEvent"; err != nil || got != want {
		t.Errorf("at the end: %s, %v", got, err)
	}
}

func TestAPlaceThatTheBinlogHasNotIsRefused(t *testing.T) {
	s, db := serve(t)
	place, _ := where(t, db)
	elsewhere, beyond, inside := place, place, place
	elsewhere.Name = "binlog.000009"
	beyond.Pos += 1000
	inside.Pos--
	for want, at := range map[string]gomysql.Position{"Could not find first log file": elsewhere, "impossible position": beyond, "position; the first event": inside} {
		_, err := dump(t, s, 1, func(b *replication.BinlogSyncer) (*replication.BinlogStreamer, error) { return b.StartSync(at) })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, and not %s", at, err, want)
		}
	}
	unknown, err := gomysql.ParseMariadbGTIDSet("0-1-1000000")
	if err != nil {
		t.Fatal(err)
	}
	_, err = dump(t, s, 1, func(b *replication.BinlogSyncer) (*replication.BinlogStreamer, error) {
		return b.StartSyncGTID(unknown)
	})
	if err == nil || !strings.Contains(err.Error(), "Could not find GTID state") {
		t.Errorf("%v: %v", unknown, err)
	}
}

// where is the end of the binlog.
func where(t *testing.T, db *sql.DB) (gomysql.Position, gomysql.GTIDSet) {
	t.Helper()
	var name, value, text string
	var p gomysql.Position
	for _, status := range []string{"file", "position"} {
		if err := db.QueryRowContext(t.Context(), "SHOW STATUS LIKE 'binlog_snapshot_"+status+"'").Scan(&name, &value); err != nil {
			t.Fatal(err)
		}
		if status == "file" {
			p.Name = value
			continue
		}
		place, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		p.Pos = uint32(place)
	}
	if err := db.QueryRowContext(t.Context(), "SELECT BINLOG_GTID_POS(?, ?)", p.Name, p.Pos).Scan(&text); err != nil {
		t.Fatal(err)
	}
	gtids, err := gomysql.ParseMariadbGTIDSet(text)
	if err != nil {
		t.Fatal(err)
	}
	return p, gtids
}
