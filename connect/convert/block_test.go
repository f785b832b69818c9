package convert

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/splashdam/splashdam/connect"
)

// foreignFields are fields as Kafka Connect describes them, a value of each, and
// what they are here.
var foreignFields = []struct{ block, value, kind, want string }{
	{`"type":"boolean"`, `true`, "bool", "true"},
	{`"type":"int8"`, `-1`, "int8", "ff"},
	{`"type":"int16"`, `-1`, "int16", "ffff"},
	{`"type":"int32"`, `-1`, "int32", "ffffffff"},
	{`"type":"int64"`, `-1`, "int64", "ffffffffffffffff"},
	{`"type":"float"`, `1`, "float32", "3f800000"},
	{`"type":"double"`, `1`, "float64", "3ff0000000000000"},
	{`"type":"string"`, `"x"`, "string", `"x"`},
	{`"type":"bytes"`, `"AQ=="`, "bytes", `"\x01"`},
	{`"type":"string","name":"io.debezium.data.Uuid"`, `"4f"`, "string", `"4f"`},
	{`"type":"struct","fields":[{"type":"int32","field":"scale"}],"name":"io.debezium.data.VariableScaleDecimal"`, `{"scale" : 1,"value":"AQ=="}`, "json", `"{\"scale\" : 1,\"value\":\"AQ==\"}"`},
	{`"type":"array","items":{"type":"int32"}`, `[1,[2]]`, "json", `"[1,[2]]"`},
	{`"type":"map","keys":{"type":"string"},"values":{"type":"int32"}`, `{"a":1}`, "json", `"{\"a\":1}"`},
	{`"type":"int32","name":"io.debezium.time.Date","version":1`, `19756`, "date", "4d2c"},
	{`"type":"int32","name":"org.apache.kafka.connect.data.Date"`, `19756`, "date", "4d2c"},
	{`"type":"int32","name":"io.debezium.time.Time"`, `1000`, "time/3", "f4240"},
	{`"type":"int32","name":"org.apache.kafka.connect.data.Time"`, `1000`, "time/3", "f4240"},
	{`"type":"int64","name":"io.debezium.time.MicroTime"`, `1000000`, "time/6", "f4240"},
	{`"type":"int64","name":"io.debezium.time.NanoTime"`, `-1000000000`, "time/6", "fffffffffff0bdc0"},
	{`"type":"int64","name":"io.debezium.time.Timestamp"`, `1000`, "datetime/3", "f4240"},
	{`"type":"int64","name":"io.debezium.time.MicroTimestamp"`, `1000000`, "datetime/6", "f4240"},
	{`"type":"int64","name":"io.debezium.time.NanoTimestamp"`, `1000000000`, "datetime/6", "f4240"},
	{`"type":"int64","name":"org.apache.kafka.connect.data.Timestamp"`, `1000`, "timestamp/3", "f4240"},
	{`"type":"string","name":"io.debezium.time.ZonedTimestamp"`, `"1970-01-01T01:00:01+01:00"`, "timestamp/6", "f4240"},
	{`"type":"int32","name":"io.debezium.time.Year"`, `2024`, "year", "7e8"},
	{`"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2","connect.decimal.precision":"12"}`, `"MDk="`, "decimal(12,2)", "00000000000000000000000000003039"},
	{`"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"0"}`, `"MDk="`, "decimal(38,0)", "00000000000000000000000000003039"},
	{`"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"1","connect.decimal.precision":"65"}`, `"MDk="`, "decimal(65,1)", `"1234.5"`},
	{`"type":"string","name":"io.debezium.data.Json"`, `"{}"`, "json", `"{}"`},
	{`"type":"string","name":"io.debezium.data.Enum","parameters":{"allowed":"new,paid"}`, `"paid"`, "enum[new paid]", `"paid"`},
	{`"type":"string","name":"io.debezium.data.EnumSet","parameters":{"allowed":"a,b"}`, `"a,b"`, "set[a b]", `"a,b"`},
	{`"type":"bytes","name":"io.debezium.data.Bits","parameters":{"length":"12"}`, `"/w8="`, "bits:12", `"\xff\x0f"`},
	{`"type":"struct","name":"io.debezium.data.geometry.Geometry"`, `{"wkb":"AQ==","srid":null}`, "geometry", `"\x00\x00\x00\x00\x01"`},
	{`"type":"struct","name":"io.debezium.data.geometry.Point"`, `{"x":1.0,"y":2.0,"wkb":"AQ==","srid":1}`, "geometry", `"\x01\x00\x00\x00\x01"`},
}

func typeName(t connect.Type) string {
	name := t.Kind.String()
	switch {
	case t.Kind == connect.Decimal:
		name += fmt.Sprintf("(%d,%d)", t.Precision, t.Scale)
	case t.Precision > 0:
		name += fmt.Sprint("/", t.Precision)
	case t.Length > 0:
		name += fmt.Sprint(":", t.Length)
	case t.Values != nil:
		name += fmt.Sprint(t.Values)
	}
	return name
}

const keyBlock = `{"schema":{"type":"struct","fields":[{"type":"int32","optional":false,"field":"f3"}],"name":"shop.app.kinds.Key"},"payload":{"f3":-1}}`

// foreign is a record as Debezium writes it with schemas.enable=true.
func foreign(op string) *connect.Record {
	var fields, members []string
	for i, f := range foreignFields {
		fields = append(fields, fmt.Sprintf(`{%s,"optional":%v,"field":"f%d"}`, f.block, i%2 == 0, i))
		members = append(members, fmt.Sprintf(`"f%d":%s`, i, f.value))
	}
	row := `{"type":"struct","fields":[` + strings.Join(fields, ",") + `],"optional":true,"name":"shop.app.kinds.Value","field":`
	image := "{" + strings.Join(members, ",") + "}"
	before, after := "null", image
	if op == "d" {
		before, after = after, before
	}
	return &connect.Record{
		Key: []byte(keyBlock),
		Value: []byte(`{"schema":{"type":"struct","fields":[` + row + `"before"},` + row + `"after"},{"type":"struct","fields":[],"field":"source"},` +
			`{"type":"string","field":"op"}],"optional":false,"name":"shop.app.kinds.Envelope","version":1},"payload":{"before":` + before +
			`,"after":` + after + `,"source":{"db":"app"},"op":"` + op + `"}}`),
	}
}

func TestDebeziumsOwnRecordsAreReadByTheSchemaTheyComeWith(t *testing.T) {
	r := foreign("c")
	p, err := NewBlockPlan(r)
	if err != nil {
		t.Fatal(err)
	}
	s := p.Schema
	if s.Name != "shop.app.kinds" || s.Bare || len(s.Key) != 1 || s.Key[0] != 3 || len(s.Fields) != len(foreignFields) {
		t.Fatalf("the schema is %s", describe(s))
	}
	records := []connect.Record{*r, *foreign("d"), {Key: []byte(keyBlock)}, *foreign("u")}
	gone := *r
	payload := strings.Index(string(r.Value), `"payload":`) + len(`"payload":`)
	gone.Value = []byte(string(r.Value[:payload]) + `{"op":"d"}}`)
	records = append(records, gone)
	var rows Rows
	if n, err := p.Parse(records, &rows); err != nil || n != len(records) || rows.Len() != 4 {
		t.Fatalf("read %d records, %v", n, err)
	}
	for i, f := range foreignFields {
		field := s.Fields[i]
		if got := typeName(field.Type); got != f.kind || field.Nullable != (i%2 == 0) {
			t.Errorf("%s is %s, nullable %v, instead of %s", f.block, got, field.Nullable, f.kind)
		}
		for row := range 3 {
			if got := show(&rows.Columns[i], row); got != f.want {
				t.Errorf("row %d: %s of %s is %s instead of %s", row, f.value, f.block, got, f.want)
			}
		}
		want := "absent"
		if i == 3 {
			want = f.want
		}
		if got := show(&rows.Columns[i], 3); got != want {
			t.Errorf("of a row that went, f%d is %s instead of %s", i, got, want)
		}
	}
	if string([]byte{byte(rows.Op[0]), byte(rows.Op[1]), byte(rows.Op[2]), byte(rows.Op[3])}) != "cdud" {
		t.Errorf("the ops are %v", rows.Op)
	}
}

func TestAnotherSchemaBlockIsAnotherSchema(t *testing.T) {
	r := foreign("c")
	p, err := NewBlockPlan(r)
	if err != nil {
		t.Fatal(err)
	}
	other := *r
	other.Value = []byte(strings.Replace(string(r.Value), `"int16"`, `"int32"`, 2))
	if !p.Reads(r) || p.Reads(&other) || !p.Reads(&connect.Record{}) {
		t.Errorf("reads its own: %v, another: %v, none: %v", p.Reads(r), p.Reads(&other), p.Reads(&connect.Record{}))
	}
	again, err := NewBlockPlan(&other)
	if err != nil || again.Schema.SameRows(p.Schema) || !again.Reads(&other) {
		t.Errorf("%v: %s", err, describe(again.Schema))
	}
	clear(r.Value) // whose memory is not the plan's
	if !p.Reads(foreign("c")) {
		t.Error("the plan has forgotten its block")
	}
}

func TestRowsAloneAreReadByTheSchemaTheyComeWith(t *testing.T) {
	r := &connect.Record{Value: []byte(`{ "schema" : {"type":"struct","fields":[{"type":"int32","field":"op"},{"type":"string","optional":true,"field":"after"}],` +
		`"name":"shop.app.t.Value"} , "payload" : {"op":5,"after":null} } `)}
	p, err := NewBlockPlan(r)
	if err != nil {
		t.Fatal(err)
	}
	var rows Rows
	if n, err := p.Parse([]connect.Record{*r}, &rows); n != 1 || err != nil || !p.Schema.Bare || p.Schema.Name != "shop.app.t" {
		t.Fatalf("read %d records, %v: %s", n, err, describe(p.Schema))
	}
	if got := showRow(rows.Columns, 0); got != "5 null" || p.Schema.Key != nil {
		t.Errorf("read %s, key %v", got, p.Schema.Key)
	}
}

func TestPayloadsEndWithTheirRecord(t *testing.T) {
	r := foreign("c")
	p, err := NewBlockPlan(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{
		string(r.Value[:len(r.Value)-1]), string(r.Value) + "}", strings.TrimSuffix(string(r.Value), "}") + `,"x":1}`,
	} {
		if _, err := parseOne(p, "", value); err == nil {
			t.Errorf("%s was read", value[len(value)-20:])
		}
	}
	for _, key := range []string{`{"f3":1}`, strings.TrimSuffix(keyBlock, "}"), keyBlock + "x"} {
		payload := strings.Index(string(r.Value), `"payload":`) + len(`"payload":`)
		if _, err := parseOne(p, key, string(r.Value[:payload])+`{"op":"d"}}`); err == nil {
			t.Errorf("the key %s was read", key)
		}
	}
}

func TestRecordsWithoutAUsableBlockAreRefused(t *testing.T) {
	for _, value := range []string{"", "5", "{}", `{"op":"c"}`, `{"schema":{}}`, `{"schema":{},"x":1}`, `{"payload":{},"schema":{}}`, `{"schema":{`, `{"schema" 1}`} {
		if _, err := NewBlockPlan(&connect.Record{Value: []byte(value)}); !errors.Is(err, ErrNoBlock) {
			t.Errorf("%s: %v", value, err)
		}
	}
	field := func(f string) string {
		return `{"schema":{"type":"struct","fields":[{"field":"a",` + f + `}],"name":"t.Value"},"payload":{}}`
	}
	for _, value := range []string{
		`{"schema":5,"payload":{}}`, `{"schema":null,"payload":null}`, `{"schema":{"type":"string"},"payload":"x"}`,
		field(`"type":"int128"`), field(`"type":"int32"},{"field":"a","type":"int32"`),
		field(`"type":"bytes","name":"org.apache.kafka.connect.data.Decimal"`),
		field(`"type":"bytes","name":"io.debezium.data.Bits"`),
	} {
		if !json.Valid([]byte(value)) {
			t.Fatalf("%s is not JSON", value)
		}
		if p, err := NewBlockPlan(&connect.Record{Value: []byte(value)}); err == nil || errors.Is(err, ErrNoBlock) {
			t.Errorf("%s: %v %v", value, p, err)
		}
	}
}

func TestTimesThatDoNotFitMicrosecondsAreFaults(t *testing.T) {
	for name, values := range map[string][]string{
		"io.debezium.time.NanoTimestamp": {`1`, `-999`, `1e3`, `"1000"`},
		"io.debezium.time.Timestamp":     {`9223372036854776`, `-9223372036854776`, `99999999999999999999`, `1.5`},
	} {
		head := `{"schema":{"type":"struct","fields":[{"type":"int64","name":"` + name + `","field":"at"}]},"payload":{"at":`
		p, err := NewBlockPlan(&connect.Record{Value: []byte(head + `1000}}`)})
		if err != nil {
			t.Fatal(err)
		}
		for _, value := range values {
			if rows, err := parseOne(p, "", head+value+"}}"); err == nil {
				t.Errorf("%s: %s was read as %s", name, value, showRow(rows.Columns, 0))
			}
		}
	}
}

func FuzzNewBlockPlan(f *testing.F) {
	f.Add(foreign("c").Key, foreign("c").Value)
	f.Add([]byte(nil), []byte(`{"schema":{"type":"struct","fields":[{"type":"int32","field":"a"}]},"payload":{"a":5}}`))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		r := connect.Record{Key: key, Value: value}
		p, err := NewBlockPlan(&r)
		if err != nil {
			return
		}
		if !p.Reads(&r) {
			t.Error("the plan is not for its own record")
		}
		var rows Rows
		if n, err := p.Parse([]connect.Record{r}, &rows); err == nil && n != 1 {
			t.Errorf("%d records were read", n)
		}
	})
}
