package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/internal/dbserver"
)

// follower reads the table numbers of the tests' database as a pipeline does: it
// stores positions, and drops rows whose place is not above the highest one.
type follower struct {
	t       *testing.T
	server  *liveServer
	chunk   string // rows
	source  connect.Source
	stored  map[string]connect.Position // by partition
	highest connect.Place
	rows    map[int64]int // how many columns each row has, by id
}

// patience is how long a batch may take that has to come.
const patience = 10 * time.Second

func newFollower(t *testing.T, server *liveServer, chunk int) *follower {
	return &follower{t: t, server: server, chunk: strconv.Itoa(chunk), stored: map[string]connect.Position{}, rows: map[int64]int{}}
}

// connect makes a source and has it go on from what is stored.
func (f *follower) connect() {
	f.t.Helper()
	if err := f.begin(); err != nil {
		f.t.Fatal(err)
	}
}

func (f *follower) begin() error {
	f.t.Helper()
	f.source = f.server.newSource(f.t, "splashdam_test.numbers", "incremental.snapshot.chunk.size", f.chunk)
	f.t.Cleanup(f.close)
	var positions []connect.Position
	for _, p := range f.stored {
		positions = append(positions, p)
	}
	return f.source.Connect(f.t.Context(), positions)
}

func (f *follower) close() {
	if f.source == nil {
		return
	}
	if err := f.source.Close(context.Background()); err != nil {
		f.t.Error(err)
	}
	f.source = nil
}

// read takes a batch's rows, and its positions if they are to be stored.
func (f *follower) read(store bool) *connect.Batch {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	b, ack, err := f.source.Read(ctx)
	if err != nil {
		f.t.Fatalf("no batch comes: %v", err)
	}
	next := make([]int, len(b.Sections))
	for row := range b.Rows() {
		n := 0
		if len(b.Order) > 0 {
			n = int(b.Order[row])
		}
		f.take(b.Sections[n], next[n])
		next[n]++
	}
	if store {
		for _, m := range b.Marks {
			for _, p := range m.Positions {
				f.stored[string(p.Partition)] = p
			}
		}
		ack(nil)
	}
	return b
}

func (f *follower) take(s *connect.Section, row int) {
	if s.Place[row].Compare(f.highest) <= 0 {
		return
	}
	f.highest = s.Place[row]
	switch op := s.Op[row]; {
	case op == connect.Truncate:
		clear(f.rows)
	case op.HasAfter():
		f.rows[s.After[0].Int(row)] = len(s.After)
	default:
		delete(f.rows, s.Before[0].Int(row))
	}
}

// readUntil reads batches until one has such a row.
func (f *follower) readUntil(store bool, op connect.Op) {
	f.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		if time.Now().After(deadline) {
			f.t.Fatalf("no row of the kind %q comes", op)
		}
		for _, s := range f.read(store).Sections {
			if slices.Contains(s.Op, op) {
				return
			}
		}
	}
}

// becomes stores what comes until it is the table.
func (f *follower) becomes(server *liveServer) {
	f.t.Helper()
	var ids string
	var columns int
	err := server.db.QueryRowContext(f.t.Context(), `SELECT COALESCE(GROUP_CONCAT(id ORDER BY id), ''), (SELECT count(*)
		FROM information_schema.columns WHERE table_schema = 'splashdam_test' AND table_name = 'numbers') FROM splashdam_test.numbers`).Scan(&ids, &columns)
	if err != nil {
		f.t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); !f.is(ids, columns); {
		if time.Now().After(deadline) {
			f.t.Fatalf("the rows that came, and how many columns they have, are\n%v, the table has %d columns and the rows\n%s", f.rows, columns, ids)
		}
		f.read(true)
	}
}

func (f *follower) is(ids string, columns int) bool {
	var got []string
	for _, id := range slices.Sorted(maps.Keys(f.rows)) {
		got = append(got, strconv.FormatInt(id, 10))
		if f.rows[id] != columns {
			return false
		}
	}
	return strings.Join(got, ",") == ids
}

func eachNumbers(t *testing.T, test func(t *testing.T, server *liveServer, execute func(...string))) {
	for _, server := range liveServers(t) {
		t.Run(server.version, func(t *testing.T) {
			conn := server.session(t)
			execute(t, conn, "CREATE TABLE numbers (id bigint PRIMARY KEY)",
				"INSERT INTO numbers WITH RECURSIVE n AS (SELECT 1 AS id UNION ALL SELECT id+1 FROM n WHERE id < 135) SELECT id FROM n")
			test(t, server, func(statements ...string) { t.Helper(); execute(t, conn, statements...) })
		})
	}
}

// A source that is killed before the positions of chunks were stored reads them
// again, now with rows that were in others before, and with the same watermark as
// those: they are not taken for what came before.
func TestChunksThatAreCutDifferentlyTheNextTimeAreNotDropped(t *testing.T) {
	for _, again := range []bool{false, true} {
		eachNumbers(t, func(t *testing.T, server *liveServer, execute func(...string)) {
			f := newFollower(t, server, 10)
			f.connect()
			if again {
				f.becomes(server)
				execute("ALTER TABLE numbers ADD COLUMN a int DEFAULT 1") // has the table copied again
			} else {
				f.read(true) // where the binlog begins
			}
			f.readUntil(false, connect.Read)
			execute("DELETE FROM numbers WHERE id BETWEEN 3 AND 7")
			f.readUntil(false, connect.Delete)
			f.readUntil(false, connect.Read)
			f.close()

			f.connect()
			f.becomes(server)
		})
	}
}

// A server may begin a new binlog while nobody writes: then the rows that are read
// are at the beginning of it, which no transaction reaches.
func TestACopyNeedsNobodyWhoWrites(t *testing.T) {
	eachNumbers(t, func(t *testing.T, server *liveServer, execute func(...string)) {
		f := newFollower(t, server, 10)
		f.connect()
		f.read(true) // where the binlog begins
		f.readUntil(true, connect.Read)
		execute("FLUSH BINARY LOGS")
		f.readUntil(true, connect.Read)
		f.becomes(server)
		// The same when it connects.
		execute("ALTER TABLE numbers ADD COLUMN a int DEFAULT 1")
		f.readUntil(true, connect.Read)
		f.close()
		execute("FLUSH BINARY LOGS")
		f.connect()
		f.becomes(server)
	})
}

// ownServer is a server that the test may kill.
type ownServer struct {
	*dbserver.Server
	live *liveServer
	t    *testing.T
	data string // its directory
}

func (s *ownServer) execute(statements ...string) {
	s.t.Helper()
	for _, q := range statements {
		if _, err := s.live.db.ExecContext(s.t.Context(), q); err != nil {
			s.t.Fatalf("%s: %v", q, err)
		}
	}
}

// eachOwnServer runs the test with each program.
func eachOwnServer(t *testing.T, test func(t *testing.T, start func() *ownServer)) {
	eachProgram(t, func(t *testing.T, p dbserver.Program) {
		test(t, func() *ownServer {
			t.Helper()
			dir := t.TempDir()
			server, err := dbserver.Start(t.Context(), dbserver.Options{Program: p, Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(server.Kill)
			db, err := sql.Open("mysql", server.DSN())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { db.Close() })
			live := &liveServer{db: db, config: server.Config(), version: p.Version, mariadb: p.MariaDB}
			s := &ownServer{server, live, t, filepath.Join(dir, "data")}
			s.execute("CREATE DATABASE splashdam_test", "CREATE TABLE splashdam_test.numbers (id bigint PRIMARY KEY)")
			return s
		})
	})
}

// A server that is killed while it writes a transaction leaves the beginning of it
// in its binlog, and takes back what it did.
func TestATransactionThatAKilledServerDidNotFinishHasNoRows(t *testing.T) {
	eachOwnServer(t, func(t *testing.T, start func() *ownServer) {
		s := start()
		f := newFollower(t, s.live, 10)
		for _, c := range []struct {
			name string
			cut  func(transaction []byte, ends []int) []byte
		}{
			{"torn in its rows", func(b []byte, ends []int) []byte { return b[:ends[len(ends)-2]-5] }},
			{"torn in its first event", func(b []byte, ends []int) []byte { return b[:10] }},
			{"without its end", func(b []byte, ends []int) []byte { return b[:ends[len(ends)-2]] }},
		} {
			t.Run(c.name, func(t *testing.T) {
				f.t, s.t = t, t
				f.connect()
				s.execute("FLUSH BINARY LOGS", "INSERT INTO splashdam_test.numbers VALUES (1), (2), (3)")
				file, transaction, ends := lastTransaction(t, s.data)
				f.becomes(s.live)
				s.execute("DELETE FROM splashdam_test.numbers")
				f.becomes(s.live)
				s.Kill()
				f.close()
				log, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				_, err = log.Write(c.cut(transaction, ends))
				if err := errors.Join(err, log.Close()); err != nil {
					t.Fatal(err)
				}
				if err := s.Restart(t.Context()); err != nil {
					t.Fatal(err)
				}
				f.connect()
				s.execute("INSERT INTO splashdam_test.numbers VALUES (4)")
				f.becomes(s.live)
				s.execute("DELETE FROM splashdam_test.numbers")
			})
		}
	})
}

// A server that does not have what was read, or has something else in its place, is
// none to go on with: what it has under the numbers of the other would be left out.
func TestAServerWithAnotherHistoryIsRefused(t *testing.T) {
	eachOwnServer(t, func(t *testing.T, start func() *ownServer) {
		const few, more = 5, 30
		insert := func(s *ownServer, from, to int) {
			for id := from; id < to; id++ {
				s.execute(fmt.Sprintf("REPLACE INTO splashdam_test.numbers VALUES (%d)", id))
			}
		}
		s, other := start(), start()
		for _, c := range []struct {
			name string
			now  func() *ownServer
		}{
			{"another server that is new", func() *ownServer { return other }},
			{"another server", func() *ownServer { insert(other, 0, more); return other }},
			{"reset", func() *ownServer { s.reset(); return s }},
			{"reset and a little further", func() *ownServer { s.reset(); insert(s, 0, few/2); return s }},
			{"reset, and the same file is shorter", func() *ownServer {
				s.reset()
				insert(s, 0, more)
				s.execute("FLUSH BINARY LOGS")
				return s
			}},
			{"reset, and the same file is longer", func() *ownServer {
				s.reset()
				s.execute("FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
				insert(s, 0, more)
				return s
			}},
		} {
			f := newFollower(t, s.live, 10)
			s.execute("DELETE FROM splashdam_test.numbers", "FLUSH BINARY LOGS")
			f.connect()
			insert(s, 0, few)
			f.becomes(s.live)
			f.close()
			f.refused(c.name, c.now().live)
		}
	})
}

func (s *ownServer) reset() {
	s.t.Helper()
	if s.live.mariadb {
		s.execute("RESET MASTER")
		return
	}
	s.execute("RESET BINARY LOGS AND GTIDS")
}

// refused demands that the source stops for good on a server, before it has a row.
func (f *follower) refused(what string, server *liveServer) {
	f.t.Helper()
	f.server = server
	err := f.begin()
	for deadline := time.Now().Add(patience); err == nil && time.Now().Before(deadline); {
		ctx, cancel := context.WithTimeout(f.t.Context(), patience)
		var b *connect.Batch
		var ack func(error)
		if b, ack, err = f.source.Read(ctx); err == nil {
			if b.Rows() > 0 {
				f.t.Errorf("%s: rows come", what)
			}
			ack(nil)
		}
		cancel()
	}
	f.close()
	if _, ok := errors.AsType[*connect.PermanentError](err); !ok {
		f.t.Errorf("%s: the error is %v", what, err)
	}
	f.t.Logf("%s: %v", what, err)
}

// lastTransaction is the newest binlog's last transaction, and where its events end
// in it.
func lastTransaction(t *testing.T, data string) (file string, transaction []byte, ends []int) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(data, "binlog.0?????"))
	if err != nil || len(names) == 0 {
		t.Fatalf("binlogs in %s: %v", data, err)
	}
	file = slices.Max(names)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	begin := 0
	for at := fileHeader; at < len(text); {
		var h replication.EventHeader
		if err := h.Decode(text[at:]); err != nil {
			t.Fatal(err)
		}
		if h.EventType == replication.MARIADB_GTID_EVENT || h.EventType == replication.GTID_EVENT {
			begin, ends = at, nil
		}
		at += int(h.EventSize)
		ends = append(ends, at-begin)
	}
	return file, text[begin:], ends
}
