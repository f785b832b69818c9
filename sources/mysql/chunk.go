package mysql

import (
	"fmt"
	"strings"

	"github.com/splashdam/splashdam/connect"
)

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

// keyQuery counts the rows that have a key.
func keyQuery(s *connect.Schema, t tableName, values []string) (query string, args []any) {
	var b strings.Builder
	fmt.Fprintf(&b, "SELECT count(*) FROM %s.%s WHERE ", quoteName(t.database), quoteName(t.table))
	for i, f := range chunkKey(s) {
		if i > 0 {
			b.WriteString(" AND ")
		}
		fmt.Fprintf(&b, "%s = %s", quoteName(f.Name), keyValue(f))
		args = append(args, values[i])
	}
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
// Text stays a parameter: so it takes the column's own collation. A number does not:
// MySQL would take one to be cast to UNSIGNED for a signed number.
func keyValue(f connect.Field) string {
	switch f.Type.Kind {
	case connect.Int8, connect.Int16, connect.Int32, connect.Int64, connect.Year:
		return "CAST(CONCAT(?) AS SIGNED)"
	case connect.Uint8, connect.Uint16, connect.Uint32, connect.Uint64:
		return "CAST(CONCAT(?) AS UNSIGNED)"
	case connect.Decimal:
		return fmt.Sprintf("CAST(? AS DECIMAL(%d,%d))", f.Type.Precision, f.Type.Scale)
	case connect.Bytes:
		return "UNHEX(?)"
	}
	return "?"
}
