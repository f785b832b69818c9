package kafka

import (
	"math/bits"
	"sync"
)

// buffers keeps byte slices for reuse, in classes of powers of two. The zero
// value is ready.
type buffers struct {
	classes [21]sync.Pool // of *[]byte whose capacity is at least 1<<class
}

// get returns an empty slice with room for at least n bytes.
func (b *buffers) get(n int) []byte {
	if n > maxPooledBuffer {
		return make([]byte, 0, n)
	}
	class := bits.Len(uint(max(n, 512) - 1))
	if p, ok := b.classes[class].Get().(*[]byte); ok {
		return (*p)[:0]
	}
	return make([]byte, 0, 1<<class)
}

// put takes a slice back; the caller must be the last to know it.
func (b *buffers) put(s []byte) {
	if c := cap(s); c >= 512 && c <= maxPooledBuffer {
		s = s[:0]
		b.classes[bits.Len(uint(c))-1].Put(&s)
	}
}
