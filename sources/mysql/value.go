package mysql

import (
	"fmt"

	"github.com/splashdam/splashdam/connect"
)

// sqlType is a column's type as its declaration has it. It is the same whether
// it was read from a TABLE_MAP event or from information_schema, and it alone
// decides what the column's values become.
type sqlType struct {
	name      string // as DATA_TYPE in information_schema
	unsigned  bool
	precision int // decimal: digits; times: digits of the second's fraction; bit: bits
	scale     int // decimal
	length    int // char, varchar: characters; binary, varbinary: bytes
	members   []string
}

// maxFraction is the most digits of a second's fraction.
const maxFraction = 6

// connectType is the table of types: docs/mysql-types.md is the same in words.
func (t sqlType) connectType() (connect.Type, error) {
	number := func(signed, unsigned connect.Kind) (connect.Type, error) {
		if t.unsigned {
			return connect.Type{Kind: unsigned}, nil
		}
		return connect.Type{Kind: signed}, nil
	}
	switch t.name {
	case "tinyint":
		return number(connect.Int8, connect.Uint8)
	case "smallint":
		return number(connect.Int16, connect.Uint16)
	case "mediumint", "int":
		return number(connect.Int32, connect.Uint32)
	case "bigint":
		return number(connect.Int64, connect.Uint64)
	case "float":
		return connect.Type{Kind: connect.Float32}, nil
	case "double":
		return connect.Type{Kind: connect.Float64}, nil
	case "decimal":
		if t.precision < 1 || t.precision > maxDecimalDigits || t.scale < 0 || t.scale > t.precision {
			return connect.Type{}, fmt.Errorf("there is no decimal(%d,%d)", t.precision, t.scale)
		}
		return connect.Type{Kind: connect.Decimal, Precision: t.precision, Scale: t.scale}, nil
	case "char", "varchar":
		return connect.Type{Kind: connect.String, Length: t.length}, nil
	case "tinytext", "text", "mediumtext", "longtext":
		return connect.Type{Kind: connect.String}, nil
	case "uuid":
		return connect.Type{Kind: connect.String, Length: len("00000000-0000-0000-0000-000000000000")}, nil
	case "inet4":
		return connect.Type{Kind: connect.String, Length: len("255.255.255.255")}, nil
	case "inet6":
		return connect.Type{Kind: connect.String, Length: len("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")}, nil
	case "binary", "varbinary":
		return connect.Type{Kind: connect.Bytes, Length: t.length}, nil
	case "tinyblob", "blob", "mediumblob", "longblob", "vector":
		return connect.Type{Kind: connect.Bytes}, nil
	case "json":
		return connect.Type{Kind: connect.JSON}, nil
	case "enum":
		return connect.Type{Kind: connect.Enum, Values: t.members}, nil
	case "set":
		return connect.Type{Kind: connect.Set, Values: t.members}, nil
	case "date":
		return connect.Type{Kind: connect.Date}, nil
	case "year":
		return connect.Type{Kind: connect.Year}, nil
	case "time", "datetime", "timestamp":
		if t.precision < 0 || t.precision > maxFraction {
			return connect.Type{}, fmt.Errorf("there is no %s(%d)", t.name, t.precision)
		}
		kind := map[string]connect.Kind{"time": connect.Time, "datetime": connect.DateTime, "timestamp": connect.Timestamp}[t.name]
		return connect.Type{Kind: kind, Precision: t.precision}, nil
	case "bit":
		switch {
		case t.precision == 1:
			return connect.Type{Kind: connect.Bool}, nil
		case t.precision > 1 && t.precision <= 64:
			return connect.Type{Kind: connect.Bits, Length: t.precision}, nil
		}
		return connect.Type{}, fmt.Errorf("there is no bit(%d)", t.precision)
	case "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon",
		"geometrycollection", "geomcollection":
		return connect.Type{Kind: connect.Geometry}, nil
	}
	return connect.Type{}, fmt.Errorf("columns of type %q cannot be read", t.name)
}

// field is the column as a field of its table's schema. Dates may be null even
// where the column may not, because 0000-00-00 and its like become null.
func (t sqlType) field(name string, nullable bool) (connect.Field, error) {
	typ, err := t.connectType()
	if err != nil {
		return connect.Field{}, fmt.Errorf("column %s: %w", name, err)
	}
	switch typ.Kind {
	case connect.Date, connect.DateTime, connect.Timestamp:
		nullable = true
	}
	return connect.Field{Name: name, Type: typ, Nullable: nullable}, nil
}
