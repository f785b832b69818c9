package partition

import (
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/record"
)

// Unverified is a batch about which no coordinator was asked.
const Unverified int64 = -1

// ErrUnverified is a batch, or a commit of offsets, that would begin a transaction
// which the coordinator has not said to be open, or which may have ended since it did.
// To ask it again is right.
var ErrUnverified = fmt.Errorf("the transaction is not known to be open: %w", kerr.InvalidTxnState)

// transactionStanding is how a producer's transactions stand in a partition.
type transactionStanding struct {
	open        bool
	epoch       int16 // the newest one that the producer has used or was fenced with
	ended       int64 // the offset behind the last marker, 0 if there was none
	coordinator int32 // that the last marker came from, 0 if there was none
}

// transacting are the transactions that begin and end in flight.
type transacting struct {
	flights []transactionFlight // oldest first
	newest  map[producerKey]transactionFlight
}

type transactionFlight struct {
	at    record.Index
	by    int // the number of the reservation whose batch or marker does it
	key   producerKey
	after transactionStanding
}

func newTransacting() transacting {
	return transacting{newest: make(map[producerKey]transactionFlight)}
}

func (t *transacting) fly(at record.Index, by int, k producerKey, after transactionStanding) {
	f := transactionFlight{at: at, by: by, key: k, after: after}
	t.flights = append(t.flights, f)
	t.newest[k] = f
}

func (t *transacting) applied(at record.Index) {
	for len(t.flights) > 0 && t.flights[0].at <= at {
		if k := t.flights[0].key; t.newest[k].at <= at {
			delete(t.newest, k)
		}
		t.flights = t.flights[1:]
	}
}

// undo takes back what a reservation, the newest one, did.
func (t *transacting) undo(by int) {
	last := len(t.flights) - 1
	if last < 0 || t.flights[last].by != by {
		return
	}
	k := t.flights[last].key
	t.flights = t.flights[:last]
	delete(t.newest, k)
	for _, f := range slices.Backward(t.flights) {
		if f.key == k {
			t.newest[k] = f
			return
		}
	}
}

// transaction is how a producer's transactions stand, what is in flight included.
func (l *Leading) transaction(k producerKey) transactionStanding {
	st := transactionStanding{epoch: -1}
	if f, ok := l.transacting.newest[k]; ok {
		st = f.after
	} else if p := l.applied(k); p != nil {
		st = transactionStanding{open: p.transaction != noTransaction, epoch: p.epoch, ended: p.ended, coordinator: p.coordinator}
	}
	if s, ok := l.standing(k); ok {
		st.epoch = max(st.epoch, s.epoch)
	}
	return st
}

// begins reports whether a batch is the first of a transaction, or why it cannot be
// taken. A producer's batch outside of its open transaction is refused, as in Kafka.
func (l *Leading) begins(k producerKey, epoch int16, transactional bool, verified int64) (bool, error) {
	if !transactional {
		if q := l.table.find(k.partition); len(l.transacting.newest) == 0 && (q == nil || len(q.transactions.open) == 0) {
			return false, nil // as nearly always
		}
	}
	st := l.transaction(k)
	switch {
	case epoch < st.epoch:
		return false, fmt.Errorf("partition %v producer %d: producer epoch %d, the newest is %d: %w", k.partition, k.id, epoch, st.epoch, kerr.InvalidProducerEpoch)
	case st.open && !transactional:
		return false, fmt.Errorf("partition %v producer %d: a batch outside of the open transaction: %w", k.partition, k.id, kerr.InvalidTxnState)
	case st.open || !transactional:
		return false, nil
	}
	if err := st.verify(epoch, verified); err != nil {
		return false, fmt.Errorf("partition %v producer %d: %w", k.partition, k.id, err)
	}
	return true, nil
}

func (st transactionStanding) verify(epoch int16, verified int64) error {
	switch {
	case epoch < st.epoch:
		return fmt.Errorf("producer epoch %d, the newest is %d: %w", epoch, st.epoch, kerr.InvalidProducerEpoch)
	case verified == Unverified:
		return fmt.Errorf("its coordinator was not asked: %w", ErrUnverified)
	case verified < st.ended:
		return fmt.Errorf("the last one ended at offset %d, the coordinator was asked at %d: %w", st.ended-1, verified, ErrUnverified)
	}
	return nil
}

// Verify checks that what a coordinator has said of a producer's transaction when the
// partition's high watermark was at verified still holds: for what becomes part of a
// transaction and is no batch, such as offsets that a group commits. Errors:
// ErrUnverified, kerr.InvalidProducerEpoch, kerr.UnknownTopicOrPartition.
func (l *Leading) Verify(p record.PartitionID, producer int64, epoch int16, verified int64) error {
	if l.NextOffset(p) < 0 {
		return unknown(p)
	}
	if err := l.transaction(producerKey{p, producer}).verify(epoch, verified); err != nil {
		return fmt.Errorf("partition %v producer %d: %w", p, producer, err)
	}
	return nil
}

// End is a coordinator's wish that a producer's transaction ends in a partition.
type End struct {
	Producer int64
	Epoch    int16
	Commit   bool
	// Coordinator is the coordinator's leader epoch.
	Coordinator int32
	// Bumped says that the producer's epoch was raised for this end, so that no batch of
	// the transaction has it (KIP-890).
	Bumped bool
}

// ErrEnded is a marker that is there already.
var ErrEnded = errors.New("the transaction has ended here before")

// End decides on the marker that ends a transaction; now is in ms. It returns the
// control batch that must go into entry at.
//
// Errors: kerr.UnknownTopicOrPartition; ErrEnded for what is repeated: nothing is to be
// done; kerr.TransactionCoordinatorFenced where a newer coordinator has ended one of
// the producer's since, kerr.InvalidProducerEpoch where a newer epoch of the producer is
// known. So a coordinator that has lost its lead can end nothing that was begun later.
func (l *Leading) End(p record.PartitionID, e End, now int64, at record.Index) (record.Batch, error) {
	if l.NextOffset(p) < 0 {
		return nil, unknown(p)
	}
	k := producerKey{p, e.Producer}
	st := l.transaction(k)
	switch {
	case e.Coordinator < st.coordinator:
		return nil, fmt.Errorf("partition %v producer %d: coordinator epoch %d, the newest is %d: %w", p, e.Producer, e.Coordinator, st.coordinator, kerr.TransactionCoordinatorFenced)
	case e.Epoch < st.epoch:
		return nil, fmt.Errorf("partition %v producer %d: a marker of producer epoch %d, the newest is %d: %w", p, e.Producer, e.Epoch, st.epoch, kerr.InvalidProducerEpoch)
	case e.Bumped && e.Epoch == st.epoch:
		return nil, ErrEnded
	}
	b := record.BuildMarker(e.Producer, e.Epoch, record.Marker{Commit: e.Commit, Coordinator: e.Coordinator}, now)
	if _, err := l.Append(p, b, at); err != nil {
		return nil, err
	}
	l.transacting.fly(at, l.settled+len(l.flights)-1, k, transactionStanding{epoch: e.Epoch, ended: b.NextOffset(), coordinator: e.Coordinator})
	return b, nil
}

// Producer is what DescribeProducers (KIP-664) tells of one.
type Producer struct {
	ID           int64
	Epoch        int16
	LastSequence int32 // -1 behind a marker that fenced it
	LastUsed     int64 // ms
	Coordinator  int32 // -1 if none has ended a transaction of it
	Transaction  int64 // first offset of the one that is open, -1 if there is none
}

// Producers lists those that a partition knows, in no order.
func (t *Table) Producers(p record.PartitionID) []Producer {
	q := t.find(p)
	if q == nil {
		return nil
	}
	all := make([]Producer, 0, len(q.producers.byID))
	for id, s := range q.producers.byID {
		x := Producer{ID: id, Epoch: s.epoch, LastSequence: -1, LastUsed: s.lastUsed, Coordinator: -1, Transaction: s.transaction}
		if s.n > 0 {
			a := s.window[s.n-1]
			x.LastSequence = record.AddSequence(a.first, a.count-1)
		}
		if s.ended > 0 {
			x.Coordinator = s.coordinator
		}
		all = append(all, x)
	}
	return all
}
