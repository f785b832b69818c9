package convert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/splashdam/splashdam/connect"
)

// ErrNoBlock says that a record does not come with its schema.
var ErrNoBlock = errors.New("the record has no schema block")

// blockSchema is a schema as Kafka Connect's JsonConverter has it, in front of
// every value: {"schema":{…},"payload":…}.
type blockSchema struct {
	Type       string            `json:"type"`
	Optional   bool              `json:"optional"`
	Name       string            `json:"name"`
	Field      string            `json:"field"`
	Fields     []blockSchema     `json:"fields"`
	Parameters map[string]string `json:"parameters"`
}

func (b *blockSchema) field(name string) *blockSchema {
	i := slices.IndexFunc(b.Fields, func(f blockSchema) bool { return f.Field == name })
	if i < 0 {
		return nil
	}
	return &b.Fields[i]
}

// NewBlockPlan makes the plan for a record that comes with its schema, and for
// those behind it whose block has the same bytes (Reads). Its schema has neither
// an ID nor ids. Values may be rows in Debezium's envelope, or rows alone.
//
// The names that Debezium and Kafka Connect give to types say what values are:
//
//	…time.Date, data.Date              Date
//	…time.Time, data.Time, MicroTime, NanoTime            Time
//	…time.Timestamp, MicroTimestamp, NanoTimestamp        DateTime
//	data.Timestamp, ZonedTimestamp     Timestamp
//	…time.Year                         Year
//	data.Decimal                       Decimal
//	Json, Enum, EnumSet, Bits          JSON, Enum, Set, Bits
//	Geometry, Geography, Point         Geometry
//
// Other names change nothing: the value is what its base type is. Other structs,
// arrays and maps are JSON.
func NewBlockPlan(r *connect.Record) (*Plan, error) {
	block, length, err := readBlock(r.Value)
	if err != nil {
		return nil, err
	}
	s := &connect.Schema{Name: strings.TrimSuffix(block.Name, ".Envelope")}
	row := block
	if after := block.field("after"); after != nil && after.Type == "struct" && block.field("op") != nil {
		row = after
	} else {
		s.Bare, s.Name = true, strings.TrimSuffix(block.Name, ".Value")
	}
	if row.Type != "struct" || len(row.Fields) > maxFields {
		return nil, fmt.Errorf("the schema block %s is a %s of %d fields, not a row of at most %d", block.Name, row.Type, len(row.Fields), maxFields)
	}
	forms := make([]form, len(row.Fields))
	for i := range row.Fields {
		f := &row.Fields[i]
		if s.Index(f.Field) >= 0 {
			return nil, fmt.Errorf("the schema block %s has the field %q twice", block.Name, f.Field)
		}
		t, form, err := f.kind()
		if err == nil {
			err = checkType(t)
		}
		if err != nil {
			return nil, fmt.Errorf("the schema block %s: field %q: %w", block.Name, f.Field, err)
		}
		s.Fields = append(s.Fields, connect.Field{Name: f.Field, Type: t, Nullable: f.Optional})
		forms[i] = form
	}
	if key, _, err := readBlock(r.Key); err == nil {
		for _, f := range key.Fields {
			if i := s.Index(f.Field); i >= 0 {
				s.Key = append(s.Key, i)
			}
		}
	}
	return newPlan(s, forms, bytes.Clone(r.Value[:length])), nil
}

// readBlock reads a schema block, and says where the payload begins.
func readBlock(text []byte) (*blockSchema, int, error) {
	start, end, payload, f := scanBlock(text, skipSpace(text, 0))
	if f != 0 {
		return nil, 0, fmt.Errorf("%w: %w: %.60q", ErrNoBlock, f, text)
	}
	var b blockSchema
	if err := json.Unmarshal(text[start:end], &b); err != nil {
		return nil, 0, fmt.Errorf("the schema block: %w", err)
	}
	return &b, payload, nil
}

// scanBlock finds the schema and the payload in {"schema":…,"payload":…}, in the
// order in which the converter writes them.
func scanBlock(b []byte, i int) (start, end, payload int, f fault) {
	i, more, f := openObject(b, i)
	if f == 0 && (!more || !hasPrefix(b[i:], `"schema"`)) {
		f = noBlock
	}
	if f != 0 {
		return 0, 0, i, f
	}
	if start, f = skipColon(b, i+len(`"schema"`)); f != 0 {
		return 0, 0, start, f
	}
	if end, f = skipValue(b, start); f != 0 {
		return 0, 0, end, f
	}
	if i, more, f = skipComma(b, end); f == 0 && (!more || !hasPrefix(b[i:], `"payload"`)) {
		f = noBlock
	}
	if f != 0 {
		return 0, 0, i, f
	}
	i, f = skipColon(b, i+len(`"payload"`))
	return start, end, skipSpace(b, i), f
}

// kind is what values of a field are, and the form that JSON has them in.
func (b *blockSchema) kind() (connect.Type, form, error) {
	number := func(parameter string, missing int) int {
		n, err := strconv.Atoi(b.Parameters[parameter])
		if err != nil {
			return missing
		}
		return n
	}
	simple := func(k connect.Kind) (connect.Type, form, error) {
		t := connect.Type{Kind: k}
		return t, formOf(t, connect.DecimalsPrecise), nil
	}
	finest := func(k connect.Kind, f form) (connect.Type, form, error) {
		return connect.Type{Kind: k, Precision: 6}, f, nil
	}
	millis := func(k connect.Kind) (connect.Type, form, error) {
		return connect.Type{Kind: k, Precision: 3}, asMillis, nil
	}
	switch b.Name {
	case "io.debezium.time.Date", "org.apache.kafka.connect.data.Date":
		return simple(connect.Date)
	case "io.debezium.time.Time", "org.apache.kafka.connect.data.Time":
		return millis(connect.Time)
	case "io.debezium.time.MicroTime":
		return finest(connect.Time, asSigned)
	case "io.debezium.time.NanoTime":
		return finest(connect.Time, asNanos)
	case "io.debezium.time.Timestamp":
		return millis(connect.DateTime)
	case "io.debezium.time.MicroTimestamp":
		return finest(connect.DateTime, asSigned)
	case "io.debezium.time.NanoTimestamp":
		return finest(connect.DateTime, asNanos)
	case "org.apache.kafka.connect.data.Timestamp":
		return millis(connect.Timestamp)
	case "io.debezium.time.ZonedTimestamp":
		return finest(connect.Timestamp, asTimestamp)
	case "io.debezium.time.Year":
		return simple(connect.Year)
	case "org.apache.kafka.connect.data.Decimal":
		t := connect.Type{
			Kind: connect.Decimal, Scale: number("scale", -1),
			Precision: number("connect.decimal.precision", connect.MaxDecimal128),
		}
		return t, asUnscaled, nil
	case "io.debezium.data.Json":
		return simple(connect.JSON)
	case "io.debezium.data.Enum", "io.debezium.data.EnumSet":
		kind := connect.Enum
		if b.Name == "io.debezium.data.EnumSet" {
			kind = connect.Set
		}
		return connect.Type{Kind: kind, Values: strings.Split(b.Parameters["allowed"], ",")}, asText, nil
	case "io.debezium.data.Bits":
		return connect.Type{Kind: connect.Bits, Length: number("length", 0)}, asBits, nil
	case "io.debezium.data.geometry.Geometry", "io.debezium.data.geometry.Geography", "io.debezium.data.geometry.Point":
		return simple(connect.Geometry)
	}
	switch b.Type {
	case "boolean":
		return simple(connect.Bool)
	case "int8":
		return simple(connect.Int8)
	case "int16":
		return simple(connect.Int16)
	case "int32":
		return simple(connect.Int32)
	case "int64":
		return simple(connect.Int64)
	case "float":
		return simple(connect.Float32)
	case "double":
		return simple(connect.Float64)
	case "string":
		return simple(connect.String)
	case "bytes":
		return simple(connect.Bytes)
	case "struct", "array", "map":
		return connect.Type{Kind: connect.JSON}, asRaw, nil
	}
	return connect.Type{}, 0, fmt.Errorf("nobody here knows the type %q", b.Type)
}
