package mysql

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/splashdam/splashdam/connect"
)

// follower reads the table numbers of the tests' database as a pipeline does: it
// stores positions, and drops rows whose place is not above the highest one.
type follower struct {
	t        *testing.T
	settings map[string]string
	source   connect.Source
	stored   map[string]connect.Position // by partition
	highest  connect.Place
	rows     map[int64]int // how many columns each row has, by id
}

// patience is how long a batch may take that has to come.
const patience = 10 * time.Second

func newFollower(t *testing.T, server *liveServer, chunk int) *follower {
	host, port, _ := strings.Cut(server.config.Addr, ":")
	return &follower{
		t: t, stored: map[string]connect.Position{}, rows: map[int64]int{},
		settings: map[string]string{
			"database.hostname": host, "database.port": port, "database.user": server.config.User, "database.password": server.config.Passwd,
			"database.server.id": strconv.Itoa(1_000_000 + rand.IntN(1_000_000_000)), "topic.prefix": "test",
			"table.include.list": "splashdam_test.numbers", "incremental.snapshot.chunk.size": strconv.Itoa(chunk),
		},
	}
}

// connect makes a source and has it go on from what is stored.
func (f *follower) connect() {
	f.t.Helper()
	c, wrong := connect.ParseConfig(Connector.Settings, f.settings)
	if len(wrong) > 0 {
		f.t.Fatal(wrong)
	}
	s, err := Connector.New(c, connect.Environment{Connector: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.t.Fatal(err)
	}
	f.source = s
	f.t.Cleanup(f.close)
	var positions []connect.Position
	for _, p := range f.stored {
		positions = append(positions, p)
	}
	if err := s.Connect(f.t.Context(), positions); err != nil {
		f.t.Fatal(err)
	}
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

// settle stores everything until nothing comes any more.
func (f *follower) settle() {
	f.t.Helper()
	for empty := 0; empty < 2; empty++ {
		if f.read(true).Rows() > 0 {
			empty = -1
		}
	}
}

// expect compares what came with the table.
func (f *follower) expect(server *liveServer) {
	f.t.Helper()
	var ids string
	var columns int
	err := server.db.QueryRowContext(f.t.Context(), `SELECT GROUP_CONCAT(id ORDER BY id), (SELECT count(*) FROM information_schema.columns
		WHERE table_schema = 'splashdam_test' AND table_name = 'numbers') FROM splashdam_test.numbers`).Scan(&ids, &columns)
	if err != nil {
		f.t.Fatal(err)
	}
	var got []string
	for _, id := range slices.Sorted(maps.Keys(f.rows)) {
		got = append(got, strconv.FormatInt(id, 10))
		if f.rows[id] != columns {
			f.t.Errorf("row %d came with %d columns last, and the table has %d", id, f.rows[id], columns)
		}
	}
	if text := strings.Join(got, ","); text != ids {
		f.t.Errorf("the rows that came are\n%s, the table has\n%s", text, ids)
	}
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
				f.settle()
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
			f.settle()
			f.expect(server)
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
		f.settle()
		f.expect(server)
		// The same when it connects.
		execute("ALTER TABLE numbers ADD COLUMN a int DEFAULT 1")
		f.readUntil(true, connect.Read)
		f.close()
		execute("FLUSH BINARY LOGS")
		f.connect()
		f.settle()
		f.expect(server)
	})
}
