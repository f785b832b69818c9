package convert

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/splashdam/splashdam/connect"
	"pgregory.net/rapid"
)

// modelRow reads a bare row by encoding/json, math/big and time, into columns of
// one row. It says whether the text is such a row at all.
func modelRow(s *connect.Schema, text []byte) ([]connect.Column, bool) {
	columns := connect.NewColumns(s.Fields)
	members, ok := modelMembers(text)
	if !ok || !strictlyValid(text) {
		return nil, false
	}
	for _, m := range members {
		i := s.Index(m.name)
		if i < 0 || columns[i].Rows() > 0 || !modelValue(&columns[i], s.Fields[i], m.value, s.Decimals) {
			return nil, false
		}
	}
	for i := range columns {
		if columns[i].Rows() == 0 {
			columns[i].AppendAbsent()
		}
	}
	return columns, true
}

type modelMember struct {
	name  string
	value json.RawMessage
}

// modelMembers splits an object.
func modelMembers(text []byte) (all []modelMember, ok bool) {
	d := json.NewDecoder(bytes.NewReader(text))
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return nil, false
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, false
		}
		m := modelMember{name: name.(string)}
		if d.Decode(&m.value) != nil {
			return nil, false
		}
		all = append(all, m)
	}
	_, err := d.Token()
	return all, err == nil
}

// modelInto is whether encoding/json finds a T in the text.
func modelInto[T any](text []byte) (v T, ok bool) {
	err := json.Unmarshal(text, &v)
	return v, err == nil && string(text) != "null"
}

func modelValue(c *connect.Column, f connect.Field, text []byte, decimals connect.Decimals) bool {
	if string(text) == "null" {
		c.AppendNull()
		return f.Nullable
	}
	var ok bool
	switch f.Type.Kind {
	case connect.Bool:
		var v bool
		if v, ok = modelInto[bool](text); ok {
			c.AppendBool(v)
		}
	case connect.Int8:
		var v int8
		if v, ok = modelInto[int8](text); ok {
			c.Append1(uint8(v))
		}
	case connect.Int16:
		var v int16
		if v, ok = modelInto[int16](text); ok {
			c.Append2(uint16(v))
		}
	case connect.Int32, connect.Date, connect.Year:
		var v int32
		if v, ok = modelInto[int32](text); ok {
			c.Append4(uint32(v))
		}
	case connect.Uint8:
		var v uint8
		if v, ok = modelInto[uint8](text); ok {
			c.Append1(v)
		}
	case connect.Uint16:
		var v uint16
		if v, ok = modelInto[uint16](text); ok {
			c.Append2(v)
		}
	case connect.Uint32:
		var v uint32
		if v, ok = modelInto[uint32](text); ok {
			c.Append4(v)
		}
	case connect.Uint64:
		var v uint64
		if v, ok = modelInto[uint64](text); ok {
			c.Append8(v)
		}
	case connect.Int64, connect.Time, connect.DateTime:
		var v int64
		if v, ok = modelInto[int64](text); ok {
			micros := big.NewInt(v)
			if f.Type.Kind == connect.DateTime && f.Type.Precision <= 3 {
				micros.Mul(micros, big.NewInt(1000))
			}
			if ok = micros.IsInt64(); ok {
				c.Append8(uint64(micros.Int64()))
			}
		}
	case connect.Float32:
		v, special := modelSpecial(text)
		v32 := float32(v)
		if ok = special; !special {
			v32, ok = modelInto[float32](text)
		}
		if ok {
			c.Append4(math.Float32bits(v32))
		}
	case connect.Float64:
		var v float64
		if v, ok = modelSpecial(text); !ok {
			v, ok = modelInto[float64](text)
		}
		if ok {
			c.Append8(math.Float64bits(v))
		}
	case connect.String, connect.JSON, connect.Enum, connect.Set:
		var v string
		if v, ok = modelInto[string](text); ok {
			c.AppendText([]byte(v))
		}
	case connect.Bytes:
		var v []byte
		if v, ok = modelBase64(text); ok {
			c.AppendText(v)
		}
	case connect.Bits:
		var v []byte
		if v, ok = modelBase64(text); ok {
			value := new(big.Int).SetBytes(reversed(v))
			length := (f.Type.Length + 7) / 8
			if ok = len(v) <= length && value.BitLen() <= f.Type.Length; ok {
				c.AppendText(reversed(value.FillBytes(make([]byte, length))))
			}
		}
	case connect.Decimal:
		var n *big.Int
		if n, ok = modelDecimal(f.Type, text, decimals); ok {
			appendDecimalValue(c, n)
		}
	case connect.Timestamp:
		var micros int64
		if micros, ok = modelTimestamp(f.Type, text); ok {
			c.Append8(uint64(micros))
		}
	case connect.Geometry:
		var v []byte
		if v, ok = modelGeometry(text); ok {
			c.AppendText(v)
		}
	}
	return ok
}

func modelSpecial(text []byte) (float64, bool) {
	switch string(text) {
	case `"NaN"`:
		return math.NaN(), true
	case `"Infinity"`:
		return math.Inf(1), true
	case `"-Infinity"`:
		return math.Inf(-1), true
	}
	return 0, false
}

func reversed(b []byte) []byte {
	b = slices.Clone(b)
	slices.Reverse(b)
	return b
}

var modelAlphabet = regexp.MustCompile(`^[A-Za-z0-9+/]*=*$`)

func modelBase64(text []byte) ([]byte, bool) {
	s, ok := modelInto[string](text)
	if !ok || strings.ContainsAny(s, "\r\n") || !modelAlphabet.MatchString(s) {
		return nil, false
	}
	v, err := base64.StdEncoding.DecodeString(s)
	return v, err == nil && base64.StdEncoding.EncodeToString(v) == s
}

var modelNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

func modelDecimal(t connect.Type, text []byte, decimals connect.Decimals) (*big.Int, bool) {
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(t.Precision)), nil)
	if decimals == connect.DecimalsPrecise {
		v, ok := modelBase64(text)
		if !ok || len(v) == 0 || len(v) > maxUnscaled {
			return nil, false
		}
		n := new(big.Int).SetBytes(v)
		if v[0] >= 0x80 {
			n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(v))))
		}
		return n, n.CmpAbs(limit) < 0
	}
	s := string(text)
	if decimals == connect.DecimalsString {
		var ok bool
		if s, ok = modelInto[string](text); !ok {
			return nil, false
		}
	}
	if !modelNumber.MatchString(s) {
		return nil, false
	}
	mantissa, exponent, _ := strings.Cut(strings.ToLower(s), "e")
	if strings.Trim(mantissa, "-0.") == "" {
		return new(big.Int), true
	}
	if digits := strings.TrimLeft(exponent, "+-0"); len(digits) > 5 {
		return nil, false
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return nil, false
	}
	r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(t.Scale)), nil)))
	return r.Num(), r.IsInt() && r.Num().CmpAbs(limit) < 0
}

var modelTime = regexp.MustCompile(`^(\d{4}|[+-]\d{4,7})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:Z|([+-])(\d\d):(\d\d))$`)

func modelTimestamp(t connect.Type, text []byte) (int64, bool) {
	s, ok := modelInto[string](text)
	m := modelTime.FindStringSubmatch(s)
	if !ok || m == nil {
		return 0, false
	}
	number := func(i int) int {
		n, err := strconv.Atoi(m[i])
		ok = ok && (err == nil || m[i] == "")
		return n
	}
	year, month, day, hour, minute, second := number(1), number(2), number(3), number(4), number(5), number(6)
	if !ok {
		return 0, false
	}
	at := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	if at.Year() != year || int(at.Month()) != month || at.Day() != day || at.Hour() != hour || at.Minute() != minute || at.Second() != second {
		return 0, false
	}
	zone := number(9)*3600 + number(10)*60
	if number(9) > 18 || number(10) > 59 {
		return 0, false
	}
	if m[8] == "-" {
		zone = -zone
	}
	fraction := m[7] + "000000"
	if strings.Trim(fraction[t.Precision:], "0") != "" {
		return 0, false
	}
	micros, _ := strconv.ParseInt(fraction[:6], 10, 64)
	seconds := at.Unix() - int64(zone)
	return seconds*1e6 + micros, seconds < math.MaxInt64/1_000_000 && seconds > -math.MaxInt64/1_000_000
}

func modelGeometry(text []byte) ([]byte, bool) {
	members, ok := modelMembers(text)
	if !ok {
		return nil, false
	}
	var wkb []byte
	var srid uint32
	seen := map[string]bool{}
	for _, m := range members {
		switch m.name {
		case "wkb":
			wkb, ok = modelBase64(m.value)
		case "srid":
			if string(m.value) != "null" {
				srid, ok = modelInto[uint32](m.value)
			}
		default:
			continue
		}
		if !ok || seen[m.name] {
			return nil, false
		}
		seen[m.name] = true
	}
	return append(binary.LittleEndian.AppendUint32(nil, srid), wkb...), seen["wkb"]
}

// checkRow compares a plan with the model.
func checkRow(t interface {
	Helper()
	Errorf(string, ...any)
}, p *Plan, text []byte) {
	t.Helper()
	s := p.Schema
	want, valid := modelRow(s, text)
	rows, err := parseOne(p, "", string(text))
	switch {
	case valid != (err == nil):
		t.Errorf("%q, decimals %v: valid %v, but %v", text, s.Decimals, valid, err)
	case valid && showRow(rows.Columns, 0) != showRow(want, 0):
		t.Errorf("%q, decimals %v: read\n%s instead of\n%s", text, s.Decimals, showRow(rows.Columns, 0), showRow(want, 0))
	}
}

// oddValues are values that some field takes and others do not, and those around
// what each takes.
func oddValues() []string {
	all := []string{
		`null`, `nul`, `nullx`, `true`, `false`, `tru`, `falsey`, `{}`, `[]`, ``, `-`, `0`, `-0`, `00`, `01`, `-01`, `1.0`, `1e3`, `1E+2`, `1.`, `.1`, `0x1`,
		`1e400`, `-1e400`, `1e-400`, `3.4028235e38`, `3.4028236e38`, `1e39`, `0.1`, `0.30000000000000004`, `123456789012345678901234567890`,
		`1e-1`, `12345678901.5`, `1e9`, `1e99`, `1e100000000000000000000`, `1e-100000000000000000000`, `0e999999999`, `0.000000000000`, `123.450`, `99999999999.99`,
		`""`, `"x"`, `"NaN"`, `"Infinity"`, `"-Infinity"`, `"+Infinity"`, `"nan"`, `"Na\u004e"`, `"1"`, `"\u0031\u002e5"`, `"-0.5"`, `"-0.0"`, `"0E-7"`, `" 1"`, `"1 "`, `"+1"`, `".5"`,
		`"AA=="`, `"AQ=="`, `"AAA="`, `"AAAA"`, `"/w8="`, `"\/w8="`, `"/w\u0038="`, `"/x8="`, `"AB=="`, `"A"`, `"AA"`, `"AA="`, `"A==="`, `"AA==\n"`, `"A\nA=="`, `"A-__"`,
		`"/////////////////////w=="`, `"AP////////////////////8="`, `"f////////////////////w=="`, `"gAAAAAAAAAAAAAAAAAAAAA=="`, `"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAQ=="`,
		`{"wkb":"AQ==","srid":4326}`, `{"srid":4294967295,"wkb":""}`, `{"srid":4294967296,"wkb":""}`, `{"srid":-1,"wkb":""}`, `{"srid":null,"wkb":"AQ=="}`, `{"wkb":null}`,
		`{"srid":1}`, `{"wkb":"","wkb":""}`, `{"srid":1,"srid":1,"wkb":""}`, `{"x":[{}],"wkb":"","y":1.5}`, `{"w\u006bb":"\/w=="}`, `{"wkb":"A"}`, `{"wkb":5}`, `{"srid":"1","wkb":""}`, `{"wkb":""`, `{"wkb"}`,
		`"2024-02-03T04:05:06Z"`, `"2024-02-03T04:05:06.123456Z"`, `"2024-02-03T04:05:06.123456000Z"`, `"2024-02-03T04:05:06.1234567Z"`, `"2024-02-03T04:05:06.Z"`,
		`"2024-02-29T00:00:00Z"`, `"2023-02-29T00:00:00Z"`, `"2024-04-31T00:00:00Z"`, `"2024-13-01T00:00:00Z"`, `"2024-00-01T00:00:00Z"`, `"2024-01-00T00:00:00Z"`, `"2024-01-32T00:00:00Z"`,
		`"2024-01-01T24:00:00Z"`, `"2024-01-01T23:60:00Z"`, `"2024-01-01T23:59:60Z"`, `"2024-01-01T00:00:00+02:00"`, `"2024-01-01T00:00:00.5-11:30"`, `"2024-01-01T00:00:00+19:00"`,
		`"2024-01-01T00:00:00"`, `"2024-01-01 00:00:00Z"`, `"2024-01-01T00:00:00z"`, `"24-01-01T00:00:00Z"`, `"0000-01-01T00:00:00Z"`, `"-0001-12-31T23:59:59.999999Z"`,
		`"+10000-01-01T00:00:00Z"`, `"+2024-01-01T00:00:00Z"`, `"10000-01-01T00:00:00Z"`, `"+294247-01-09T00:00:00Z"`, `"+294248-01-09T00:00:00Z"`, `"-290308-12-21T00:00:00Z"`, `"-290309-01-01T00:00:00Z"`,
		`"+99999999999999999999-01-01T00:00:00Z"`, `"2024-01-01T00:00:00Z "`, `"202\u0034-01-01T00:00:00Z"`, `"2024-1-01T00:00:00Z"`, `"1969-12-31T23:59:59.999999Z"`,
		"\"\xff\"", `"\ud800"`, `"é"`, "\"\t\"", `"a\tb"`, `"a`, `["a"]`,
	}
	for _, bits := range []uint{7, 8, 15, 16, 31, 32, 63, 64} {
		for off := int64(-1); off <= 1; off++ {
			n := new(big.Int).Lsh(big.NewInt(1), bits)
			n.Add(n, big.NewInt(off))
			all = append(all, n.String(), "-"+n.String(), "0"+n.String(), n.String()+"0")
		}
	}
	for _, n := range []int64{math.MaxInt64 / 1000, math.MinInt64 / 1000} {
		all = append(all, fmt.Sprint(n), fmt.Sprint(n+1), fmt.Sprint(n-1))
	}
	for _, digits := range []int{9, 10, 11, 12, 13, 64, 65, 66} {
		nines, one := strings.Repeat("9", digits), "1"+strings.Repeat("0", digits)
		for _, number := range []string{nines, "-" + nines, one, nines + ".9", nines + ".90", nines + ".99", nines + ".999", "0.0" + one, nines + "e-1", nines + "e-2", nines + "E2"} {
			all = append(all, number, strconv.Quote(number))
		}
		n, _ := new(big.Int).SetString(nines, 10)
		for off := int64(0); off < 2; off++ {
			n.Add(n, big.NewInt(off))
			all = append(all, strconv.Quote(base64.StdEncoding.EncodeToString(twosComplement(n))),
				strconv.Quote(base64.StdEncoding.EncodeToString(twosComplement(new(big.Int).Neg(n)))))
		}
	}
	return all
}

func everyKindOf(decimals connect.Decimals) *connect.Schema {
	s, _ := everyKind()
	s.Bare, s.Decimals = true, decimals
	s.Fields[0].Nullable = false
	s.Fields = append(s.Fields,
		connect.Field{Name: "seconds", Type: connect.Type{Kind: connect.Timestamp}, Nullable: true},
		connect.Field{Name: "whole", Type: connect.Type{Kind: connect.Decimal, Precision: 38}, Nullable: true},
		connect.Field{Name: "byte", Type: connect.Type{Kind: connect.Bits, Length: 8}, Nullable: true})
	return s
}

func TestEveryFieldTakesWhatTheModelTakes(t *testing.T) {
	for decimals := connect.DecimalsPrecise; decimals <= connect.DecimalsDouble; decimals++ {
		s := everyKindOf(decimals)
		p := NewPlan(s)
		taken := 0
		for _, f := range s.Fields {
			for _, value := range oddValues() {
				text := []byte(fmt.Sprintf(`{"%s":%s}`, f.Name, value))
				checkRow(t, p, text)
				if _, ok := modelRow(s, text); ok {
					taken++
				}
			}
		}
		if taken < 500 {
			t.Errorf("only %d values were taken", taken)
		}
	}
}

func TestRowsAreTakenIfTheModelTakesThem(t *testing.T) {
	p := NewPlan(everyKindOf(connect.DecimalsPrecise))
	for _, text := range append(slices.Clone(documents),
		everyKindJSON, " \t\r\n"+everyKindJSON+" \t\r\n", everyKindJSON+"x", everyKindJSON+everyKindJSON,
		`{"int8":1,"int8":1}`, `{"int8":1,"int16":2,"int8":3}`, `{"in\u00748":1}`, `{"int9":1}`, `{"int8" : 1 , "string" : "x" }`, `{"int8":1 "int16":2}`,
		`{"int16":1,"int8":2}`, `{"int8":1,}`, `{,"int8":1}`, `{"int8":1,,"int16":1}`, `{"int8"}`, `{"int8":}`, `{"int8":1`, `{"int8`, `{"int8":1]`, `{int8:1}`,
	) {
		checkRow(t, p, []byte(text))
	}
}

func FuzzRow(f *testing.F) {
	for _, text := range append(slices.Clone(documents), everyKindJSON) {
		f.Add([]byte(text), uint8(0))
	}
	for i, value := range oddValues() {
		s := everyKindOf(0)
		f.Add([]byte(fmt.Sprintf(`{"%s":%s,"int8":1}`, s.Fields[i%len(s.Fields)].Name, value)), uint8(i))
	}
	plans := []*Plan{
		NewPlan(everyKindOf(connect.DecimalsPrecise)), NewPlan(everyKindOf(connect.DecimalsString)), NewPlan(everyKindOf(connect.DecimalsDouble)),
	}
	f.Fuzz(func(t *testing.T, text []byte, mode uint8) {
		if bytes.Count(text, []byte("{"))+bytes.Count(text, []byte("[")) > maxDepth-2 {
			t.Skip() // the model counts the row's own depth
		}
		checkRow(t, plans[int(mode)%len(plans)], text)
	})
}

// modelEnvelope reads a value in Debezium's envelope.
func modelEnvelope(s *connect.Schema, key, value []byte) (op string, columns []connect.Column, ok bool) {
	members, ok := modelMembers(value)
	if !ok || !strictlyValid(value) {
		return "", nil, false
	}
	of := map[string]string{}
	for _, m := range members {
		switch m.name {
		case "before", "after", "op":
			if _, twice := of[m.name]; twice {
				return "", nil, false
			}
			of[m.name] = string(m.value)
		}
	}
	image := func(name string) string { return strings.TrimSuffix(of[name], "null") }
	switch op = of["op"]; {
	case op == `"r"` || op == `"c"` || op == `"u"`:
		columns, ok = modelRow(s, []byte(image("after")))
	case op != `"d"` && op != `"t"` || image("after") != "":
		return "", nil, false
	case op == `"t"`:
		columns, ok = modelRow(s, []byte("{}"))
	case image("before") != "":
		columns, ok = modelRow(s, []byte(image("before")))
	default:
		columns, ok = modelRow(s, key)
	}
	return strings.Trim(op, `"`), columns, ok
}

// checkEnvelope compares a plan with the model. What rows had before makes no
// difference.
func checkEnvelope(t interface{ Errorf(string, ...any) }, p *Plan, rows *Rows, key, value []byte) {
	op, want, valid := modelEnvelope(p.Schema, key, value)
	rows.Reset()
	_, err := p.Parse([]connect.Record{{Key: key, Value: value}}, rows)
	switch {
	case valid != (err == nil):
		t.Errorf("%q with key %q: valid %v, but %v", value, key, valid, err)
	case valid && (rows.Len() != 1 || string(rows.Op[0]) != op || showRow(rows.Columns, 0) != showRow(want, 0)):
		t.Errorf("%q with key %q: read %d rows, %s %s instead of %s %s", value, key, rows.Len(), rows.Op, showRow(rows.Columns, 0), op, showRow(want, 0))
	}
}

// Envelopes out of parts that fit together, and of some that do not.
func TestEnvelopesAreTakenIfTheModelTakesThem(t *testing.T) {
	p := NewPlan(accounts(false))
	row := func(t *rapid.T, name string) string {
		return rapid.SampledFrom([]string{
			`{"id":1,"näme":"x","on":true}`, `{"id":2}`, `{ "on" : false, "id" : -5 }`, `{}`, `null`, `{"id":"1"}`, `{"id":1,"id":1}`, `[]`, `{"x":1}`,
		}).Draw(t, name)
	}
	taken := 0
	var rows Rows
	rapid.Check(t, func(t *rapid.T) {
		members := []string{
			`"before":` + row(t, "before"), `"after":` + row(t, "after"), `"op":"` + rapid.SampledFrom([]string{"c", "r", "u", "d", "t", "x", "", "cc"}).Draw(t, "op") + `"`,
			`"source":` + rapid.SampledFrom([]string{
				`{"version":"1.0","ts_ms":1,"nested":[{"a":[]},null]}`, `{"version":"1.0","ts_ms":12,"nested":[{"a":[]},null]}`,
				`{"version":"1.0", "ts_ms":1}`, `{"version":"1.0","ts_ms":1]`, `{"version":"1.0","ts_ms":1,}`, `{"version":"1.0",}`, `{}`, `null`, `[]`,
				`{"` + strings.Repeat("x", 300) + `":1}`,
			}).Draw(t, "source"),
			`"transaction":null`, `"ts_ms":170000000000` + rapid.StringMatching("[0-9]{1,2}").Draw(t, "ts"), `"op2":1`,
		}
		members = rapid.Permutation(members).Draw(t, "order")
		members = members[:rapid.IntRange(1, len(members)).Draw(t, "members")]
		if rapid.IntRange(0, 9).Draw(t, "twice") == 0 {
			members = append(members, members[0])
		}
		value := []byte("{" + strings.Join(members, rapid.SampledFrom([]string{",", ", ", "\n,\t"}).Draw(t, "comma")) + "}")
		key := []byte(row(t, "key"))
		checkEnvelope(t, p, &rows, key, value)
		if _, _, ok := modelEnvelope(p.Schema, key, value); ok {
			taken++
		}
	})
	if taken == 0 {
		t.Error("no envelope was taken")
	}
}

func FuzzEnvelope(f *testing.F) {
	p := NewPlan(accounts(false))
	j := begun(orders())
	for row, op := range orders().Op {
		f.Add([]byte(`{"id":1}`), j.Value(nil, 0, 1, op), j.Value(nil, 0, row, op))
	}
	f.Add([]byte(`{"id":1}`), []byte(nil), []byte(`{"before":{"id":1},"after":null,"source":{"a":[1.5e3,"\u00e9"]},"op":"d"}`))
	f.Add([]byte(`{"id":1}`), []byte(`{"op":"d","source":{"a":1,"b":2}}`), []byte(`{"op":"d","before":null,"source":{"a":12,"b":2}}`))
	f.Add([]byte(nil), []byte(`{"x":1}`), []byte(`{"x":1, "op":"u","after":{"id":1,"on":false}}`))
	f.Fuzz(func(t *testing.T, key, before, value []byte) {
		if bytes.Count(value, []byte("{"))+bytes.Count(value, []byte("[")) > maxDepth-2 {
			t.Skip() // the model counts from the outside
		}
		var rows Rows
		_, _ = p.Parse([]connect.Record{{Key: key, Value: before}}, &rows) // for what rows remembers of it
		checkEnvelope(t, p, &rows, key, value)
	})
}
