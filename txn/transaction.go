package txn

import (
	"fmt"
	"slices"

	"github.com/splashdam/splashdam/broker/record"
)

// Phase is where a transactional id is in its life, by Kafka's numbers and names.
type Phase uint8

const (
	Empty          Phase = 0 // it has a producer id, and no transaction yet
	Ongoing        Phase = 1
	PrepareCommit  Phase = 2 // decided; markers are on their way
	PrepareAbort   Phase = 3
	CompleteCommit Phase = 4 // all markers are written
	CompleteAbort  Phase = 5
)

func (p Phase) String() string {
	if p > CompleteAbort {
		return fmt.Sprintf("phase %d", uint8(p))
	}
	return [...]string{"Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort"}[p]
}

// Prepared reports whether the end is decided and not complete.
func (p Phase) Prepared() bool { return p == PrepareCommit || p == PrepareAbort }

// idle reports whether there is no transaction.
func (p Phase) idle() bool { return p != Ongoing && !p.Prepared() }

// commits reports whether the last transaction was, or is to be, committed.
func (p Phase) commits() bool { return p == PrepareCommit || p == CompleteCommit }

// Transaction is a transactional id and its present or last transaction. One that is
// in the applied half never changes; its slice must not be changed.
type Transaction struct {
	Phase    Phase
	Producer int64
	Epoch    int16
	// LastEpoch is the epoch from which the producer was moved on to the present one by
	// its own request, or by a timeout: with it the request may be repeated (KIP-360,
	// KIP-890). -1 if there is none, as where another producer was fenced.
	LastEpoch int16
	// LastProducer is the id before the present one, whose epochs were used up; -1 if
	// there is none.
	LastProducer int64
	// NextProducer takes over when the end is complete, because this one's epochs are
	// used up; -1 if none does.
	NextProducer int64
	TimeoutMs    int32
	// Bumped says of a decided end that the epoch was raised for it (KIP-890).
	Bumped bool
	// Partitions are those of the transaction, rising; the groups to which it commits
	// offsets are in here as their partitions of __consumer_offsets.
	Partitions []record.PartitionID
	// Started is when the transaction began, -1 if there is none, and Updated when the
	// last command about it was applied; both by the log's time, in ms.
	Started, Updated int64
}

// Transactions is the applied half: all transactional ids that a shard coordinates. It
// is changed by Apply, by one goroutine at a time; what it gives out never changes.
type Transactions struct {
	byID map[string]*Transaction
	// idBytes is how long all ids are together.
	idBytes int
}

// NewTransactions is the state before the first command.
func NewTransactions() *Transactions {
	return &Transactions{byID: make(map[string]*Transaction)}
}

// Get returns what is known of an id, nil for nothing.
func (ts *Transactions) Get(id string) *Transaction { return ts.byID[id] }

// set makes an id known, or with nil forgets it.
func (ts *Transactions) set(id string, t *Transaction) {
	if ts.byID[id] != nil {
		ts.idBytes -= len(id)
		delete(ts.byID, id)
	}
	if t != nil {
		ts.idBytes += len(id)
		ts.byID[id] = t
	}
}

// Len is how many ids there are.
func (ts *Transactions) Len() int { return len(ts.byID) }

// Each calls do for every id, in no order.
func (ts *Transactions) Each(do func(id string, t *Transaction)) {
	for id, t := range ts.byID {
		do(id, t)
	}
}

// with is t with partitions added, in a slice of its own.
func (t *Transaction) with(ps []record.PartitionID) []record.PartitionID {
	all := slices.Concat(t.Partitions, ps)
	slices.Sort(all)
	return slices.Compact(all)
}

// has reports whether all of the partitions are part of the transaction.
func (t *Transaction) has(ps []record.PartitionID) bool {
	for _, p := range ps {
		if _, ok := slices.BinarySearch(t.Partitions, p); !ok {
			return false
		}
	}
	return true
}
