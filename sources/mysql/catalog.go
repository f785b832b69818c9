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
	key     []string // names of the primary key's columns, in its order
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
}

// readDeclaration asks the server. A table that is not there has no columns.
func readDeclaration(ctx context.Context, conn *sql.Conn, database, name string) (declaration, error) {
	var d declaration
	err := eachRow(ctx, conn, func(rows *sql.Rows) error {
		var c columnDeclaration
		var nullable string
		var length, precision, scale, fraction sql.NullInt64
		err := rows.Scan(&c.name, &c.dataType, &c.columnType, &nullable, &length, &precision, &scale, &fraction)
		c.nullable = nullable == "YES"
		c.length, c.precision, c.scale, c.fraction = int(length.Int64), int(precision.Int64), int(scale.Int64), int(fraction.Int64)
		d.columns = append(d.columns, c)
		return err
	}, `SELECT column_name, data_type, column_type, is_nullable, character_maximum_length, numeric_precision, numeric_scale, datetime_precision
		FROM information_schema.columns WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position`, database, name)
	if err == nil {
		err = eachRow(ctx, conn, func(rows *sql.Rows) error {
			var column string
			err := rows.Scan(&column)
			d.key = append(d.key, column)
			return err
		}, `SELECT column_name FROM information_schema.statistics
			WHERE table_schema = ? AND table_name = ? AND index_name = 'PRIMARY' ORDER BY seq_in_index`, database, name)
	}
	if err != nil {
		return declaration{}, fmt.Errorf("reading the columns of %s.%s from information_schema: %w", database, name, err)
	}
	return d, nil
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
