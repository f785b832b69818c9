package convert

import (
	"fmt"
	"testing"
	"time"

	"github.com/splashdam/splashdam/connect"
)

// users is a section of created rows as MySQL's binlog has them: ten columns, two
// events of a thousand rows, values of about 550 bytes.
func users(rows int) *connect.Section {
	fields := func(more ...connect.Field) []connect.Field { return more }
	field := func(name string, t connect.Type) connect.Field {
		return connect.Field{Name: name, Type: t, Nullable: true}
	}
	schema := &connect.Schema{Name: "shop.app.users", Key: []int{0}, Fields: fields(
		field("id", connect.Type{Kind: connect.Int64}),
		field("user_id", connect.Type{Kind: connect.Uint32}),
		field("name", connect.Type{Kind: connect.String}),
		field("email", connect.Type{Kind: connect.String}),
		field("amount", connect.Type{Kind: connect.Decimal, Precision: 12, Scale: 2}),
		field("status", connect.Type{Kind: connect.Enum, Values: []string{"new", "paid", "sent"}}),
		field("flag", connect.Type{Kind: connect.Int8}),
		field("created", connect.Type{Kind: connect.DateTime, Precision: 3}),
		field("updated", connect.Type{Kind: connect.Timestamp, Precision: 6}),
		field("note", connect.Type{Kind: connect.String}),
	)}
	s := &connect.Section{Topic: "shop.app.users", Schema: schema, After: connect.NewColumns(schema.Fields)}
	at := time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC).UnixMicro()
	for i := range rows {
		s.Op = append(s.Op, connect.Create)
		s.After[0].Append8(uint64(1_000_000 + i))
		s.After[1].Append4(uint32(i * 7919 % 100_000))
		s.After[2].AppendText(fmt.Appendf(nil, "Customer %d of the shop", i))
		s.After[3].AppendText(fmt.Appendf(nil, "customer.%d@example.com", i))
		s.After[4].Append16(uint64(i*137), 0)
		s.After[5].AppendText([]byte(schema.Fields[5].Type.Values[i%3]))
		s.After[6].Append1(uint8(i & 1))
		s.After[7].Append8(uint64(at + int64(i)*1000))
		s.After[8].Append8(uint64(at + int64(i)))
		if i%10 == 0 {
			s.After[9].AppendNull()
		} else {
			s.After[9].AppendText([]byte("delivered to the \"front\" door"))
		}
	}
	text, number := connect.Type{Kind: connect.String}, connect.Type{Kind: connect.Int64}
	o := &connect.Origin{Fields: fields(
		field("version", text), field("connector", text), field("name", text), field("ts_ms", number), field("snapshot", text),
		field("db", text), field("sequence", text), field("ts_us", number), field("ts_ns", number), field("table", text),
		field("server_id", number), field("gtid", text), field("file", text), field("pos", number), field("row", number),
		field("thread", number), field("query", text),
	), Counter: 14}
	o.Columns = connect.NewColumns(o.Fields)
	for run := 0; run*1000 < rows; run++ {
		o.Starts = append(o.Starts, int32(run*1000))
		for i, value := range []string{
			"0.1.0", "mysql", "shop", "", "false", "app", "", "", "", "users", "", "0-1-4711", "mysql-bin.000042", "", "", "", "",
		} {
			switch c := &o.Columns[i]; {
			case o.Fields[i].Type.Kind == connect.Int64 && i != 15:
				c.Append8(uint64(at / 1000))
			case value == "":
				c.AppendNull()
			default:
				c.AppendText([]byte(value))
			}
		}
	}
	s.Origin = o
	return s
}

// BenchmarkJSON writes keys and values, and says how that compares with copying as
// many bytes.
func BenchmarkJSON(b *testing.B) {
	s := users(2000)
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
	b.SetBytes(int64(len(buffer)))
	b.ReportAllocs()
	for b.Loop() {
		write()
	}
	took := b.Elapsed().Seconds() / float64(b.N)
	b.ReportMetric(float64(s.Rows())/took, "rows/s")
	b.ReportMetric(float64(len(buffer))/float64(s.Rows()), "B/row")

	into := make([]byte, len(buffer))
	start := time.Now()
	for range 1000 {
		copy(into, buffer)
	}
	b.ReportMetric(took/(time.Since(start).Seconds()/1000), "x-copying")
}
