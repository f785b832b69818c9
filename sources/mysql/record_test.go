package mysql

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
)

// recording is what a server sent while a test changed tables: its TABLE_MAP and
// row events, and how it declared the tables of the events. It lies in testdata,
// a folder a server, so that the tests read the same without one.
type recording struct {
	server       server
	version      string
	declarations map[string]declaration
	events       []recordedEvent
}

type recordedEvent struct {
	kind  byte
	bytes []byte // without header and checksum
}

// recorded gives the test every recording of the name.
func recorded(t *testing.T, name string, use func(t *testing.T, r recording)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "*", name+".events"))
	if err != nil || len(files) == 0 {
		t.Fatalf("testdata has no recording %s (%v): make it with -rewrite (live_test.go)", name, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) { use(t, readRecording(t, file)) })
	}
}

// live gives the test what each live server sends while make changes tables in
// splashdam_test, and with -rewrite makes it the recording of the name, if
// it has one. Kind is
// "mysql" or "mariadb" where the other one has nothing of the kind.
func live(t *testing.T, kind, name string, make func(t *testing.T, s *liveServer, conn *sql.Conn), use func(t *testing.T, r recording)) {
	t.Helper()
	ran := false
	for _, s := range liveServers(t) {
		if kind == "mysql" && s.mariadb || kind == "mariadb" && !s.mariadb {
			continue
		}
		ran = true
		t.Run(s.folder(), func(t *testing.T) {
			r := s.record(t, make)
			if *rewrite && name != "" {
				r.write(t, name, s.folder())
			}
			use(t, r)
		})
	}
	if !ran {
		t.Skipf("SPLASHDAM_TEST_MYSQL names no server that is %s", kind)
	}
}

// alone is live for what changes the settings of a server: on one of the test's own,
// since others may be reading from the rest meanwhile. Recordings are of those.
func alone(t *testing.T, kind, name string, make func(t *testing.T, s *liveServer, conn *sql.Conn), use func(t *testing.T, r recording)) {
	t.Helper()
	if *rewrite {
		live(t, kind, name, make, use)
		return
	}
	eachPrivate(t, func(t *testing.T, s *privateServer) {
		if kind == "mysql" && s.mariadb || kind == "mariadb" && !s.mariadb {
			t.Skipf("it is no server that is %s", kind)
		}
		use(t, s.record(t, make))
	})
}

// folder is the server's in testdata: mysql-9.7.
func (s *liveServer) folder() string {
	kind := "mysql"
	if s.mariadb {
		kind = "mariadb"
	}
	parts := strings.SplitN(s.version, ".", 3)
	return kind + "-" + parts[0] + "." + parts[1]
}

func (r recording) write(t *testing.T, name, folder string) {
	t.Helper()
	var file bytes.Buffer
	fmt.Fprintf(&file, "server %s\n", r.version)
	for _, table := range slices.Sorted(maps.Keys(r.declarations)) {
		if end := r.declarations[table].rowEnd; end != "" {
			fmt.Fprintf(&file, "end %s %s\n", table, end)
		}
		for _, c := range r.declarations[table].columns {
			kind := "column"
			if c.computed {
				kind = "computed"
			}
			fmt.Fprintf(&file, "%s %s %s %s %d\n", kind, table, c.name, c.dataType, c.fraction)
		}
	}
	for _, e := range r.events {
		fmt.Fprintf(&file, "%d %x\n", e.kind, e.bytes)
	}
	if err := os.MkdirAll(filepath.Join("testdata", folder), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("testdata", folder, name+".events"), file.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readRecording(t testing.TB, file string) recording {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := recording{declarations: map[string]declaration{}}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		switch words[0] {
		case "server":
			r.version = words[1]
			r.server.mariadb = strings.Contains(r.version, "MariaDB")
		case "end":
			d := r.declarations[words[1]]
			d.rowEnd = words[2]
			r.declarations[words[1]] = d
		case "column", "computed":
			fraction, err := strconv.Atoi(words[4])
			if err != nil {
				t.Fatal(err)
			}
			d := r.declarations[words[1]]
			d.columns = append(d.columns, columnDeclaration{name: words[2], dataType: words[3], fraction: fraction, computed: words[0] == "computed"})
			r.declarations[words[1]] = d
		default:
			kind, err := strconv.ParseUint(words[0], 10, 8)
			if err != nil {
				t.Fatal(err)
			}
			b, err := hex.DecodeString(words[1])
			if err != nil {
				t.Fatal(err)
			}
			r.events = append(r.events, recordedEvent{byte(kind), b})
		}
	}
	if lines.Err() != nil || len(r.events) == 0 {
		t.Fatalf("%s: %d events: %v", file, len(r.events), lines.Err())
	}
	return r
}

// record runs make, which changes tables, and reads from the binlog what it did.
func (s *liveServer) record(t *testing.T, make func(t *testing.T, s *liveServer, conn *sql.Conn)) recording {
	t.Helper()
	conn := s.session(t)
	start := s.position(t, conn)
	make(t, s, conn)
	execute(t, conn, "CREATE TABLE splashdam_test.recorded_to_here (a int)")

	r := recording{server: server{mariadb: s.mariadb}, version: s.version, declarations: map[string]declaration{}}
	host, portText, err := net.SplitHostPort(s.config.Addr)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	flavor := gomysql.MySQLFlavor
	if s.mariadb {
		flavor = gomysql.MariaDBFlavor
	}
	syncer := replication.NewBinlogSyncer(replication.BinlogSyncerConfig{
		ServerID: 4_000_000_000, Flavor: flavor, Host: host, Port: uint16(port), User: s.config.User, Password: s.config.Passwd,
		RawModeEnabled: true, DisableRetrySync: true, Logger: slog.New(slog.DiscardHandler),
	})
	defer syncer.Close()
	stream, err := syncer.StartSync(start)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		e, err := stream.GetEvent(ctx)
		if err != nil {
			t.Fatal(err)
		}
		body := e.RawData[replication.EventHeaderSize : len(e.RawData)-replication.BinlogChecksumLength]
		kind := byte(e.Header.EventType)
		switch {
		case e.Header.EventType == replication.QUERY_EVENT && bytes.Contains(body, []byte("recorded_to_here")):
			return r
		case kind == eventTableMap:
			database, name, err := tableMapName(body)
			if err != nil {
				t.Fatal(err)
			}
			if database != "splashdam_test" {
				continue
			}
			if r.declarations[name], err = (server{mariadb: s.mariadb}).readDeclaration(t.Context(), conn, database, name); err != nil {
				t.Fatal(err)
			}
			r.events = append(r.events, recordedEvent{kind, bytes.Clone(body)})
		case isRowsEvent(kind):
			r.events = append(r.events, recordedEvent{kind, bytes.Clone(body)})
		}
	}
}

// position is the end of the binlog.
func (s *liveServer) position(t *testing.T, conn *sql.Conn) gomysql.Position {
	t.Helper()
	query := "SHOW BINARY LOG STATUS"
	if s.mariadb {
		query = "SHOW MASTER STATUS"
	}
	var p gomysql.Position
	err := eachRow(t.Context(), conn, func(rows *sql.Rows) error {
		columns, err := rows.Columns()
		if err != nil {
			return err
		}
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		values[0], values[1] = &p.Name, &p.Pos
		return rows.Scan(values...)
	}, query)
	if err != nil || p.Name == "" {
		t.Fatalf("%s gave no position: %v", query, err)
	}
	var checksum string
	if err := conn.QueryRowContext(t.Context(), "SELECT @@global.binlog_checksum").Scan(&checksum); err != nil || checksum != "CRC32" {
		t.Fatalf("binlog_checksum is %q, want CRC32 (%v)", checksum, err)
	}
	return p
}
