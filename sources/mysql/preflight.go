package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	driver "github.com/go-sql-driver/mysql"

	"github.com/splashdam/splashdam/connect"
)

// preflight refuses tables whose rows would not come, or would change without a
// word in the binlog, and users who could not go on later.
func (s *source) preflight(ctx context.Context, tables []tableName) error {
	if !s.server.mariadb {
		// A source that goes on asks for them (checkLog).
		if _, err := binlogs(ctx, s.conn); err != nil {
			return err
		}
	}
	// A table that the user may not see at all is in no list of tables.
	for _, t := range s.config.named() {
		if !slices.Contains(tables, t) {
			tables = append(tables, t)
		}
	}
	for _, t := range tables {
		if err := readable(ctx, s.conn, t); err != nil {
			return err
		}
	}
	return s.refuseCascades(ctx, tables)
}

var plainName = regexp.MustCompile(`^[\w$]+\.[\w$]+$`)

// named are the tables that the configuration names in full.
func (c *config) named() []tableName {
	var all []tableName
	for _, r := range c.tables {
		text := strings.TrimSuffix(strings.TrimPrefix(r.String(), patternBegin), patternEnd)
		if text = strings.ReplaceAll(text, `\.`, "."); plainName.MatchString(text) {
			database, table, _ := strings.Cut(text, ".")
			all = append(all, tableName{database, table})
		}
	}
	return all
}

// Errors of the servers.
const (
	noDatabase        = 1049
	noTable           = 1146
	deniedForDatabase = 1044
	deniedForUser     = 1045
	deniedForTable    = 1142
	deniedForColumn   = 1143
	deniedForServer   = 1227
	deniedBySocket    = 1698
	sameReplica       = 4052 // MariaDB
)

// readable asks for no row of a table, to see whether the user may read all of its
// columns. One that is not there is no error: it may come.
func readable(ctx context.Context, conn *sql.Conn, t tableName) error {
	rows, err := conn.QueryContext(ctx, fmt.Sprintf("SELECT * FROM %s.%s LIMIT 0", quoteName(t.database), quoteName(t.table)))
	if err == nil {
		err = rows.Close()
	}
	if e, ok := errors.AsType[*driver.MySQLError](err); ok && (e.Number == noTable || e.Number == noDatabase) {
		return nil
	}
	if err != nil {
		return explain(fmt.Errorf("reading %v: %w", t, err))
	}
	return nil
}

// refuseCascades refuses tables whose rows MariaDB changes or deletes when those of
// another table are changed or deleted: its binlog has only the latter.
func (s *source) refuseCascades(ctx context.Context, tables []tableName) error {
	if !s.server.mariadb {
		return nil
	}
	var child, parent tableName
	var key, changed, deleted string
	err := eachRow(ctx, s.conn, func(rows *sql.Rows) error {
		var t, of tableName
		var name, onUpdate, onDelete string
		err := rows.Scan(&t.database, &t.table, &name, &of.database, &of.table, &onUpdate, &onDelete)
		if err == nil && key == "" && slices.Contains(tables, t) {
			child, parent, key, changed, deleted = t, of, name, onUpdate, onDelete
		}
		return err
	}, `SELECT constraint_schema, table_name, constraint_name, unique_constraint_schema, referenced_table_name, update_rule, delete_rule
		FROM information_schema.referential_constraints
		WHERE update_rule NOT IN ('RESTRICT', 'NO ACTION') OR delete_rule NOT IN ('RESTRICT', 'NO ACTION')`)
	if err != nil {
		return fmt.Errorf("asking for the foreign keys: %w", err)
	}
	if key == "" {
		return nil
	}
	return connect.Permanent(fmt.Errorf("the foreign key %s of %v (ON UPDATE %s ON DELETE %s) changes its rows when those of %v change, which MariaDB does not write to the binlog",
		key, child, changed, deleted, parent),
		"give the foreign key RESTRICT, and let whoever changes the rows of the one table change those of the other, or leave the table out of table.include.list")
}

// logged refuses a statement that changed rows, and was logged in their place, if
// it is about a table that is wanted, or may be.
func (s *source) logged(st statement, database, text string) error {
	lower := strings.ToLower(text)
	for _, t := range s.capturedTables() {
		if t.database == database || strings.Contains(lower, strings.ToLower(t.table)) {
			return connect.Permanent(fmt.Errorf("%s in %s was logged as a statement, and not as rows, and may have changed %v: %.80s", st.word, database, t, text),
				"set binlog_format=ROW for every session; then delete the source's positions, and the tables will be copied anew")
		}
	}
	return nil
}
