package convert

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/splashdam/splashdam/connect"
)

// everyKind is a schema with a field of each kind, whose name is the kind's, and
// columns with one row of it.
func everyKind() (*connect.Schema, []connect.Column) {
	s := &connect.Schema{Name: "shop.app.kinds", Key: []int{4}}
	add := func(name string, t connect.Type) {
		s.Fields = append(s.Fields, connect.Field{Name: name, Type: t, Nullable: true})
	}
	add("bool", connect.Type{Kind: connect.Bool})
	add("int8", connect.Type{Kind: connect.Int8})
	add("int16", connect.Type{Kind: connect.Int16})
	add("int32", connect.Type{Kind: connect.Int32})
	add("int64", connect.Type{Kind: connect.Int64})
	add("uint8", connect.Type{Kind: connect.Uint8})
	add("uint16", connect.Type{Kind: connect.Uint16})
	add("uint32", connect.Type{Kind: connect.Uint32})
	add("uint64", connect.Type{Kind: connect.Uint64})
	add("float32", connect.Type{Kind: connect.Float32})
	add("float64", connect.Type{Kind: connect.Float64})
	add("decimal", connect.Type{Kind: connect.Decimal, Precision: 12, Scale: 2})
	add("wide", connect.Type{Kind: connect.Decimal, Precision: 65, Scale: 1})
	add("string", connect.Type{Kind: connect.String})
	add("bytes", connect.Type{Kind: connect.Bytes})
	add("json", connect.Type{Kind: connect.JSON})
	add("enum", connect.Type{Kind: connect.Enum, Values: []string{"new", "paid"}})
	add("set", connect.Type{Kind: connect.Set, Values: []string{"a", "b"}})
	add("date", connect.Type{Kind: connect.Date})
	add("time", connect.Type{Kind: connect.Time, Precision: 3})
	add("datetime3", connect.Type{Kind: connect.DateTime, Precision: 3})
	add("datetime6", connect.Type{Kind: connect.DateTime, Precision: 6})
	add("timestamp", connect.Type{Kind: connect.Timestamp, Precision: 6})
	add("year", connect.Type{Kind: connect.Year})
	add("bits", connect.Type{Kind: connect.Bits, Length: 12})
	add("geometry", connect.Type{Kind: connect.Geometry})
	columns := connect.NewColumns(s.Fields)
	column := func(name string) *connect.Column { return &columns[s.Index(name)] }
	column("bool").AppendBool(true)
	column("int8").Append1(0x80)
	column("int16").Append2(0x8000)
	column("int32").Append4(0x80000000)
	column("int64").Append8(1 << 63)
	column("uint8").Append1(0xff)
	column("uint16").Append2(0xffff)
	column("uint32").Append4(0xffffffff)
	column("uint64").Append8(1<<64 - 1)
	column("float32").Append4(math.Float32bits(0.1))
	column("float64").Append8(math.Float64bits(-1e-7))
	column("decimal").Append16(12345, 0)
	column("wide").AppendText([]byte("-100000000000000000000000000000000000000000.5"))
	column("string").AppendText([]byte("Zoë \"Z\"\n"))
	column("bytes").AppendText([]byte{0, 1, 0xff})
	column("json").AppendText([]byte(`{"a": [1, "x"]}`))
	column("enum").AppendText([]byte("paid"))
	column("set").AppendText([]byte("a,b"))
	days := uint32(19756) // 2024-02-03
	column("date").Append4(days)
	column("time").Append8(^uint64(3_020_399_999_999)) // -839 h
	at := time.Date(2024, 2, 3, 4, 5, 6, 123456000, time.UTC).UnixMicro()
	column("datetime3").Append8(uint64(at / 1000 * 1000))
	column("datetime6").Append8(uint64(at))
	column("timestamp").Append8(uint64(at))
	column("year").Append4(2024)
	column("bits").AppendText([]byte{0xff, 0x0f})
	column("geometry").AppendText(append([]byte{0xe6, 0x10, 0, 0}, 1, 1, 0, 0, 0))
	return s, columns
}

const everyKindJSON = `{"bool":true,"int8":-128,"int16":-32768,"int32":-2147483648,"int64":-9223372036854775808,` +
	`"uint8":255,"uint16":65535,"uint32":4294967295,"uint64":18446744073709551615,"float32":0.1,"float64":-1e-07,` +
	`"decimal":"MDk=","wide":"9IVDnY+vz6Ug61wmG//////7","string":"Zoë \"Z\"\n","bytes":"AAH/",` +
	`"json":"{\"a\": [1, \"x\"]}","enum":"paid","set":"a,b","date":19756,"time":-3020400000000,` +
	`"datetime3":1706933106123,"datetime6":1706933106123456,"timestamp":"2024-02-03T04:05:06.123456Z","year":2024,` +
	`"bits":"/w8=","geometry":{"wkb":"AQEAAAA=","srid":4326}}`

// now is when the values of the tests are written.
var now = time.UnixMilli(1_700_000_000_000).Add(123456 * time.Nanosecond)

const nowJSON = `"ts_ms":1700000000000,"ts_us":1700000000000123,"ts_ns":1700000000000123456}`

// begun is a JSON that has begun a batch of one section.
func begun(s *connect.Section) *JSON {
	j := &JSON{}
	j.Begin(&connect.Batch{Sections: []*connect.Section{s}}, now)
	return j
}

func TestEveryKindIsWrittenAsDebeziumWritesIt(t *testing.T) {
	schema, after := everyKind()
	s := &connect.Section{Schema: schema, Op: []connect.Op{connect.Create}, After: after}
	j := begun(s)
	if got := string(j.Value(nil, 0, 0, connect.Create)); got != everyKindJSON {
		t.Errorf("wrote\n%s instead of\n%s", got, everyKindJSON)
	}
	if !json.Valid([]byte(everyKindJSON)) {
		t.Error("not JSON")
	}
	if got := string(j.Key(nil, 0, 0, connect.Create)); got != `{"int64":-9223372036854775808}` {
		t.Errorf("the key is %s", got)
	}
}

func TestWhatIsNoNumberInJSONIsAString(t *testing.T) {
	for text, f := range map[string]float64{
		`"NaN"`: math.NaN(), `"Infinity"`: math.Inf(1), `"-Infinity"`: math.Inf(-1), "0": 0, "-0": math.Copysign(0, -1),
		"1": 1, "0.000001": 1e-6, "1e-07": 1e-7, "100000000000000000000": 1e20, "1e+21": 1e21,
	} {
		if got := string(appendFloat(nil, f, 64)); got != text {
			t.Errorf("%v became %s instead of %s", f, got, text)
		}
	}
}

func TestFractionsBefore1970AreCutTowardsThePast(t *testing.T) {
	c := connect.NewColumn(connect.Type{Kind: connect.DateTime})
	c.Append8(^uint64(0)) // a microsecond before
	if got := string(appendValue(nil, &c, 0, connect.DecimalsPrecise)); got != "-1" {
		t.Errorf("wrote %s", got)
	}
}

// orders is a section with one row of each op, of two events of a source.
func orders() *connect.Section {
	schema := &connect.Schema{Name: "shop.app.orders", Key: []int{1, 0}, Fields: []connect.Field{
		{Name: "id", Type: connect.Type{Kind: connect.Int64}},
		{Name: `re"gion`, Type: connect.Type{Kind: connect.String}},
		{Name: "note", Type: connect.Type{Kind: connect.String}, Nullable: true},
	}}
	s := &connect.Section{
		Topic: "shop.app.orders", Schema: schema,
		Op:     []connect.Op{connect.Read, connect.Create, connect.Update, connect.Update, connect.Delete, connect.Truncate},
		Before: connect.NewColumns(schema.Fields), After: connect.NewColumns(schema.Fields),
		Origin: &connect.Origin{
			Fields: []connect.Field{
				{Name: "name", Type: connect.Type{Kind: connect.String}},
				{Name: "row", Type: connect.Type{Kind: connect.Int32}},
				{Name: "gtid", Type: connect.Type{Kind: connect.String}, Nullable: true},
			},
			Starts: []int32{0, 2}, Counter: 1,
		},
	}
	row := func(columns []connect.Column, id uint64, region, note string) {
		columns[0].Append8(id)
		columns[1].AppendText([]byte(region))
		columns[2].AppendText([]byte(note))
	}
	none := func(columns []connect.Column) {
		for i := range columns {
			columns[i].AppendNull()
		}
	}
	none(s.Before)
	row(s.After, 1, "eu", "read")
	none(s.Before)
	row(s.After, 2, "eu", "new")
	// Only what changed is in the later image.
	row(s.Before, 2, "eu", "new")
	s.After[0].AppendAbsent()
	s.After[1].AppendAbsent()
	s.After[2].AppendNull()
	row(s.Before, 1, "eu", "read")
	row(s.After, 1, "us", "moved")
	// Only the key is in the image of a row that went.
	s.Before[0].Append8(2)
	s.Before[1].AppendText([]byte("eu"))
	s.Before[2].AppendAbsent()
	none(s.After)
	none(s.Before)
	none(s.After)
	s.Origin.Columns = connect.NewColumns(s.Origin.Fields)
	for run, first := range []uint64{5, 0} {
		s.Origin.Columns[0].AppendText([]byte("shop"))
		s.Origin.Columns[1].Append4(uint32(first))
		if run == 0 {
			s.Origin.Columns[2].AppendText([]byte("0-1-7"))
		} else {
			s.Origin.Columns[2].AppendNull()
		}
	}
	return s
}

func TestValuesAreDebeziumsEnvelope(t *testing.T) {
	s := orders()
	j := begun(s)
	first := func(row string) string {
		return `"source":{"name":"shop","row":` + row + `,"gtid":"0-1-7"},"transaction":null,`
	}
	second := func(row string) string {
		return `"source":{"name":"shop","row":` + row + `,"gtid":null},"transaction":null,`
	}
	want := []string{
		`{"before":null,"after":{"id":1,"re\"gion":"eu","note":"read"},` + first("5") + `"op":"r",`,
		`{"before":null,"after":{"id":2,"re\"gion":"eu","note":"new"},` + first("6") + `"op":"c",`,
		`{"before":{"id":2,"re\"gion":"eu","note":"new"},"after":{"note":null},` + second("0") + `"op":"u",`,
		`{"before":{"id":1,"re\"gion":"eu","note":"read"},"after":{"id":1,"re\"gion":"us","note":"moved"},` + second("1") + `"op":"u",`,
		`{"before":{"id":2,"re\"gion":"eu"},"after":null,` + second("2") + `"op":"d",`,
		`{"before":null,"after":null,` + second("3") + `"op":"t",`,
	}
	keys := []string{
		`{"re\"gion":"eu","id":1}`, `{"re\"gion":"eu","id":2}`, `{"re\"gion":"eu","id":2}`, `{"re\"gion":"us","id":1}`,
		`{"re\"gion":"eu","id":2}`, "",
	}
	for _, row := range []int{0, 1, 2, 3, 4, 5, 1, 5, 0} { // the order does not matter
		if got := string(j.Value(nil, 0, row, s.Op[row])); got != want[row]+nowJSON {
			t.Errorf("row %d is\n%s instead of\n%s", row, got, want[row]+nowJSON)
		}
		if got := string(j.Key(nil, 0, row, s.Op[row])); got != keys[row] {
			t.Errorf("the key of row %d is %s instead of %s", row, got, keys[row])
		}
		if changed := j.KeyChanged(0, row); changed != (row == 3) {
			t.Errorf("the key of row %d changed: %v", row, changed)
		}
	}
}

func TestAnUpdateOfTheKeyIsADeleteAndACreate(t *testing.T) {
	j := begun(orders())
	for op, want := range map[connect.Op]string{
		connect.Delete: `{"re\"gion":"eu","id":1}` +
			`{"before":{"id":1,"re\"gion":"eu","note":"read"},"after":null,"source":{"name":"shop","row":1,"gtid":null},"transaction":null,"op":"d",`,
		connect.Create: `{"re\"gion":"us","id":1}` +
			`{"before":null,"after":{"id":1,"re\"gion":"us","note":"moved"},"source":{"name":"shop","row":1,"gtid":null},"transaction":null,"op":"c",`,
	} {
		if got := string(j.Value(j.Key(nil, 0, 3, op), 0, 3, op)); got != want+nowJSON {
			t.Errorf("wrote\n%s instead of\n%s", got, want+nowJSON)
		}
	}
}

func TestASectionWithoutOriginHasTheRowAlone(t *testing.T) {
	s := orders()
	s.Origin = nil
	j := begun(s)
	for row, want := range []string{
		`{"id":1,"re\"gion":"eu","note":"read"}`, `{"id":2,"re\"gion":"eu","note":"new"}`, `{"note":null}`,
		`{"id":1,"re\"gion":"us","note":"moved"}`, "", "",
	} {
		if got := string(j.Value(nil, 0, row, s.Op[row])); got != want {
			t.Errorf("row %d is %s instead of %s", row, got, want)
		}
	}
}

func TestATableWithoutPrimaryKeyHasNoKeys(t *testing.T) {
	s := orders()
	schema := *s.Schema
	schema.Key, s.Schema = nil, &schema
	if got := begun(s).Key(nil, 0, 0, connect.Read); got != nil {
		t.Errorf("wrote %s", got)
	}
}

// A source uses its batches' memory again, so what was remembered of an origin
// must not outlive the batch.
func TestTheOriginOfAnEarlierBatchIsForgotten(t *testing.T) {
	s := orders()
	b := &connect.Batch{Sections: []*connect.Section{s}}
	j := &JSON{}
	j.Begin(b, now)
	j.Value(nil, 0, 0, connect.Read)
	s.Origin.Columns[0].Reset()
	s.Origin.Columns[0].AppendText([]byte("other"))
	s.Origin.Columns[0].AppendText([]byte("other"))
	j.Begin(b, now)
	if got := j.Value(nil, 0, 0, connect.Read); !bytes.Contains(got, []byte(`"name":"other"`)) {
		t.Errorf("wrote %s", got)
	}
}

func TestSectionsOfABatchAreWrittenInAnyOrder(t *testing.T) {
	a, b := orders(), orders()
	b.Origin = nil
	j := &JSON{}
	j.Begin(&connect.Batch{Sections: []*connect.Section{a, b, a}}, now)
	for range 2 {
		for section := range 3 {
			alone := begun([]*connect.Section{a, b, a}[section])
			for row := range a.Rows() {
				if got, want := j.Value(nil, section, row, a.Op[row]), alone.Value(nil, 0, row, a.Op[row]); !bytes.Equal(got, want) {
					t.Errorf("row %d of section %d is\n%s instead of\n%s", row, section, got, want)
				}
			}
		}
		j.Begin(&connect.Batch{}, now)
		j.Begin(&connect.Batch{Sections: []*connect.Section{a, b, a}}, now)
	}
}

func TestWritingRowsAllocatesNothing(t *testing.T) {
	schema, columns := everyKind()
	for _, decimals := range []connect.Decimals{connect.DecimalsPrecise, connect.DecimalsString, connect.DecimalsDouble} {
		schema.Decimals = decimals
		s := orders()
		kinds := &connect.Section{Schema: schema, Op: []connect.Op{connect.Update}, Before: columns, After: columns, Origin: s.Origin}
		b := &connect.Batch{Sections: []*connect.Section{s, kinds}}
		j := &JSON{}
		var buffer []byte
		write := func() {
			j.Begin(b, now)
			buffer = buffer[:0]
			for i, s := range b.Sections {
				for row, op := range s.Op {
					buffer = j.Value(j.Key(buffer, i, row, op), i, row, op)
				}
			}
		}
		write()
		if n := testing.AllocsPerRun(10, write); n != 0 {
			t.Errorf("%v: %v allocations", decimals, n)
		}
	}
}
