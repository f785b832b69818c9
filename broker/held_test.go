package broker

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/kafka"
	"github.com/splashdam/splashdam/broker/partition"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/txn"
)

const aPartition record.PartitionID = 1

// ledShard is a shard without a log, and the leading half of what these tests need.
func ledShard(t *testing.T) (*Shard, *leading) {
	s := &Shard{partitions: partition.NewTable(), halves: txn.NewHalves()}
	if err := s.partitions.Apply(aPartition, partition.OpenCommand([16]byte{1}, 0), 0); err != nil {
		t.Fatal(err)
	}
	forEver := func(record.PartitionID) int64 { return -1 }
	return s, &leading{
		partitions: partition.Lead(s.partitions, 1),
		halves:     txn.Lead(s.halves, txn.DefaultPolicy(), forEver),

		transactions: txn.Coordinate(txn.NewTransactions(), txn.CoordinatorConfig{}, 1, 0),
	}
}

func closePartition(t *testing.T, s *Shard) {
	if err := s.partitions.Apply(aPartition, partition.CloseCommand(), 0); err != nil {
		t.Fatal(err)
	}
}

func entryAt(at record.Index, now int64) *pending {
	return &pending{EntryBuilder: new(record.EntryBuilder), at: at, now: now}
}

func producerBatch(producer int64) record.Batch {
	o := record.BuildOptions{BaseTimestamp: 5, ProducerID: producer, BaseSequence: 0}
	if producer < 0 {
		o.ProducerEpoch, o.BaseSequence = -1, -1
	}
	return record.Build(o, []record.Record{{Value: []byte("v")}})
}

func prepareItem(s *Shard, producer int64) *heldItem {
	return &heldItem{
		shard: s, target: aPartition, producer: producer, stamp: true, done: func(kafka.Appended) {},
		ops: []heldOp{{
			key: txn.Key{Target: aPartition, ID: "x"}, state: txn.Prepare,
			prepare: txn.PrepareRequest{Group: "g"}, hidden: producerBatch(-1),
		}},
	}
}

func TestNothingIsHeldForADeletedTopic(t *testing.T) {
	s, l := ledShard(t)
	e := entryAt(1, 1000)
	if _, err := prepareItem(s, -1).decide(l, e); err != nil {
		t.Fatal(err)
	}
	closePartition(t, s) // its command was in front of the prepare
	e.Finish(1, 1, 1000, false).Each(func(_ int, p record.Part) bool {
		if p.Kind == record.KindCommand {
			if err := s.applyCommand(p); err != nil {
				t.Fatal(err)
			}
		}
		return true
	})
	if n := s.halves.Len(); n != 0 {
		t.Errorf("%d half messages are held for a partition that is gone", n)
	}
	l.applied(1)
	for _, producer := range []int64{-1, 7} {
		if _, err := prepareItem(s, producer).decide(l, entryAt(2, 1000)); !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Errorf("preparing for a partition that is gone, as producer %d: %v", producer, err)
		}
	}
}

func TestAFullShardForgetsWhatEndedFirst(t *testing.T) {
	s, l := ledShard(t)
	policy := txn.DefaultPolicy()
	policy.MaxHalves = 1
	l.halves = txn.Lead(s.halves, policy, nil)
	apply := func(at record.Index, items ...*heldItem) {
		t.Helper()
		e := entryAt(at, 1000)
		for _, it := range items {
			if _, err := it.decide(l, e); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.applyParts(e.Finish(at, 1, 1000, false)); err != nil {
			t.Fatal(err)
		}
		l.applied(at)
	}
	first, other := prepareItem(s, -1), prepareItem(s, -1)
	other.ops[0].key.ID = "y"
	apply(1, first)
	if _, err := other.decide(l, entryAt(2, 1000)); !errors.Is(err, kerr.PolicyViolation) {
		t.Fatalf("with one undecided of one: %v", err)
	}
	end := &heldItem{shard: s, target: aPartition, producer: -1, ops: []heldOp{{key: first.ops[0].key, state: txn.Rollback}}}
	apply(2, end)
	apply(3, other)
	if _, ok := s.halves.Get(other.ops[0].key); !ok || s.halves.Len() != 1 {
		t.Errorf("%d half messages are known, the new one among them: %v", s.halves.Len(), ok)
	}
}

func TestARepeatedBatchIsAnsweredWithTheTimeOfTheFirst(t *testing.T) {
	s, l := ledShard(t)
	appending := func() *appendItem {
		return &appendItem{partition: aPartition, batch: producerBatch(7), stamp: true}
	}
	for i, now := range []int64{1000, 2000} {
		it := appending()
		if _, err := it.decide(l, entryAt(1, now)); err != nil || it.stampedAt != 1000 {
			t.Errorf("try %d of a batch: time %d, %v", i+1, it.stampedAt, err)
		}
		held := prepareItem(s, 8)
		if _, err := held.decide(l, entryAt(1, now)); err != nil || held.stampedAt != 1000 {
			t.Errorf("try %d of a held batch: time %d, %v", i+1, held.stampedAt, err)
		}
	}
	it := &appendItem{partition: aPartition, batch: producerBatch(-1)}
	if _, err := it.decide(l, entryAt(2, 3000)); err != nil || it.stampedAt != -1 {
		t.Errorf("a topic that keeps the senders' time answers %d, %v", it.stampedAt, err)
	}
}
