package kafka

import (
	"context"
	"sync"
	"sync/atomic"
)

// memory bounds the bytes of the requests of all connections together. Bytes count
// when they are about to be read, not when a length field claims them, so a client
// that announces much and sends little takes little from the others. Only while less
// than half is taken, those of a request count as soon as its first step has come.
//
// Readers in the middle of their requests could wait for each other for ever. So one
// of those that wait has the right of way: it reads its request to the end whatever
// is taken. Besides, each connection may take one step that it has no room for. So the
// limit is exceeded by one request and as many steps as there are connections at most.
type memory struct {
	max     int64
	used    atomic.Int64
	waiting atomic.Int32
	owner   atomic.Pointer[share] // who has the right of way; set under mu

	mu    sync.Mutex
	freed chan struct{} // closed, and made anew, when something changes for who waits
}

func newMemory(max int) *memory { return &memory{max: int64(max), freed: make(chan struct{})} }

// share is what one request has taken. It belongs to one goroutine at a time.
type share struct {
	memory *memory
	size   int64
}

// take waits until n more bytes may be read.
func (s *share) take(ctx context.Context, n int) error {
	if s.fits(int64(n)) {
		return nil
	}
	m := s.memory
	m.waiting.Add(1) // before another look, so that who gives room sees it
	defer m.waiting.Add(-1)
	for {
		m.mu.Lock()
		freed := m.freed
		m.owner.CompareAndSwap(nil, s)
		m.mu.Unlock()
		if s.fits(int64(n)) {
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// ahead takes n bytes that have not come yet, if half of all is left then.
func (s *share) ahead(n int) bool {
	m := s.memory
	if m.used.Add(int64(n)) > m.max/2 {
		m.used.Add(int64(-n))
		m.tell() // who was refused meanwhile
		return false
	}
	s.size += int64(n)
	return true
}

// force takes n bytes whether there is room or not.
func (s *share) force(n int) {
	s.memory.used.Add(int64(n))
	s.size += int64(n)
}

func (s *share) fits(n int64) bool {
	m := s.memory
	if m.used.Add(n) > m.max && m.owner.Load() != s {
		m.used.Add(-n)
		return false
	}
	s.size += n
	return true
}

// read says that the request has been read, or given up: the right of way passes on.
func (s *share) read() {
	if s.memory.owner.CompareAndSwap(s, nil) {
		s.memory.tell()
	}
}

// give gives everything back.
func (s *share) give() {
	s.memory.used.Add(-s.size)
	s.size = 0
	s.memory.tell()
}

// short reports whether somebody waits for room.
func (m *memory) short() bool { return m.waiting.Load() > 0 }

func (m *memory) tell() {
	if m.waiting.Load() == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	close(m.freed)
	m.freed = make(chan struct{})
}
