package arrow

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	apache "github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/parquet"
	"github.com/apache/arrow/go/v15/parquet/compress"
	"github.com/apache/arrow/go/v15/parquet/file"
	"github.com/apache/arrow/go/v15/parquet/metadata"
	"github.com/apache/arrow/go/v15/parquet/schema"

	"github.com/splashdam/splashdam/connect"
)

// The writer below takes columns directly to the column writers of v15's package
// file. Its package pqarrow inverts whether timestamps are in UTC and brings gRPC
// along.

// zstdLevel costs half the time of v15's default and a tenth more space.
const zstdLevel = 1

// parquetEncoder writes a row group for each chunk.
type parquetEncoder struct {
	writer *file.Writer
	values *parquetValues
}

// newParquetEncoder decides by the first chunk which columns get a dictionary:
// those with few values, since the others pay three times their encoding for it.
func newParquetEncoder(out *outlet, fields []connect.Field, first []connect.Column, meta map[string]string, compression string, values *parquetValues) (*parquetEncoder, error) {
	root, err := parquetRoot(fields)
	if err != nil {
		return nil, err
	}
	properties := []parquet.WriterProperty{
		// Levels of version 1 are written in quadratic time by v15.
		parquet.WithDataPageVersion(parquet.DataPageV2),
		parquet.WithDictionaryDefault(false),
	}
	switch compression {
	case compressionSnappy:
		properties = append(properties, parquet.WithCompression(compress.Codecs.Snappy))
	case compressionZstd:
		properties = append(properties, parquet.WithCompression(compress.Codecs.Zstd), parquet.WithCompressionLevel(zstdLevel))
	}
	for i, f := range fields {
		switch {
		case fewValues(&first[i]):
			properties = append(properties, parquet.WithDictionaryFor(f.Name, true))
		case f.ID == offsetField.ID || f.ID == timestampField.ID:
			properties = append(properties, parquet.WithEncodingFor(f.Name, parquet.Encodings.DeltaBinaryPacked))
		}
	}
	pairs := metadata.NewKeyValueMetadata()
	for _, key := range slices.Sorted(maps.Keys(meta)) {
		if err := pairs.Append(key, meta[key]); err != nil {
			return nil, err
		}
	}
	writer := file.NewParquetWriter(out, root, file.WithWriterProps(parquet.NewWriterProperties(properties...)), file.WithWriteMetadata(pairs))
	return &parquetEncoder{writer, values}, nil
}

func parquetRoot(fields []connect.Field) (*schema.GroupNode, error) {
	nodes := make(schema.FieldList, len(fields))
	for i, f := range fields {
		node, err := parquetNode(f)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", f.Name, err)
		}
		nodes[i] = node
	}
	return schema.NewGroupNode(parquet.DefaultRootName, parquet.Repetitions.Repeated, nodes, -1)
}

// parquetNode is what a field is in Parquet.
func parquetNode(f connect.Field) (schema.Node, error) {
	repetition := parquet.Repetitions.Required
	if f.Nullable {
		repetition = parquet.Repetitions.Optional
	}
	node := func(physical parquet.Type, logical schema.LogicalType, length int) (schema.Node, error) {
		return schema.NewPrimitiveNodeLogical(f.Name, repetition, logical, physical, length, int32(f.ID))
	}
	plain := schema.NoLogicalType{}
	switch f.Type.Kind {
	case connect.Bool:
		return node(parquet.Types.Boolean, plain, 0)
	case connect.Int8, connect.Int16, connect.Int32:
		return node(parquet.Types.Int32, schema.NewIntLogicalType(int8(8*f.Type.Layout().Width()), true), 0)
	case connect.Uint8, connect.Uint16, connect.Uint32:
		return node(parquet.Types.Int32, schema.NewIntLogicalType(int8(8*f.Type.Layout().Width()), false), 0)
	case connect.Year:
		return node(parquet.Types.Int32, plain, 0)
	case connect.Int64:
		return node(parquet.Types.Int64, schema.NewIntLogicalType(64, true), 0)
	case connect.Uint64:
		return node(parquet.Types.Int64, schema.NewIntLogicalType(64, false), 0)
	case connect.Float32:
		return node(parquet.Types.Float, plain, 0)
	case connect.Float64:
		return node(parquet.Types.Double, plain, 0)
	case connect.Date:
		return node(parquet.Types.Int32, schema.DateLogicalType{}, 0)
	case connect.Time: // may be negative, or longer than the day to which Parquet's TIME is bound
		return node(parquet.Types.Int64, plain, 0)
	case connect.DateTime:
		return node(parquet.Types.Int64, schema.NewTimestampLogicalType(false, schema.TimeUnitMicros), 0)
	case connect.Timestamp:
		return node(parquet.Types.Int64, schema.NewTimestampLogicalType(true, schema.TimeUnitMicros), 0)
	case connect.Decimal:
		if f.Type.Precision > connect.MaxDecimal128 {
			return node(parquet.Types.ByteArray, schema.StringLogicalType{}, 0)
		}
		logical := schema.NewDecimalLogicalType(int32(f.Type.Precision), int32(f.Type.Scale))
		switch {
		case f.Type.Precision <= 9:
			return node(parquet.Types.Int32, logical, 0)
		case f.Type.Precision <= 18:
			return node(parquet.Types.Int64, logical, 0)
		}
		return node(parquet.Types.FixedLenByteArray, logical, decimalBytes)
	case connect.String, connect.JSON, connect.Enum, connect.Set:
		return node(parquet.Types.ByteArray, schema.StringLogicalType{}, 0)
	case connect.Bytes, connect.Bits, connect.Geometry:
		return node(parquet.Types.ByteArray, plain, 0)
	}
	return nil, fmt.Errorf("kind %v has no type in Parquet", f.Type.Kind)
}

// decimalBytes is the width of decimals that fit no number, as in their columns.
const decimalBytes = 16

// Limits below which a column has few values.
const (
	sampledRows  = 4096
	sampledTexts = 256
)

func fewValues(c *connect.Column) bool {
	if c.Layout() != connect.TextLayout {
		return false
	}
	seen := map[string]bool{}
	rows := min(c.Rows(), sampledRows)
	for row := range rows {
		if !c.IsNull(row) && !seen[string(c.Text(row))] {
			seen[string(c.Text(row))] = true
			if len(seen) > sampledTexts {
				return false
			}
		}
	}
	return len(seen)*4 <= rows || c.Type.Kind == connect.Enum
}

func (e *parquetEncoder) chunk(columns []connect.Column) error {
	group := e.writer.AppendRowGroup()
	for i := range columns {
		w, err := group.NextColumn()
		if err != nil {
			return err
		}
		if err := e.values.write(w, &columns[i]); err != nil {
			return err
		}
	}
	return group.Close()
}

func (e *parquetEncoder) finish() error { return e.writer.Close() }

// parquetValues holds a column's values in the form in which Parquet's writers
// take them: without the nulls. It is used again for every column of every file.
type parquetValues struct {
	levels   []int16 // 1 for a value, 0 for a null
	bools    []bool
	ints32   []int32
	ints64   []int64
	floats32 []float32
	floats64 []float64
	texts    []parquet.ByteArray
	fixed    []parquet.FixedLenByteArray
	bytes    []byte
}

func (v *parquetValues) write(w file.ColumnChunkWriter, c *connect.Column) error {
	var levels []int16
	if w.Descr().MaxDefinitionLevel() > 0 {
		levels = v.levelsOf(c)
	} else if c.Nulls() > 0 {
		return fmt.Errorf("column %s has nulls, and its schema says that it has none", w.Descr().Name())
	}
	var err error
	switch w := w.(type) {
	case *file.BooleanColumnChunkWriter:
		v.bools = v.bools[:0]
		for row := range c.Rows() {
			if !c.IsNull(row) {
				v.bools = append(v.bools, c.Bool(row))
			}
		}
		_, err = w.WriteBatch(v.bools, levels, nil)
	case *file.Int32ColumnChunkWriter:
		_, err = w.WriteBatch(v.int32sOf(c), levels, nil)
	case *file.Int64ColumnChunkWriter:
		_, err = w.WriteBatch(v.int64sOf(c), levels, nil)
	case *file.Float32ColumnChunkWriter:
		_, err = w.WriteBatch(dense(&v.floats32, c, apache.Float32Traits.CastFromBytes(c.Data)), levels, nil)
	case *file.Float64ColumnChunkWriter:
		_, err = w.WriteBatch(dense(&v.floats64, c, apache.Float64Traits.CastFromBytes(c.Data)), levels, nil)
	case *file.FixedLenByteArrayColumnChunkWriter:
		_, err = w.WriteBatch(v.decimalsOf(c), levels, nil)
	case *file.ByteArrayColumnChunkWriter:
		v.texts = v.texts[:0]
		for row := range c.Rows() {
			if !c.IsNull(row) {
				v.texts = append(v.texts, c.Text(row))
			}
		}
		_, err = w.WriteBatch(v.texts, levels, nil)
	default:
		err = fmt.Errorf("nobody said how a column goes through a %T", w)
	}
	return err
}

func (v *parquetValues) levelsOf(c *connect.Column) []int16 {
	v.levels = slices.Grow(v.levels[:0], c.Rows())[:c.Rows()]
	for row := range v.levels {
		v.levels[row] = 1
		if c.IsNull(row) {
			v.levels[row] = 0
		}
	}
	return v.levels
}

// dense leaves out the nulls, with a copy only if there are some.
func dense[T any](space *[]T, c *connect.Column, all []T) []T {
	if c.Nulls() == 0 {
		return all
	}
	values := (*space)[:0]
	for row := range all {
		if !c.IsNull(row) {
			values = append(values, all[row])
		}
	}
	*space = values
	return values
}

func (v *parquetValues) int32sOf(c *connect.Column) []int32 {
	if c.Layout() == connect.Fix4Layout {
		return dense(&v.ints32, c, apache.Int32Traits.CastFromBytes(c.Data))
	}
	v.ints32 = v.ints32[:0]
	for row := range c.Rows() {
		if c.IsNull(row) {
			continue
		}
		var n int32
		switch c.Type.Kind {
		case connect.Decimal:
			low, _ := c.Bits128(row)
			n = int32(low)
		case connect.Uint8, connect.Uint16:
			n = int32(c.Bits(row))
		default:
			n = int32(c.Int(row))
		}
		v.ints32 = append(v.ints32, n)
	}
	return v.ints32
}

func (v *parquetValues) int64sOf(c *connect.Column) []int64 {
	if c.Layout() == connect.Fix8Layout {
		return dense(&v.ints64, c, apache.Int64Traits.CastFromBytes(c.Data))
	}
	v.ints64 = v.ints64[:0]
	for row := range c.Rows() {
		if !c.IsNull(row) {
			low, _ := c.Bits128(row)
			v.ints64 = append(v.ints64, int64(low))
		}
	}
	return v.ints64
}

// decimalsOf makes decimals big endian.
func (v *parquetValues) decimalsOf(c *connect.Column) []parquet.FixedLenByteArray {
	v.bytes = slices.Grow(v.bytes[:0], decimalBytes*c.Rows())
	v.fixed = v.fixed[:0]
	for row := range c.Rows() {
		if c.IsNull(row) {
			continue
		}
		low, high := c.Bits128(row)
		start := len(v.bytes)
		v.bytes = binary.BigEndian.AppendUint64(v.bytes, high)
		v.bytes = binary.BigEndian.AppendUint64(v.bytes, low)
		v.fixed = append(v.fixed, v.bytes[start:])
	}
	return v.fixed
}
