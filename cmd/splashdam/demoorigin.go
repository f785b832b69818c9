package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/splashdam/splashdam/internal/dbserver"
	"github.com/splashdam/splashdam/sources/mysql/tape"
)

// What --mysql may be besides a data source name.
const (
	mysqlAuto = "auto" // the server that is installed, and the tape where none is
	mysqlTape = "tape"
)

// isServerName is whether --mysql names a running server.
func isServerName(flag string) bool { return flag != "" && flag != mysqlAuto && flag != mysqlTape }

// origin is where a pipeline's rows come from: a table, and what happens to it.
type origin struct {
	server    string // for people
	recording bool   // it is not there itself
	config    *mysql.Config
	database  string
	table     string
	db        *sql.DB
	changes   int
	change    func(ctx context.Context, n int) error
	release   func(ctx context.Context) error
}

func (o *origin) named() string {
	if o.recording {
		return "a recording of " + o.server
	}
	return o.server
}

// rows are what the table has now.
func (o *origin) rows(ctx context.Context) (tape.State, error) {
	return tape.SelectState(ctx, o.db, o.quoted())
}

func (o *origin) quoted() string { return "`" + o.database + "`.`" + o.table + "`" }

var illegalInTopic = regexp.MustCompile(`[^a-zA-Z0-9_-]`)

// topic is where the source puts the rows.
func (o *origin) topic() string {
	return "demo." + illegalInTopic.ReplaceAllString(o.database, "_") + "." + illegalInTopic.ReplaceAllString(o.table, "_")
}

// close leaves the server as it was found.
func (o *origin) close(ctx context.Context) error {
	return errors.Join(o.release(ctx), o.db.Close())
}

// findServer is dbserver.Find.
type findServer func(command ...string) (dbserver.Program, error)

func openOrigin(ctx context.Context, s *stage, find findServer) (*origin, error) {
	switch {
	case isServerName(s.mysql):
		return useServer(ctx, s.mysql)
	case s.mysql == mysqlTape:
		return playTape()
	}
	program, err := find()
	if errors.Is(err, dbserver.ErrNoProgram) {
		return playTape()
	}
	if err != nil {
		return nil, err
	}
	s.say("pipeline: starting %s", program)
	return startServer(ctx, program, filepath.Join(s.dir, "mysql"))
}

// startServer starts a server of the demo's own. Whatever is in it goes with its directory.
func startServer(ctx context.Context, program dbserver.Program, dir string) (*origin, error) {
	server, err := dbserver.Start(ctx, dbserver.Options{Program: program, Dir: dir})
	if err != nil {
		return nil, &problem{what: "the database of the pipeline", cause: err, next: []string{
			"--mysql takes a server that runs, as user:password@tcp(host:port)/database, or  tape  for a recording of one",
		}}
	}
	o := &origin{server: program.String(), config: server.Config(), database: "shop", table: "orders"}
	o.release = func(context.Context) error { server.Kill(); return nil }
	if err := o.connect(); err != nil {
		return nil, errors.Join(err, o.release(ctx))
	}
	_, err = o.db.ExecContext(ctx, "CREATE DATABASE "+o.database+" CHARACTER SET utf8mb4")
	if err == nil {
		err = o.fill(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, o.close(ctx))
	}
	return o, nil
}

// useServer makes a table with a name of its own on a server that others use.
func useServer(ctx context.Context, dsn string) (*origin, error) {
	config, err := mysql.ParseDSN(dsn)
	if err != nil {
		return nil, err
	}
	if config.Net != "tcp" || config.DBName == "" {
		return nil, &problem{what: "--mysql", cause: errors.New("the pipeline needs a server's address and a database"), next: []string{
			"--mysql takes user:password@tcp(host:port)/database",
		}}
	}
	o := &origin{config: config, database: config.DBName, table: "demo_table_" + strings.ToLower(rand.Text()[:8])}
	o.release = func(ctx context.Context) error {
		if _, err := o.db.ExecContext(ctx, "DROP TABLE IF EXISTS "+o.quoted()); err != nil {
			return fmt.Errorf("dropping the table %s: %w", o.table, err)
		}
		return nil
	}
	if err := o.connect(); err != nil {
		return nil, err
	}
	var version string
	err = o.db.QueryRowContext(ctx, "SELECT VERSION()").Scan(&version)
	if err == nil {
		o.server = serverNamed(version)
		err = o.fill(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, o.close(ctx))
	}
	return o, nil
}

func (o *origin) connect() (err error) {
	o.db, err = sql.Open("mysql", o.config.FormatDSN())
	return err
}

// fill makes the table, and has the script change it.
func (o *origin) fill(ctx context.Context) error {
	script := tape.NewScript(o.quoted())
	for _, statement := range script.Setup {
		if _, err := o.db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("making the table of the pipeline in %s: %w", o.server, err)
		}
	}
	o.changes = len(script.Changes)
	o.change = func(ctx context.Context, n int) error {
		if err := transact(ctx, o.db, script.Changes[n]); err != nil {
			return fmt.Errorf("transaction %d of the pipeline's table: %w", n+1, err)
		}
		return nil
	}
	return nil
}

func transact(ctx context.Context, db *sql.DB, statements []string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	for _, statement := range statements {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	return tx.Commit()
}

func playTape() (*origin, error) {
	player, err := tape.Serve()
	if err != nil {
		return nil, err
	}
	o := &origin{server: serverNamed(player.Version()), recording: true, config: player.Config(), changes: len(tape.NewScript("").Changes)}
	o.database, o.table, _ = strings.Cut(player.Table(), ".")
	o.release = func(context.Context) error { return player.Close() }
	o.change = func(_ context.Context, n int) error {
		if !player.Advance() {
			return fmt.Errorf("the recording ends before transaction %d", n+1)
		}
		return nil
	}
	if err := o.connect(); err != nil {
		return nil, errors.Join(err, player.Close())
	}
	return o, nil
}

// serverNamed makes of what a server calls its version what people call the server.
func serverNamed(version string) string {
	number, rest, _ := strings.Cut(version, "-")
	if strings.Contains(rest, "MariaDB") {
		return "MariaDB " + number
	}
	return "MySQL " + number
}
