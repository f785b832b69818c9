package convert

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/splashdam/splashdam/connect"
)

// Other load makes every measurement slower and none faster, so what is compared
// runs in turns, and the fastest run of each counts.

// fastest returns the best times, in seconds, of functions that take turns.
func fastest(rounds int, functions ...func()) []float64 {
	best := make([]float64, len(functions))
	for i := range best {
		best[i] = math.Inf(1)
	}
	for range rounds {
		for i, f := range functions {
			start := time.Now()
			f()
			best[i] = min(best[i], time.Since(start).Seconds())
		}
	}
	return best
}

// customers is a section of created rows: ten columns, in events of a hundred rows, with Debezium's source block.
func customers(rows int) *connect.Section {
	field := func(name string, t connect.Type) connect.Field {
		return connect.Field{Name: name, Type: t, Nullable: true}
	}
	text, number := connect.Type{Kind: connect.String}, connect.Type{Kind: connect.Int64}
	schema := &connect.Schema{Name: "shop.app.customers", Key: []int{0}, Fields: []connect.Field{
		field("id", number),
		field("user_id", connect.Type{Kind: connect.Uint32}),
		field("name", text),
		field("email", text),
		field("amount", connect.Type{Kind: connect.Decimal, Precision: 12, Scale: 2}),
		field("status", connect.Type{Kind: connect.Enum, Values: []string{"new", "paid", "sent"}}),
		field("flag", connect.Type{Kind: connect.Int8}),
		field("created", connect.Type{Kind: connect.DateTime, Precision: 3}),
		field("updated", connect.Type{Kind: connect.Timestamp, Precision: 6}),
		field("note", text),
	}}
	s := &connect.Section{Topic: "shop.app.customers", Schema: schema, After: connect.NewColumns(schema.Fields)}
	at := time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC).UnixMicro()
	for i := range rows {
		s.Op = append(s.Op, connect.Create)
		s.After[0].Append8(uint64(1_000_000 + i))
		s.After[1].Append4(uint32(i * 7919 % 100_000))
		s.After[2].AppendText(fmt.Appendf(nil, "Customer %d", i))
		s.After[3].AppendText(fmt.Appendf(nil, "customer.%d@example.com", i))
		s.After[4].Append16(uint64(i*137), 0)
		s.After[5].AppendText([]byte(schema.Fields[5].Type.Values[i%3]))
		s.After[6].Append1(uint8(i & 1))
		s.After[7].Append8(uint64(at + int64(i)*1000))
		s.After[8].Append8(uint64(at + int64(i)))
		switch {
		case i%10 == 0:
			s.After[9].AppendNull()
		case i%20 == 1:
			s.After[9].AppendText([]byte("delivered to the \"front\" door"))
		default:
			s.After[9].AppendText([]byte("delivered to the front door"))
		}
	}
	o := &connect.Origin{Counter: 14}
	for _, f := range []struct {
		name string
		t    connect.Type
	}{
		{"version", text}, {"connector", text}, {"name", text}, {"ts_ms", number}, {"snapshot", text}, {"db", text}, {"sequence", text},
		{"ts_us", number}, {"ts_ns", number}, {"table", text}, {"server_id", number}, {"gtid", text}, {"file", text}, {"pos", number},
		{"row", number}, {"thread", number}, {"query", text},
	} {
		o.Fields = append(o.Fields, field(f.name, f.t))
	}
	o.Columns = connect.NewColumns(o.Fields)
	for start := 0; start < rows; start += 100 {
		o.Starts = append(o.Starts, int32(start))
		for i, value := range []any{
			"0.1.0", "mysql", "shop", at / 1000, "false", "app", nil, at, at * 1000, "customers", int64(1), "0-1-4711", "mysql-bin.000042",
			int64(start * 200), int64(0), nil, nil,
		} {
			switch value := value.(type) {
			case string:
				o.Columns[i].AppendText([]byte(value))
			case int64:
				o.Columns[i].Append8(uint64(value))
			default:
				o.Columns[i].AppendNull()
			}
		}
	}
	s.Origin = o
	return s
}

const benchmarkRows = 1000

// BenchmarkJSON writes rows. Its ceiling is to copy as many bytes.
func BenchmarkJSON(b *testing.B) {
	s := customers(benchmarkRows)
	batch := &connect.Batch{Sections: []*connect.Section{s}}
	j := &JSON{}
	var buffer []byte
	write := func() {
		j.Begin(batch, now)
		buffer = buffer[:0]
		for row, op := range s.Op {
			buffer = j.Value(j.Key(buffer, 0, row, op), 0, row, op)
		}
	}
	write()
	b.ReportAllocs()
	b.SetBytes(int64(len(buffer)))
	for b.Loop() {
		write()
	}
	into := make([]byte, len(buffer))
	best := fastest(300, write, func() { copy(into, buffer) })
	b.ReportMetric(float64(s.Rows())/best[0]/1e6, "Mrows/s")
	b.ReportMetric(float64(len(buffer))/float64(s.Rows()), "B/row")
	b.ReportMetric(best[0]/best[1], "x-copy")
}

// BenchmarkParse reads rows: created ones, updated ones with the row before the
// change, and created ones that come with their schema. The ceiling is to look at
// every byte once, eight at a time, for what ends a string; rivals are
// encoding/json into a map and into a struct, which has to be known when the
// program is built.
func BenchmarkParse(b *testing.B) {
	created := customers(benchmarkRows)
	schema := Identify(created, nil)
	b.Run("created", func(b *testing.B) { benchmarkParse(b, NewPlan(schema), records(created, schema.ID)) })
	updated := customers(benchmarkRows)
	updated.Before = updated.After
	for row := range updated.Op {
		updated.Op[row] = connect.Update
	}
	b.Run("updated", func(b *testing.B) { benchmarkParse(b, NewPlan(schema), records(updated, schema.ID)) })
	b.Run("block", func(b *testing.B) {
		all := records(created, "")
		for i := range all {
			all[i].Value = fmt.Appendf(nil, `{"schema":%s,"payload":%s}`, customersBlock(), all[i].Value)
		}
		p, err := NewBlockPlan(&all[0])
		if err != nil {
			b.Fatal(err)
		}
		benchmarkParse(b, p, all)
	})
}

// records are rows as a consumer gets them.
func records(s *connect.Section, id string) (all []connect.Record) {
	j := begun(s)
	for row, op := range s.Op {
		r := written(j, s, row, op, id)
		r.Headers = []connect.Header{
			{Key: connect.PlaceHeader, Value: connect.Place{Epoch: 1, File: 42, End: 123456, Row: uint64(row)}.Append(nil)},
			{Key: connect.SchemaHeader, Value: []byte(id)},
		}
		all = append(all, r)
	}
	return all
}

// customersBlock is Debezium's description of customers' values.
func customersBlock() string {
	var row, source []string
	for i, t := range []string{
		`"int64"`, `"int64"`, `"string"`, `"string"`,
		`"bytes","name":"org.apache.kafka.connect.data.Decimal","version":1,"parameters":{"scale":"2","connect.decimal.precision":"12"}`,
		`"string","name":"io.debezium.data.Enum","version":1,"parameters":{"allowed":"new,paid,sent"}`, `"int16"`,
		`"int64","name":"io.debezium.time.Timestamp","version":1`, `"string","name":"io.debezium.time.ZonedTimestamp","version":1`, `"string"`,
	} {
		row = append(row, fmt.Sprintf(`{"type":%s,"optional":true,"field":"%s"}`, t, customers(0).Schema.Fields[i].Name))
	}
	for _, f := range customers(0).Origin.Fields {
		source = append(source, fmt.Sprintf(`{"type":"%v","optional":true,"field":"%s"}`, f.Type.Kind, f.Name))
	}
	image := `{"type":"struct","fields":[` + strings.Join(row, ",") + `],"optional":true,"name":"shop.app.customers.Value","field":`
	return `{"type":"struct","fields":[` + image + `"before"},` + image + `"after"},` +
		`{"type":"struct","fields":[` + strings.Join(source, ",") + `],"optional":false,"name":"io.debezium.connector.mysql.Source","field":"source"},` +
		`{"type":"string","optional":false,"field":"op"},{"type":"int64","optional":true,"field":"ts_ms"}],"optional":false,"name":"shop.app.customers.Envelope"}`
}

func benchmarkParse(b *testing.B, p *Plan, all []connect.Record) {
	bytes := 0
	for i := range all {
		bytes += len(all[i].Value)
	}
	var rows Rows
	parse := func() {
		rows.Reset()
		if n, err := p.Parse(all, &rows); n != len(all) {
			b.Fatal(n, err)
		}
	}
	parse()
	b.ReportAllocs()
	b.SetBytes(int64(bytes))
	for b.Loop() {
		parse()
	}
	var marks uint64
	best := fastest(300, parse, func() {
		for i := range all {
			for text := all[i].Value; len(text) >= 8; text = text[8:] {
				marks |= breaks(binary.LittleEndian.Uint64(text))
			}
		}
	})
	if marks == 0 {
		b.Fatal("the scan found nothing")
	}
	type row struct {
		ID      int64   `json:"id"`
		UserID  uint32  `json:"user_id"`
		Name    string  `json:"name"`
		Email   string  `json:"email"`
		Amount  []byte  `json:"amount"`
		Status  string  `json:"status"`
		Flag    int8    `json:"flag"`
		Created int64   `json:"created"`
		Updated string  `json:"updated"`
		Note    *string `json:"note"`
	}
	type envelope struct {
		Op    string
		After *row
	}
	rivals := fastest(20, func() {
		for i := range all {
			var v map[string]any
			if err := json.Unmarshal(all[i].Value, &v); err != nil {
				b.Fatal(err)
			}
		}
	}, func() {
		for i := range all {
			var v struct {
				envelope
				Payload envelope
			}
			if err := json.Unmarshal(all[i].Value, &v); err != nil || v.After == nil && v.Payload.After == nil {
				b.Fatal(err)
			}
		}
	})
	b.ReportMetric(float64(len(all))/best[0]/1e6, "Mrows/s")
	b.ReportMetric(float64(bytes)/float64(len(all)), "B/row")
	b.ReportMetric(best[0]/best[1], "x-scan")
	b.ReportMetric(rivals[0]/best[0], "times-map")
	b.ReportMetric(rivals[1]/best[0], "times-struct")
}
