package mysql

import (
	"context"
	"database/sql"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
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

func liveServers(t *testing.T) []*liveServer {
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
func (s *liveServer) session(t *testing.T) *sql.Conn {
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

func execute(t *testing.T, conn *sql.Conn, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := conn.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%.300s: %v", s, err)
		}
	}
}
