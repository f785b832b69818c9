package mysql

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/splashdam/splashdam/connect"
)

// sessionSettings are what a connection must have set so that its SELECTs give
// what the binlog has: timestamps in UTC, text in UTF-8, and no modes, of which
// PAD_CHAR_TO_FULL_LENGTH changes values.
const sessionSettings = "SET SESSION time_zone = '+00:00', sql_mode = '', character_set_results = utf8mb4"

// selectList names the table's columns, invisible ones too, in the order of the
// schema's fields.
func selectList(s *connect.Schema) string {
	var list strings.Builder
	for i, f := range s.Fields {
		if i > 0 {
			list.WriteString(", ")
		}
		list.WriteString(quoteName(f.Name))
		switch f.Type.Kind {
		case connect.Float32, connect.Float64:
			// As it is, the text protocol rounds it, to 6 digits or as FLOAT(M,D) says.
			// Adding zero instead would lose the sign of a negative one.
			list.WriteString(" * 1e0")
		}
	}
	return list.String()
}

// quoteName makes any name an identifier.
func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// destinations are what (*sql.Rows).Scan takes so that it appends a row, selected
// by selectList, to the columns. They take what go-sql-driver gives in both of its
// protocols, with parseTime off, and copy it. After an error the columns are of no
// use.
func destinations(columns []connect.Column) []any {
	cells := make([]cell, len(columns))
	to := make([]any, len(columns))
	for i := range columns {
		cells[i] = cell{&columns[i]}
		to[i] = &cells[i]
	}
	return to
}

// cell appends the values of one column of a result.
type cell struct{ to *connect.Column }

// Scan makes it a sql.Scanner, which sees the driver's values uncopied.
func (c *cell) Scan(value any) error {
	var err error
	switch v := value.(type) {
	case nil:
		c.to.AppendNull()
	case int64:
		err = appendInt(c.to, v)
	case uint64:
		err = appendUint(c.to, v)
	case float32:
		err = appendFloat(c.to, float64(v))
	case float64:
		err = appendFloat(c.to, v)
	case []byte:
		err = appendText(c.to, v)
	case time.Time:
		err = fmt.Errorf("it was parsed by the driver: the DSN must not have parseTime")
	default:
		err = fmt.Errorf("it came as %T", value)
	}
	if err != nil {
		return fmt.Errorf("a %v: %w", c.to.Type.Kind, err)
	}
	return nil
}

func appendInt(to *connect.Column, v int64) error {
	switch to.Type.Kind {
	case connect.Int8, connect.Int16, connect.Int32, connect.Int64:
		unused := 64 - 8*to.Layout().Width()
		if v<<unused>>unused != v {
			return fmt.Errorf("%d is out of range", v)
		}
		appendFixed(to, uint64(v))
		return nil
	}
	if v < 0 {
		return fmt.Errorf("%d is out of range", v)
	}
	return appendUint(to, uint64(v))
}

func appendUint(to *connect.Column, v uint64) error {
	switch to.Type.Kind {
	case connect.Uint8, connect.Uint16, connect.Uint32, connect.Uint64, connect.Year:
		if v>>(8*to.Layout().Width()) != 0 {
			return fmt.Errorf("%d is out of range", v)
		}
		appendFixed(to, v)
		return nil
	}
	return fmt.Errorf("it came as the integer %d", v)
}

// appendFixed appends the low bits of v, as many as the column's layout has.
func appendFixed(to *connect.Column, v uint64) {
	switch to.Layout() {
	case connect.Fix1Layout:
		to.Append1(uint8(v))
	case connect.Fix2Layout:
		to.Append2(uint16(v))
	case connect.Fix4Layout:
		to.Append4(uint32(v))
	default:
		to.Append8(v)
	}
}

func appendFloat(to *connect.Column, v float64) error {
	switch to.Type.Kind {
	case connect.Float32:
		to.Append4(math.Float32bits(float32(v)))
	case connect.Float64:
		to.Append8(math.Float64bits(v))
	default:
		return fmt.Errorf("it came as the float %g", v)
	}
	return nil
}

func appendText(to *connect.Column, v []byte) error {
	switch to.Type.Kind {
	case connect.Uint64: // the driver's form of what is above the highest int64
		n, err := strconv.ParseUint(string(v), 10, 64)
		if err != nil {
			return err
		}
		to.Append8(n)
	case connect.Decimal:
		return parseDecimal(v, to)
	case connect.Date:
		return parseDate(v, to)
	case connect.DateTime, connect.Timestamp:
		return parseDatetime(v, to)
	case connect.Time:
		return parseTime(v, to)
	case connect.Bool:
		if len(v) != 1 {
			return fmt.Errorf("it has %d bytes", len(v))
		}
		to.AppendBool(v[0]&1 != 0)
	case connect.Bits:
		if len(v) != (to.Type.Length+7)/8 {
			return fmt.Errorf("it has %d bytes", len(v))
		}
		appendBits(v, to)
	case connect.Bytes, connect.Geometry:
		to.Data = append(to.Data, v...)
		return endText(to)
	case connect.String, connect.JSON, connect.Enum, connect.Set:
		to.Data = appendUTF8(to.Data, v)
		return endText(to)
	default:
		return fmt.Errorf("it came as the text %.40q", v)
	}
	return nil
}
