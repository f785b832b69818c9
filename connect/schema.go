package connect

import (
	"fmt"
	"slices"
)

// Kind is what a value is. It decides a column's layout (see Column) and is the
// same for a row that was selected and for one that was read from a log.
type Kind uint8

const (
	Bool      Kind = iota + 1
	Int8           // and so on: two's complement
	Int16          //
	Int32          //
	Int64          //
	Uint8          //
	Uint16         //
	Uint32         //
	Uint64         //
	Float32        // IEEE 754
	Float64        //
	Decimal        // Precision digits, Scale of them behind the point
	String         // UTF-8
	Bytes          //
	JSON           // UTF-8 text of one JSON value
	Enum           // the member's name, out of Values
	Set            // members' names, joined by commas, out of Values
	Date           // days since 1970-01-01
	Time           // microseconds, may be negative or longer than a day
	DateTime       // microseconds since 1970-01-01 00:00 on a clock without zone
	Timestamp      // microseconds since 1970-01-01 00:00 UTC
	Year           // the year, 0 or 1901 to 2155
	Bits           // Length bits, lowest byte first
	Geometry       // SRID, four bytes little endian, and well-known binary

	kinds
)

var kindNames = [kinds]string{
	Bool: "bool", Int8: "int8", Int16: "int16", Int32: "int32", Int64: "int64",
	Uint8: "uint8", Uint16: "uint16", Uint32: "uint32", Uint64: "uint64",
	Float32: "float32", Float64: "float64", Decimal: "decimal", String: "string", Bytes: "bytes",
	JSON: "json", Enum: "enum", Set: "set", Date: "date", Time: "time", DateTime: "datetime",
	Timestamp: "timestamp", Year: "year", Bits: "bits", Geometry: "geometry",
}

func (k Kind) String() string {
	if k > 0 && k < kinds {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// ParseKind is the inverse of String.
func ParseKind(name string) (Kind, bool) {
	i := slices.Index(kindNames[1:], name)
	return Kind(i + 1), i >= 0
}

// MaxDecimal128 is the most digits that fit the 16 bytes of a Decimal column. A
// Decimal of more digits, as MySQL has up to 65, is a column of text.
const MaxDecimal128 = 38

// Type is a kind with what it takes to read its values.
type Type struct {
	Kind      Kind
	Precision int      // Decimal: digits. Time, DateTime, Timestamp: digits of the second's fraction, 0 to 6
	Scale     int      // Decimal
	Length    int      // Bits: how many. Bytes, String: the most there may be, 0 if unknown
	Values    []string // Enum, Set: the members in the order of their declaration
}

// Field is a column of a table.
type Field struct {
	Name string
	// ID stays with the field in every later schema of its topic, and no other
	// field ever gets it. 0 until the schema is registered.
	ID       int
	Type     Type
	Nullable bool
}

// Decimals is how records have the values of Decimal fields.
type Decimals uint8

const (
	DecimalsPrecise Decimals = iota // the unscaled number: big endian, two's complement, base64
	DecimalsString                  // its digits as text
	DecimalsDouble                  // the nearest 64-bit number
)

var decimalsNames = []string{"precise", "string", "double"}

// String is the mode's name, the value of Debezium's decimal.handling.mode.
func (d Decimals) String() string {
	if int(d) < len(decimalsNames) {
		return decimalsNames[d]
	}
	return fmt.Sprintf("Decimals(%d)", uint8(d))
}

// ParseDecimals is the inverse of String.
func ParseDecimals(name string) (Decimals, bool) {
	i := slices.Index(decimalsNames, name)
	return Decimals(max(i, 0)), i >= 0
}

// Schema is what the rows of a table look like, and how records have them. It is
// not changed once a Section refers to it.
type Schema struct {
	// ID names the schema in headers and in the topic of schemas: a hash of all
	// that is below. Empty until the schema is registered.
	ID       string
	Name     string // of the table, as in Debezium's schema names: prefix.database.table
	Fields   []Field
	Key      []int // the primary key: indexes into Fields, in the key's order; empty without one
	Decimals Decimals
	// Bare is whether a record's value is the row alone, without Debezium's envelope.
	// Set when the schema is registered, for sections without an Origin.
	Bare bool
	// LastID is the highest ID that a field of the topic ever had. 0 until the schema
	// is registered.
	LastID int
}

// Index finds a field by name; -1 if there is none.
func (s *Schema) Index(name string) int {
	return slices.IndexFunc(s.Fields, func(f Field) bool { return f.Name == name })
}

// SameRows is whether rows of both schemas read the same: names, types, order, key
// and the way they are written. IDs do not matter.
func (s *Schema) SameRows(other *Schema) bool {
	return s.Name == other.Name && slices.Equal(s.Key, other.Key) &&
		s.Decimals == other.Decimals && s.Bare == other.Bare &&
		slices.EqualFunc(s.Fields, other.Fields, func(a, b Field) bool {
			return a.Name == b.Name && a.Nullable == b.Nullable && a.Type.Equal(b.Type)
		})
}

// Equal is whether both types have the same values, written the same way.
func (t Type) Equal(other Type) bool {
	return t.Kind == other.Kind && t.Precision == other.Precision && t.Scale == other.Scale &&
		t.Length == other.Length && slices.Equal(t.Values, other.Values)
}
