package partition

import (
	"cmp"
	"container/heap"
	"slices"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/invariant"
)

// idleHeap orders producers by the time they were last used, as far as it was
// told: a producer that has been used since is put back when its turn comes. So
// a batch of a known producer costs nothing here.
type idleHeap []idleProducer

type idleProducer struct {
	lastUsed int64
	producerKey
}

func newIdleHeap(t *Table) idleHeap {
	var h idleHeap
	for id, p := range t.partitions.All() {
		for producer, s := range p.producers.byID {
			h = append(h, idleProducer{s.lastUsed, producerKey{id, producer}})
		}
	}
	slices.SortFunc(h, compareIdle) // a sorted slice is a heap
	return h
}

func compareIdle(a, b idleProducer) int {
	return cmp.Or(cmp.Compare(a.lastUsed, b.lastUsed), cmp.Compare(a.partition, b.partition), cmp.Compare(a.id, b.id))
}

func (h *idleHeap) add(lastUsed int64, k producerKey) { heap.Push(h, idleProducer{lastUsed, k}) }

// Len, Less, Swap, Push and Pop are container/heap's.
func (h idleHeap) Len() int           { return len(h) }
func (h idleHeap) Less(i, j int) bool { return compareIdle(h[i], h[j]) < 0 }
func (h idleHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *idleHeap) Push(x any)        { *h = append(*h, x.(idleProducer)) }
func (h *idleHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// recheckMs is after how long it is looked again at a producer whose expiry was
// proposed, or that had a batch in flight: neither need have come to anything.
const recheckMs = 60_000

// Expiry is a command that forgets idle producers of a partition.
type Expiry struct {
	Partition record.PartitionID
	Command   record.Command
}

// ExpiredProducers returns commands that forget producers which have not been
// used for after ms, and, of partitions that know more than MaxProducers, those that
// have been idle for the longest; at most max of them (the rest is for the next call).
// One with a batch in flight or a transaction open is left alone, and one that writes
// before the command is applied survives it. What is not proposed is said again a
// minute later, of crowded partitions a second later.
func (l *Leading) ExpiredProducers(now, after int64, max int) []Expiry {
	invariant.That(after > 0, "producers expire after %d ms", after)
	before := now - after
	var expired []producerKey
	for len(expired) < max && len(l.idle) > 0 && l.idle[0].lastUsed <= before {
		top := &l.idle[0]
		switch p := l.applied(top.producerKey); {
		case p == nil && !l.flying(top.producerKey):
			heap.Pop(&l.idle)
			continue
		case p == nil || l.busy(top.producerKey):
			top.lastUsed = before + recheckMs
		case p.lastUsed > before:
			top.lastUsed = p.lastUsed
		default:
			expired = append(expired, top.producerKey)
			top.lastUsed = before + recheckMs
		}
		heap.Fix(&l.idle, 0)
	}

	slices.SortFunc(expired, func(a, b producerKey) int {
		return cmp.Or(cmp.Compare(a.partition, b.partition), cmp.Compare(a.id, b.id))
	})
	expired = slices.Compact(expired) // one that came back is in the heap twice
	named := len(expired)
	var out []Expiry
	for len(expired) > 0 {
		p := expired[0].partition
		var ids []int64
		for len(expired) > 0 && expired[0].partition == p {
			ids = append(ids, expired[0].id)
			expired = expired[1:]
		}
		out = append(out, Expiry{p, ExpireProducersCommand(before, ids...)})
	}
	return append(out, l.crowded(now, max-named)...)
}

// flying reports whether a batch of the producer is in flight.
func (l *Leading) flying(k producerKey) bool {
	_, flying := l.newest[k]
	return flying
}

// busy reports whether the producer must not be forgotten now.
func (l *Leading) busy(k producerKey) bool {
	return l.flying(k) || l.table.find(k.partition).producers.openTransaction(k.id) != noTransaction
}
