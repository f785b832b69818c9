package tape

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
)

const (
	utf8mb4     = 45
	noCollation = 63
)

// fields are the types of columns that a recording may have, by their names.
var fields = map[string]mysql.Field{
	"TINYINT":   {Type: mysql.MYSQL_TYPE_TINY, Charset: noCollation, Flag: mysql.NUM_FLAG},
	"SMALLINT":  {Type: mysql.MYSQL_TYPE_SHORT, Charset: noCollation, Flag: mysql.NUM_FLAG},
	"INT":       {Type: mysql.MYSQL_TYPE_LONG, Charset: noCollation, Flag: mysql.NUM_FLAG},
	"BIGINT":    {Type: mysql.MYSQL_TYPE_LONGLONG, Charset: noCollation, Flag: mysql.NUM_FLAG},
	"DOUBLE":    {Type: mysql.MYSQL_TYPE_DOUBLE, Charset: noCollation, Flag: mysql.NUM_FLAG},
	"DECIMAL":   {Type: mysql.MYSQL_TYPE_NEWDECIMAL, Charset: noCollation, Flag: mysql.NUM_FLAG},
	"DATETIME":  {Type: mysql.MYSQL_TYPE_DATETIME, Charset: noCollation, Flag: mysql.BINARY_FLAG},
	"CHAR":      {Type: mysql.MYSQL_TYPE_STRING, Charset: utf8mb4},
	"ENUM":      {Type: mysql.MYSQL_TYPE_STRING, Charset: utf8mb4, Flag: mysql.ENUM_FLAG},
	"VARCHAR":   {Type: mysql.MYSQL_TYPE_VAR_STRING, Charset: utf8mb4},
	"TEXT":      {Type: mysql.MYSQL_TYPE_BLOB, Charset: utf8mb4, Flag: mysql.BLOB_FLAG},
	"LONGTEXT":  {Type: mysql.MYSQL_TYPE_BLOB, Charset: utf8mb4, Flag: mysql.BLOB_FLAG},
	"VARBINARY": {Type: mysql.MYSQL_TYPE_VAR_STRING, Charset: noCollation, Flag: mysql.BINARY_FLAG},
}

func fieldOf(sqlType string) (mysql.Field, error) {
	name, digits, hasDigits := strings.Cut(strings.TrimSuffix(sqlType, ")"), "(")
	base, unsigned := strings.CutPrefix(name, "UNSIGNED ")
	f, ok := fields[base]
	if !ok {
		return f, fmt.Errorf("no protocol for the type %s is known here", sqlType)
	}
	if unsigned {
		f.Flag |= mysql.UNSIGNED_FLAG
	}
	if hasDigits {
		n, err := strconv.ParseUint(digits, 10, 8)
		if err != nil {
			return f, fmt.Errorf("the type %s: %w", sqlType, err)
		}
		f.Decimal = uint8(n)
	}
	return f, nil
}

// result makes the protocol's answer. The type of what was computed is that of its
// values.
func result(columns []column, rows [][]any, inBinary bool) (*mysql.Result, error) {
	set := mysql.NewResultset(len(columns))
	for i, c := range columns {
		if c.Type == "" {
			c.Type = typeOf(rows, i)
		}
		f, err := fieldOf(c.Type)
		if err != nil {
			return nil, err
		}
		f.Name = []byte(c.Name)
		set.Fields[i] = &f
	}
	for _, row := range rows {
		encode := appendText
		if inBinary {
			encode = appendBinary
		}
		data, err := encode(nil, set.Fields, row)
		if err != nil {
			return nil, err
		}
		set.RowDatas = append(set.RowDatas, data)
	}
	return mysql.NewResult(set), nil
}

func typeOf(rows [][]any, column int) string {
	for _, row := range rows {
		switch row[column].(type) {
		case int64:
			return "BIGINT"
		case float64:
			return "DOUBLE"
		case string:
			return "VARCHAR"
		case []byte:
			return "VARBINARY"
		}
	}
	return "VARCHAR"
}

func appendText(to []byte, _ []*mysql.Field, row []any) ([]byte, error) {
	for _, value := range row {
		if value == nil {
			to = append(to, 0xfb)
			continue
		}
		text, err := mysql.FormatTextValue(value)
		if err != nil {
			return nil, err
		}
		to = append(to, mysql.PutLengthEncodedString(text)...)
	}
	return to, nil
}

// appendBinary writes a row as prepared statements have it: a zero, a bit for each
// null from the third bit on, and the values.
func appendBinary(to []byte, fields []*mysql.Field, row []any) ([]byte, error) {
	to = append(to, make([]byte, 1+(len(row)+2+7)/8)...)
	nulls := to[1:]
	for i, value := range row {
		if value == nil {
			nulls[(i+2)/8] |= 1 << ((i + 2) % 8)
			continue
		}
		var err error
		if to, err = appendValue(to, fields[i], value); err != nil {
			return nil, fmt.Errorf("column %s: %w", fields[i].Name, err)
		}
		nulls = to[1:]
	}
	return to, nil
}

func appendValue(to []byte, f *mysql.Field, value any) ([]byte, error) {
	switch v := value.(type) {
	case int64:
		switch f.Type {
		case mysql.MYSQL_TYPE_TINY:
			return append(to, byte(v)), nil
		case mysql.MYSQL_TYPE_SHORT:
			return binary.LittleEndian.AppendUint16(to, uint16(v)), nil
		case mysql.MYSQL_TYPE_LONG:
			return binary.LittleEndian.AppendUint32(to, uint32(v)), nil
		case mysql.MYSQL_TYPE_LONGLONG:
			return binary.LittleEndian.AppendUint64(to, uint64(v)), nil
		}
	case float64:
		if f.Type == mysql.MYSQL_TYPE_DOUBLE {
			return binary.LittleEndian.AppendUint64(to, math.Float64bits(v)), nil
		}
	case string:
		switch f.Type {
		case mysql.MYSQL_TYPE_DATETIME:
			return appendDatetime(to, v)
		case mysql.MYSQL_TYPE_NEWDECIMAL, mysql.MYSQL_TYPE_STRING, mysql.MYSQL_TYPE_VAR_STRING, mysql.MYSQL_TYPE_BLOB:
			return append(to, mysql.PutLengthEncodedString([]byte(v))...), nil
		}
	case []byte:
		if f.Type == mysql.MYSQL_TYPE_VAR_STRING {
			return append(to, mysql.PutLengthEncodedString(v)...), nil
		}
	}
	return nil, fmt.Errorf("%T in a column of type %d", value, f.Type)
}

func appendDatetime(to []byte, text string) ([]byte, error) {
	t, err := time.Parse(time.DateTime, text) // which takes a fraction, too
	if err != nil {
		return nil, err
	}
	to = append(to, 11)
	to = binary.LittleEndian.AppendUint16(to, uint16(t.Year()))
	to = append(to, byte(t.Month()), byte(t.Day()), byte(t.Hour()), byte(t.Minute()), byte(t.Second()))
	return binary.LittleEndian.AppendUint32(to, uint32(t.Nanosecond()/1000)), nil
}
