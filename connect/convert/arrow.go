package convert

import (
	"fmt"
	"strconv"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/internal/invariant"
)

// Metadata of Arrow fields: the ID, under the name that Arrow's libraries and
// Parquet have for it, and the Kind.
const (
	ArrowID   = "PARQUET:field_id"
	ArrowKind = "splashdam.kind"
)

// ArrowType is the type that has a column's values as they lie in memory:
//
//	Bool                            bool
//	Int8 to Int64, Uint8 to Uint64  the same
//	Float32, Float64                the same
//	Decimal                         decimal128; utf8 with more than 38 digits
//	String, JSON, Enum, Set         utf8
//	Bytes, Bits, Geometry           binary; Bits lowest byte first, Geometry SRID (four bytes, little endian) and WKB
//	Date                            date32
//	Time                            int64, microseconds: Parquet has no duration, and a time of day is neither negative nor above 24 h
//	DateTime                        timestamp[us]
//	Timestamp                       timestamp[us, UTC]
//	Year                            int32
func ArrowType(t connect.Type) arrow.DataType {
	switch t.Kind {
	case connect.Bool:
		return arrow.FixedWidthTypes.Boolean
	case connect.Int8:
		return arrow.PrimitiveTypes.Int8
	case connect.Int16:
		return arrow.PrimitiveTypes.Int16
	case connect.Int32, connect.Year:
		return arrow.PrimitiveTypes.Int32
	case connect.Int64, connect.Time:
		return arrow.PrimitiveTypes.Int64
	case connect.Uint8:
		return arrow.PrimitiveTypes.Uint8
	case connect.Uint16:
		return arrow.PrimitiveTypes.Uint16
	case connect.Uint32:
		return arrow.PrimitiveTypes.Uint32
	case connect.Uint64:
		return arrow.PrimitiveTypes.Uint64
	case connect.Float32:
		return arrow.PrimitiveTypes.Float32
	case connect.Float64:
		return arrow.PrimitiveTypes.Float64
	case connect.Decimal:
		if t.Precision > connect.MaxDecimal128 {
			return arrow.BinaryTypes.String
		}
		return &arrow.Decimal128Type{Precision: int32(t.Precision), Scale: int32(t.Scale)}
	case connect.String, connect.JSON, connect.Enum, connect.Set:
		return arrow.BinaryTypes.String
	case connect.Bytes, connect.Bits, connect.Geometry:
		return arrow.BinaryTypes.Binary
	case connect.Date:
		return arrow.FixedWidthTypes.Date32
	case connect.DateTime:
		return &arrow.TimestampType{Unit: arrow.Microsecond}
	case connect.Timestamp:
		return &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	}
	invariant.That(false, "nobody said how Arrow has a %v", t.Kind)
	return nil
}

// ArrowFields are the fields of a schema for records of such columns. A row may
// lack any column that a source did not send, whatever the table's schema says, so
// those of a Plan are made Nullable first.
func ArrowFields(fields []connect.Field) []arrow.Field {
	all := make([]arrow.Field, len(fields))
	for i, f := range fields {
		all[i] = arrow.Field{
			Name: f.Name, Type: ArrowType(f.Type), Nullable: f.Nullable,
			Metadata: arrow.NewMetadata([]string{ArrowID, ArrowKind}, []string{strconv.Itoa(f.ID), f.Type.Kind.String()}),
		}
	}
	return all
}

// ArrowRecord makes a record of columns, which have the same number of rows,
// without copying them: it is good until a column is appended to or Reset. What
// is absent in a column is null in the record.
func ArrowRecord(s *arrow.Schema, columns []connect.Column) (arrow.Record, error) {
	arrays := make([]arrow.Array, len(columns))
	rows := 0
	for i := range columns {
		c := &columns[i]
		if f := s.Field(i); c.Nulls() > 0 && !f.Nullable {
			return nil, fmt.Errorf("field %q has no value in %d of %d rows, and the schema says that it always has one", f.Name, c.Nulls(), c.Rows())
		}
		arrays[i], rows = arrowArray(c, s.Field(i).Type), c.Rows()
	}
	return array.NewRecord(s, arrays, int64(rows)), nil
}

// arrowArray lends a column's buffers to an array. They belong to Go's memory, so
// counting references to them, as Arrow does, changes nothing.
func arrowArray(c *connect.Column, t arrow.DataType) arrow.Array {
	var valid *memory.Buffer
	if c.Nulls() > 0 {
		valid = memory.NewBufferBytes(c.Valid)
	}
	buffers := []*memory.Buffer{valid, memory.NewBufferBytes(c.Data)}
	if c.Layout() == connect.TextLayout {
		ends := c.Ends
		if len(ends) == 0 {
			ends = []int32{0}
		}
		buffers = []*memory.Buffer{valid, memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(ends)), buffers[1]}
	}
	return array.MakeFromData(array.NewData(t, c.Rows(), buffers, nil, c.Nulls(), 0))
}
