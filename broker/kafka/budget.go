package kafka

import (
	"context"
	"sync"
)

// budget bounds the bytes of requests in flight on one connection. One goroutine
// takes, any may give back.
type budget struct {
	max   int
	freed chan struct{} // has room for one

	mu   sync.Mutex
	used int
}

func newBudget(max int) *budget { return &budget{max: max, freed: make(chan struct{}, 1)} }

// take waits until n bytes fit, or until nothing else is in flight.
func (b *budget) take(ctx context.Context, n int) error { return b.takeMore(ctx, 0, n) }

// takeMore is take for more of what has taken own already.
func (b *budget) takeMore(ctx context.Context, own, n int) error {
	for {
		b.mu.Lock()
		ok := b.used == own || b.used+n <= b.max
		if ok {
			b.used += n
		}
		b.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-b.freed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// alone reports whether n bytes are all that is taken.
func (b *budget) alone(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used == n
}

func (b *budget) give(n int) {
	b.mu.Lock()
	b.used -= n
	b.mu.Unlock()
	select {
	case b.freed <- struct{}{}:
	default:
	}
}
