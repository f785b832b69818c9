package integration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/internal/dbserver"
	"github.com/splashdam/splashdam/internal/vfs"
	"github.com/splashdam/splashdam/sinks/arrow"
)

const (
	writers = 6
	// outage is how long nothing may succeed.
	outage = 30 * time.Second
	// catchUp is how long the files may take to become the table: a connector that
	// was killed and failed often waits for half a minute.
	catchUp = 2 * time.Minute
)

// round is tables that are written to, a pipeline that has them in files, and what
// kills all who take part.
type round struct {
	t        *testing.T
	config   *mysql.Config
	db       *sql.DB
	database *dbserver.Server // nil: it is not ours to kill
	shape    shape
	on       cluster
	pipeline *pipeline
	seed     uint64
	rnd      *rand.Rand
	did      map[string]int
}

func newRound(t *testing.T, c *mysql.Config, db *sql.DB, database *dbserver.Server, on cluster, s shape) *round {
	r := &round{t: t, config: c, db: db, database: database, on: on, shape: s, seed: uint64(time.Now().UnixNano()), did: map[string]int{}}
	t.Logf("seed %d", r.seed)
	r.rnd = rand.New(rand.NewPCG(r.seed, 0))
	for _, table := range s.tables {
		execAll(t.Context(), t, db, table.create)
	}
	execAll(t.Context(), t, db, s.fill...)
	var tables, topics []string
	for _, table := range s.tables {
		tables = append(tables, c.DBName+"."+table.name)
		topics = append(topics, r.topic(table))
	}
	r.pipeline = newPipeline(t, on.addr, fmt.Sprintf(`
name: %s
%s  incremental.snapshot.chunk.size: 100
sink:
  connector: arrow
  topics: %s
  dir: %%s
  file.age.ms: 100
`, on.prefix, mysqlSource(c, on.prefix, tables...), strings.Join(topics, ", ")))
	return r
}

func (r *round) topic(t table) string { return r.on.prefix + "." + r.config.DBName + "." + t.name }

// run does so many things to the tables and to those that carry them, and compares.
func (r *round) run(actions int) {
	r.t.Helper()
	ctx := testContext(r.t, 10*time.Minute)
	writing, stop := context.WithCancel(ctx)
	done := make(chan error, writers)
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() { done <- r.write(ctx, writing, w+1) })
	}
	defer all.Wait()
	defer stop()
	r.pipeline.start()
	for n := range actions {
		time.Sleep(time.Duration(200+r.rnd.IntN(700)) * time.Millisecond)
		r.act(ctx, n)
	}
	time.Sleep(time.Second) // so that there is something to compare behind a TRUNCATE
	stop()
	for range writers {
		if err := <-done; err != nil {
			r.fail(err)
		}
	}
	r.compare(ctx)
	r.pipeline.stop()
	r.t.Logf("done: %v", r.did)
}

// act is the n-th thing that happens.
func (r *round) act(ctx context.Context, n int) {
	r.t.Helper()
	switch {
	case n%7 == 2:
		table := r.shape.tables[r.rnd.IntN(len(r.shape.tables))].name
		r.define(ctx, "column added", fmt.Sprintf("ALTER TABLE %s ADD COLUMN extra%d int DEFAULT %d", table, n, n))
		return
	case n%7 == 5:
		r.define(ctx, "rows vanished", r.shape.vanish[n/7%len(r.shape.vanish)])
		return
	}
	pause := time.Duration(r.rnd.IntN(300)) * time.Millisecond
	victims := r.rnd.IntN(8)
	database := r.database != nil && victims >= 4 // 4 to 7
	broker := r.on.node != nil && (victims == 2 || victims == 3 || victims == 6)
	connector := !database && !broker || victims == 7
	if database {
		r.did["database killed"]++
		r.database.Kill()
	}
	if broker {
		r.did["broker killed"]++
		r.on.node.Kill()
	}
	if connector {
		r.did["connector killed"]++
		r.pipeline.kill()
	}
	if broker {
		time.Sleep(pause)
		r.on.node.Restart()
	}
	if connector {
		r.pipeline.start()
	}
	if database {
		time.Sleep(pause)
		if err := r.database.Restart(ctx); err != nil {
			r.t.Fatal(err)
		}
	}
}

// define changes a table, now and then while the connector is killed. The server is
// not killed meanwhile: not every server logs what it did just before.
func (r *round) define(ctx context.Context, what, statement string) {
	r.t.Helper()
	r.did[what]++
	done := make(chan error, 1)
	go func() { done <- r.exec(ctx, statement) }()
	if r.rnd.IntN(2) == 0 {
		r.did["connector killed"]++
		r.pipeline.kill()
		r.pipeline.start()
	}
	if err := <-done; err != nil {
		r.fail(err)
	}
	if what == "rows vanished" && r.rnd.IntN(2) == 0 {
		for _, fill := range r.shape.fill {
			if err := r.exec(ctx, fill); err != nil {
				r.fail(err)
			}
		}
	}
}

// fail ends the round, which has no outcome if the server has damaged its table.
func (r *round) fail(err error) {
	r.t.Helper()
	r.skipDamage()
	r.t.Fatal(err)
}

// skipDamage skips a round in which the server, killed at a bad moment, did not find
// its own table again in a good state, as MariaDB 10.11 at times behind a TRUNCATE.
func (r *round) skipDamage() {
	r.t.Helper()
	if r.database == nil {
		return
	}
	log, err := os.ReadFile(r.database.Log())
	if err != nil {
		r.t.Fatal(err)
	}
	for line := range strings.Lines(string(log)) {
		for _, damage := range []string{"due to corruption", "index corruption", "is corrupt"} {
			if strings.Contains(line, damage) {
				r.t.Skipf("the server has damaged its data: %s", line)
			}
		}
	}
}

// exec runs a statement, again where it lost against others.
func (r *round) exec(ctx context.Context, statement string) error {
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		_, err := r.db.ExecContext(ctx, statement)
		if err == nil || !passes(err) || time.Since(begun) > outage {
			if err != nil {
				err = fmt.Errorf("%.200s: %w", statement, err)
			}
			return err
		}
	}
}

// passes is whether a statement may succeed the next time: it lost against another
// one, the table was altered meanwhile, or the server is not there.
func passes(err error) bool {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		switch e.Number {
		case 1205, 1213, 1412, 1020, 1053, 1105, 3572:
			return true
		}
		return false
	}
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, sql.ErrTxDone)
}

// write changes rows, some in transactions of several, until writing ends. The
// server may be gone for a while: whether what was under way then has happened,
// the table says.
func (r *round) write(ctx, writing context.Context, writer int) error {
	rnd := rand.New(rand.NewPCG(r.seed, uint64(writer)))
	last := time.Now()
	for n := 1; writing.Err() == nil; n++ {
		err := r.transact(ctx, rnd, writer, n)
		switch {
		case err == nil:
			last = time.Now()
		case !passes(err) || time.Since(last) > outage:
			return fmt.Errorf("writer %d: %w", writer, err)
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

func (r *round) transact(ctx context.Context, rnd *rand.Rand, writer, n int) error {
	tx, err := r.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after an error, or on purpose
	for range 1 + rnd.IntN(4) {
		query, args := r.shape.change(rnd, writer, n)
		if _, err := tx.ExecContext(ctx, query, args...); err != nil {
			return err
		}
	}
	if rnd.IntN(10) == 0 {
		return nil
	}
	return tx.Commit()
}

// compare demands that the newest state in the files becomes the tables'.
func (r *round) compare(ctx context.Context) {
	r.t.Helper()
	for _, table := range r.shape.tables {
		want := r.tableState(ctx, table)
		dir := filepath.Join(r.pipeline.out, r.topic(table))
		var got map[string]string
		for deadline := time.Now().Add(catchUp); ; time.Sleep(300 * time.Millisecond) {
			if got = latestState(r.t, dir); len(differences(got, want)) == 0 || time.Now().After(deadline) {
				break
			}
		}
		wrong := differences(got, want)
		if len(wrong) > 0 {
			r.skipDamage()
		}
		for i, key := range wrong {
			if i == 10 {
				r.t.Errorf("... %d keys in all", len(wrong))
				break
			}
			r.t.Errorf("%s %q is\n%s in the table and\n%s in the files, which have\n%s", table.name, key, want[key], got[key], history(r.t, dir, key))
		}
		r.t.Logf("%s: %d rows at the end, %d in the files", table.name, len(want), checkPlaces(r.t, dir))
	}
}

func differences(a, b map[string]string) (keys []string) {
	for key, row := range a {
		if b[key] != row {
			keys = append(keys, key)
		}
	}
	for key := range b {
		if _, ok := a[key]; !ok {
			keys = append(keys, key)
		}
	}
	return keys
}

// tableState is the table's rows as text, by key.
func (r *round) tableState(ctx context.Context, table table) map[string]string {
	r.t.Helper()
	rows, err := r.db.QueryContext(ctx, "SELECT * FROM "+table.name)
	if err != nil {
		r.t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		r.t.Fatal(err)
	}
	state := map[string]string{}
	for rows.Next() {
		values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			r.t.Fatal(err)
		}
		var text strings.Builder
		of := map[string]string{}
		for i, v := range values {
			if v.Valid {
				fmt.Fprintf(&text, "%s=%s ", columns[i], v.String)
				of[columns[i]] = v.String
			}
		}
		var key strings.Builder
		for _, name := range table.key {
			fmt.Fprintf(&key, "%s|", of[name])
		}
		state[key.String()] = text.String()
	}
	if err := rows.Err(); err != nil {
		r.t.Fatal(err)
	}
	return state
}

// latestState is the newest state in the files, in the same form.
func latestState(t *testing.T, dir string) map[string]string {
	t.Helper()
	state := map[string]string{}
	if _, err := os.Stat(dir); err != nil {
		return state
	}
	err := openFiles(t, dir).Latest(func(b *arrow.Block) error {
		for row := range b.Offset {
			key, text := textOf(b, row)
			state[key] = text
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func openFiles(t *testing.T, dir string) *arrow.Directory {
	t.Helper()
	d, err := arrow.OpenDirectory(vfs.OS(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// textOf is a row, and its key, as tableState has them.
func textOf(b *arrow.Block, row int) (key, text string) {
	var keys, all strings.Builder
	values := make([]string, len(b.Columns))
	for i, f := range b.Schema.Fields {
		c := &b.Columns[i]
		if c.IsNull(row) {
			continue
		}
		switch f.Type.Kind {
		case connect.Decimal:
			low, _ := c.Bits128(row)
			values[i] = fmt.Sprintf("%d.%02d", low/100, low%100)
		case connect.String, connect.Enum:
			values[i] = string(c.Text(row))
		case connect.DateTime:
			values[i] = time.UnixMicro(c.Int(row)).UTC().Format("2006-01-02 15:04:05.000")
		default:
			values[i] = fmt.Sprint(c.Int(row))
		}
		fmt.Fprintf(&all, "%s=%s ", f.Name, values[i])
	}
	for _, i := range b.Schema.Key {
		fmt.Fprintf(&keys, "%s|", values[i])
	}
	return keys.String(), all.String()
}

// history is everything that the files have of a key.
func history(t *testing.T, dir, key string) string {
	t.Helper()
	var text strings.Builder
	err := openFiles(t, dir).Rows(func(b *arrow.Block) error {
		for row := range b.Offset {
			if k, state := textOf(b, row); k == key || b.Op[row] == connect.Truncate {
				fmt.Fprintf(&text, "  %v at offset %d of partition %d, place %v: %s\n", b.Op[row], b.Offset[row], b.Partition, b.Place[row], state)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// checkPlaces demands that no place is twice in a partition, and counts rows.
func checkPlaces(t *testing.T, dir string) int {
	t.Helper()
	type at struct {
		partition int32
		place     connect.Place
	}
	seen := map[at]bool{}
	err := openFiles(t, dir).Rows(func(b *arrow.Block) error {
		for _, place := range b.Place {
			if seen[at{b.Partition, place}] {
				t.Errorf("place %v is twice in partition %d", place, b.Partition)
			}
			seen[at{b.Partition, place}] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return len(seen)
}
