package arrow

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	apache "github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/apache/arrow/go/v15/parquet/file"
	"github.com/apache/arrow/go/v15/parquet/pqarrow"

	"github.com/splashdam/splashdam/connect"
)

func encodeParquet(t testing.TB, fields []connect.Field, chunks [][]connect.Column, compression string) []byte {
	t.Helper()
	out := &outlet{buffer: new(bytes.Buffer)}
	e, err := newParquetEncoder(out, fields, chunks[0], map[string]string{"a": "b"}, compression, &parquetValues{})
	if err != nil {
		t.Fatal(err)
	}
	for _, columns := range chunks {
		if err := e.chunk(columns); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.finish(); err != nil {
		t.Fatal(err)
	}
	return out.buffer.Bytes()
}

// Arrow's own reader of Parquet finds every value where it was put.
func TestParquetFilesHoldEveryKind(t *testing.T) {
	fields := everyKind()
	for _, compression := range compressions[formatParquet] {
		rnd := rand.New(rand.NewPCG(1, 2))
		var chunks [][]connect.Column
		for _, rows := range []int{3000, 1, 700} {
			columns := connect.NewColumns(fields)
			fill(rnd, columns, rows)
			chunks = append(chunks, columns)
		}
		content := encodeParquet(t, fields, chunks, compression)
		pf, err := file.NewParquetReader(bytes.NewReader(content))
		must(t, err)
		if groups := pf.NumRowGroups(); groups != len(chunks) {
			t.Fatalf("%d row groups", groups)
		}
		r, err := pqarrow.NewFileReader(pf, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
		must(t, err)
		table, err := r.ReadTable(context.Background())
		must(t, err)
		for i, f := range fields {
			if id, ok := table.Schema().Field(i).Metadata.GetValue("PARQUET:field_id"); !ok || id != fmt.Sprint(f.ID) {
				t.Errorf("column %s has field id %q", f.Name, id)
			}
			row := 0
			for _, columns := range chunks {
				for n := range columns[i].Rows() {
					want, got := columnText(&columns[i], n), tableText(table.Column(i).Data(), row)
					if want != got {
						t.Fatalf("%s: %s, row %d: %s instead of %s", compression, f.Name, row, got, want)
					}
					row++
				}
			}
		}
	}
}

// columnText is a value of a column, as tableText has it.
func columnText(c *connect.Column, row int) string {
	if c.IsNull(row) {
		return "null"
	}
	switch c.Layout() {
	case connect.BitLayout:
		return fmt.Sprint(c.Bool(row))
	case connect.TextLayout:
		return fmt.Sprintf("%q", c.Text(row))
	case connect.Fix16Layout:
		low, high := c.Bits128(row)
		return fmt.Sprintf("%x.%x", high, low)
	}
	width := 2 * c.Layout().Width()
	return fmt.Sprintf("%0*x", width, c.Bits(row))
}

func tableText(chunks *apache.Chunked, row int) string {
	for _, a := range chunks.Chunks() {
		if row < a.Len() {
			return arrayText(a, row)
		}
		row -= a.Len()
	}
	return "missing"
}

func arrayText(a apache.Array, row int) string {
	if a.IsNull(row) {
		return "null"
	}
	switch a := a.(type) {
	case *array.Boolean:
		return fmt.Sprint(a.Value(row))
	case *array.String:
		return fmt.Sprintf("%q", a.Value(row))
	case *array.Binary:
		return fmt.Sprintf("%q", a.Value(row))
	case *array.Decimal128:
		return fmt.Sprintf("%x.%x", uint64(a.Value(row).HighBits()), a.Value(row).LowBits())
	}
	width := a.DataType().(apache.FixedWidthDataType).Bytes()
	b := a.Data().Buffers()[1].Bytes()[(a.Data().Offset()+row)*width:][:width]
	text := ""
	for _, v := range b {
		text = fmt.Sprintf("%02x", v) + text
	}
	return text
}

func TestParquetDecidesDictionariesByTheFirstChunk(t *testing.T) {
	fields := []connect.Field{
		{Name: "few", ID: 1, Type: connect.Type{Kind: connect.String}, Nullable: true},
		{Name: "many", ID: 2, Type: connect.Type{Kind: connect.String}, Nullable: true},
		{Name: "number", ID: 3, Type: connect.Type{Kind: connect.Int64}, Nullable: true},
	}
	columns := connect.NewColumns(fields)
	for i := range 2000 {
		columns[0].AppendText(fmt.Append(nil, i%10))
		columns[1].AppendText(fmt.Append(nil, i))
		columns[2].Append8(uint64(i))
	}
	pf, err := file.NewParquetReader(bytes.NewReader(encodeParquet(t, fields, [][]connect.Column{columns}, compressionSnappy)))
	must(t, err)
	for i, want := range []bool{true, false, false} {
		chunk, err := pf.MetaData().RowGroup(0).ColumnChunk(i)
		must(t, err)
		if chunk.HasDictionaryPage() != want {
			t.Errorf("column %s has a dictionary: %v", fields[i].Name, !want)
		}
	}
}

func TestANullInARequiredColumnIsAnError(t *testing.T) {
	fields := []connect.Field{{Name: "id", ID: 1, Type: connect.Type{Kind: connect.Int64}}}
	columns := connect.NewColumns(fields)
	columns[0].AppendNull()
	out := &outlet{buffer: new(bytes.Buffer)}
	e, err := newParquetEncoder(out, fields, columns, nil, compressionNone, &parquetValues{})
	must(t, err)
	if e.chunk(columns) == nil {
		t.Error("it was written")
	}
}

func TestParquetTimestampsSayWhetherTheyAreUTC(t *testing.T) {
	for kind, utc := range map[connect.Kind]bool{connect.DateTime: false, connect.Timestamp: true} {
		node, err := parquetNode(connect.Field{Name: "at", Type: connect.Type{Kind: kind}})
		must(t, err)
		if got := node.LogicalType().String(); got != fmt.Sprintf("Timestamp(isAdjustedToUTC=%v, timeUnit=microseconds, is_from_converted_type=false, force_set_converted_type=false)", utc) {
			t.Errorf("%v: %s", kind, got)
		}
	}
	if _, err := parquetNode(connect.Field{Name: "x"}); err == nil {
		t.Error("a field without a kind has a type")
	}
}
