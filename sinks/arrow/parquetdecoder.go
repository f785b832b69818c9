package arrow

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/apache/arrow/go/v15/parquet"
	"github.com/apache/arrow/go/v15/parquet/file"

	"github.com/splashdam/splashdam/connect"
)

// parquetDecoder reads what parquetEncoder wrote.
type parquetDecoder struct {
	reader *file.Reader
	levels []int16
}

func openParquet(content *io.SectionReader) (decoder, error) {
	r, err := file.NewParquetReader(content)
	return &parquetDecoder{reader: r}, err
}

func (s *parquetDecoder) metadata(key string) (string, bool) {
	value := s.reader.MetaData().KeyValueMetadata().FindValue(key)
	if value == nil {
		return "", false
	}
	return *value, true
}

func (s *parquetDecoder) matches(fields []connect.Field) error {
	root, err := parquetRoot(fields)
	if err != nil {
		return err
	}
	if got := s.reader.MetaData().Schema.Root(); !root.Equals(got) {
		return fmt.Errorf("its columns are not those of its schema: %v", got)
	}
	return nil
}

func (s *parquetDecoder) chunks() int { return s.reader.NumRowGroups() }

func (s *parquetDecoder) column(chunk, i int, into *connect.Column, absent func(row int) bool) error {
	group := s.reader.RowGroup(chunk)
	r, err := group.Column(i)
	if err != nil {
		return err
	}
	rows := int(group.NumRows())
	s.levels = slices.Grow(s.levels[:0], rows)[:rows]
	for row := range s.levels {
		s.levels[row] = 1 // a column that is never null has no levels
	}
	switch r := r.(type) {
	case *file.BooleanColumnChunkReader:
		return readColumn(r.ReadBatch, s.levels, into, absent, func(v bool) { into.AppendBool(v) })
	case *file.Int32ColumnChunkReader:
		return readColumn(r.ReadBatch, s.levels, into, absent, func(v int32) { appendInt(into, int64(v)) })
	case *file.Int64ColumnChunkReader:
		return readColumn(r.ReadBatch, s.levels, into, absent, func(v int64) { appendInt(into, v) })
	case *file.Float32ColumnChunkReader:
		return readColumn(r.ReadBatch, s.levels, into, absent, func(v float32) { into.Append4(math.Float32bits(v)) })
	case *file.Float64ColumnChunkReader:
		return readColumn(r.ReadBatch, s.levels, into, absent, func(v float64) { into.Append8(math.Float64bits(v)) })
	case *file.FixedLenByteArrayColumnChunkReader:
		return readColumn(r.ReadBatch, s.levels, into, absent, func(v parquet.FixedLenByteArray) {
			into.Append16(binary.BigEndian.Uint64(v[8:]), binary.BigEndian.Uint64(v))
		})
	case *file.ByteArrayColumnChunkReader:
		return readColumn(r.ReadBatch, s.levels, into, absent, func(v parquet.ByteArray) { into.AppendText(v) })
	}
	return fmt.Errorf("nobody said how a column goes through a %T", r)
}

// readBatch is how Parquet's readers give values: those that are no nulls, and a
// level for every row.
type readBatch[T any] func(rows int64, values []T, levels, repetitions []int16) (total int64, valuesRead int, err error)

// readColumn reads len(levels) rows.
func readColumn[T any](read readBatch[T], levels []int16, into *connect.Column, absent func(row int) bool, add func(T)) error {
	values := make([]T, min(len(levels), batchRows))
	for done := 0; done < len(levels); {
		total, _, err := read(int64(min(len(values), len(levels)-done)), values, levels[done:], nil)
		if err != nil {
			return err
		}
		if total == 0 {
			return io.ErrUnexpectedEOF
		}
		next := 0
		for row := done; row < done+int(total); row++ {
			switch {
			case levels[row] == 1:
				add(values[next])
				next++
			case absent(row):
				into.AppendAbsent()
			default:
				into.AppendNull()
			}
		}
		done += int(total)
	}
	return nil
}

// batchRows is how many values are read at a time.
const batchRows = 4096

// appendInt appends a number as wide as the column.
func appendInt(to *connect.Column, v int64) {
	switch to.Layout() {
	case connect.Fix1Layout:
		to.Append1(uint8(v))
	case connect.Fix2Layout:
		to.Append2(uint16(v))
	case connect.Fix4Layout:
		to.Append4(uint32(v))
	case connect.Fix8Layout:
		to.Append8(uint64(v))
	default: // a decimal
		to.Append16(uint64(v), uint64(v>>63))
	}
}
