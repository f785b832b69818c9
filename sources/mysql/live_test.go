package mysql

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/internal/dbserver"
)

// The tests that call liveServers need MySQL or MariaDB: SPLASHDAM_TEST_MYSQL
// has their DSNs with commas between, of users who may do everything, each server
// with binlog_row_metadata=FULL. Without them these tests are skipped, or fail
// where SPLASHDAM_TEST_REQUIRE is "mysql" or "all".
//
// With -rewrite they write what hermetic tests read anew: the events that the
// servers sent (testdata) and the code pages (codepage.bin).
var rewrite = flag.Bool("rewrite", false, "record from the servers of SPLASHDAM_TEST_MYSQL what the other tests read")

type liveServer struct {
	db      *sql.DB
	config  *mysql.Config
	version string
	mariadb bool
}

func liveServers(t testing.TB) []*liveServer {
	t.Helper()
	names := os.Getenv("SPLASHDAM_TEST_MYSQL")
	if names == "" {
		reason := "SPLASHDAM_TEST_MYSQL is not set: no server to test against"
		for want := range strings.SplitSeq(os.Getenv("SPLASHDAM_TEST_REQUIRE"), ",") {
			if want == "mysql" || want == "all" {
				t.Fatal(reason)
			}
		}
		t.Skip(reason)
	}
	var servers []*liveServer
	for dsn := range strings.SplitSeq(names, ",") {
		config, err := mysql.ParseDSN(dsn)
		if err != nil {
			t.Fatal(err)
		}
		db, err := sql.Open("mysql", dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		s := &liveServer{db: db, config: config}
		if err := db.QueryRowContext(t.Context(), "SELECT version()").Scan(&s.version); err != nil {
			t.Fatalf("%s: %v", config.Addr, err)
		}
		s.mariadb = strings.Contains(s.version, "MariaDB")
		servers = append(servers, s)
	}
	return servers
}

// session is a connection of its own, in the database of the tests, which is
// empty when it begins.
func (s *liveServer) session(t testing.TB) *sql.Conn {
	t.Helper()
	conn, err := s.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	execute(t, conn, "DROP DATABASE IF EXISTS splashdam_test", "CREATE DATABASE splashdam_test", "USE splashdam_test")
	t.Cleanup(func() {
		if _, err := s.db.ExecContext(context.WithoutCancel(t.Context()), "DROP DATABASE splashdam_test"); err != nil {
			t.Error(err)
		}
	})
	return conn
}

func execute(t testing.TB, conn *sql.Conn, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := conn.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%.300s: %v", s, err)
		}
	}
}

// address is where the server listens.
func (s *liveServer) address() (host string, port uint16) {
	host, text, _ := strings.Cut(s.config.Addr, ":")
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		panic(err) // the driver has connected to it
	}
	return host, uint16(n)
}

// newSource makes a source of tables of the tests' database; settings come in pairs.
func (s *liveServer) newSource(t testing.TB, tables string, settings ...string) connect.Source {
	t.Helper()
	host, port := s.address()
	given := map[string]string{
		"database.hostname": host, "database.port": fmt.Sprint(port), "database.user": s.config.User, "database.password": s.config.Passwd,
		"database.server.id": fmt.Sprint(1_000_000 + rand.IntN(1_000_000_000)), "topic.prefix": "test", "table.include.list": tables,
	}
	for i := 0; i < len(settings); i += 2 {
		given[settings[i]] = settings[i+1]
	}
	c, wrong := connect.ParseConfig(Connector.Settings, given)
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	source, err := Connector.New(c, connect.Environment{Connector: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// eachProgram runs the test with each command of SPLASHDAM_TEST_MYSQLD, commas
// between, or with the server that is installed.
func eachProgram(t *testing.T, test func(t *testing.T, p dbserver.Program)) {
	commands := os.Getenv("SPLASHDAM_TEST_MYSQLD")
	if commands == "" {
		p, err := dbserver.Find()
		if errors.Is(err, dbserver.ErrNoProgram) {
			if required := strings.Split(os.Getenv("SPLASHDAM_TEST_REQUIRE"), ","); slices.Contains(required, "all") || slices.Contains(required, "mysqld") {
				t.Fatal(err)
			}
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		test(t, p)
		return
	}
	for command := range strings.SplitSeq(commands, ",") {
		p, err := dbserver.Find(command)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(p.String(), func(t *testing.T) { test(t, p) })
	}
}
