package convert

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/splashdam/splashdam/connect"
	"pgregory.net/rapid"
)

// show is a value of a column as text. Two NaNs show alike.
func show(c *connect.Column, row int) string {
	switch {
	case c.IsAbsent(row):
		return "absent"
	case c.IsNull(row):
		return "null"
	}
	switch c.Layout() {
	case connect.BitLayout:
		return fmt.Sprint(c.Bool(row))
	case connect.TextLayout:
		return fmt.Sprintf("%q", c.Text(row))
	case connect.Fix16Layout:
		low, high := c.Bits128(row)
		return fmt.Sprintf("%016x%016x", high, low)
	}
	if c.Type.Kind == connect.Float32 && math.IsNaN(float64(math.Float32frombits(uint32(c.Bits(row))))) ||
		c.Type.Kind == connect.Float64 && math.IsNaN(math.Float64frombits(c.Bits(row))) {
		return "NaN"
	}
	return fmt.Sprintf("%x", c.Bits(row))
}

func showRow(columns []connect.Column, row int) string {
	var all []string
	for i := range columns {
		all = append(all, show(&columns[i], row))
	}
	return strings.Join(all, " ")
}

// written is a record with a row of a section, as the runtime makes it.
func written(j *JSON, s *connect.Section, row int, op connect.Op, id string) connect.Record {
	r := connect.Record{
		Offset: int64(row), Timestamp: int64(1000 + row), Key: j.Key(nil, 0, row, op), Value: j.Value(nil, 0, row, op),
		Headers: []connect.Header{{Key: connect.SchemaHeader, Value: []byte(id)}},
	}
	if row%2 == 0 {
		r.Headers = append(r.Headers, connect.Header{Key: connect.PlaceHeader, Value: connect.Place{Row: uint64(row)}.Append(nil)})
	}
	return r
}

// wantRow is what a row of a section is after it has been written and read.
func wantRow(s *connect.Section, row int, op connect.Op) string {
	absent := connect.NewColumns(s.Schema.Fields)
	for i := range absent {
		switch {
		case s.Origin == nil && op == connect.Delete && slices.Contains(s.Schema.Key, i):
			absent[i].AppendFrom(&s.Before[i], row)
		default:
			absent[i].AppendAbsent()
		}
	}
	switch {
	case op.HasAfter():
		return showRow(s.After, row)
	case op == connect.Delete && s.Origin != nil:
		return showRow(s.Before, row)
	}
	return showRow(absent, 0)
}

func TestRowsAreReadAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSection(t)
		schema := Identify(s, nil)
		j := begun(s)
		var records []connect.Record
		var want []string
		add := func(row int, op connect.Op) {
			r := written(j, s, row, op, schema.ID)
			records = append(records, r)
			if r.Value == nil && r.Key == nil {
				return // a bare row that went, without a key, and a Truncate say nothing
			}
			if s.Origin == nil && op.HasAfter() {
				want = append(want, "c "+wantRow(s, row, op))
			} else {
				want = append(want, string(op)+" "+wantRow(s, row, op))
			}
			if op == connect.Delete && s.Origin != nil {
				records = append(records, connect.Record{Offset: r.Offset, Key: r.Key}) // the tombstone
			}
		}
		for row, op := range s.Op {
			if j.KeyChanged(0, row) {
				add(row, connect.Delete)
				add(row, connect.Create)
			} else {
				add(row, op)
			}
		}
		var rows Rows
		if n, err := NewPlan(schema).Parse(records, &rows); err != nil || n != len(records) {
			t.Fatalf("%d of %d records were read: %v", n, len(records), err)
		}
		if rows.Len() != len(want) {
			t.Fatalf("%d rows instead of %d", rows.Len(), len(want))
		}
		for row := range want {
			if got := string(rows.Op[row]) + " " + showRow(rows.Columns, row); got != want[row] {
				t.Errorf("row %d, written as\n%s, is\n%s instead of\n%s", row, records[row].Value, got, want[row])
			}
			if at := rows.Offset[row]; rows.Timestamp[row] != 1000+at || rows.Placed[row] != (at%2 == 0) || rows.Placed[row] && rows.Place[row].Row != uint64(at) {
				t.Errorf("row %d has offset %d, timestamp %d and place %v", row, at, rows.Timestamp[row], rows.Place[row])
			}
		}
		if len(records) > 0 && (rows.Base != records[0].Offset || rows.Next != records[len(records)-1].Offset+1) {
			t.Errorf("the rows reach from %d to %d", rows.Base, rows.Next)
		}
	})
}

// parseOne reads one value of a record.
func parseOne(p *Plan, key, value string) (*Rows, error) {
	var rows Rows
	r := connect.Record{Offset: 7, Value: []byte(value)}
	if key != "" {
		r.Key = []byte(key)
	}
	n, err := p.Parse([]connect.Record{r}, &rows)
	if err == nil && n != 1 {
		err = fmt.Errorf("%d records were read", n)
	}
	return &rows, err
}

// accounts is a schema with few fields.
func accounts(bare bool) *connect.Schema {
	return &connect.Schema{
		ID: "5ac0", Name: "shop.app.accounts", Key: []int{0}, Bare: bare, Fields: []connect.Field{
			{Name: "id", Type: connect.Type{Kind: connect.Int32}},
			{Name: "näme", Type: connect.Type{Kind: connect.String}, Nullable: true},
			{Name: "on", Type: connect.Type{Kind: connect.Bool}},
		},
	}
}

func TestEnvelopesAreReadHoweverTheyAreWritten(t *testing.T) {
	p := NewPlan(accounts(false))
	row := `{"id":1,"näme":"x","on":true}`
	for _, test := range []struct{ key, value, want string }{
		{``, `{"before":null,"after":` + row + `,"source":{"a":[1,{}]},"transaction":null,"op":"c","ts_ms":1}`, `c 1 "x" true`},
		{``, `{"op":"r","after":` + row + `}`, `r 1 "x" true`},
		{``, ` { "after" : { "on" : true , "n\u00e4me" : "x" , "id" : 1 } , "\u006fp" : "u" } ` + "\n", `u 1 "x" true`},
		{``, `{"before":{"whatever":[]},"after":` + row + `,"op":"u"}`, `u 1 "x" true`},
		{``, `{"before":` + row + `,"after":null,"op":"d"}`, `d 1 "x" true`},
		{``, `{"op":"d","before":` + row + `}`, `d 1 "x" true`},
		{`{"id":1}`, `{"before":null,"after":null,"op":"d"}`, `d 1 absent absent`},
		{` { "id" : 1 } `, `{"op":"d"}`, `d 1 absent absent`},
		{``, `{"before":null,"after":null,"op":"t"}`, `t absent absent absent`},
		{``, `{"after":{"id":1},"op":"u"}`, `u 1 absent absent`},
		{``, `{"after":{},"op":"u"}`, `u absent absent absent`},
		{``, `{"after":{"näme":null},"op":"u"}`, `u absent null absent`},
	} {
		rows, err := parseOne(p, test.key, test.value)
		if err != nil {
			t.Errorf("%s: %v", test.value, err)
			continue
		}
		if got := string(rows.Op[0]) + " " + showRow(rows.Columns, 0); got != test.want {
			t.Errorf("%s is %s instead of %s", test.value, got, test.want)
		}
	}
}

// What is remembered of a record's source block must not change what the next one
// may look like.
func TestSpacesAfterWhatTheLastRecordHadToo(t *testing.T) {
	p := NewPlan(accounts(false))
	var rows Rows
	for _, source := range []string{
		`{"a":1,"b":2}`, `{"a":1, "b":2}`, `{"a":1,"b":2 }`, `{ "a":1,"b":2}`, `{"a":1}`, `{"a":12,"b":2}`, `{"a":1,"b":2,"c":3}`, `{"b":2,"a":1}`,
	} {
		r := connect.Record{Value: []byte(`{"source":` + source + `,"op":"u","after":{"id":1}}`)}
		if _, err := p.Parse([]connect.Record{r}, &rows); err != nil {
			t.Errorf("%s: %v", source, err)
		}
	}
}

func TestWhatIsNoEnvelopeIsAFaultWithItsPlace(t *testing.T) {
	p := NewPlan(accounts(false))
	for _, test := range []struct {
		key, value string
		fault      fault
		says       string
	}{
		{``, ``, truncated, `""`},
		{``, `5`, noObject, `"5"`},
		{``, `null`, noObject, `"null"`},
		{``, `{}`, badOp, ``},
		{``, `{"op":"x"}`, badOp, `x`},
		{``, `{"op":"cc"}`, badOp, `cc`},
		{``, `{"op":null}`, badOp, `null`},
		{``, `{"op":"c"}`, badImage, ``},
		{``, `{"op":"c","after":null}`, badImage, ``},
		{``, `{"op":"d","after":{"id":1}}`, badImage, ``},
		{``, `{"op":"t","after":{}}`, badImage, ``},
		{``, `{"op":"d"}`, noKey, `key`},
		{`[]`, `{"op":"d"}`, noObject, `key`},
		{`{"id":1}x`, `{"op":"d"}`, trailing, `key`},
		{`{"id":"1"}`, `{"op":"d"}`, wrongType, `key, field "id"`},
		{``, `{"op":"u","op":"u","after":{}}`, memberTwice, `"op\":\"u\",\"after`},
		{``, `{"after":{},"after":{},"op":"u"}`, memberTwice, ``},
		{``, `{"before":{},"before":{},"op":"d"}`, memberTwice, ``},
		{``, `{"after":{"id":1,"id":2},"op":"u"}`, memberTwice, `"\"id\":2`},
		{``, `{"after":{"id":1,"i\u0064":2},"op":"u"}`, memberTwice, ``},
		{``, `{"after":{"id":1,"colour":"red"},"op":"u"}`, unknownField, `schema 5ac0 (shop.app.accounts): value: the schema has no such field: "\"colour\":\"red\"`},
		{``, `{"after":{"id":2147483648},"op":"u"}`, outOfRange, `record at offset 7 with schema 5ac0 (shop.app.accounts): value, field "id": the value does not fit the field's type: "2147483648}`},
		{``, `{"after":{"id":null},"op":"u"}`, unexpectedNull, `field "id"`},
		{``, `{"after":{"näme":5},"op":"u"}`, wrongType, `field "näme"`},
		{``, `{"after":{"näme":"` + strings.Repeat("x", 100) + "\xff\"}}", badUTF8, strings.Repeat("x", 60)},
		{``, `{"after":{"näme":"x` + "\n\"}}", badControl, `"\n`},
		{``, `{"after":{"näme":"\ud800"}}`, badEscape, ``},
		{``, `{"source":` + strings.Repeat("[", 70), tooDeep, ``},
		{``, `{"source":"` + "\xff\"", badUTF8, ``},
		{``, `{"source":{},}`, badSyntax, ``},
		{``, `{"op":"c","after":{"id":1}}}`, trailing, ``},
		{``, `{"op":"c","after":{"id":1}} {}`, trailing, ``},
		{``, `{"op":"c","after":{"id":1}`, truncated, ``},
		{``, `{"op":"c","after":{"id":1,}}`, badSyntax, ``},
		{``, `{"op":"c","after":{"id" 1}}`, badSyntax, ``},
		{``, `{"op":"c","after":{id:1}}`, badSyntax, ``},
		{``, `{"op":"d","before":{"id":1.5}}`, wrongType, `field "id"`},
	} {
		rows, err := parseOne(p, test.key, test.value)
		var value *ValueError
		if !errors.As(err, &value) || !errors.Is(err, test.fault) || !strings.Contains(err.Error(), test.says) || value.Offset != 7 {
			t.Errorf("%s %s: %v\ninstead of %v with %s", test.key, test.value, err, test.fault, test.says)
		}
		if len(err.Error()) > 400 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
		if rows.Len() != 0 || rows.Columns[0].Rows() != 0 || rows.Columns[1].Rows() != 0 {
			t.Errorf("%s left something", test.value)
		}
	}
}

// Cut anywhere, a value is not taken for a shorter one.
func TestTruncatedValuesAreFaults(t *testing.T) {
	schema, after := everyKind()
	s := &connect.Section{Schema: schema, Op: []connect.Op{connect.Update}, Before: after, After: after, Origin: orders().Origin}
	schema = Identify(s, nil)
	value := begun(s).Value(nil, 0, 0, connect.Update)
	p := NewPlan(schema)
	if _, err := parseOne(p, "", string(value)); err != nil {
		t.Fatal(err)
	}
	for n := range value {
		if rows, err := parseOne(p, "", string(value[:n])); err == nil {
			t.Errorf("%s was read as %s", value[:n], showRow(rows.Columns, 0))
		}
	}
}

func TestBareRowsAreCreatedAndDeletedByKey(t *testing.T) {
	p := NewPlan(accounts(true))
	var rows Rows
	n, err := p.Parse([]connect.Record{
		{Offset: 3, Key: []byte(`{"id":1}`), Value: []byte(`{"id":1,"näme":"x","on":true}`)},
		{Offset: 4, Key: []byte(`{"id":1}`)},
		{Offset: 9},
	}, &rows)
	if err != nil || n != 3 || rows.Base != 3 || rows.Next != 10 || string([]byte{byte(rows.Op[0]), byte(rows.Op[1])}) != "cd" {
		t.Fatalf("read %d, %v, ops %q from %d to %d", n, err, rows.Op, rows.Base, rows.Next)
	}
	if got := showRow(rows.Columns, 0) + "; " + showRow(rows.Columns, 1); got != `1 "x" true; 1 absent absent` {
		t.Errorf("read %s", got)
	}
	for _, value := range []string{`{"id":1}x`, `5`, `{"op":"c","after":{}}`} {
		if _, err := parseOne(p, "", value); err == nil {
			t.Errorf("%s was read", value)
		}
	}
}

func schemaHeader(id string) []connect.Header {
	return []connect.Header{{Key: "other", Value: []byte("x")}, {Key: connect.SchemaHeader, Value: []byte(id)}}
}

func TestParseStopsBeforeAnotherSchema(t *testing.T) {
	p := NewPlan(accounts(false))
	value := []byte(`{"after":{"id":1},"op":"c"}`)
	records := []connect.Record{
		{Offset: 1, Value: value, Headers: schemaHeader("5ac0")},
		{Offset: 2, Value: value},
		{Offset: 5}, // a tombstone
		{Offset: 6, Value: value, Headers: schemaHeader("other")},
		{Offset: 7, Value: value, Headers: schemaHeader("5ac0")},
	}
	var rows Rows
	if n, err := p.Parse(records, &rows); n != 3 || err != nil || rows.Len() != 2 || rows.Base != 1 || rows.Next != 6 {
		t.Errorf("read %d records, %v, from %d to %d", n, err, rows.Base, rows.Next)
	}
	if n, err := p.Parse(records[3:], &rows); n != 0 || err != nil || rows.Len() != 2 || rows.Next != 6 {
		t.Errorf("read %d records, %v, up to %d", n, err, rows.Next)
	}
	if n, err := p.Parse(records[4:], &rows); n != 1 || err != nil || rows.Len() != 3 || rows.Base != 1 || rows.Next != 8 {
		t.Errorf("read %d records, %v, from %d to %d", n, err, rows.Base, rows.Next)
	}
}

func TestRowsBeforeAFaultAreGoodAndThoseBehindItToo(t *testing.T) {
	p := NewPlan(accounts(false))
	good, bad := []byte(`{"after":{"id":1,"näme":"x","on":true},"op":"c"}`), []byte(`{"after":{"id":1,"näme":"y","on":7},"op":"c"}`)
	records := []connect.Record{{Offset: 1, Value: good}, {Offset: 2, Value: bad}, {Offset: 3, Value: good}}
	var rows Rows
	if n, err := p.Parse(records, &rows); n != 1 || err == nil || rows.Next != 2 {
		t.Fatalf("read %d records, %v", n, err)
	}
	if n, err := p.Parse(records[2:], &rows); n != 1 || err != nil || rows.Next != 4 {
		t.Fatalf("read %d records, %v", n, err)
	}
	for row := range 2 {
		if got := showRow(rows.Columns, row); got != `1 "x" true` {
			t.Errorf("row %d is %s", row, got)
		}
	}
	if !slices.Equal(rows.Offset, []int64{1, 3}) {
		t.Errorf("offsets are %d", rows.Offset)
	}
}

func TestAPlaceThatIsNoneIsAFault(t *testing.T) {
	var rows Rows
	r := connect.Record{Value: []byte(`{"after":{"id":1},"op":"c"}`), Headers: []connect.Header{{Key: connect.PlaceHeader, Value: []byte("1.2")}}}
	if n, err := NewPlan(accounts(false)).Parse([]connect.Record{r}, &rows); n != 0 || err == nil || !strings.Contains(err.Error(), "sd-pos") {
		t.Errorf("read %d records, %v", n, err)
	}
}

func TestParseStopsWhenThereIsNoMoreRoom(t *testing.T) {
	rows := Rows{text: maxText - 40}
	p := NewPlan(accounts(false))
	r := connect.Record{Value: []byte(`{"after":{"id":1},"op":"c"}`)} // 27 bytes
	if n, err := p.Parse([]connect.Record{r, r}, &rows); n != 1 || err != nil || rows.Len() != 1 {
		t.Errorf("read %d records, %v", n, err)
	}
	rows.Reset()
	if n, err := p.Parse([]connect.Record{r, r}, &rows); n != 2 || err != nil {
		t.Errorf("read %d records, %v", n, err)
	}
}

// Few bytes of a record can be much text: 1e999 has a thousand digits.
func TestTextThatIsLongerThanItsRecordCounts(t *testing.T) {
	schema := accounts(true)
	schema.Decimals = connect.DecimalsDouble
	schema.Fields = []connect.Field{
		{Name: "id", Type: connect.Type{Kind: connect.Decimal, Precision: 1000}}, {Name: "bits", Type: connect.Type{Kind: connect.Bits, Length: 4000}},
	}
	p := NewPlan(schema)
	r := connect.Record{Value: []byte(`{"id":-9e999,"bits":""}`)}
	var rows Rows
	if n, err := p.Parse([]connect.Record{r, r, r}, &rows); n != 3 || err != nil {
		t.Fatal(n, err)
	}
	if has := len(rows.Columns[0].Data) + len(rows.Columns[1].Data); has < 4000 || rows.text < has {
		t.Errorf("%d bytes of text were counted as %d", has, rows.text)
	}
}

func TestRowsChangeTheirPlanOnlyWhenTheyAreEmpty(t *testing.T) {
	var rows Rows
	r := []connect.Record{{Value: []byte(`{"after":{"id":1},"op":"c"}`)}}
	if _, err := NewPlan(accounts(false)).Parse(r, &rows); err != nil {
		t.Fatal(err)
	}
	other := accounts(false)
	other.Fields = other.Fields[:1]
	func() {
		defer func() {
			if recover() == nil {
				t.Error("rows of two schemas were mixed")
			}
		}()
		NewPlan(other).Parse(r, &rows)
	}()
	rows.Reset()
	if n, err := NewPlan(other).Parse(r, &rows); n != 1 || err != nil || len(rows.Columns) != 1 {
		t.Errorf("read %d records, %v, into %d columns", n, err, len(rows.Columns))
	}
}

func TestReadingRowsAllocatesNothing(t *testing.T) {
	schema, after := everyKind()
	s := &connect.Section{Schema: schema, Op: []connect.Op{connect.Update}, Before: after, After: after, Origin: orders().Origin}
	for _, schema.Decimals = range []connect.Decimals{connect.DecimalsPrecise, connect.DecimalsString, connect.DecimalsDouble} {
		value := begun(s).Value(nil, 0, 0, connect.Update)
		gone := []byte(`{"before":null,"op":"d"}`)
		records := []connect.Record{
			{Value: value, Headers: []connect.Header{{Key: connect.PlaceHeader, Value: []byte("1.2.3.4.5")}}},
			{Key: []byte(`{"i\u006et64":1}`), Value: gone},
			{Value: []byte(`{"op":"c","after":{"\u0073tring":"\u0073","bytes":"\/w==","geometry":{"srid":1,"w\u006bb":""}}}`)},
		}
		p := NewPlan(schema)
		var rows Rows
		parse := func() {
			rows.Reset()
			for range 10 {
				if n, err := p.Parse(records, &rows); n != len(records) {
					t.Fatal(n, err)
				}
			}
		}
		parse()
		if n := testing.AllocsPerRun(10, parse); n != 0 {
			t.Errorf("%v: %v allocations", schema.Decimals, n)
		}
	}
}
