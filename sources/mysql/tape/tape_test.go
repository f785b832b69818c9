package tape_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/sources/mysql"
	"github.com/splashdam/splashdam/sources/mysql/tape"
)

func serve(t *testing.T) (*tape.Server, *sql.DB) {
	t.Helper()
	s, err := tape.Serve()
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("mysql", s.Config().FormatDSN())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(db.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	})
	return s, db
}

// The source copies the table while it changes, is stopped at any mark and forgets
// what was not stored, and has the table at the end.
func TestTheSourceReadsTheTape(t *testing.T) {
	for _, test := range []struct {
		name  string
		chunk int
		ahead int // changes before the source is there
		lives int // how often it begins
	}{
		{"in one piece", 10_000, 0, 1},
		{"in parts", 64, 0, 1},
		{"in parts, with a column that was added before", 100, 150, 1},
		{"in parts, stopped again and again", 64, 0, 15},
		{"at the end of the tape, stopped", 100, 240, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, db := serve(t)
			for range test.ahead {
				s.Advance()
			}
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			f := &follower{t: t, server: s, chunk: test.chunk, random: rand.New(rand.NewPCG(seed, 0)), stored: map[string]connect.Position{}, rows: tape.State{}}
			for range test.lives - 1 {
				f.live(f.random.IntN(12))
			}
			want := f.finish(db)
			if len(f.rows) != len(want) {
				t.Errorf("%d rows in the table, and %d as the source gave them", len(want), len(f.rows))
			}
			for key, row := range want {
				if f.rows[key] != row {
					t.Errorf("row %s is\n%s in the table and\n%s as the source gave it", key, row, f.rows[key])
				}
			}
		})
	}
}

// follower does as a pipeline does: it stores positions, and drops rows whose place
// is not above the highest one.
type follower struct {
	t       *testing.T
	server  *tape.Server
	chunk   int
	random  *rand.Rand
	stored  map[string]connect.Position // by partition
	highest connect.Place
	rows    tape.State
}

// live is one run of the source, which ends behind so many batches.
func (f *follower) live(batches int) {
	f.t.Helper()
	f.run(func(n int) bool {
		f.server.Advance() // so that something comes
		return n >= batches
	})
}

// finish runs the source until the rows are those of the end of the tape, or nothing
// comes any more.
func (f *follower) finish(db *sql.DB) (want tape.State) {
	f.t.Helper()
	f.run(func(int) bool {
		for range 1 + f.random.IntN(3) {
			if f.server.Advance() {
				continue
			}
			if want == nil {
				var err error
				if want, err = tape.SelectState(f.t.Context(), db, f.server.Table()); err != nil {
					f.t.Fatal(err)
				}
			}
			return maps.Equal(f.rows, want)
		}
		return false
	})
	return want
}

func (f *follower) run(enough func(batches int) bool) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 2*time.Minute) // ends one that stands still
	defer cancel()
	source := f.connect(ctx)
	defer func() {
		if err := source.Close(ctx); err != nil {
			f.t.Error(err)
		}
	}()
	for n := 0; !enough(n); n++ {
		b, ack, err := source.Read(ctx)
		if err != nil {
			f.t.Errorf("after %d batches: %v", n, err)
			return
		}
		f.take(b)
		if f.random.IntN(4) > 0 { // otherwise it was not stored
			for _, m := range b.Marks {
				for _, p := range m.Positions {
					f.stored[string(p.Partition)] = p
				}
			}
		} else if enough(n) {
			return
		}
		ack(nil)
	}
}

func (f *follower) connect(ctx context.Context) connect.Source {
	f.t.Helper()
	c := f.server.Config()
	host, port, err := net.SplitHostPort(c.Addr)
	if err != nil {
		f.t.Fatal(err)
	}
	config, wrong := connect.ParseConfig(mysql.Connector.Settings, map[string]string{
		"database.hostname": host, "database.port": port, "database.user": c.User, "database.password": c.Passwd,
		"database.server.id": "7001", "topic.prefix": "tape", "table.include.list": strings.ReplaceAll(f.server.Table(), ".", `\.`),
		"incremental.snapshot.chunk.size": fmt.Sprint(f.chunk),
	})
	if len(wrong) > 0 {
		f.t.Fatal(wrong)
	}
	source, err := mysql.Connector.New(config, connect.Environment{Connector: "tape", Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = source.Connect(ctx, slices.Collect(maps.Values(f.stored)))
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return source
}

func (f *follower) take(b *connect.Batch) {
	f.t.Helper()
	next := make([]int, len(b.Sections)) // row of each section
	for n := range b.Rows() {
		section := 0
		if len(b.Order) > 0 {
			section = int(b.Order[n])
		}
		s, row := b.Sections[section], next[section]
		next[section]++
		if s.Place[row].Compare(f.highest) <= 0 {
			continue
		}
		f.highest = s.Place[row]
		if s.Op[row].HasBefore() {
			f.rows.Remove(s.Before, row)
		}
		if s.Op[row].HasAfter() {
			if err := f.rows.Put(s.Schema.Fields, s.After, row); err != nil {
				f.t.Fatal(err)
			}
		}
	}
}
