package tape

import (
	"context"
	"database/sql"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/splashdam/splashdam/connect"
)

// State is the rows of the Script's table, by their ids, as text.
type State map[string]string

// SelectState asks a server, the tape's or another one.
func SelectState(ctx context.Context, db *sql.DB, table string) (State, error) {
	rows, err := db.QueryContext(ctx, "SELECT * FROM "+table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	values, to := make([]sql.NullString, len(names)), make([]any, len(names))
	for i := range values {
		to[i] = &values[i]
	}
	s := State{}
	for rows.Next() {
		if err := rows.Scan(to...); err != nil {
			return nil, err
		}
		var text strings.Builder
		for i, v := range values {
			appendField(&text, names[i], v.String, !v.Valid)
		}
		s[values[0].String] = text.String()
	}
	return s, rows.Err()
}

// Put sets a row from columns as a source fills them.
func (s State) Put(fields []connect.Field, columns []connect.Column, row int) error {
	var text strings.Builder
	for i, f := range fields {
		value, err := fieldText(&columns[i], row)
		if err != nil {
			return fmt.Errorf("column %s: %w", f.Name, err)
		}
		appendField(&text, f.Name, value, columns[i].IsNull(row))
	}
	s[stateKey(columns, row)] = text.String()
	return nil
}

// Remove takes out the row that has the id of another.
func (s State) Remove(columns []connect.Column, row int) { delete(s, stateKey(columns, row)) }

func stateKey(columns []connect.Column, row int) string { return fmt.Sprint(columns[0].Int(row)) }

func appendField(to *strings.Builder, name, value string, null bool) {
	if null {
		value = "NULL"
	} else {
		value = "=" + value
	}
	fmt.Fprintf(to, "%s%q ", name, value)
}

// fieldText is a value as a SELECT has it.
func fieldText(c *connect.Column, row int) (string, error) {
	switch c.Type.Kind {
	case connect.Int64:
		return fmt.Sprint(c.Int(row)), nil
	case connect.Uint32:
		return fmt.Sprint(c.Bits(row)), nil
	case connect.String, connect.Enum:
		return string(c.Text(row)), nil
	case connect.DateTime:
		return time.UnixMicro(c.Int(row)).UTC().Format("2006-01-02 15:04:05.000"), nil
	case connect.Decimal:
		low, high := c.Bits128(row)
		unscaled := new(big.Int).Lsh(big.NewInt(int64(high)), 64)
		unscaled.Or(unscaled, new(big.Int).SetUint64(low))
		return new(big.Rat).SetFrac(unscaled, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(c.Type.Scale)), nil)).FloatString(c.Type.Scale), nil
	}
	return "", fmt.Errorf("the script's table has no %v", c.Type.Kind)
}
