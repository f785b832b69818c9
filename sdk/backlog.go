package sdk

import (
	"container/heap"
	"time"
)

// backlog holds what waits for a handler: fresh messages in the order they came,
// and failed ones that rest until they are due. The failed ones go first once due,
// so that no stream of fresh messages keeps them waiting. It is not safe for
// concurrent use.
type backlog struct {
	fresh   []*delivery
	resting restingHeap
}

func (b *backlog) push(d *delivery) { b.fresh = append(b.fresh, d) }

func (b *backlog) rest(d *delivery, due time.Time) {
	d.due = due
	heap.Push(&b.resting, d)
}

// pop takes what is next at now. If there is nothing yet, wait is how long until
// the first resting message is due, 0 if none rests.
func (b *backlog) pop(now time.Time) (d *delivery, wait time.Duration) {
	if len(b.resting) > 0 {
		if wait = b.resting[0].due.Sub(now); wait <= 0 {
			return heap.Pop(&b.resting).(*delivery), 0
		}
	}
	if len(b.fresh) > 0 {
		d, b.fresh[0] = b.fresh[0], nil
		b.fresh = b.fresh[1:]
		return d, 0
	}
	return nil, wait
}

// restingHeap is ordered by when a delivery is due (container/heap).
type restingHeap []*delivery

func (h restingHeap) Len() int           { return len(h) }
func (h restingHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h restingHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *restingHeap) Push(x any)        { *h = append(*h, x.(*delivery)) }
func (h *restingHeap) Pop() any {
	old := *h
	d := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return d
}
