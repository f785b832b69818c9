package arrow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/connect/convert"
	"github.com/splashdam/splashdam/internal/vfs"
)

// orderSchemas are what the orders table looked like, first and later.
var orderSchemas = func() []*connect.Schema {
	id := connect.Field{Name: "id", Type: connect.Type{Kind: connect.Int64}}
	state := connect.Field{Name: "state", Type: connect.Type{Kind: connect.Enum, Values: []string{"new", "paid"}}, Nullable: true}
	note := connect.Field{Name: "note", Type: connect.Type{Kind: connect.String}, Nullable: true}
	var all []*connect.Schema
	for _, fields := range [][]connect.Field{{id, state}, {id, state, note}, {id, note}} {
		s := &connect.Schema{Name: "shop.app.orders", Fields: fields, Key: []int{0}}
		all = append(all, convert.Identify(&connect.Section{Topic: "orders", Schema: s, Origin: &connect.Origin{}}, all))
	}
	return all
}()

func environment(connector string) connect.Environment {
	return connect.Environment{
		Connector: connector,
		Schema: func(_ context.Context, topic, id string) (*connect.Schema, error) {
			for _, s := range orderSchemas {
				if s.ID == id {
					return s, nil
				}
			}
			return nil, fmt.Errorf("topic %s has no schema %s", topic, id)
		},
	}
}

func newSink(t testing.TB, fsys vfs.FS, settings ...string) *Sink {
	t.Helper()
	given := map[string]string{settingDir: "lake"}
	for i := 0; i < len(settings); i += 2 {
		given[settings[i]] = settings[i+1]
	}
	connector := Connector(fsys)
	c, wrong := connect.ParseConfig(connector.Settings, given)
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	s, err := connector.New(c, environment("lake"))
	if err != nil {
		t.Fatal(err)
	}
	return s.(*Sink)
}

// topic is what a broker has of the partitions of a topic.
type topic map[int32][]connect.Record

func (t topic) partition(n int32) connect.Partition {
	return connect.Partition{Topic: "orders", TopicID: [16]byte{7}, Partition: n}
}

func header(key, value string) connect.Header { return connect.Header{Key: key, Value: []byte(value)} }

// add appends a change; schema is an index into orderSchemas, pos the row's number
// in the source.
func (t topic) add(n int32, schema int, op connect.Op, id, pos int, members string) {
	row := fmt.Sprintf(`{"id":%d%s}`, id, members)
	before, after := "null", "null"
	if op.HasBefore() {
		before = row
	}
	if op.HasAfter() {
		after = row
	}
	r := connect.Record{
		Offset: t.end(n), Timestamp: 1_700_000_000_000 + int64(pos),
		Key:   fmt.Appendf(nil, `{"id":%d}`, id),
		Value: fmt.Appendf(nil, `{"before":%s,"after":%s,"source":{},"op":"%c","ts_ms":1}`, before, after, op),
		Headers: []connect.Header{
			header(connect.PlaceHeader, connect.Place{File: 1, End: uint64(pos)}.String()),
			header(connect.SchemaHeader, orderSchemas[schema].ID),
		},
	}
	t[n] = append(t[n], r)
	if op == connect.Delete {
		r.Offset, r.Value = r.Offset+1, nil
		t[n] = append(t[n], r)
	}
}

// again repeats the last records of a partition, as a source does that was killed.
func (t topic) again(n int32, records int) {
	for _, r := range slices.Clone(t[n][len(t[n])-records:]) {
		r.Offset = t.end(n)
		t[n] = append(t[n], r)
	}
}

func (t topic) end(n int32) int64 {
	if len(t[n]) == 0 {
		return 0
	}
	return t[n][len(t[n])-1].Offset + 1
}

// from returns the records of a partition behind an offset, at most so many.
func (t topic) from(n int32, offset int64, most int) connect.Records {
	r := connect.Records{Partition: t.partition(n), Next: t.end(n)}
	for i := range t[n] {
		if t[n][i].Offset >= offset && len(r.Records) < most {
			r.Records = append(r.Records, t[n][i])
			r.Next = t[n][i].Offset + 1
		}
	}
	return r
}

// wanted is each partition's rows below an offset, without those that came twice.
func (t topic) wanted(n int32, next int64) []string {
	var rows []string
	seen := map[string]bool{}
	for _, r := range t[n] {
		pos, _ := headerOf(&r, connect.PlaceHeader)
		if r.Offset >= next || seen[string(pos)] {
			continue
		}
		seen[string(pos)] = true
		rows = append(rows, fmt.Sprintf("%d %s", r.Offset, pos))
	}
	return rows
}

// runner is what of a runtime matters to a sink.
type runner struct {
	sink    *Sink
	topic   topic
	next    map[int32]int64
	durable map[int32]int64
}

func (r *runner) open(partitions ...int32) error {
	r.next, r.durable = map[int32]int64{}, map[int32]int64{}
	var assigned []connect.Partition
	for _, n := range partitions {
		assigned = append(assigned, r.topic.partition(n))
	}
	starts, err := r.sink.Open(context.Background(), assigned)
	if err != nil {
		return err
	}
	for i, n := range partitions {
		r.next[n] = max(0, starts[i])
		r.durable[n] = r.next[n]
	}
	return nil
}

func (r *runner) write(n int32, most int) error {
	records := r.topic.from(n, r.next[n], most)
	if err := r.sink.Write(context.Background(), records); err != nil {
		return err
	}
	r.next[n] = records.Next
	return nil
}

func (r *runner) flush(all bool) error {
	offsets, err := r.sink.Flush(context.Background(), all)
	for _, o := range offsets {
		r.durable[o.Partition.Partition] = o.Next
	}
	return err
}

// drain writes and flushes all that the topic has.
func (r *runner) drain(most int) error {
	for {
		behind := false
		for n := range r.next {
			if r.next[n] < r.topic.end(n) {
				behind = true
				if err := r.write(n, most); err != nil {
					return err
				}
			}
		}
		if err := r.flush(!behind); err != nil || !behind {
			return err
		}
	}
}

// rowsOf returns the rows in a topic's files by partition, as topic.wanted has them.
func rowsOf(t testing.TB, fsys vfs.FS) map[int32][]string {
	t.Helper()
	rows := map[int32][]string{}
	d, err := OpenDirectory(fsys, "lake/orders")
	if errors.Is(err, vfs.ErrNotExist) {
		return rows
	}
	if err != nil {
		t.Fatal(err)
	}
	err = d.Rows(func(b *Block) error {
		for row := range b.Len() {
			rows[b.Partition] = append(rows[b.Partition], fmt.Sprintf("%d %v", b.Offset[row], b.Place[row]))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// blockText is a block's rows for people: one a line.
func blockText(b *Block) string {
	var lines strings.Builder
	for row := range b.Len() {
		fmt.Fprintf(&lines, "%d:%d %c", b.Partition, b.Offset[row], b.Op[row])
		for i := range b.Columns {
			value := columnText(&b.Columns[i], row)
			if b.Columns[i].IsAbsent(row) {
				value = "absent"
			}
			fmt.Fprintf(&lines, " %s=%s", b.Schema.Fields[i].Name, value)
		}
		lines.WriteByte('\n')
	}
	return lines.String()
}
