package replica

import (
	"math"
	"sync"
)

// queue is what waits for another goroutine. What waits for the appender is bounded by
// what Raft has in flight: maxUnwritten entries of a leader, maxStaged bytes of a
// follower, and the hard states between them.
type queue[T any] struct {
	mu    sync.Mutex
	items []T
	ready chan struct{}
}

func newQueue[T any]() queue[T] { return queue[T]{ready: make(chan struct{}, 1)} }

func (q *queue[T]) push(items ...T) { q.pushUpTo(math.MaxInt, items...) }

// pushUpTo drops the items where there would be more than most.
func (q *queue[T]) pushUpTo(most int, items ...T) {
	q.mu.Lock()
	if len(q.items)+len(items) <= most {
		q.items = append(q.items, items...)
	}
	q.mu.Unlock()
	signal(q.ready)
}

func (q *queue[T]) takeAll() []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.items
	q.items = nil
	return items
}

// inbox is what peers sent and the loop has not stepped.
type inbox struct {
	mu       sync.Mutex
	messages []Message
	bytes    int
	ready    chan struct{}
}

func (b *inbox) push(m Message) {
	b.mu.Lock()
	if len(b.messages) < maxInbox && b.bytes <= maxInboxBytes {
		b.messages = append(b.messages, m)
		b.bytes += len(m.Payload)
	}
	b.mu.Unlock()
	signal(b.ready)
}

func (b *inbox) takeAll() []Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.messages
	b.messages, b.bytes = nil, 0
	return m
}
