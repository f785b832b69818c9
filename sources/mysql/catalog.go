package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/splashdam/splashdam/connect"
)

// declaration is a table as information_schema has it: as it is now, which for
// old rows may be too late. A snapshot takes its schema from there; of rows from
// the binlog it tells only what their TABLE_MAP event does not.
type declaration struct {
	columns []columnDeclaration
	key     []string // names of the columns of what is the primary key, in its order
	// rowEnd is the column that says until when a row was valid, of MariaDB's tables
	// WITH SYSTEM VERSIONING; empty for others.
	rowEnd string
}

type columnDeclaration struct {
	name       string
	dataType   string // as bigint
	columnType string // as bigint(20) unsigned
	nullable   bool
	length     int // of text and binary strings
	precision  int // of numbers, also of bits
	scale      int
	fraction   int // digits of a second's fraction
	// computed is whether MariaDB computes the values. In its binlog they are there or
	// not from one statement to the next, so such columns are left out.
	computed bool
}

// readDeclaration asks the server. A table that is not there has no columns.
func (s server) readDeclaration(ctx context.Context, conn *sql.Conn, database, name string) (declaration, error) {
	var d declaration
	err := eachRow(ctx, conn, func(rows *sql.Rows) error {
		var c columnDeclaration
		var nullable string
		var length, precision, scale, fraction sql.NullInt64
		var generated sql.NullString
		err := rows.Scan(&c.name, &c.dataType, &c.columnType, &nullable, &length, &precision, &scale, &fraction, &generated)
		c.nullable = nullable == "YES"
		c.length, c.precision, c.scale, c.fraction = int(length.Int64), int(precision.Int64), int(scale.Int64), int(fraction.Int64)
		switch generated.String {
		case "", "ROW START":
		case "ROW END":
			d.rowEnd = c.name
		default:
			c.computed = s.mariadb
		}
		d.columns = append(d.columns, c)
		return err
	}, `SELECT column_name, data_type, column_type, is_nullable, character_maximum_length, numeric_precision, numeric_scale, datetime_precision,
		generation_expression FROM information_schema.columns WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position`, database, name)
	if err == nil && len(d.columns) > 0 {
		d.key, err = readKey(ctx, conn, database, name)
	}
	if err == nil {
		err = eachRow(ctx, conn, func(rows *sql.Rows) error {
			var tableType string
			err := rows.Scan(&tableType)
			if tableType == "SYSTEM VERSIONED" && d.rowEnd == "" {
				d.addPeriod()
			}
			return err
		}, "SELECT table_type FROM information_schema.tables WHERE table_schema = ? AND table_name = ?", database, name)
	}
	if err != nil {
		return declaration{}, fmt.Errorf("reading the columns of %s.%s from information_schema: %w", database, name, err)
	}
	return d, nil
}

// readKey finds what the server takes for the primary key: without one that is
// the first unique index of whole columns that are never null.
func readKey(ctx context.Context, conn *sql.Conn, database, name string) ([]string, error) {
	type index struct {
		columns []string
		isKey   bool
	}
	var indexes []index
	last := ""
	err := eachRow(ctx, conn, func(rows *sql.Rows) error {
		columns, err := rows.Columns()
		if err != nil {
			return err
		}
		values := make([]sql.NullString, len(columns))
		to := make([]any, len(columns))
		for i := range to {
			to[i] = &values[i]
		}
		if err := rows.Scan(to...); err != nil {
			return err
		}
		at := func(column string) sql.NullString { return values[slices.Index(columns, column)] }
		if keyName := at("Key_name").String; keyName != last || len(indexes) == 0 {
			indexes = append(indexes, index{isKey: at("Non_unique").String == "0"})
			last = keyName
		}
		i := &indexes[len(indexes)-1]
		i.columns = append(i.columns, at("Column_name").String)
		// MariaDB's index of a hash is of a hidden column really.
		whole := at("Column_name").Valid && !at("Sub_part").Valid && at("Null").String != "YES" && at("Index_type").String != "HASH"
		i.isKey = i.isKey && (whole || last == "PRIMARY")
		return nil
	}, "SHOW INDEX FROM "+quoteName(database)+"."+quoteName(name))
	if i := slices.IndexFunc(indexes, func(i index) bool { return i.isKey }); i >= 0 {
		return indexes[i].columns, err
	}
	return nil, err
}

// addPeriod adds the two columns that a versioned table has without declaring
// them, and that information_schema does not list.
func (d *declaration) addPeriod() {
	for _, name := range []string{"row_start", "row_end"} {
		d.columns = append(d.columns, columnDeclaration{name: name, dataType: "timestamp", columnType: "timestamp(6)", fraction: maxFraction})
	}
	d.rowEnd = "row_end"
}

func eachRow(ctx context.Context, conn *sql.Conn, row func(*sql.Rows) error, query string, args ...any) error {
	rows, err := conn.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// leavesOut is whether the column is none of the schema's: MariaDB computes it, or
// keeps it for itself, for the hash behind a unique index of long text. The latter
// is in the binlog, and nowhere else.
func (d declaration) leavesOut(name string) bool {
	c := d.column(name)
	return c.computed || len(d.columns) > 0 && strings.HasPrefix(name, "DB_ROW_HASH_") && c.name == ""
}

// column finds a column by name; an empty one, of no type, if there is none.
func (d declaration) column(name string) columnDeclaration {
	for _, c := range d.columns {
		if c.name == name {
			return c
		}
	}
	return columnDeclaration{}
}

// schema is what a TABLE_MAP event of the table would give now.
func (d declaration) schema(name string) (*connect.Schema, error) {
	s := &connect.Schema{Name: name}
	for _, c := range d.columns {
		if c.computed {
			continue
		}
		t, err := c.sqlType()
		if err != nil {
			return nil, fmt.Errorf("table %s: column %s: %w", name, c.name, err)
		}
		f, err := t.field(c.name, c.nullable)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", name, err)
		}
		s.Fields = append(s.Fields, f)
	}
	for _, column := range d.key {
		if column == d.rowEnd {
			continue
		}
		i := s.Index(column)
		if i < 0 || slices.Contains(s.Key, i) {
			return nil, fmt.Errorf("table %s: its primary key has a column %s", name, column)
		}
		s.Key = append(s.Key, i)
	}
	return s, nil
}

func (c columnDeclaration) sqlType() (sqlType, error) {
	t := sqlType{name: c.dataType, precision: c.precision, scale: c.scale}
	switch c.dataType {
	case "time", "datetime", "timestamp":
		t.precision = c.fraction
	case "char", "varchar", "binary", "varbinary":
		t.length = c.length
	case "enum", "set":
		var err error
		t.members, err = parseMembers(c.columnType)
		return t, err
	}
	t.unsigned = strings.Contains(c.columnType, " unsigned")
	return t, nil
}

// parseMembers reads the members out of enum('a','b').
func parseMembers(columnType string) ([]string, error) {
	_, rest, _ := strings.Cut(columnType, "(")
	var members []string
	for {
		member, behind, ok := parseQuoted(rest)
		if !ok || behind == "" || behind[0] != ',' && behind[0] != ')' {
			return nil, fmt.Errorf("%.100q does not list its members", columnType)
		}
		members = append(members, member)
		if behind[0] == ')' {
			return members, nil
		}
		rest = behind[1:]
	}
}

// parseQuoted takes a string off the front of text. Quotes in it are doubled, and
// some characters stand behind a backslash.
func parseQuoted(text string) (content, rest string, ok bool) {
	if !strings.HasPrefix(text, "'") {
		return "", "", false
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 < len(text):
			i++
			b.WriteByte(unescape(text[i]))
		case text[i] != '\'':
			b.WriteByte(text[i])
		case i+1 < len(text) && text[i+1] == '\'':
			i++
			b.WriteByte('\'')
		default:
			return b.String(), text[i+1:], true
		}
	}
	return "", "", false
}

func unescape(c byte) byte {
	switch c {
	case '0':
		return 0
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	}
	return c
}
