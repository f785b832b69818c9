package dbserver_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/splashdam/splashdam/internal/dbserver"
)

// eachProgram runs the test with each command of SPLASHDAM_TEST_MYSQLD, commas
// between, or with the server that is installed.
func eachProgram(t *testing.T, test func(t *testing.T, p dbserver.Program)) {
	if commands := os.Getenv("SPLASHDAM_TEST_MYSQLD"); commands != "" {
		for command := range strings.SplitSeq(commands, ",") {
			p, err := dbserver.Find(command)
			if err != nil {
				t.Fatal(err)
			}
			t.Run(p.String(), func(t *testing.T) { test(t, p) })
		}
		return
	}
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
}

func start(t *testing.T, o dbserver.Options) *dbserver.Server {
	t.Helper()
	s, err := dbserver.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

func TestWhatIsCommittedOutlivesAKill(t *testing.T) {
	eachProgram(t, func(t *testing.T, p dbserver.Program) {
		// A path that is too long for a socket.
		dir := filepath.Join(t.TempDir(), strings.Repeat("d", 120))
		s := start(t, dbserver.Options{Program: p, Dir: dir})
		dsn := s.DSN()
		db, err := sql.Open("mysql", dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		exec(t, db, "CREATE DATABASE d", "CREATE TABLE d.t (id int primary key)", "INSERT INTO d.t VALUES (1)")
		s.Kill()
		if err := db.PingContext(t.Context()); err == nil {
			t.Error("it answers after the kill")
		}
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s.DSN() != dsn {
			t.Errorf("at %s before, at %s now", dsn, s.DSN())
		}
		exec(t, db, "INSERT INTO d.t VALUES (2)")
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := number(t, db, "SELECT count(*) FROM d.t"); n != 2 {
			t.Errorf("%d rows, 2 were committed", n)
		}
		if err := s.Restart(t.Context()); err == nil {
			t.Error("it starts while it runs")
		}
		// Another one on the same databases, as the next run of a program is.
		s.Kill()
		again, err := sql.Open("mysql", start(t, dbserver.Options{Program: p, Dir: dir}).DSN())
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		if n := number(t, again, "SELECT count(*) FROM d.t"); n != 2 {
			t.Errorf("%d rows the next time, 2 were committed", n)
		}
	})
}

func TestItLogsWhatTheSourceNeedsAndArgumentsWin(t *testing.T) {
	eachProgram(t, func(t *testing.T, p dbserver.Program) {
		dir := t.TempDir()
		s := start(t, dbserver.Options{Program: p, Dir: dir, Args: []string{"--sync-binlog=0"}})
		db, err := sql.Open("mysql", s.DSN())
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		want := map[string]string{
			"log_bin": "1", "binlog_format": "ROW", "binlog_row_metadata": "FULL", "sync_binlog": "0",
			"innodb_flush_log_at_trx_commit": "1", "bind_address": "127.0.0.1", "tmpdir": filepath.Join(dir, "tmp"),
		}
		if p.MariaDB {
			want["gtid_strict_mode"] = "1"
		} else {
			want["gtid_mode"] = "ON"
		}
		for name, value := range want {
			var is string
			if err := db.QueryRowContext(t.Context(), "SELECT @@global."+name).Scan(&is); err != nil || is != value {
				t.Errorf("%s is %q (%v), and should be %q", name, is, err, value)
			}
		}
		stranger := s.Config()
		stranger.Passwd = ""
		out, err := sql.Open("mysql", stranger.FormatDSN())
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		if err := out.PingContext(t.Context()); err == nil {
			t.Error("it lets root in without the password")
		}
	})
}

func TestAServerThatDoesNotStartSaysWhy(t *testing.T) {
	eachProgram(t, func(t *testing.T, p dbserver.Program) {
		_, err := dbserver.Start(t.Context(), dbserver.Options{Program: p, Dir: t.TempDir(), Args: []string{"--no-such-option"}})
		if err == nil || !strings.Contains(err.Error(), "no-such-option") || !strings.Contains(err.Error(), p.String()) {
			t.Errorf("the error is %v", err)
		}
	})
}

// The programs of these tests are scripts, so that they need no server.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "server")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAProgramIsKnownByWhatItSays(t *testing.T) {
	for _, c := range []struct {
		says string
		want string // of the program, or in the error
		err  bool
	}{
		{"/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))", "MySQL 9.7.4", false},
		{"mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)", "MariaDB 10.11.19", false},
		{"mysqld  Ver 11.8.9-MariaDB-4 from Debian for debian-linux-gnu", "MariaDB 11.8.9", false},
		{"hello", "is no MySQL or MariaDB server", true},
	} {
		p, err := dbserver.Find(script(t, "echo '"+c.says+"'"))
		if c.err && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("of %q the error is %v", c.says, err)
		}
		if !c.err && (err != nil || p.String() != c.want) {
			t.Errorf("%q is a %s: %v", c.says, p, err)
		}
	}
	if _, err := dbserver.Find(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a program that is not there is found")
	}
}

func TestAnInitialisationThatFailsLeavesNoDatabases(t *testing.T) {
	// It makes half of the directory.
	path := script(t, `case "$*" in
*--version*) echo "server Ver 9.7.4 for Linux" ;;
*) mkdir "${3#--datadir=}" "${2#--datadir=}"; echo out of ideas; exit 1 ;;
esac 2>/dev/null`)
	p, err := dbserver.Find(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for range 2 {
		_, err = dbserver.Start(t.Context(), dbserver.Options{Program: p, Dir: dir})
		if err == nil || !strings.Contains(err.Error(), "out of ideas") {
			t.Errorf("the error is %v", err)
		}
		if _, err := os.Stat(filepath.Join(dir, "data")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the data directory of a failed initialisation: %v", err)
		}
	}
}

func TestAStartEndsWithItsContext(t *testing.T) {
	path := script(t, `case "$*" in *--version*) echo "server Ver 9.7.4 for Linux" ;; *) exec sleep 60 ;; esac`)
	p, err := dbserver.Find(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := dbserver.Start(ctx, dbserver.Options{Program: p, Dir: t.TempDir()}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the error is %v", err)
	}
}

func exec(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, q := range statements {
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

func number(t *testing.T, db *sql.DB, query string) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
