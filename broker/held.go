package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/broker/kafka"
	"github.com/splashdam/splashdam/broker/partition"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/txn"
)

// This file is the way in and out of the hidden partition of half messages. A
// client's batch is taken apart: a prepared message becomes a hidden batch of its
// own, a commit becomes one entry with the message for its partition and the end
// of its hold. The decision itself is made in the loop, once (txn.Leading); what it
// needs is read and built here, on the connection's goroutine.

// heldOp is one record of a batch for a topic of half messages.
type heldOp struct {
	key     txn.Key
	state   txn.Decision // prepare, commit or rollback
	prepare txn.PrepareRequest
	hidden  record.Batch // of a prepare: the message as it is held
	visible record.Batch // of a commit: the message as it will be seen
}

// heldItem is a batch of half messages and decisions on its way into the log.
type heldItem struct {
	shard     *Shard
	target    record.PartitionID
	ops       []heldOp
	principal string
	bytes     int
	stamp     bool
	done      func(kafka.Appended)

	producer  int64
	epoch     int16
	sequence  int32
	stampedAt int64
}

// appendHeld takes a batch for a topic with message.type=transaction.
func (b *Broker) appendHeld(at place, req kafka.AppendRequest, done func(kafka.Appended)) {
	it := &heldItem{
		shard: at.shard, target: at.id, principal: req.Principal, done: done,
		stamp:    b.settings().Topic(at.topic).LogAppendTime,
		producer: req.Batch.ProducerID(), epoch: req.Batch.ProducerEpoch(), sequence: req.Batch.BaseSequence(),
	}
	err := b.takeApart(at, req.Batch, it)
	if err == nil {
		err = b.ensureCheckTopics(it.ops)
	}
	if err == nil {
		err = at.shard.submit(it)
	}
	if err != nil {
		it.end(err)
	}
}

// maxHeldRecords bounds the records of a batch that is taken apart: each becomes a
// batch or a decision of its own, which takes many times its bytes.
const maxHeldRecords = 10_000

// takeApart makes the operations of a batch: one for each record.
func (b *Broker) takeApart(at place, batch record.Batch, it *heldItem) error {
	if n := batch.Records(); n > maxHeldRecords {
		return fmt.Errorf("%d records in one batch, a topic of half messages takes up to %d: %w", n, maxHeldRecords, kerr.MessageTooLarge)
	}
	var records []record.Record
	err := b.inflate(batch, func() (err error) {
		records, err = batch.Decode(maxInflated)
		return err
	})
	if err != nil {
		return err
	}
	settings := b.settings().Topic(at.topic)
	compression, _ := settings.Recompress(batch.Codec())
	bad := &recordErrors{code: kerr.InvalidRecord}
	seen := make(map[string]bool, len(records))
	for i, r := range records {
		if bad.full() {
			break
		}
		req, err := txn.ParseHeaders(r.Headers)
		if err != nil {
			bad.add(i, err)
			continue
		}
		if settings.Compacted && req.Decision == txn.Prepare && r.Key == nil {
			bad.add(i, errNoKey)
			continue
		}
		if seen[req.ID] {
			bad.add(i, fmt.Errorf("%s %q is there twice in one batch: send the decision when the prepare is acknowledged", txn.HeaderID, req.ID))
			continue
		}
		seen[req.ID] = true
		op := heldOp{key: txn.Key{Target: it.target, ID: req.ID}, state: req.Decision}
		timestamp := batch.BaseTimestamp() + r.TimestampDelta
		switch req.Decision {
		case txn.Prepare:
			op.prepare = txn.PrepareRequest{Group: req.Group, Principal: it.principal, Body: txn.BodyHash(r.Key, r.Value)}
			op.hidden = single(compression, timestamp, r)
			it.bytes += len(op.hidden)
		case txn.Commit:
			if op.visible, err = at.shard.visible(op.key); err != nil {
				return err
			}
			it.bytes += len(op.visible)
		}
		it.bytes += 256
		it.ops = append(it.ops, op)
	}
	return bad.orNil()
}

// single is a batch of one record.
func single(c record.Compression, timestamp int64, r record.Record) record.Batch {
	r.OffsetDelta, r.TimestampDelta = 0, 0
	return record.Build(record.BuildOptions{Codec: c.Codec, Level: c.Level, BaseTimestamp: timestamp, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}, []record.Record{r})
}

// held reads a held message as its sender prepared it.
func (s *Shard) held(offset int64) (record.Record, record.Batch, error) {
	data, err := s.log.Read(nil, nil, record.Halves, offset, offset+1, 0, true)
	if err != nil {
		return record.Record{}, nil, fmt.Errorf("%w: reading the half message at %s:%d: %w", kerr.KafkaStorageError, record.Halves, offset, err)
	}
	b, _, err := record.SplitBatch(data)
	if err != nil {
		return record.Record{}, nil, fmt.Errorf("%w: the half message at %s:%d is gone: %w", kerr.KafkaStorageError, record.Halves, offset, err)
	}
	records, err := b.Decode(maxInflated)
	if err != nil {
		return record.Record{}, nil, fmt.Errorf("%w: the half message at %s:%d: %w", kerr.KafkaStorageError, record.Halves, offset, err)
	}
	return records[0], b, nil
}

// visible builds the batch that a commit will release: the message as it was
// prepared, without the header that held it back. It is nil where there is nothing
// to release: the loop will say why.
func (s *Shard) visible(k txn.Key) (record.Batch, error) {
	s.mu.RLock()
	h, ok := s.halves.Get(k)
	s.mu.RUnlock()
	if !ok || h.State.Ended() {
		return nil, nil
	}
	r, b, err := s.held(h.Held)
	if err != nil {
		return nil, err
	}
	headers := make([]record.Header, 0, len(r.Headers))
	for _, hd := range r.Headers {
		if hd.Key != txn.HeaderState {
			headers = append(headers, hd)
		}
	}
	r.Headers = headers
	return single(record.Compression{Codec: b.Codec()}, b.BaseTimestamp(), r), nil
}

func (it *heldItem) size() int       { return it.bytes }
func (it *heldItem) early() bool     { return false }
func (it *heldItem) refusable() bool { return true }

// decide takes all operations of the batch or none.
func (it *heldItem) decide(l *leading, e *pending) (verdict, error) {
	m := l.mark()
	v, err := it.decideAll(l, e)
	if err != nil {
		l.undo(m)
	}
	return v, err
}

func (it *heldItem) decideAll(l *leading, e *pending) (verdict, error) {
	n := int32(len(it.ops))
	d, err := l.partitions.Sequence(it.target, it.producer, it.epoch, it.sequence, n, e.now, e.at)
	if err != nil {
		return verdict{}, err
	}
	it.stampedAt = -1
	if it.stamp {
		it.stampedAt = d.Timestamp
	}
	if d.Duplicate {
		return verdict{inFlight: d.InFlight}, nil
	}
	if it.producer >= 0 {
		e.addCommand(it.target, partition.SequenceCommand(it.producer, it.epoch, it.sequence, n))
	}
	bad := &recordErrors{code: kerr.InvalidRecord}
	v := verdict{added: it.producer >= 0}
	for i := range it.ops {
		d, err := it.decideOne(l, e, &it.ops[i])
		switch {
		case errors.Is(err, txn.ErrEarly), errors.Is(err, txn.ErrTooMany): // not the record's fault
			return verdict{}, err
		case err != nil:
			bad.add(i, err)
		case d.added:
			v.added = true
		case d.inFlight > v.inFlight:
			v.inFlight = d.inFlight
		}
	}
	return v, bad.orNil()
}

func (it *heldItem) decideOne(l *leading, e *pending, op *heldOp) (verdict, error) {
	if op.state == txn.Prepare {
		if old, cmd := l.halves.MakeRoom(e.at); cmd != nil {
			e.addCommand(old.Target, cmd)
		}
		r := op.prepare
		r.Held = l.partitions.NextOffset(record.Halves)
		cmd, d, err := l.halves.Prepare(op.key, r, e.now, e.at)
		if err != nil || d.Duplicate {
			return verdict{inFlight: d.InFlight}, err
		}
		if _, err := l.partitions.Append(record.Halves, op.hidden, e.at); err != nil {
			return verdict{}, err
		}
		e.Add(record.KindBatch, record.Halves, op.hidden)
		e.addCommand(it.target, cmd)
		return verdict{added: true}, nil
	}
	end := txn.RolledBack
	offset := int64(-1)
	if op.state == txn.Commit {
		end, offset = txn.Committed, l.partitions.NextOffset(it.target)
	}
	cmd, d, err := l.halves.End(op.key, end, it.principal, offset, e.at)
	if err != nil || d.Duplicate {
		return verdict{inFlight: d.InFlight}, err
	}
	if end == txn.Committed {
		if op.visible == nil {
			return verdict{}, fmt.Errorf("%q: %w", op.key.ID, txn.ErrEarly)
		}
		if it.stamp {
			op.visible.StampLogAppendTime(e.now)
		}
		if _, err := l.partitions.Append(it.target, op.visible, e.at); err != nil {
			return verdict{}, err
		}
		e.Add(record.KindBatch, it.target, op.visible)
	}
	e.addCommand(it.target, cmd)
	return verdict{added: true}, nil
}

// end answers. A single commit is answered with the offset at which consumers see
// the message; held messages and mixed batches have none to tell.
func (it *heldItem) end(err error) {
	if err != nil {
		failed(it.done, err)
		return
	}
	a := kafka.Appended{BaseOffset: -1, LogAppendTime: it.stampedAt, LogStart: -1}
	if len(it.ops) == 1 && it.ops[0].state == txn.Commit {
		if h, ok := it.shard.halves.Get(it.ops[0].key); ok {
			a.BaseOffset = h.Offset
			if it.stamp {
				a.LogAppendTime = h.Ended // also where this is the commit for the second time
			}
		}
	}
	if b, ok := it.shard.partitions.Bounds(it.target); ok {
		a.LogStart = b.LogStart
	}
	it.done(a)
}

// ensureCheckTopics makes sure that questions about the prepared messages have
// somewhere to go, before the first of a group is taken.
func (b *Broker) ensureCheckTopics(ops []heldOp) error {
	for i := range ops {
		if ops[i].state != txn.Prepare {
			continue
		}
		if err := b.ensureCheckTopic(context.Background(), ops[i].prepare.Group); err != nil {
			return err
		}
	}
	return nil
}

// ensureCheckTopic creates a group's check topic unless it is there. One that a
// consumer's subscription has made may have too few partitions, and gets the rest.
func (b *Broker) ensureCheckTopic(ctx context.Context, group string) error {
	name := txn.CheckTopic(group)
	enough := func() bool {
		t, ok := b.view().Topic(name)
		return ok && len(t.Partitions) >= txn.CheckPartitions
	}
	if enough() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	err := b.ensureTopic(ctx, checkTopic(name))
	if err == nil && !enough() {
		err = b.CreatePartitions(ctx, name, txn.CheckPartitions, nil, false)
	}
	if err != nil && !enough() {
		return fmt.Errorf("creating %q, to which questions about half messages go: %w", name, err)
	}
	return nil
}

func checkTopic(name string) cluster.NewTopic {
	retention := fmt.Sprint(txn.CheckRetention.Milliseconds())
	return cluster.NewTopic{
		Name: name, Partitions: txn.CheckPartitions, ReplicationFactor: -1,
		Configs: map[string]*string{"retention.ms": &retention},
	}
}
