package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/internal/dbserver"
)

// privateServer is a server that a test may spoil.
type privateServer struct {
	*liveServer
	*dbserver.Server
	program dbserver.Program
	dir     string
}

// eachPrivate runs the test with a server of its own of each program.
func eachPrivate(t *testing.T, test func(t *testing.T, s *privateServer)) {
	eachProgram(t, func(t *testing.T, p dbserver.Program) {
		s := &privateServer{program: p, dir: t.TempDir()}
		s.start(t, "--sync-binlog=0", "--innodb-flush-log-at-trx-commit=2")
		test(t, s)
	})
}

// start starts the server with other arguments, on the same databases.
func (s *privateServer) start(t *testing.T, args ...string) {
	t.Helper()
	if s.Server != nil {
		s.db.Close()
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	started, err := dbserver.Start(t.Context(), dbserver.Options{Program: s.program, Dir: s.dir, Args: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(started.Kill)
	db, err := sql.Open("mysql", started.DSN())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s.Server = started
	s.liveServer = &liveServer{db: db, config: started.Config(), version: s.program.Version, mariadb: s.program.MariaDB}
}

func (s *privateServer) exec(t *testing.T, statements ...string) {
	t.Helper()
	for _, q := range statements {
		if _, err := s.db.ExecContext(t.Context(), q); err != nil {
			t.Fatalf("%.200s: %v", q, err)
		}
	}
}

// empty makes the database of the tests anew.
func (s *privateServer) empty(t *testing.T) {
	t.Helper()
	s.exec(t, "DROP DATABASE IF EXISTS shop", "CREATE DATABASE shop", "CREATE TABLE shop.orders (id int primary key, note text)", "INSERT INTO shop.orders VALUES (1, 'one')")
}

// tried is a source that is connected, and read until it fails or has read so much.
type tried struct {
	t      *testing.T
	source connect.Source
	stored map[string]connect.Position
	rows   int            // that came
	of     map[string]int // them by topic
	err    error
}

// try makes a source of the tables in shop; settings come in pairs. It goes on from
// what the one before has stored.
func (s *privateServer) try(t *testing.T, before *tried, settings ...string) *tried {
	t.Helper()
	source := s.newSource(t, `shop\.orders`, append([]string{"database.server.id", "4711"}, settings...)...)
	d := &tried{t: t, source: source, stored: map[string]connect.Position{}, of: map[string]int{}}
	var positions []connect.Position
	if before != nil {
		for key, p := range before.stored {
			d.stored[key] = p
			positions = append(positions, p)
		}
	}
	t.Cleanup(d.close)
	d.err = source.Connect(t.Context(), positions)
	return d
}

func (d *tried) close() {
	if d.source == nil {
		return
	}
	if err := d.source.Close(context.WithoutCancel(d.t.Context())); err != nil {
		d.t.Error(err)
	}
	d.source = nil
}

// read reads, and stores, until the source fails or so many rows have come.
func (d *tried) read(rows int) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	for d.err == nil && d.rows < rows {
		b, ack, err := d.source.Read(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			d.err = err
			return
		}
		d.rows += b.Rows()
		for _, section := range b.Sections {
			d.of[section.Topic] += section.Rows()
		}
		for _, m := range b.Marks {
			for _, p := range m.Positions {
				d.stored[string(p.Partition)] = p
			}
		}
		ack(nil)
	}
}

// stops demands an error that ends the source until somebody does what it says, and
// that has the parts in it.
func (d *tried) stops(parts ...string) {
	d.t.Helper()
	d.read(math.MaxInt)
	e, ok := errors.AsType[*connect.PermanentError](d.err)
	if !ok || e.Next == "" {
		d.t.Errorf("the error is tried again, or does not say what to do: %v", d.err)
	}
	if ok && strings.Count(d.err.Error(), e.Next) != 1 {
		d.t.Errorf("the error says twice what to do: %v", d.err)
	}
	d.has(parts...)
}

// isRetried demands an error that may go away by itself.
func (d *tried) isRetried(parts ...string) {
	d.t.Helper()
	d.read(math.MaxInt)
	if _, ok := errors.AsType[*connect.PermanentError](d.err); ok || !errors.Is(d.err, connect.ErrNotConnected) {
		d.t.Errorf("the error is not one of a connection: %v", d.err)
	}
	d.has(parts...)
}

func (d *tried) has(parts ...string) {
	d.t.Helper()
	for _, part := range parts {
		if d.err == nil || !strings.Contains(d.err.Error(), part) {
			d.t.Errorf("the error is %v, and has no %q in it", d.err, part)
		}
	}
	d.t.Logf("%v", d.err)
}

// works demands so many rows in all, and no error.
func (d *tried) works(rows int) {
	d.t.Helper()
	d.read(rows)
	if d.err != nil || d.rows != rows {
		d.t.Errorf("%d rows came, want %d, and the error is %v", d.rows, rows, d.err)
	}
}

// Whatever a source cannot read whole ends it, with an error that says why and how
// that is cured; what may pass by itself does not, and what is odd but well works.
func TestASourceSaysWhatItCannotReadAndWhatCuresIt(t *testing.T) {
	eachPrivate(t, func(t *testing.T, s *privateServer) {
		for _, c := range []struct {
			of    string
			check func(t *testing.T, s *privateServer)
		}{
			{"settings", checkSettings}, {"settings that change", checkChangedSettings}, {"privileges", checkPrivileges}, {"a binlog that is gone", checkBinlogGone},
			{"two sources with one server id", checkServerIDs}, {"a table without a key", checkKeyless}, {"foreign keys", checkForeignKeys},
			{"no GTIDs", checkNoGTIDs}, {"no binlog", checkNoBinlog}, // last, since they need another start
		} {
			t.Run(c.of, func(t *testing.T) { c.check(t, s) })
		}
	})
}

func checkSettings(t *testing.T, s *privateServer) {
	s.empty(t)
	for _, c := range []struct{ name, wrong, right string }{
		{"binlog_format", "STATEMENT", "ROW"}, {"binlog_format", "MIXED", "ROW"}, {"binlog_row_metadata", "MINIMAL", "FULL"},
		{"binlog_row_image", "MINIMAL", "FULL"}, {"binlog_row_image", "NOBLOB", "FULL"},
	} {
		s.exec(t, "SET GLOBAL "+c.name+"="+c.wrong)
		s.try(t, nil).stops(c.name, c.wrong, "set "+c.name+"="+c.right)
		s.exec(t, "SET GLOBAL "+c.name+"="+c.right)
	}
	s.try(t, nil).works(1)
}

// checkNoGTIDs asks of a MySQL without GTIDs for what it needs more.
func checkNoGTIDs(t *testing.T, s *privateServer) {
	if s.mariadb {
		t.Skip("MariaDB has them always")
	}
	s.start(t, "--gtid-mode=OFF", "--enforce-gtid-consistency=OFF")
	s.empty(t)
	s.as(t, "SELECT, REPLICATION SLAVE, REPLICATION CLIENT, LOCK TABLES ON *.*").works(1)
	s.as(t, "SELECT, REPLICATION SLAVE, LOCK TABLES ON *.*").stops("REPLICATION CLIENT")
	s.as(t, "SELECT, REPLICATION SLAVE, REPLICATION CLIENT ON *.*").stops("shop.orders", "LOCK TABLES")
}

func checkNoBinlog(t *testing.T, s *privateServer) {
	s.start(t, "--skip-log-bin")
	s.try(t, nil).stops("log_bin", "OFF", "set log_bin=ON")
}

// Switched off while the source runs, they are met in the binlog.
func checkChangedSettings(t *testing.T, s *privateServer) {
	conn, err := s.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for name, c := range map[string]struct {
		statements []string
		parts      []string
	}{
		"metadata":  {[]string{"SET GLOBAL binlog_row_metadata=MINIMAL", "INSERT INTO shop.orders VALUES (2, 'two')"}, []string{"shop.orders", "binlog_row_metadata=FULL", "positions"}},
		"image":     {[]string{"SET SESSION binlog_row_image=MINIMAL", "INSERT INTO shop.orders (id) VALUES (2)"}, []string{"shop.orders", "note", "binlog_row_image=FULL", "positions"}},
		"statement": {[]string{"SET SESSION binlog_format=STATEMENT", "USE shop", "INSERT INTO orders VALUES (2, 'two')"}, []string{"INSERT", "shop.orders", "binlog_format=ROW", "positions"}},
		"from another database": {[]string{"SET SESSION binlog_format=STATEMENT", "USE mysql", "DELETE FROM shop.orders WHERE id = 1"},
			[]string{"DELETE", "shop.orders", "binlog_format=ROW"}},
	} {
		t.Run(name, func(t *testing.T) {
			s.empty(t)
			d := s.try(t, nil)
			d.works(1)
			execute(t, conn, c.statements...)
			d.stops(c.parts...)
			execute(t, conn, "SET GLOBAL binlog_row_metadata=FULL", "SET SESSION binlog_row_image=FULL", "SET SESSION binlog_format=ROW")
			d.close()
			// Nothing was passed over: it is met again.
			s.try(t, d).stops(c.parts...)
			s.try(t, nil).works(number(t, conn, "SELECT count(*) FROM shop.orders"))
		})
	}
	// A statement about other tables is nobody's business.
	s.empty(t)
	s.exec(t, "CREATE DATABASE other", "CREATE TABLE other.things (id int)")
	d := s.try(t, nil)
	d.works(1)
	execute(t, conn, "SET SESSION binlog_format=STATEMENT", "USE other", "INSERT INTO things VALUES (1)", "SET SESSION binlog_format=ROW", "INSERT INTO shop.orders VALUES (2, '')")
	d.works(2)
	// An update that leaves out what did not change still says which row it is.
	execute(t, conn, "SET SESSION binlog_row_image=MINIMAL", "UPDATE shop.orders SET note = 'x' WHERE id = 2")
	d.works(3)
}

func number(t *testing.T, conn *sql.Conn, query string) (n int) {
	t.Helper()
	if err := conn.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// as makes a source of a user who has nothing else granted.
func (s *privateServer) as(t *testing.T, grants ...string) *tried {
	t.Helper()
	s.exec(t, "DROP USER IF EXISTS reader@'127.0.0.1'", "CREATE USER reader@'127.0.0.1' IDENTIFIED BY 'secret'")
	for _, g := range grants {
		s.exec(t, "GRANT "+g+" TO reader@'127.0.0.1'")
	}
	return s.try(t, nil, "database.user", "reader", "database.password", "secret")
}

func checkPrivileges(t *testing.T, s *privateServer) {
	s.empty(t)
	server := "REPLICATION SLAVE ON *.*"
	if !s.mariadb {
		server = "REPLICATION SLAVE, REPLICATION CLIENT ON *.*"
	}
	s.as(t, server, "SELECT ON *.*").works(1)
	d := s.as(t, server, "SELECT ON shop.orders")
	d.works(1)
	d.close()
	s.exec(t, "INSERT INTO shop.orders VALUES (2, '')")
	d = s.try(t, d, "database.user", "reader", "database.password", "secret") // goes on
	d.works(1)
	s.exec(t, "DELETE FROM shop.orders WHERE id = 2")

	s.as(t, server).stops("shop.orders", "SELECT")                          // the table is in no list
	s.as(t, server, "INSERT ON shop.orders").stops("shop.orders", "SELECT") // it is
	s.as(t, server, "SELECT (id) ON shop.orders").stops("shop.orders", "SELECT", "whole")
	if s.mariadb {
		s.as(t, "SELECT ON *.*").stops("REPLICATION SLAVE")
	} else {
		s.as(t, "SELECT, REPLICATION CLIENT ON *.*").stops("REPLICATION SLAVE")
		s.as(t, "SELECT, REPLICATION SLAVE ON *.*").stops("REPLICATION CLIENT")
	}
	// Met only when the table's first row comes.
	s.exec(t, "CREATE TABLE shop.later (id int primary key)")
	s.as(t, server, "SELECT ON shop.orders").close()
	d = s.try(t, nil, "database.user", "reader", "database.password", "secret", "table.include.list", "shop[.](orders|later)")
	d.works(1)
	s.exec(t, "INSERT INTO shop.later VALUES (1)")
	d.stops("shop.later", "SELECT")
	d.close()

	s.try(t, nil, "database.user", "reader", "database.password", "wrong").stops("reader", "database.password")
	s.try(t, nil, "database.user", "nobody", "database.password", "").stops("nobody", "database.user")
}

func TestAServerThatIsNotThereIsTriedAgain(t *testing.T) {
	s := &privateServer{liveServer: &liveServer{config: driver.NewConfig()}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.config.Addr = l.Addr().String()
	l.Close()
	s.config.User = "reader"
	s.try(t, nil).isRetried(s.config.Addr, "refused")

	// One that takes the connection and is silent.
	if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s.config.Addr = l.Addr().String()
	s.try(t, nil, "connect.timeout.ms", "200").isRetried()
}

// The binlog is gone from where a source stopped, by each way that servers know.
func checkBinlogGone(t *testing.T, s *privateServer) {
	conn, err := s.db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	purge := func() {
		t.Helper()
		s.exec(t, "FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
		// Whoever reads a file keeps it a moment longer.
		for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
			logs, err := binlogs(t.Context(), conn)
			if err != nil {
				t.Fatal(err)
			}
			if len(logs) == 1 {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d binlogs are left", len(logs))
			}
			s.exec(t, "PURGE BINARY LOGS TO '"+logs[len(logs)-1].name+"'")
		}
	}
	reset := func() {
		if s.mariadb {
			s.exec(t, "RESET MASTER")
		} else {
			s.exec(t, "RESET BINARY LOGS AND GTIDS")
		}
	}
	for name, gone := range map[string]func(){
		"purged": func() {
			s.exec(t, "INSERT INTO shop.orders VALUES (2, 'never read')")
			purge()
		},
		"reset": reset,
		"reset and written": func() {
			reset()
			for i := range 50 {
				s.exec(t, fmt.Sprintf("INSERT INTO shop.orders VALUES (%d, repeat('x', 1000))", 10+i))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s.empty(t)
			d := s.try(t, nil)
			s.exec(t, "UPDATE shop.orders SET note = 'changed'")
			d.works(2)
			d.close()
			gone()
			again := s.try(t, d)
			again.stops("binlog", "positions")
			if again.rows != 0 {
				t.Errorf("%d rows came all the same", again.rows)
			}
			again.close()
			var rows int
			if err := s.db.QueryRowContext(t.Context(), "SELECT count(*) FROM shop.orders").Scan(&rows); err != nil {
				t.Fatal(err)
			}
			anew := s.try(t, nil)
			anew.works(rows)
			anew.close()
		})
	}
}

func checkServerIDs(t *testing.T, s *privateServer) {
	s.empty(t)
	first := s.try(t, nil)
	first.works(1)
	second := s.try(t, nil)
	second.works(1)
	s.exec(t, "INSERT INTO shop.orders VALUES (2, '')")
	if s.mariadb {
		first.stops("database.server.id")
	} else {
		first.works(2) // MySQL tells replicas apart by more than that
	}
	second.works(2)
}

func checkKeyless(t *testing.T, s *privateServer) {
	s.empty(t)
	s.exec(t, "CREATE TABLE shop.keyless (a int, b text)", "INSERT INTO shop.keyless VALUES (1, 'same'), (1, 'same'), (NULL, NULL)")
	d := s.try(t, nil, "table.include.list", "shop.keyless")
	d.works(4) // a mark that the table was empty, so that a copy that begins again doubles nothing
	s.exec(t, "UPDATE shop.keyless SET b = 'other' WHERE a = 1", "DELETE FROM shop.keyless WHERE a IS NULL")
	d.works(4 + 3)
}

func checkForeignKeys(t *testing.T, s *privateServer) {
	s.empty(t)
	for i, action := range []string{"ON DELETE CASCADE", "ON DELETE SET NULL", "ON UPDATE CASCADE"} {
		s.exec(t, fmt.Sprintf("CREATE TABLE shop.items%d (id int primary key, of_order int, CONSTRAINT belongs%[1]d FOREIGN KEY (of_order) REFERENCES shop.orders (id) %s)", i, action),
			fmt.Sprintf("INSERT INTO shop.items%d VALUES (1, 1)", i))
		d := s.try(t, nil, "table.include.list", fmt.Sprintf("shop.items%d", i))
		if s.mariadb {
			d.stops(fmt.Sprintf("shop.items%d", i), "belongs", "shop.orders", action, "RESTRICT")
		} else {
			d.works(1)
		}
	}
	// The parent is followed, and so is a child that does not change by itself.
	s.exec(t, "CREATE TABLE shop.notes (id int primary key, of_order int, CONSTRAINT plain FOREIGN KEY (of_order) REFERENCES shop.orders (id))", "INSERT INTO shop.notes VALUES (1, 1)")
	d := s.try(t, nil, "table.include.list", "shop.(orders|notes)")
	d.works(2)
	s.exec(t, "ALTER TABLE shop.notes DROP FOREIGN KEY plain", "ALTER TABLE shop.notes ADD CONSTRAINT later FOREIGN KEY (of_order) REFERENCES shop.orders (id) ON DELETE CASCADE")
	if s.mariadb {
		d.stops("shop.notes", "later", "ON DELETE CASCADE")
		return
	}
	d.works(2)
	s.exec(t, "DROP TABLE shop.items0, shop.items1, shop.items2", "DELETE FROM shop.orders")
	d.works(4) // both deletes are there
}
