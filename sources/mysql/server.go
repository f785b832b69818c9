package mysql

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
	driver "github.com/go-sql-driver/mysql"

	"github.com/splashdam/splashdam/connect"
)

// serverInfo is what a server says of itself.
type serverInfo struct {
	server
	identity string // no other server has it
	version  string
	gtids    bool // every transaction has a GTID
	byFile   bool // places in the binlog go by file and address, also in another session
}

// watermark is a place in the binlog that is proven to be visible: every
// transaction up to there is in what a SELECT after it sees. Servers write the
// binlog before the engine commits, so the end of the binlog is none.
type watermark struct {
	file  string
	pos   uint64          // MariaDB
	gtids gomysql.GTIDSet // MySQL
}

func (c *config) open() (*sql.DB, error) {
	d := driver.NewConfig()
	d.User, d.Passwd, d.Net, d.Addr = c.user, c.password, "tcp", fmt.Sprintf("%s:%d", c.host, c.port)
	d.Timeout, d.ReadTimeout, d.WriteTimeout = c.timeout, 0, c.timeout
	d.Logger = &driver.NopLogger{} // it logs what it returns
	connector, err := driver.NewConnector(d)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(patient{connector, c.timeout}), nil
}

// patient bounds how long connecting takes, the server's greeting included, which
// the driver's own timeout does not.
type patient struct {
	sqldriver.Connector
	timeout time.Duration
}

func (p patient) Connect(ctx context.Context) (sqldriver.Conn, error) {
	bounded, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	conn, err := p.Connector.Connect(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("the server does not answer within connect.timeout.ms (%v): %w", p.timeout, err)
	}
	return conn, err
}

// session is a connection whose SELECTs give what the binlog has.
func session(ctx context.Context, db *sql.DB) (*sql.Conn, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, explain(err)
	}
	for _, set := range []string{sessionSettings, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"} {
		if _, err := conn.ExecContext(ctx, set); err != nil {
			return nil, errors.Join(fmt.Errorf("setting up a session: %w", err), conn.Close())
		}
	}
	return conn, nil
}

// inspect asks a server what it is, and whether its binlog has what it takes.
func inspect(ctx context.Context, conn *sql.Conn) (*serverInfo, error) {
	s := &serverInfo{}
	if err := conn.QueryRowContext(ctx, "SELECT VERSION()").Scan(&s.version); err != nil {
		return nil, fmt.Errorf("asking for the version: %w", err)
	}
	s.mariadb = strings.Contains(s.version, "MariaDB")
	v := map[string]string{}
	err := eachRow(ctx, conn, func(rows *sql.Rows) error {
		var name, value string
		err := rows.Scan(&name, &value)
		v[strings.ToLower(name)] = value
		return err
	}, `SHOW GLOBAL VARIABLES WHERE variable_name IN
		('log_bin', 'binlog_format', 'binlog_row_metadata', 'binlog_row_image', 'gtid_mode', 'server_uuid', 'server_uid', 'server_id')`)
	if err != nil {
		return nil, fmt.Errorf("asking for the settings of the binlog: %w", err)
	}
	for _, need := range []struct {
		name, value string
		ok          bool
	}{
		{"log_bin", "ON", v["log_bin"] == "ON"},
		{"binlog_format", "ROW", v["binlog_format"] == "ROW"},
		{"binlog_row_metadata", "FULL", v["binlog_row_metadata"] == "FULL"},
		{"binlog_row_image", "FULL", v["binlog_row_image"] == "FULL" || v["binlog_row_image"] == "FULL_NODUP"},
	} {
		if !need.ok {
			return nil, connect.Permanent(
				fmt.Errorf("the server's %s is %q, and has to be %s", need.name, v[need.name], need.value),
				fmt.Sprintf("set %s=%s in the server's configuration, and restart it", need.name, need.value))
		}
	}
	s.identity, s.gtids = v["server_uuid"], s.mariadb || v["gtid_mode"] == "ON"
	if s.mariadb {
		s.identity = v["server_uid"]
		if s.identity == "" { // before MariaDB 10.11
			s.identity = "server-id-" + v["server_id"]
		}
	}
	s.collations, err = readCollations(ctx, conn)
	return s, err
}

func readCollations(ctx context.Context, conn *sql.Conn) (map[int]string, error) {
	all := map[int]string{}
	err := eachRow(ctx, conn, func(rows *sql.Rows) error {
		var id sql.NullInt64
		var charset sql.NullString
		err := rows.Scan(&id, &charset)
		if id.Valid && charset.Valid {
			all[int(id.Int64)] = charset.String
		}
		return err
	}, "SELECT id, character_set_name FROM information_schema.collations")
	if err != nil {
		return nil, fmt.Errorf("asking for the collations: %w", err)
	}
	return all, nil
}

// begin opens a transaction that sees of a table at least what the watermark says.
func (s *serverInfo) begin(ctx context.Context, conn *sql.Conn, t tableName) (w watermark, err error) {
	start := "START TRANSACTION WITH CONSISTENT SNAPSHOT"
	switch {
	case s.mariadb:
	case s.byFile:
		// A lock on the table waits until all who have changed it have committed, and
		// the transaction gives it back at once.
		if _, err := conn.ExecContext(ctx, fmt.Sprintf("LOCK TABLES %s.%s READ", quoteName(t.database), quoteName(t.table))); err != nil {
			return w, explainLock(err, t)
		}
		w, err = binlogEnd(ctx, conn)
	default:
		// MySQL adds a transaction to the set after it can be seen.
		w, err = executed(ctx, conn)
	}
	if err != nil {
		return w, err
	}
	if _, err := conn.ExecContext(ctx, start); err != nil {
		return w, fmt.Errorf("beginning to read %v: %w", t, err)
	}
	if s.mariadb {
		return snapshotPosition(ctx, conn)
	}
	return w, nil
}

// watermark is where the server is. Where there are neither GTIDs nor MariaDB's
// snapshots, not all that is before it need be visible yet.
func (s *serverInfo) watermark(ctx context.Context, conn *sql.Conn) (w watermark, err error) {
	switch {
	case s.mariadb:
		if w, err = s.begin(ctx, conn, tableName{}); err == nil {
			_, err = conn.ExecContext(ctx, "ROLLBACK")
		}
		return w, err
	case s.byFile:
		return binlogEnd(ctx, conn)
	}
	return executed(ctx, conn)
}

// executed is what is visible on a MySQL with GTIDs.
func executed(ctx context.Context, conn *sql.Conn) (w watermark, err error) {
	var text string
	if err := conn.QueryRowContext(ctx, "SELECT @@GLOBAL.gtid_executed").Scan(&text); err != nil {
		return w, fmt.Errorf("asking for gtid_executed: %w", err)
	}
	w.gtids, err = gomysql.ParseMysqlGTIDSet(strings.ReplaceAll(text, "\n", ""))
	return w, err
}

// binlogEnd is what MySQL has written, visible or not.
func binlogEnd(ctx context.Context, conn *sql.Conn) (w watermark, err error) {
	for _, ask := range []string{"SHOW BINARY LOG STATUS", "SHOW MASTER STATUS"} { // since 8.2, and before
		err = eachRow(ctx, conn, func(rows *sql.Rows) error {
			var ignored [3]sql.RawBytes
			return rows.Scan(&w.file, &w.pos, &ignored[0], &ignored[1], &ignored[2])
		}, ask)
		if e, ok := errors.AsType[*driver.MySQLError](err); !ok || e.Number != 1064 {
			break
		}
	}
	if err == nil && w.file == "" {
		err = errors.New("the server does not say where its binlog ends")
	}
	if err != nil {
		return w, explain(fmt.Errorf("asking for the end of the binlog: %w", err))
	}
	return w, nil
}

// explainLock says what keeps a table from being locked.
func explainLock(err error, t tableName) error {
	err = fmt.Errorf("locking %v for a moment, since the server has no GTIDs: %w", t, err)
	if e, ok := errors.AsType[*driver.MySQLError](err); ok && (e.Number == deniedForDatabase || e.Number == deniedForTable) {
		return connect.Permanent(err, "grant the user LOCK TABLES, or set gtid_mode=ON on the server")
	}
	return err
}

// snapshotPosition is the place in MariaDB's binlog that a consistent snapshot has.
func snapshotPosition(ctx context.Context, conn *sql.Conn) (w watermark, err error) {
	err = eachRow(ctx, conn, func(rows *sql.Rows) error {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return err
		}
		switch strings.ToLower(name) {
		case "binlog_snapshot_file":
			w.file = value
		case "binlog_snapshot_position":
			_, err := fmt.Sscan(value, &w.pos)
			return err
		}
		return nil
	}, "SHOW STATUS LIKE 'binlog_snapshot_%'")
	if err == nil && (w.file == "" || w.pos == 0) {
		err = errors.New("the server does not say where in the binlog its snapshot is")
	}
	if err != nil {
		return watermark{}, fmt.Errorf("asking for binlog_snapshot_file and binlog_snapshot_position: %w", err)
	}
	return w, nil
}

// gtidsAt is MariaDB's GTID state at a place in its binlog; empty if it does not
// have the place.
func gtidsAt(ctx context.Context, conn *sql.Conn, file string, pos uint64) (string, error) {
	var text sql.NullString
	if err := conn.QueryRowContext(ctx, "SELECT BINLOG_GTID_POS(?, ?)", file, pos).Scan(&text); err != nil {
		return "", fmt.Errorf("asking which transactions are before %s:%d: %w", file, pos, err)
	}
	return text.String, nil
}

// tablesOf are the tables that the configuration wants, in the order of their names.
func (c *config) tablesOf(ctx context.Context, conn *sql.Conn) (all []tableName, err error) {
	err = eachRow(ctx, conn, func(rows *sql.Rows) error {
		var t tableName
		if err := rows.Scan(&t.database, &t.table); err != nil {
			return err
		}
		if c.captures(t) {
			all = append(all, t)
		}
		return nil
	}, `SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE'
		AND table_schema NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema') ORDER BY table_schema, table_name`)
	if err != nil {
		return nil, fmt.Errorf("asking for the tables: %w", err)
	}
	return all, nil
}

// binlogGone is what servers say of a place that their binlog does not have, or has
// no longer. All these errors have the same number.
var binlogGone = []string{
	"Could not find first log file name",  // both
	"impossible position",                 //
	"purged required binary logs",         // MySQL
	"has more GTIDs than",                 //
	"Could not find GTID state requested", // MariaDB
	"which is not in the master's binlog", //
}

// explainFollowing is explain for who follows the binlog: somebody with the same
// password has a session already, so what is denied is the right to follow.
func explainFollowing(err error) error {
	if e, ok := errors.AsType[*gomysql.MyError](err); ok && e.Code == deniedForUser {
		return connect.Permanent(err, "grant the user REPLICATION SLAVE, so that it may follow the binlog")
	}
	return explain(err)
}

// explain makes of a server's error what it means for a source.
func explain(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	var code uint16
	if e, ok := errors.AsType[*driver.MySQLError](err); ok {
		code = e.Number
	}
	if e, ok := errors.AsType[*gomysql.MyError](err); ok {
		code = e.Code
	}
	switch {
	case code == deniedForUser, code == deniedBySocket:
		return connect.Permanent(err, "correct database.user and database.password")
	case code == deniedForTable, code == deniedForColumn, code == deniedForDatabase:
		return connect.Permanent(err, "grant the user SELECT on the whole of every table in table.include.list, or leave the table out")
	case code == deniedForServer:
		return connect.Permanent(err, "grant the user the privilege that the server names; a source needs SELECT and REPLICATION SLAVE, on MySQL REPLICATION CLIENT too, and where that has no GTIDs LOCK TABLES")
	case code == sameReplica, strings.Contains(text, "with the same server"):
		return connect.Permanent(err, "another replica, or another source, has connected with this one's database.server.id: give each a number of its own")
	case slices.ContainsFunc(binlogGone, func(part string) bool { return strings.Contains(text, part) }):
		return connect.Permanent(err, "the binlog from where this source stopped is gone: "+copyAnew+
			"; keep the binlog longer than the source may stand still")
	case strings.Contains(text, "more GTIDs than the"):
		return connect.Permanent(err, "the server has lost transactions that were read: "+copyAnew)
	case code != 0:
		return err
	}
	return fmt.Errorf("%w: %w", connect.ErrNotConnected, err)
}
