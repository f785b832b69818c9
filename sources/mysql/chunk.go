package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/splashdam/splashdam/connect"
)

// chunk is a part of a table, read at a watermark.
type chunk struct {
	table   tableName
	number  uint32 // once it is handed out
	schema  *connect.Schema
	columns []connect.Column
	after   []string // the last row's key, to go on from
	last    bool     // there are no more rows
	at      watermark
}

// readChunk reads the next part of a table. The watermark holds for it: every
// transaction up to there is in what the SELECT sees.
func readChunk(ctx context.Context, conn *sql.Conn, s *serverInfo, c *config, t tableName, from copyPosition) (_ *chunk, err error) {
	declared, err := readDeclaration(ctx, conn, t.database, t.table)
	if err != nil {
		return nil, err
	}
	k := &chunk{table: t, last: true}
	if len(declared.columns) == 0 {
		// Dropped since. What the binlog says about that comes by itself.
		k.at, err = s.watermark(ctx, conn)
		return k, err
	}
	if k.schema, err = declared.schema(c.prefix + "." + t.String()); err != nil {
		return nil, connect.Permanent(err, "leave the table out of table.include.list")
	}
	k.schema.Decimals = c.decimals
	if k.at, err = s.begin(ctx, conn); err != nil {
		return nil, err
	}
	defer func() {
		if _, failed := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK"); failed != nil && err == nil {
			err = fmt.Errorf("ending the SELECT of %v: %w", t, failed)
		}
	}()
	query, args := chunkQuery(k.schema, t, from.After, c.chunkRows)
	// Prepared, so that the server sends numbers and not their text.
	statement, err := conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("selecting from %v: %w", t, err)
	}
	defer statement.Close()
	rows, err := statement.QueryContext(ctx, args...)
	if err != nil {
		return nil, fmt.Errorf("selecting from %v: %w", t, err)
	}
	defer rows.Close()
	k.columns = connect.NewColumns(k.schema.Fields)
	keys := make([]sql.NullString, len(chunkKey(k.schema)))
	into := destinations(k.columns)
	for i := range keys {
		into = append(into, &keys[i])
	}
	n := 0
	for ; rows.Next(); n++ {
		if err := rows.Scan(into...); err != nil {
			return nil, fmt.Errorf("row %d of a SELECT from %v: %w", n, t, err)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("selecting from %v: %w", t, err)
	}
	if n == c.chunkRows && len(keys) > 0 {
		k.last = false
		for _, key := range keys {
			k.after = append(k.after, key.String)
		}
	}
	return k, nil
}

// chunkQuery selects the rows behind a key, and each one's key as text once more.
// A table without a key to go by is read as a whole.
func chunkQuery(s *connect.Schema, t tableName, after []string, limit int) (query string, args []any) {
	var b strings.Builder
	fmt.Fprintf(&b, "SELECT %s", selectList(s))
	key := chunkKey(s)
	names := make([]string, len(key))
	for i, f := range key {
		names[i] = quoteName(f.Name)
		if f.Type.Kind == connect.Bytes {
			fmt.Fprintf(&b, ", HEX(%s)", names[i])
		} else {
			fmt.Fprintf(&b, ", CONCAT(%s)", names[i])
		}
	}
	fmt.Fprintf(&b, " FROM %s.%s", quoteName(t.database), quoteName(t.table))
	if len(key) == 0 {
		return b.String(), nil
	}
	if len(after) == len(key) {
		// a > ? OR a = ? AND b > ?, which an index serves, as a comparison of rows is not
		b.WriteString(" WHERE ")
		for i := range key {
			if i > 0 {
				b.WriteString(" OR ")
			}
			for j := range i {
				fmt.Fprintf(&b, "%s = %s AND ", names[j], keyValue(key[j]))
				args = append(args, after[j])
			}
			fmt.Fprintf(&b, "%s > %s", names[i], keyValue(key[i]))
			args = append(args, after[i])
		}
	}
	fmt.Fprintf(&b, " ORDER BY %s LIMIT %d", strings.Join(names, ", "), limit)
	return b.String(), args
}

// chunkKey is the primary key if a table can be read by it in parts: if its values,
// kept as text, compare with the columns as the columns are ordered. Those of an
// ENUM, for one, do not.
func chunkKey(s *connect.Schema) []connect.Field {
	var key []connect.Field
	for _, i := range s.Key {
		switch f := s.Fields[i]; f.Type.Kind {
		case connect.Bool, connect.Float32, connect.Float64, connect.JSON, connect.Enum, connect.Set, connect.Bits, connect.Geometry:
			return nil
		default:
			key = append(key, f)
		}
	}
	return key
}

// keyValue is how a value of a key, kept as text, becomes its column's type again.
// Text stays a parameter: so it takes the column's own collation.
func keyValue(f connect.Field) string {
	switch f.Type.Kind {
	case connect.Int8, connect.Int16, connect.Int32, connect.Int64, connect.Year:
		return "CAST(? AS SIGNED)"
	case connect.Uint8, connect.Uint16, connect.Uint32, connect.Uint64:
		return "CAST(? AS UNSIGNED)"
	case connect.Decimal:
		return fmt.Sprintf("CAST(? AS DECIMAL(%d,%d))", f.Type.Precision, f.Type.Scale)
	case connect.Bytes:
		return "UNHEX(?)"
	}
	return "?"
}
