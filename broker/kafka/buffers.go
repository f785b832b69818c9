package kafka

import (
	"math/bits"
	"sync"
)

const (
	// minPooledBuffer and maxPooledBuffer bound the buffers that are kept for reuse,
	// maxPooled their bytes together.
	minPooledBuffer = 512
	maxPooledBuffer = 4 << 20
	maxPooled       = 32 << 20
)

// buffers keeps byte slices for reuse, in classes of powers of two. The zero value is
// ready. Not a sync.Pool: every other garbage collection empties that, of which a node
// with its small heap has many a second under load, and what is made anew must be
// cleared first.
type buffers struct {
	mu      sync.Mutex
	classes [bufferClasses][][]byte // of 1<<class bytes and up
	kept    int                     // bytes of all of them
}

const bufferClasses = 23

// get returns an empty slice with room for at least n bytes.
func (b *buffers) get(n int) []byte {
	if n > maxPooledBuffer {
		return make([]byte, 0, n)
	}
	class := bits.Len(uint(max(n, minPooledBuffer) - 1))
	b.mu.Lock()
	if last := len(b.classes[class]) - 1; last >= 0 {
		s := b.classes[class][last]
		b.drop(class)
		b.mu.Unlock()
		return s[:0]
	}
	b.mu.Unlock()
	return make([]byte, 0, 1<<class)
}

// put takes a slice back; the caller must be the last to know it.
func (b *buffers) put(s []byte) {
	c := cap(s)
	if c < minPooledBuffer || c > maxPooledBuffer {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	class := bits.Len(uint(c)) - 1
	for b.kept+c > maxPooled {
		// What there is most of gives way, so that a burst of one size does not keep the
		// others out for ever.
		most := class
		for i, list := range b.classes {
			if len(list)<<i > len(b.classes[most])<<most {
				most = i
			}
		}
		if most == class {
			return
		}
		b.drop(most)
	}
	b.classes[class] = append(b.classes[class], s)
	b.kept += c
}

// drop forgets a class's last slice.
func (b *buffers) drop(class int) {
	list := b.classes[class]
	last := len(list) - 1
	b.kept -= cap(list[last])
	list[last] = nil
	b.classes[class] = list[:last]
}
