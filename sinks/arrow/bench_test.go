//go:build unix

package arrow

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/connect/convert"
	"github.com/splashdam/splashdam/internal/vfs"
)

// benchSection is rows of an orders table as wide as those that others measure:
// numbers, times, a few texts, a tenth of one column null.
func benchSection(rows int) *connect.Section {
	rnd := rand.New(rand.NewPCG(1, 2))
	column := func(name string, t connect.Type) connect.Field {
		return connect.Field{Name: name, Type: t, Nullable: name != "id"}
	}
	s := &connect.Section{Topic: "orders", Schema: &connect.Schema{Name: "shop.app.orders", Key: []int{0}, Fields: []connect.Field{
		column("id", connect.Type{Kind: connect.Int64}),
		column("customer", connect.Type{Kind: connect.Int64}),
		column("quantity", connect.Type{Kind: connect.Int32}),
		column("price", connect.Type{Kind: connect.Decimal, Precision: 12, Scale: 2}),
		column("rate", connect.Type{Kind: connect.Float64}),
		column("paid", connect.Type{Kind: connect.Bool}),
		column("created", connect.Type{Kind: connect.Timestamp, Precision: 6}),
		column("state", connect.Type{Kind: connect.Enum, Values: []string{"new", "paid", "sent"}}),
		column("email", connect.Type{Kind: connect.String}),
		column("note", connect.Type{Kind: connect.String}),
	}}}
	texts := []connect.Field{
		column("version", connect.Type{Kind: connect.String}), column("connector", connect.Type{Kind: connect.String}),
		column("name", connect.Type{Kind: connect.String}), column("ts_ms", connect.Type{Kind: connect.Int64}),
		column("db", connect.Type{Kind: connect.String}), column("table", connect.Type{Kind: connect.String}),
		column("file", connect.Type{Kind: connect.String}), column("pos", connect.Type{Kind: connect.Int64}), column("row", connect.Type{Kind: connect.Int32}),
	}
	s.Origin = &connect.Origin{Fields: texts, Columns: connect.NewColumns(texts), Starts: []int32{0}, Counter: -1}
	for i, v := range []string{"3.0.0.Final", "mysql", "shop", "", "app", "orders", "binlog.000117"} {
		if i != 3 {
			s.Origin.Columns[i].AppendText([]byte(v))
		}
	}
	s.Origin.Columns[3].Append8(1_700_000_000_000)
	s.Origin.Columns[7].Append8(93_412_887)
	s.Origin.Columns[8].Append4(12)
	s.Schema = convert.Identify(s, nil)
	s.After, s.Before = connect.NewColumns(s.Schema.Fields), connect.NewColumns(s.Schema.Fields)
	for row := range rows {
		s.Op = append(s.Op, connect.Update)
		s.Time = append(s.Time, 1_700_000_000_000+int64(row))
		s.Place = append(s.Place, connect.Place{File: 117, End: uint64(93_412_887 + 100*row)})
		for _, c := range [][]connect.Column{s.Before, s.After} {
			c[0].Append8(uint64(row))
			c[1].Append8(uint64(rnd.IntN(100_000)))
			c[2].Append4(rnd.Uint32N(20))
			c[3].Append16(rnd.Uint64N(1_000_000), 0)
			c[4].Append8(0x3ff0_0000_0000_0000 + rnd.Uint64N(1<<40))
			c[5].AppendBool(row%3 == 0)
			c[6].Append8(1_700_000_000_000_000 + uint64(row)*1000)
			c[7].AppendText([]byte(s.Schema.Fields[7].Type.Values[row%3]))
			c[8].AppendText(fmt.Appendf(nil, "customer%d@example.com", rnd.IntN(100_000)))
			if row%10 == 0 {
				c[9].AppendNull()
			} else {
				c[9].AppendText(fmt.Appendf(nil, "please ring %d times, \"loudly\"", rnd.IntN(1000)))
			}
		}
	}
	return s
}

// cores is how much processor time the process has had: on a machine that others
// use too, time alone says little.
func cores(b *testing.B) time.Duration {
	var u syscall.Rusage
	must(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// memoryTime is how long a plain copy of the bytes takes, and fileTime how long a
// plain file of them: what nothing that writes them can beat.
func memoryTime(b *testing.B, content []byte) time.Duration {
	to := make([]byte, len(content))
	copy(to, content) // has the pages
	start := cores(b)
	copy(to, content)
	return cores(b) - start
}

func fileTime(b *testing.B, content []byte) time.Duration {
	name := filepath.Join(b.TempDir(), "plain")
	start := time.Now()
	must(b, writeFile(vfs.OS(), name, content))
	return time.Since(start)
}

// BenchmarkEncode is columns to the bytes of a file, beside a copy of the columns.
func BenchmarkEncode(b *testing.B) {
	section := benchSection(maxChunkRows)
	plan, err := newFilePlan(convert.NewPlan(section.Schema))
	must(b, err)
	rows := &convert.Rows{Columns: section.After, Op: section.Op, Offset: make([]int64, section.Rows()), Timestamp: section.Time, Place: section.Place}
	for i := range rows.Offset {
		rows.Offset[i] = int64(i)
		rows.Placed = append(rows.Placed, true)
	}
	columns := plan.columnsOf(rows, 0)
	var plain []byte
	for i := range columns {
		plain = append(plain, columns[i].Data...)
	}
	for format, possible := range compressions {
		for _, compression := range possible {
			b.Run(format+"/"+compression, func(b *testing.B) {
				sink := &Sink{format: format, compression: compression}
				var size int
				var ceiling, own time.Duration
				for b.Loop() {
					ceiling += memoryTime(b, plain)
					start := cores(b)
					sink.buffer.Reset()
					e, err := sink.newEncoder(&outlet{buffer: &sink.buffer}, plan, columns)
					must(b, err)
					must(b, e.chunk(columns))
					must(b, e.finish())
					size = sink.buffer.Len()
					own += cores(b) - start
				}
				b.ReportMetric(float64(b.N*section.Rows())/own.Seconds(), "rows/core-s")
				b.ReportMetric(float64(size)/float64(section.Rows()), "B/row")
				b.ReportMetric(own.Seconds()/ceiling.Seconds(), "×copy")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// BenchmarkSink is Debezium's JSON to files on the disk, synced, beside a plain
// synced file of the bytes that came in.
func BenchmarkSink(b *testing.B) {
	section := benchSection(200_000)
	records := recordsOf(section)
	var in int
	var plain bytes.Buffer
	for i := range records {
		plain.Write(records[i].Value)
		in += len(records[i].Value)
	}
	partition := connect.Partition{Topic: section.Topic}
	ctx := context.Background()
	for format, possible := range compressions {
		for _, compression := range possible {
			b.Run(format+"/"+compression, func(b *testing.B) {
				var ceiling, own, worked time.Duration
				var offset int64
				b.ReportAllocs()
				connector := Connector(vfs.OS())
				c, wrong := connect.ParseConfig(connector.Settings, map[string]string{
					settingDir: b.TempDir(), settingFormat: format, settingCompression: compression,
				})
				if len(wrong) > 0 {
					b.Fatal(wrong)
				}
				sink, err := connector.New(c, connect.Environment{
					Schema: func(context.Context, string, string) (*connect.Schema, error) { return section.Schema, nil },
				})
				must(b, err)
				_, err = sink.Open(ctx, []connect.Partition{partition})
				must(b, err)
				for b.Loop() {
					for i := range records { // the next ones of the topic
						records[i].Offset = offset
						offset++
						records[i].Headers[0].Value = connect.Place{File: 117, End: uint64(offset)}.Append(records[i].Headers[0].Value[:0])
					}
					start, before := time.Now(), cores(b)
					for first := 0; first < len(records); first += 10_000 {
						some := records[first:min(first+10_000, len(records))]
						must(b, sink.Write(ctx, connect.Records{Partition: partition, Records: some, Next: some[len(some)-1].Offset + 1}))
					}
					_, err := sink.Flush(ctx, true)
					must(b, err)
					own += time.Since(start)
					worked += cores(b) - before
					ceiling += fileTime(b, plain.Bytes())
				}
				must(b, sink.Close(ctx))
				b.ReportMetric(float64(offset)/own.Seconds(), "rows/s")
				b.ReportMetric(float64(offset)/worked.Seconds(), "rows/core-s")
				b.ReportMetric(float64(in)*float64(b.N)/worked.Seconds()/1e6, "MB-of-JSON/core-s")
				b.ReportMetric(own.Seconds()/ceiling.Seconds(), "×file")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
