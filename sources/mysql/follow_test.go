package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/splashdam/splashdam/connect"
)

// Writers change tables in every way that a binlog can have while a source copies
// and follows them, and stops and goes on from what was stored: what came, taken as
// a sink takes it, is the tables.
func TestWhatComesIsTheTables(t *testing.T) {
	type variant struct {
		name    string
		mariadb bool
		global  []string // settings while it runs
		after   []string
		session []string // of the writers
	}
	variants := []variant{
		{name: "mariadb", mariadb: true},
		{name: "mariadb compressed", mariadb: true,
			global: []string{"SET GLOBAL log_bin_compress=ON", "SET GLOBAL log_bin_compress_min_len=10"},
			after:  []string{"SET GLOBAL log_bin_compress=OFF", "SET GLOBAL log_bin_compress_min_len=256"}},
		{name: "mysql"},
		{name: "mysql compressed", session: []string{"SET SESSION binlog_transaction_compression=ON"}},
		{name: "mysql without gtids",
			global: []string{"SET GLOBAL gtid_mode=ON_PERMISSIVE", "SET GLOBAL gtid_mode=OFF_PERMISSIVE", "SET GLOBAL gtid_mode=OFF"},
			after:  []string{"SET GLOBAL gtid_mode=OFF_PERMISSIVE", "SET GLOBAL gtid_mode=ON_PERMISSIVE", "SET GLOBAL gtid_mode=ON"}},
	}
	for _, s := range liveServers(t) {
		for _, v := range variants {
			if v.mariadb != s.mariadb {
				continue
			}
			t.Run(strings.ReplaceAll(s.config.Addr+" "+v.name, ":", "-"), func(t *testing.T) {
				conn := s.session(t)
				execute(t, conn, v.global...)
				defer execute(t, conn, v.after...)
				seed := uint64(time.Now().UnixNano())
				t.Logf("seed %d", seed)
				f := &following{t: t, s: s, conn: conn, rnd: rand.New(rand.NewPCG(seed, 0)), session: v.session,
					tables: map[string]map[string]int{}, positions: map[string]connect.Position{}}
				f.run(seed)
			})
		}
	}
}

// following is a source, and what a sink has of its rows.
type following struct {
	t       *testing.T
	s       *liveServer
	conn    *sql.Conn
	rnd     *rand.Rand
	session []string
	ddl     *sql.Conn

	source    connect.Source
	positions map[string]connect.Position // stored
	highest   connect.Place
	tables    map[string]map[string]int // rows, as text or by key, and how often each is there
	byKey     map[string]map[string]string
	restarts  int
	again     int // rows that came a second time
}

func (f *following) run(seed uint64) {
	t := f.t
	execute(t, f.conn,
		"CREATE TABLE keyed (id int primary key, v varchar(40), b int)",
		"CREATE TABLE keyless (id int, v varchar(40))",
		"CREATE TABLE other (id int primary key, v varchar(40))",
		"INSERT INTO keyed WITH RECURSIVE n AS (SELECT 1 AS id UNION ALL SELECT id+1 FROM n WHERE id < 700) SELECT id*100, 'old', id FROM n",
		"INSERT INTO keyless SELECT id, v FROM keyed", "INSERT INTO keyless SELECT id, v FROM keyed WHERE id < 5000")
	f.byKey = map[string]map[string]string{"keyed": {}}
	early := f.open()
	f.ddl = f.open()
	execute(t, early, "XA START 'early'", "INSERT INTO keyed VALUES (-7, 'early', 0)", "DELETE FROM keyed WHERE id = 1000", "XA END 'early'", "XA PREPARE 'early'")

	writing, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	for w := range 4 {
		conn := f.open()
		writers.Go(func() { f.write(writing, conn, w+1, rand.New(rand.NewPCG(seed, uint64(w+1)))) })
	}
	f.connect()
	begun := time.Now()
	steps := []func(){
		func() { execute(t, early, "XA COMMIT 'early'") },
		func() { f.define("ALTER TABLE keyed ADD COLUMN c int DEFAULT 5") },
		func() { f.define("TRUNCATE TABLE keyless") },
		func() { f.define("ALTER TABLE keyed ADD COLUMN d int NOT NULL DEFAULT 6") },
	}
	for len(steps) > 0 || time.Since(begun) < 3*time.Second {
		f.step()
		if len(steps) > 0 && time.Since(begun) > time.Duration(5-len(steps))*500*time.Millisecond {
			steps[0]()
			steps = steps[1:]
		}
	}
	stop()
	writers.Wait()
	var wrong string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if wrong = f.compare(); wrong == "" {
			break
		}
		f.step()
	}
	if wrong != "" {
		t.Errorf("%s", wrong)
	}
	t.Logf("%d rows, %d restarts, %d rows came again", len(f.byKey["keyed"]), f.restarts, f.again)
	if err := f.source.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func (f *following) open() *sql.Conn {
	conn, err := f.s.db.Conn(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	// A statement that waits for a table may wait for somebody who waits for a row of
	// its own, which no server finds out.
	execute(f.t, conn, "USE splashdam_test", "SET SESSION lock_wait_timeout=1, SESSION innodb_lock_wait_timeout=1")
	execute(f.t, conn, f.session...)
	return conn
}

// define runs DDL, as often as it takes until it gets the table.
func (f *following) define(q string) {
	for {
		_, err := f.ddl.ExecContext(f.t.Context(), q)
		if err == nil {
			return
		}
		if !inTheWay(err) {
			f.t.Fatalf("%s: %v", q, err)
		}
		f.step() // a table without a key is kept until its rows have been taken
	}
}

// inTheWay is whether a statement failed because of what others do: a deadlock, or
// a lock that takes too long, or the table was altered meanwhile.
func inTheWay(err error) bool {
	e, ok := errors.AsType[*driver.MySQLError](err)
	return ok && slices.Contains([]uint16{1205, 1213, 1412, 1614}, e.Number)
}

func (f *following) connect() {
	f.source = f.s.newSource(f.t, "splashdam_test.keye?d,splashdam_test.keyless", "incremental.snapshot.chunk.size", "50")
	if err := f.source.Connect(f.t.Context(), slices.Collect(maps.Values(f.positions))); err != nil {
		f.t.Fatal(err)
	}
}

// step takes some batches, and now and then stops the source before what came of
// the last ones is stored.
func (f *following) step() {
	crash := f.rnd.IntN(12) == 0
	type taken struct {
		marks []connect.Mark
		ack   func(error)
	}
	var all []taken
	for range 1 + f.rnd.IntN(4) {
		ctx, cancel := context.WithTimeout(f.t.Context(), 300*time.Millisecond)
		b, ack, err := f.source.Read(ctx)
		waited := ctx.Err() != nil
		cancel()
		if err != nil {
			if waited {
				break
			}
			f.t.Fatal(err)
		}
		f.take(b)
		all = append(all, taken{b.Marks, ack})
		if len(b.Sections) == 0 {
			break // a position, which may be waited for
		}
	}
	keep := len(all)
	if crash {
		keep = f.rnd.IntN(len(all) + 1)
	}
	for _, b := range all[:keep] {
		for _, m := range b.marks {
			for _, p := range m.Positions {
				f.positions[string(p.Partition)] = p
			}
		}
		b.ack(nil)
	}
	if !crash {
		return
	}
	f.restarts++
	for _, b := range all[keep:] {
		b.ack(errors.New("stopped"))
	}
	if err := f.source.Close(context.Background()); err != nil {
		f.t.Fatal(err)
	}
	f.connect()
}

// take does with a batch what a sink does.
func (f *following) take(b *connect.Batch) {
	next := make([]int, len(b.Sections))
	for _, n := range b.Order {
		s, row := b.Sections[n], next[n]
		next[n]++
		if f.highest.Compare(s.Place[row]) >= 0 {
			f.again++
			continue
		}
		f.highest = s.Place[row]
		name := s.Topic[strings.LastIndexByte(s.Topic, '.')+1:]
		op := s.Op[row]
		if op == connect.Truncate {
			clear(f.tables[name])
			clear(f.byKey[name])
			continue
		}
		if keys := f.byKey[name]; keys != nil {
			if op.HasBefore() {
				delete(keys, show(&s.Before[0], row))
			}
			if op.HasAfter() {
				keys[show(&s.After[0], row)] = line(s.After, row)
			}
			continue
		}
		if f.tables[name] == nil {
			f.tables[name] = map[string]int{}
		}
		if op.HasBefore() {
			f.tables[name][line(s.Before, row)]--
		}
		if op.HasAfter() {
			f.tables[name][line(s.After, row)]++
		}
	}
}

func line(columns []connect.Column, row int) string {
	var values []string
	for i := range columns {
		values = append(values, show(&columns[i], row))
	}
	return strings.Join(values, " ")
}

// compare says how what came differs from the tables.
func (f *following) compare() string {
	var wrong []string
	keyed := map[string]string{}
	f.rows("keyed", func(values []string) { keyed[values[0]] = strings.Join(values, " ") })
	got := f.byKey["keyed"]
	for id, row := range keyed {
		if got[id] != row {
			wrong = append(wrong, fmt.Sprintf("in the table %q, came %q", row, got[id]))
		}
	}
	for id, row := range got {
		if _, ok := keyed[id]; !ok {
			wrong = append(wrong, fmt.Sprintf("not in the table, came %q", row))
		}
	}
	keyless := map[string]int{}
	f.rows("keyless", func(values []string) { keyless[strings.Join(values, " ")]++ })
	for row, n := range keyless {
		if got := f.tables["keyless"][row]; got != n {
			wrong = append(wrong, fmt.Sprintf("keyless %q is there %d times, and came %d times", row, n, got))
		}
	}
	for row, n := range f.tables["keyless"] {
		if n != 0 && keyless[row] == 0 {
			wrong = append(wrong, fmt.Sprintf("keyless %q is not there, and came %d times", row, n))
		}
	}
	if len(wrong) == 0 {
		return ""
	}
	return fmt.Sprintf("%d differences, such as\n%s", len(wrong), strings.Join(wrong[:min(6, len(wrong))], "\n"))
}

func (f *following) rows(table string, use func(values []string)) {
	rows, err := f.conn.QueryContext(f.t.Context(), "SELECT * FROM "+table)
	if err != nil {
		f.t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		f.t.Fatal(err)
	}
	for rows.Next() {
		values, to := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			to[i] = &values[i]
		}
		if err := rows.Scan(to...); err != nil {
			f.t.Fatal(err)
		}
		texts := make([]string, len(values))
		for i, v := range values {
			if texts[i] = v.String; !v.Valid {
				texts[i] = "null"
			}
		}
		use(texts)
	}
	if err := rows.Err(); err != nil {
		f.t.Fatal(err)
	}
}

// write changes the tables until writing ends, in plain transactions and in
// distributed ones.
func (f *following) write(writing context.Context, conn *sql.Conn, writer int, rnd *rand.Rand) {
	ctx := context.WithoutCancel(writing)
	for n := 0; writing.Err() == nil; n++ {
		id := fmt.Sprintf("'%d-%d'", writer, n)
		kind := rnd.IntN(6)
		begin, end := "BEGIN", []string{"COMMIT"}
		switch kind {
		case 0:
			end = []string{"ROLLBACK"}
		case 1:
			begin, end = "XA START "+id, []string{"XA END " + id, "XA COMMIT " + id + " ONE PHASE"}
		case 2:
			begin, end = "XA START "+id, []string{"XA END " + id, "XA PREPARE " + id, "XA COMMIT " + id}
		case 3:
			begin, end = "XA START "+id, []string{"XA END " + id, "XA PREPARE " + id, "XA ROLLBACK " + id}
		}
		statements := []string{begin}
		for range 1 + rnd.IntN(3) {
			key := writer + 10*rnd.IntN(100)
			switch rnd.IntN(6) {
			case 0:
				statements = append(statements, fmt.Sprintf("DELETE FROM keyed WHERE id = %d", key))
			case 1:
				statements = append(statements, fmt.Sprintf("UPDATE keyed SET v = 'changed %d', b = NULL WHERE id IN (%d, %d)", n, key, 100*rnd.IntN(700)+writer))
			case 2:
				statements = append(statements, fmt.Sprintf("INSERT INTO keyless VALUES (%d, 'new %d'), (%d, NULL), (%d, NULL)", key, n, key, key))
			case 3:
				statements = append(statements, fmt.Sprintf("REPLACE INTO other VALUES (%d, 'other')", key))
			default:
				statements = append(statements, fmt.Sprintf("REPLACE INTO keyed (id, v, b) VALUES (%d, 'new %d', 1), (%d, 'also', 2)", key, n, key+10))
			}
		}
		for i, q := range append(statements, end...) {
			if i == len(statements)+2 {
				time.Sleep(time.Duration(rnd.IntN(30)) * time.Millisecond) // prepared
			}
			_, err := conn.ExecContext(ctx, q)
			if inTheWay(err) {
				for _, undo := range []string{"XA END " + id, "XA ROLLBACK " + id, "ROLLBACK"} {
					_, _ = conn.ExecContext(ctx, undo)
				}
				break
			}
			if err != nil {
				f.t.Errorf("%s: %v", q, err)
				return
			}
		}
		time.Sleep(time.Duration(rnd.IntN(4)) * time.Millisecond)
	}
}
