package broker

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/broker/kafka"
	"github.com/splashdam/splashdam/broker/partition"
	"github.com/splashdam/splashdam/broker/record"
)

// appendItem is a batch on its way into the log.
type appendItem struct {
	partition record.PartitionID
	batch     record.Batch
	acks      int16
	stamp     bool // the topic keeps the broker's time
	done      func(kafka.Appended)
	// verified is, of a batch of a transaction, where the partition's end was when the
	// coordinator was asked about it.
	verified int64

	base      int64
	stampedAt int64
	logStart  int64
}

func (it *appendItem) size() int       { return len(it.batch) + record.PartHeaderSize }
func (it *appendItem) early() bool     { return it.acks != -1 }
func (it *appendItem) refusable() bool { return true }

func (it *appendItem) decide(l *leading, e *pending) (verdict, error) {
	if it.stamp {
		it.batch.StampLogAppendTime(e.now)
	}
	d, err := l.partitions.AppendVerified(it.partition, it.batch, it.verified, e.at)
	if err != nil {
		return verdict{}, err
	}
	it.base, it.logStart, it.stampedAt = d.BaseOffset, d.LogStart, -1
	if it.stamp {
		it.stampedAt = d.Timestamp // of a duplicate, when the original came
	}
	if d.Duplicate {
		return verdict{inFlight: d.InFlight}, nil
	}
	e.Add(record.KindBatch, it.partition, it.batch)
	return verdict{added: true}, nil
}

func (it *appendItem) end(err error) {
	if err != nil {
		failed(it.done, err)
		return
	}
	it.done(kafka.Appended{BaseOffset: it.base, LogAppendTime: it.stampedAt, LogStart: it.logStart})
}

func failed(done func(kafka.Appended), err error) {
	a := kafka.Appended{BaseOffset: -1, LogAppendTime: -1, LogStart: -1, Err: err}
	var bad *recordErrors
	if errors.As(err, &bad) {
		a.RecordErrors = bad.records
	}
	done(a)
}

// Append implements kafka.Partitions.
func (b *Broker) Append(req kafka.AppendRequest, done func(kafka.Appended)) {
	at, err := b.locate(req.Topic, req.Partition)
	if err != nil {
		failed(done, err)
		return
	}
	if st := at.shard.status.Load(); st.full || st.low {
		failed(done, errNoSpace)
		return
	}
	settings := b.settings().Topic(at.topic)
	if settings.MessageType == cluster.Transaction {
		if req.Batch.IsTransactional() {
			failed(done, fmt.Errorf("topic %q has message.type=transaction, which takes half messages and no Kafka transactions: %w", req.Topic, kerr.InvalidRecord))
			return
		}
		b.appendHeld(at, req, done)
		return
	}
	if err := b.inspect(req.Batch, req.Topic, settings); err != nil {
		failed(done, fmt.Errorf("topic %q partition %d: %w", req.Topic, req.Partition, err))
		return
	}
	batch, err := b.recompress(req.Batch, settings)
	if err != nil {
		failed(done, fmt.Errorf("topic %q partition %d: %w", req.Topic, req.Partition, err))
		return
	}
	plain := appendItem{
		partition: at.id, batch: batch, acks: req.Acks, stamp: settings.LogAppendTime, done: done,
		verified: partition.Unverified,
	}
	it := item(&plain)
	if req.Batch.IsTransactional() {
		it = &transactionalItem{appendItem: plain, shard: at.shard, id: req.TransactionalID, adds: req.AddsPartition}
	}
	if err := at.shard.submit(it); err != nil {
		failed(done, fmt.Errorf("topic %q partition %d: %w", req.Topic, req.Partition, err))
	}
}

// place is where a partition of a topic lives.
type place struct {
	topic *cluster.Topic
	id    record.PartitionID
	shard *Shard
}

// locate finds a partition's shard on this node.
func (b *Broker) locate(topic string, partition int32) (place, error) {
	t, ok := b.view().Topic(topic)
	if !ok || partition < 0 || int(partition) >= len(t.Partitions) {
		return place{}, fmt.Errorf("topic %q partition %d: %w", topic, partition, kerr.UnknownTopicOrPartition)
	}
	p := t.Partitions[partition]
	s, ok := b.shards[p.Shard]
	if !ok {
		return place{}, fmt.Errorf("topic %q partition %d: shard %d is not on this node: %w", topic, partition, p.Shard, kerr.NotLeaderForPartition)
	}
	return place{t, p.ID, s}, nil
}
