package runtime

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/connect/convert"
)

// maxBuffered bounds the records of a source that are not acknowledged, in bytes.
const maxBuffered = 32 << 20

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
	// running outlives the context of read, until what was read has come to its end;
	// stop ends it with an error.
	running context.Context
	stop    context.CancelCauseFunc

	mu       sync.Mutex
	acks     acks
	finished chan struct{} // has an element when the front of acks may be complete
	over     chan struct{} // closed when acks is what it will be
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

// send produces a batch's rows, in order, and arranges for its marks and its ack. On
// an error what was begun stays unfinished, so that nobody is told that it is stored.
func (t *sourceTask) send(ctx context.Context, b *connect.Batch, ack func(error)) error {
	s := t.begin()
	out, err := t.outlets(ctx, b)
	if err != nil {
		s.ack = ack
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
		if err := t.sendRow(s, &out[section], section, &memory); err != nil {
			s.ack = ack
			return err
		}
	}
	t.end(s, nil, ack)
	return nil
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
	s := t.acks.begin()
	s.produced = func(r *kgo.Record, err error) {
		if err != nil {
			// The stretch never becomes complete, so nothing behind this record is stored.
			t.stop(&produceError{r, err})
			return
		}
		t.done(s)
	}
	return s
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

// keep stores positions as they come to hold, and acknowledges batches, until all
// is over. While one write is under way the next collects what is newer, so a fast
// source costs no more writes than a slow one.
func (t *sourceTask) keep(ctx context.Context) error {
	for over := false; !over; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.finished:
		case <-t.over:
			over = true
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
	return nil
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
func (t *sourceTask) sendRow(s *stretch, o *outlet, number int, memory *arena) error {
	section, row := o.section, o.row
	o.row++
	op, at := section.Op[row], section.Place[row]
	switch {
	case op == connect.Truncate:
		// Whoever reads any partition has to forget what came before.
		for partition := range o.topic.partitions {
			if err := t.sendRecord(s, o, number, row, op, at, partition, memory); err != nil {
				return err
			}
		}
		return nil
	case t.json.KeyChanged(number, row):
		before := at
		before.Row--
		if err := t.sendRecord(s, o, number, row, connect.Delete, before, byKey, memory); err != nil {
			return err
		}
		op = connect.Create
	}
	return t.sendRecord(s, o, number, row, op, at, byKey, memory)
}

// sendRecord produces one record of a row, and what has to follow it.
func (t *sourceTask) sendRecord(
	s *stretch, o *outlet, section, row int, op connect.Op, at connect.Place, partition int32, memory *arena,
) error {
	r := memory.record(
		kgo.RecordHeader{Key: connect.PlaceHeader, Value: memory.bytes(at.Append)},
		kgo.RecordHeader{Key: connect.SchemaHeader, Value: o.schema})
	r.Topic, r.Partition, r.Timestamp = o.topic.name, partition, time.UnixMilli(o.section.Time[row])
	r.Key = memory.bytes(func(to []byte) []byte { return t.json.Key(to, section, row, op) })
	r.Value = memory.bytes(func(to []byte) []byte { return t.json.Value(to, section, row, op) })
	if size := len(r.Key) + len(r.Value); size > o.topic.maxRecord() {
		return o.topic.refuse(fmt.Errorf("row %s with key %.200s has %d bytes as a record", at, r.Key, size))
	}
	t.produce(s, r)
	if op == connect.Delete && t.tombstones && len(r.Key) > 0 && r.Value != nil {
		t.produce(s, &kgo.Record{Topic: r.Topic, Partition: partition, Timestamp: r.Timestamp, Key: r.Key, Headers: r.Headers})
	}
	return nil
}

func (t *sourceTask) produce(s *stretch, r *kgo.Record) {
	s.waiting.Add(1)
	t.client.Produce(t.running, r, s.produced)
}

// produceError is that a record was not taken.
type produceError struct {
	record *kgo.Record
	err    error
}

func (e *produceError) Error() string {
	return fmt.Sprintf("producing to partition %d of topic %s: %v", e.record.Partition, e.record.Topic, e.err)
}
func (e *produceError) Unwrap() error { return e.err }

// explain says more of an error that ended the task. A batch that was too large is
// made smaller the next time if the topic's limit has changed meanwhile; otherwise
// it stays too large.
func (t *sourceTask) explain(ctx context.Context, err error) error {
	e, ok := errors.AsType[*produceError](err)
	if !ok || !errors.Is(err, kerr.MessageTooLarge) {
		return err
	}
	refused := t.topics.known[e.record.Topic]
	if limit, told := t.topics.maxMessage(ctx, refused.name); told && limit != refused.limit {
		return err
	}
	r := e.record
	return refused.refuse(fmt.Errorf("row %s with key %.200s and %d bytes, or the batch that it was in: %w",
		r.Headers[0].Value, r.Key, len(r.Key)+len(r.Value), err))
}
