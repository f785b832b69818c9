package convert

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"pgregory.net/rapid"

	"github.com/splashdam/splashdam/connect"
)

func TestEveryKindHasTheArrowTypeThatIsDocumented(t *testing.T) {
	schema, columns := everyKind()
	want := map[string]string{
		"bool": "bool true", "int8": "int8 -128", "int16": "int16 -32768", "int32": "int32 -2147483648", "int64": "int64 -9223372036854775808",
		"uint8": "uint8 255", "uint16": "uint16 65535", "uint32": "uint32 4294967295", "uint64": "uint64 18446744073709551615",
		"float32": "float32 0.1", "float64": "float64 -1e-07", "decimal": "decimal(12, 2) 123.45",
		"wide": "utf8 -100000000000000000000000000000000000000000.5", "string": "utf8 Zoë \"Z\"\n", "bytes": "binary AAH/",
		"json": `utf8 {"a": [1, "x"]}`, "enum": "utf8 paid", "set": "utf8 a,b", "date": "date32 2024-02-03", "time": "int64 -3020400000000",
		"datetime3": "timestamp[us] 2024-02-03 04:05:06.123", "datetime6": "timestamp[us] 2024-02-03 04:05:06.123456",
		"timestamp": "timestamp[us, tz=UTC] 2024-02-03 04:05:06.123456", "year": "int32 2024", "bits": "binary /w8=", "geometry": "binary 5hAAAAEBAAAA",
	}
	for i := range schema.Fields {
		schema.Fields[i].ID = i + 1
	}
	fields := ArrowFields(schema.Fields)
	r, err := ArrowRecord(arrow.NewSchema(fields, nil), columns)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range fields {
		text := r.Column(i).ValueStr(0)
		if at, ok := r.Column(i).(*array.Timestamp); ok { // whose text cuts the fraction
			text = at.Value(0).ToTime(arrow.Microsecond).Format("2006-01-02 15:04:05.999999")
		}
		if got := fmt.Sprint(f.Type, " ", text); got != want[f.Name] {
			t.Errorf("%s is %s instead of %s", f.Name, got, want[f.Name])
		}
		id, _ := f.Metadata.GetValue("PARQUET:field_id")
		kind, _ := f.Metadata.GetValue("splashdam.kind")
		if id != fmt.Sprint(i+1) || kind != schema.Fields[i].Type.Kind.String() || !f.Nullable {
			t.Errorf("%s has id %s, kind %s, nullable %v", f.Name, id, kind, f.Nullable)
		}
	}
}

// Arrow's own builders and writers agree with what the columns say, also about
// nulls, absent values and columns without rows.
func TestRecordsAreReadFromIPCAsTheColumnsHaveThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSection(t)
		columns := s.After
		fields := ArrowFields(s.Schema.Fields)
		for i := range fields {
			fields[i].Nullable = true
		}
		schema := arrow.NewSchema(fields, nil)
		r, err := ArrowRecord(schema, columns)
		if err != nil {
			t.Fatal(err)
		}
		var file bytes.Buffer
		w := ipc.NewWriter(&file, ipc.WithSchema(schema))
		if err := w.Write(r); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		reader, err := ipc.NewReader(&file)
		if err != nil {
			t.Fatal(err)
		}
		if !reader.Next() || reader.Record().NumRows() != int64(len(s.Op)) {
			t.Fatalf("%v, no record of %d rows", reader.Err(), len(s.Op))
		}
		for i := range columns {
			a := reader.Record().Column(i)
			for row := range s.Op {
				if a.IsNull(row) != columns[i].IsNull(row) {
					t.Fatalf("%s: row %d is null: %v", fields[i].Name, row, a.IsNull(row))
				}
				if !a.IsNull(row) && showArrow(a, row) != show(&columns[i], row) {
					t.Fatalf("%s: row %d is %s instead of %s", fields[i].Name, row, showArrow(a, row), show(&columns[i], row))
				}
			}
		}
	})
}

// showArrow is show for an array.
func showArrow(a arrow.Array, row int) string {
	switch a := a.(type) {
	case *array.Boolean:
		return fmt.Sprint(a.Value(row))
	case *array.Int8:
		return fmt.Sprintf("%x", uint8(a.Value(row)))
	case *array.Int16:
		return fmt.Sprintf("%x", uint16(a.Value(row)))
	case *array.Int32:
		return fmt.Sprintf("%x", uint32(a.Value(row)))
	case *array.Int64:
		return fmt.Sprintf("%x", uint64(a.Value(row)))
	case *array.Uint8:
		return fmt.Sprintf("%x", a.Value(row))
	case *array.Uint16:
		return fmt.Sprintf("%x", a.Value(row))
	case *array.Uint32:
		return fmt.Sprintf("%x", a.Value(row))
	case *array.Uint64:
		return fmt.Sprintf("%x", a.Value(row))
	case *array.Float32:
		c := connect.NewColumn(connect.Type{Kind: connect.Float32})
		c.Append4(math.Float32bits(a.Value(row)))
		return show(&c, 0)
	case *array.Float64:
		c := connect.NewColumn(connect.Type{Kind: connect.Float64})
		c.Append8(math.Float64bits(a.Value(row)))
		return show(&c, 0)
	case *array.Decimal128:
		return fmt.Sprintf("%016x%016x", uint64(a.Value(row).HighBits()), a.Value(row).LowBits())
	case *array.String:
		return fmt.Sprintf("%q", a.Value(row))
	case *array.Binary:
		return fmt.Sprintf("%q", a.Value(row))
	case *array.Date32:
		return fmt.Sprintf("%x", uint32(a.Value(row)))
	case *array.Timestamp:
		return fmt.Sprintf("%x", uint64(a.Value(row)))
	}
	return fmt.Sprintf("a %T", a)
}

func TestRecordsHaveTheColumnsOwnMemory(t *testing.T) {
	schema, columns := everyKind()
	r, err := ArrowRecord(arrow.NewSchema(ArrowFields(schema.Fields), nil), columns)
	if err != nil {
		t.Fatal(err)
	}
	for i := range columns {
		buffers := r.Column(i).Data().Buffers()
		if data := buffers[len(buffers)-1].Bytes(); unsafe.SliceData(data) != unsafe.SliceData(columns[i].Data) {
			t.Errorf("%s was copied", schema.Fields[i].Name)
		}
	}
	r.Release()
	if columns[0].Rows() != 1 || !columns[0].Bool(0) {
		t.Error("to release the record changed a column")
	}
}

func TestColumnsWithoutRowsAreArraysToo(t *testing.T) {
	schema, _ := everyKind()
	r, err := ArrowRecord(arrow.NewSchema(ArrowFields(schema.Fields), nil), connect.NewColumns(schema.Fields))
	if err != nil || r.NumRows() != 0 {
		t.Fatal(r, err)
	}
	for _, a := range r.Columns() {
		if text, ok := a.(*array.String); ok && len(text.ValueBytes()) != 0 {
			t.Errorf("an empty column has the text %q", text.ValueBytes())
		}
	}
}

func TestAFieldThatAlwaysHasAValueRefusesNulls(t *testing.T) {
	fields := []connect.Field{{Name: "at", Type: connect.Type{Kind: connect.Timestamp}}}
	columns := connect.NewColumns(fields)
	columns[0].Append8(uint64(time.Now().UnixMicro()))
	schema := arrow.NewSchema(ArrowFields(fields), nil)
	if _, err := ArrowRecord(schema, columns); err != nil {
		t.Error(err)
	}
	columns[0].AppendAbsent()
	if _, err := ArrowRecord(schema, columns); err == nil || !strings.Contains(err.Error(), `"at"`) {
		t.Errorf("a record with an absent value: %v", err)
	}
}
