package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/group"
	"github.com/splashdam/splashdam/broker/kafka"
	"github.com/splashdam/splashdam/broker/partition"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/txn"
)

// This file is what shards have to say to each other about transactions. Coordinator
// and partitions live in shards of their own, so nothing here is one step: the decision
// is in the coordinator's log first, then markers go to the partitions' shards, each
// again and again until it is in that log, and then the coordinator's log has that all
// of them are. A crash between two of these leaves the rest to the next leader.

// transactionPeers carries calls between the shards of a cluster. Both methods return
// at once; done is called exactly once, from within or from another goroutine, also in
// the loop of a shard, and must not block.
type transactionPeers interface {
	// Enlist makes partitions part of a transaction, or asks whether they are, at its
	// coordinator; done hears of it when that is committed. Errors are those of
	// txn.Coordinator.Enlist, and kerr.NotCoordinator, kerr.CoordinatorNotAvailable.
	Enlist(id string, e txn.Enlistment, done func(error))
	// WriteMarker ends a transaction in a partition. With nil it has ended there, now or
	// before. kerr.TransactionCoordinatorFenced is final for this coordinator; after
	// any other error the order is given again.
	WriteMarker(m txn.Marker, done func(error))
}

// submitNow queues an item from within a loop, which must not wait for room, and wakes
// the shard. On an error the item is not ended.
func (s *Shard) submitNow(it item) error {
	if err := s.queue.pushNow(it); err != nil {
		return err
	}
	s.host.Wake()
	return nil
}

// Enlist implements transactionPeers for the shards of this node.
func (b *Broker) Enlist(id string, e txn.Enlistment, done func(error)) {
	s, err := b.coordinatingTransaction(id)
	if err != nil {
		done(err)
		return
	}
	err = s.submitNow(&commandItem{
		command: func(l *leading, p *pending) (record.Command, error) { return l.transactions.Enlist(id, e, p.now, p.at) },
		done:    func(err error) { done(notCoordinator(err)) },
	})
	if err != nil {
		done(notCoordinator(err))
	}
}

// WriteMarker implements transactionPeers for the shards of this node.
func (b *Broker) WriteMarker(m txn.Marker, done func(error)) {
	t, n, ok := b.view().Partition(m.Partition)
	if !ok {
		if m.Partition >= b.view().NextPartitionID() {
			done(fmt.Errorf("partition %v is not known here yet: %w", m.Partition, kerr.NotLeaderForPartition))
			return
		}
		done(nil) // its topic was deleted, and with it all that there was to end
		return
	}
	s, ok := b.shards[t.Partitions[n].Shard]
	if !ok {
		done(fmt.Errorf("partition %v: shard %d is not on this node: %w", m.Partition, t.Partitions[n].Shard, kerr.NotLeaderForPartition))
		return
	}
	it := &markerItem{partition: m.Partition, offsets: t.Name == offsetsTopic, done: done, what: partition.End{
		Producer: m.Producer, Epoch: m.Epoch, Commit: m.Commit, Coordinator: m.Coordinator, Bumped: m.Bumped,
	}}
	if err := s.submitNow(it); err != nil {
		done(err)
	}
}

// markerItem is a marker on its way into the log of its partition.
type markerItem struct {
	partition record.PartitionID
	offsets   bool // it is one of __consumer_offsets: groups have offsets pending
	operator  bool // it comes from nobody's coordinator
	what      partition.End
	done      func(error)
}

func (it *markerItem) size() int       { return 256 }
func (it *markerItem) early() bool     { return false }
func (it *markerItem) refusable() bool { return false }
func (it *markerItem) end(err error)   { it.done(err) }

func (it *markerItem) decide(l *leading, e *pending) (verdict, error) {
	b, err := l.partitions.End(it.partition, it.what, e.now, e.at)
	if errors.Is(err, partition.ErrEnded) || errors.Is(err, kerr.InvalidProducerEpoch) && !it.operator {
		// It was here before, and perhaps the producer has gone on since.
		return verdict{inFlight: e.newest()}, nil
	}
	if err != nil {
		return verdict{}, err
	}
	e.Add(record.KindBatch, it.partition, b)
	if it.offsets {
		e.addCommand(0, group.EndCommand(it.what.Producer, it.what.Epoch, it.what.Commit))
	}
	return verdict{added: true}, nil
}

// sendMarkers gives the orders that are due. It runs in the loop.
func (s *Shard) sendMarkers() {
	if s.leading == nil || s.peers == nil {
		return
	}
	for _, m := range s.leading.transactions.Markers(s.clock.now()) {
		s.peers.WriteMarker(m, func(err error) { s.markerEnded(m, err) })
	}
}

// markerEnded tells the coordinator what became of an order. It runs in any goroutine.
// If the lead is lost meanwhile, the next leader gives all orders anew.
func (s *Shard) markerEnded(m txn.Marker, err error) {
	if err != nil {
		s.logger.Debug("writing a marker", "transactional_id", m.ID, "partition", m.Partition, "cause", err)
	}
	it := &commandItem{
		command: func(l *leading, e *pending) (record.Command, error) {
			if err != nil {
				l.transactions.Failed(m, e.now)
				return nil, nil
			}
			return l.transactions.Written(m, e.now, e.at), nil
		},
		done: func(error) {},
	}
	if err := s.submitNow(it); err != nil {
		s.logger.Debug("noting a marker", "transactional_id", m.ID, "partition", m.Partition, "cause", err)
	}
}

const (
	// maxTimedOut bounds the transactions that are aborted, and the ids that are
	// forgotten, at a time.
	maxTimedOut = 1024
)

// dueTransactions aborts transactions that are open for too long, and forgets ids that
// nobody uses. What fails is due again.
func (s *Shard) dueTransactions(l *leading, now int64) {
	timedOut, expired := l.transactions.Due(now, maxTimedOut)
	for _, id := range timedOut {
		s.decideNow(func(l *leading, e *pending) (record.Command, error) {
			return l.transactions.TimeOut(id, e.now, e.at), nil
		})
	}
	for _, id := range expired {
		s.decideNow(func(l *leading, e *pending) (record.Command, error) {
			return l.transactions.Forget(id, e.now, e.at), nil
		})
	}
}

func (s *Shard) decideNow(command func(*leading, *pending) (record.Command, error)) {
	if err := s.queue.pushNow(&commandItem{command: command, done: func(error) {}}); err != nil {
		s.logger.Debug("deciding what is due about a transaction", "cause", err)
	}
}

// WriteMarkers implements kafka.Transactions: what an operator wants of a transaction
// that hangs (KIP-664).
func (b *Broker) WriteMarkers(ctx context.Context, topic string, p int32, m kafka.MarkerRequest) error {
	at, err := b.locate(topic, p)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	it := &markerItem{partition: at.id, offsets: topic == offsetsTopic, operator: true, done: func(err error) { done <- err }, what: partition.End{
		Producer: m.Producer, Epoch: m.Epoch, Commit: m.Commit, Coordinator: m.Coordinator, Bumped: m.Bumped,
	}}
	if err := at.shard.submit(it); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
