package runtime

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/connect/convert"
)

// maxBuffered bounds the records of a source that are not acknowledged, in bytes.
const maxBuffered = 64 << 20

// linger is how long a record waits for others to share its request with.
const linger = 2 * time.Millisecond

// positions is where a source's positions are kept.
type positions interface {
	Load(ctx context.Context) ([]connect.Position, error)
	Save(ctx context.Context, positions []connect.Position) error
}

// sourceTask is one run of a source, from Connect to Close.
type sourceTask struct {
	source     connect.Source
	store      positions
	client     *kgo.Client
	topics     *topics
	schemas    *schemas
	json       convert.JSON
	tombstones bool
	stop       context.CancelCauseFunc

	mu       sync.Mutex
	acks     acks
	finished chan struct{} // has an element when the front of acks may be complete
}

// read is the task's main loop: it returns with the first error, of the source,
// the producer or the store.
func (t *sourceTask) read(ctx context.Context) error {
	stored, err := t.store.Load(ctx)
	if err != nil {
		return err
	}
	if err := t.source.Connect(ctx, stored); err != nil {
		return err
	}
	for {
		batch, ack, err := t.source.Read(ctx)
		if err != nil {
			return err
		}
		if err := t.send(ctx, batch, ack); err != nil {
			return err
		}
	}
}

// send produces a batch's rows, in order, and arranges for its marks and its ack.
func (t *sourceTask) send(ctx context.Context, b *connect.Batch, ack func(error)) error {
	s := t.begin()
	out, err := t.outlets(ctx, b)
	if err != nil {
		t.end(s, nil, ack)
		return err
	}
	t.json.Begin(b, time.Now())
	var memory arena
	marks, rows := b.Marks, b.Rows()
	for row := 0; ; row++ {
		for len(marks) > 0 && marks[0].Row == row {
			t.end(s, marks[0].Positions, nil)
			s, marks = t.begin(), marks[1:]
		}
		if row == rows {
			break
		}
		section := 0
		if len(b.Order) > 0 {
			section = int(b.Order[row])
		}
		if err = t.sendRow(ctx, s, &out[section], section, &memory); err != nil {
			break
		}
	}
	t.end(s, nil, ack)
	return err
}

// outlet is where a section's rows go, and which comes next.
type outlet struct {
	section *connect.Section
	topic   *topic
	schema  []byte // the header's value
	row     int
}

// outlets makes sure that each section's topic is there, and its schema known to
// everyone, before the first row goes out.
func (t *sourceTask) outlets(ctx context.Context, b *connect.Batch) ([]outlet, error) {
	out := make([]outlet, len(b.Sections))
	for i, s := range b.Sections {
		topic, err := t.topics.ensure(ctx, s.Topic)
		if err != nil {
			return nil, err
		}
		registered, err := t.schemas.register(ctx, s)
		if err != nil {
			return nil, err
		}
		out[i] = outlet{section: s, topic: topic, schema: []byte(registered.ID)}
	}
	return out, nil
}

func (t *sourceTask) begin() *stretch {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.acks.begin()
}

// end says that there will be no more records in a stretch.
func (t *sourceTask) end(s *stretch, positions []connect.Position, ack func(error)) {
	s.positions, s.ack = positions, ack
	t.done(s)
}

// done counts one record less, or the stretch's end.
func (t *sourceTask) done(s *stretch) {
	if s.waiting.Add(-1) == 0 {
		select {
		case t.finished <- struct{}{}:
		default:
		}
	}
}

// keep stores positions as they come to hold, and acknowledges batches. While one
// write is under way the next collects what is newer, so a fast source costs no
// more writes than a slow one.
func (t *sourceTask) keep(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.finished:
		}
		t.mu.Lock()
		positions, acks := t.acks.finish()
		t.mu.Unlock()
		if positions = newest(positions); len(positions) > 0 {
			if err := t.store.Save(ctx, positions); err != nil {
				for _, ack := range acks {
					ack(err)
				}
				return err
			}
		}
		for _, ack := range acks {
			ack(nil)
		}
	}
}

// abandon tells the source of every batch that did not make it.
func (t *sourceTask) abandon(err error) {
	t.mu.Lock()
	acks := t.acks.abandon()
	t.mu.Unlock()
	for _, ack := range acks {
		ack(err)
	}
}

// sendRow produces the records of a section's next row.
func (t *sourceTask) sendRow(ctx context.Context, s *stretch, o *outlet, number int, memory *arena) error {
	section, row := o.section, o.row
	o.row++
	op, at := section.Op[row], section.Place[row]
	switch {
	case op == connect.Truncate:
		// Whoever reads any partition has to forget what came before.
		for partition := range o.topic.partitions {
			if err := t.sendRecord(ctx, s, o, number, row, op, at, partition, memory); err != nil {
				return err
			}
		}
		return nil
	case t.json.KeyChanged(number, row):
		before := at
		before.Row--
		if err := t.sendRecord(ctx, s, o, number, row, connect.Delete, before, byKey, memory); err != nil {
			return err
		}
		op = connect.Create
	}
	return t.sendRecord(ctx, s, o, number, row, op, at, byKey, memory)
}

// sendRecord produces one record of a row, and what has to follow it.
func (t *sourceTask) sendRecord(
	ctx context.Context, s *stretch, o *outlet, section, row int, op connect.Op, at connect.Place, partition int32, memory *arena,
) error {
	r := &kgo.Record{
		Topic: o.topic.name, Partition: partition, Timestamp: time.UnixMilli(o.section.Time[row]),
		Key:   memory.bytes(func(to []byte) []byte { return t.json.Key(to, section, row, op) }),
		Value: memory.bytes(func(to []byte) []byte { return t.json.Value(to, section, row, op) }),
		Headers: []kgo.RecordHeader{
			{Key: connect.PlaceHeader, Value: memory.bytes(at.Append)},
			{Key: connect.SchemaHeader, Value: o.schema},
		},
	}
	if size := len(r.Key) + len(r.Value); size > o.topic.maxRecord {
		return connect.Permanent(
			fmt.Errorf("row %s with key %.200s has %d bytes as a record, and topic %s takes %d", at, r.Key, size, r.Topic, o.topic.maxRecord),
			"raise max.message.bytes of the topic, or leave the large column out")
	}
	t.produce(ctx, s, r)
	if op == connect.Delete && t.tombstones && len(r.Key) > 0 && r.Value != nil {
		t.produce(ctx, s, &kgo.Record{Topic: r.Topic, Partition: partition, Timestamp: r.Timestamp, Key: r.Key, Headers: r.Headers})
	}
	return nil
}

func (t *sourceTask) produce(ctx context.Context, s *stretch, r *kgo.Record) {
	s.waiting.Add(1)
	t.client.Produce(ctx, r, func(r *kgo.Record, err error) {
		if err != nil {
			// The stretch never becomes complete, so nothing behind this record is stored.
			t.stop(fmt.Errorf("producing to partition %d of topic %s: %w", r.Partition, r.Topic, err))
			return
		}
		t.done(s)
	})
}
