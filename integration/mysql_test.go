package integration

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/splashdam/splashdam/internal/dbserver"
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
		t.Run(strings.ReplaceAll(c.Addr, ":", "-"), func(t *testing.T) { test(t, c, emptyDatabase(t, c)) })
	}
}

// emptyDatabase makes a database and puts its name into the configuration.
func emptyDatabase(t testing.TB, c *mysql.Config) *sql.DB {
	t.Helper()
	admin, err := sql.Open("mysql", c.FormatDSN())
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
	t.Cleanup(func() { db.Close() })
	return db
}

// mysqlSource is the part of a pipeline's file that captures tables of the server.
func mysqlSource(c *mysql.Config, prefix string, tables ...string) string {
	host, port, _ := strings.Cut(c.Addr, ":")
	return fmt.Sprintf(`source:
  connector: mysql
  database.hostname: %s
  database.port: %s
  database.user: %s
  database.password: %s
  database.server.id: %d
  topic.prefix: %s
  table.include.list: %s
`, host, port, c.User, c.Passwd, 10_000+rand.IntN(1_000_000), prefix, strings.Join(tables, ", "))
}

// eachProgram runs the test with each command of SPLASHDAM_TEST_MYSQLD, commas
// between, or with the server that is installed.
func eachProgram(t *testing.T, test func(t *testing.T, p dbserver.Program)) {
	commands := strings.Split(os.Getenv("SPLASHDAM_TEST_MYSQLD"), ",")
	if commands[0] == "" {
		p, err := dbserver.Find()
		Need(t, "mysqld", !errors.Is(err, dbserver.ErrNoProgram), dbserver.ErrNoProgram.Error())
		if err != nil {
			t.Fatal(err)
		}
		commands = p.Command
	}
	for _, command := range commands {
		p, err := dbserver.Find(command)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.ReplaceAll(p.String(), " ", "-"), func(t *testing.T) { test(t, p) })
	}
}

// Six writers change a table while it is copied and followed, columns are added and
// everything is deleted in between, and the connector and the broker are killed: at
// the end the newest state in the files is the table, and no row is there twice.
func TestATableIsInTheFilesWhateverIsKilled(t *testing.T) {
	actions := 6
	if Long() {
		actions = 30
	}
	eachMySQL(t, func(t *testing.T, c *mysql.Config, _ *sql.DB) {
		eachCluster(t, func(t *testing.T, on cluster) { newRound(t, c, emptyDatabase(t, c), nil, on, shapes[0]).run(actions) })
	})
}

// The same with tables of all kinds, and the database is killed too.
func TestTablesAreInTheFilesWhateverIsKilled(t *testing.T) {
	rounds, err := strconv.Atoi(cmp.Or(os.Getenv("SPLASHDAM_TEST_ROUNDS"), "0"))
	if err != nil {
		t.Fatalf("SPLASHDAM_TEST_ROUNDS: %v", err)
	}
	if rounds == 0 {
		t.Skip("a round takes half a minute: SPLASHDAM_TEST_ROUNDS says how many, and five have each kind of table in them")
	}
	eachProgram(t, func(t *testing.T, p dbserver.Program) {
		for n := range rounds {
			s := shapes[n%len(shapes)]
			t.Run(fmt.Sprintf("%d-%s", n+1, s.name), func(t *testing.T) {
				server, err := dbserver.Start(t.Context(), dbserver.Options{
					Program: p, Dir: filepath.Join(t.ArtifactDir(), "database"), Args: []string{"--max-binlog-size=1M"},
				})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(server.Kill)
				c := server.Config()
				c.DBName = "shop"
				db, err := sql.Open("mysql", server.DSN())
				if err != nil {
					t.Fatal(err)
				}
				execAll(t.Context(), t, db, "CREATE DATABASE "+c.DBName)
				db.Close()
				connector, err := mysql.NewConnector(c)
				if err != nil {
					t.Fatal(err)
				}
				db = sql.OpenDB(connector)
				defer db.Close()
				newRound(t, c, db, server, ownCluster(t), s).run(20)
			})
		}
	})
}

func execAll(ctx context.Context, t testing.TB, db *sql.DB, statements ...string) {
	t.Helper()
	for _, q := range statements {
		if _, err := db.ExecContext(ctx, q); err != nil {
			t.Fatalf("%.200s: %v", q, err)
		}
	}
}
