package integration

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/internal/vfs"
	"github.com/splashdam/splashdam/sinks/arrow"
)

// eachMySQL runs the test on each server of SPLASHDAM_TEST_MYSQL, DSNs with commas
// between, in an empty database of its own.
func eachMySQL(t *testing.T, test func(t *testing.T, c *mysql.Config, db *sql.DB)) {
	servers := os.Getenv("SPLASHDAM_TEST_MYSQL")
	Need(t, "mysql", servers != "", "SPLASHDAM_TEST_MYSQL is not set: no server to test against")
	for dsn := range strings.SplitSeq(servers, ",") {
		c, err := mysql.ParseDSN(dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.ReplaceAll(c.Addr, ":", "-"), func(t *testing.T) {
			admin, err := sql.Open("mysql", dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer admin.Close()
			const database = "splashdam_pipeline"
			for _, q := range []string{"DROP DATABASE IF EXISTS " + database, "CREATE DATABASE " + database} {
				if _, err := admin.ExecContext(t.Context(), q); err != nil {
					t.Fatal(err)
				}
			}
			c.DBName = database
			db, err := sql.Open("mysql", c.FormatDSN())
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			test(t, c, db)
		})
	}
}

// Six writers change a table while it is copied and followed, columns are added and
// everything is deleted in between, and the connector and the broker are killed: at
// the end the newest state in the files is the table, and no row is there twice.
func TestATableIsInTheFilesWhateverIsKilled(t *testing.T) {
	eachMySQL(t, func(t *testing.T, c *mysql.Config, db *sql.DB) {
		eachCluster(t, func(t *testing.T, on cluster, prefix string) { killCapture(t, c, db, on, prefix) })
	})
}

func killCapture(t *testing.T, c *mysql.Config, db *sql.DB, on cluster, prefix string) {
	kills := 4
	if Long() {
		kills = 30
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	ctx := testContext(t, 10*time.Minute)
	execAll(ctx, t, db, "DROP TABLE IF EXISTS orders",
		"CREATE TABLE orders (id bigint primary key, writer int unsigned not null, state enum('new','paid','sent'), amount decimal(12,2), note varchar(200))",
		"INSERT INTO orders WITH RECURSIVE n AS (SELECT 1 AS id UNION ALL SELECT id+1 FROM n WHERE id < 900) SELECT id*1000000, 0, 'new', id/7, repeat('x', id % 100) FROM n")

	host, port, _ := strings.Cut(c.Addr, ":")
	p := newPipeline(t, on.addr, prefix+"."+c.DBName+".orders", fmt.Sprintf(`
name: %s
source:
  connector: mysql
  database.hostname: %s
  database.port: %s
  database.user: %s
  database.password: %s
  database.server.id: %d
  topic.prefix: %s
  table.include.list: %s.orders
  incremental.snapshot.chunk.size: 100
sink:
  connector: arrow
  topics: %s.%s.orders
  dir: %%s
  file.age.ms: 100
`, prefix, host, port, c.User, c.Passwd, 10_000+rnd.IntN(1_000_000), prefix, c.DBName, prefix, c.DBName))

	writing, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 6)
	for w := range 6 {
		go func() { done <- writeOrders(ctx, writing, db, w+1, seed) }()
	}
	p.start()
	for k := range kills {
		time.Sleep(time.Duration(300+rnd.IntN(900)) * time.Millisecond)
		switch k % 4 {
		case 1:
			execAll(ctx, t, db, fmt.Sprintf("ALTER TABLE orders ADD COLUMN extra%d int DEFAULT %d", k, k))
		case 3:
			execAll(ctx, t, db, "TRUNCATE TABLE orders")
		}
		if on.node != nil && rnd.IntN(3) == 0 {
			on.node.Kill()
			on.node.Restart()
			continue
		}
		p.kill()
		p.start()
	}
	time.Sleep(time.Second) // so that there is something to compare behind a TRUNCATE
	stop()
	for range 6 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	want := tableState(ctx, t, db)
	dir := p.dir()
	var got map[string]string
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(300 * time.Millisecond) {
		if got = latestState(t, dir); equalStates(got, want) || time.Now().After(deadline) {
			break
		}
	}
	p.stop()
	for id, row := range want {
		if got[id] != row {
			t.Errorf("order %s is\n%s in the table and\n%s in the files", id, row, got[id])
		}
	}
	for id, row := range got {
		if _, ok := want[id]; !ok {
			t.Errorf("order %s is not in the table, and %s in the files", id, row)
		}
	}
	t.Logf("%d orders at the end, %d rows in the files, %d kills", len(want), checkPlaces(t, dir), kills)
}

func execAll(ctx context.Context, t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, q := range statements {
		if _, err := db.ExecContext(ctx, q); err != nil {
			t.Fatalf("%.200s: %v", q, err)
		}
	}
}

// writeOrders inserts, changes and deletes orders of its own, some in transactions
// of several rows, until writing ends.
func writeOrders(ctx, writing context.Context, db *sql.DB, writer int, seed uint64) error {
	rnd := rand.New(rand.NewPCG(seed, uint64(writer)))
	for n := 1; writing.Err() == nil; n++ {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		for range 1 + rnd.IntN(4) {
			id := writer + 10*rnd.IntN(400)
			switch rnd.IntN(4) {
			case 0:
				_, err = tx.ExecContext(ctx, "DELETE FROM orders WHERE id = ?", id)
			case 1:
				_, err = tx.ExecContext(ctx, "UPDATE orders SET state = 'paid', note = ? WHERE id = ?", fmt.Sprint("note ", n), id)
			default:
				_, err = tx.ExecContext(ctx, "REPLACE INTO orders (id, writer, state, amount, note) VALUES (?, ?, 'new', ?, NULL)", id, writer, float64(n)/4)
			}
			if err != nil {
				break
			}
		}
		if err == nil && rnd.IntN(10) > 0 {
			err = tx.Commit()
		} else {
			tx.Rollback() // on purpose, or after an error
		}
		if e, ok := err.(*mysql.MySQLError); ok && (e.Number == 1213 || e.Number == 1412 || e.Number == 1205) {
			continue // a deadlock, or the table was altered meanwhile
		}
		if err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// tableState is the table's rows as text, by id.
func tableState(ctx context.Context, t *testing.T, db *sql.DB) map[string]string {
	t.Helper()
	rows, err := db.QueryContext(ctx, "SELECT * FROM orders")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	state := map[string]string{}
	for rows.Next() {
		values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for i, v := range values {
			if v.Valid {
				fmt.Fprintf(&text, "%s=%s ", columns[i], v.String)
			}
		}
		state[values[0].String] = text.String()
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
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
	d, err := arrow.OpenDirectory(vfs.OS(), dir)
	if err != nil {
		t.Fatal(err)
	}
	err = d.Latest(func(b *arrow.Block) error {
		for row := range b.Offset {
			var text strings.Builder
			id := ""
			for i, f := range b.Schema.Fields {
				c := &b.Columns[i]
				if c.IsNull(row) {
					continue
				}
				value := ""
				switch f.Type.Kind {
				case connect.Decimal:
					low, _ := c.Bits128(row)
					value = fmt.Sprintf("%d.%02d", low/100, low%100)
				case connect.String, connect.Enum:
					value = string(c.Text(row))
				default:
					value = fmt.Sprint(c.Int(row))
				}
				if f.Name == "id" {
					id = value
				}
				fmt.Fprintf(&text, "%s=%s ", f.Name, value)
			}
			state[id] = text.String()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func equalStates(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for id, row := range a {
		if b[id] != row {
			return false
		}
	}
	return true
}

// checkPlaces demands that no place is twice in a partition, and counts rows.
func checkPlaces(t *testing.T, dir string) int {
	t.Helper()
	type at struct {
		partition int32
		place     connect.Place
	}
	seen := map[at]bool{}
	d, err := arrow.OpenDirectory(vfs.OS(), dir)
	if err != nil {
		t.Fatal(err)
	}
	err = d.Rows(func(b *arrow.Block) error {
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
