package kafka

import (
	"math/rand/v2"
	"testing"
)

// TestBuffersAreKeptWithinABound, and a burst of one size leaves room for the others.
func TestBuffersAreKeptWithinABound(t *testing.T) {
	var b buffers
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 20_000 {
		n := 1 << rnd.IntN(24)
		s := b.get(n)
		if cap(s) < n || len(s) != 0 {
			t.Fatalf("asked for %d, got %d of %d", n, len(s), cap(s))
		}
		b.put(s)
		if rnd.IntN(3) == 0 {
			b.put(make([]byte, n+rnd.IntN(n)))
		}
		kept := 0
		for class, list := range b.classes {
			for _, s := range list {
				if cap(s) < 1<<class {
					t.Fatalf("%d bytes in class %d", cap(s), class)
				}
				kept += cap(s)
			}
		}
		if kept != b.kept || kept > maxPooled {
			t.Fatalf("%d bytes are kept, it counts %d", kept, b.kept)
		}
	}
	for range 100 {
		b.put(make([]byte, maxPooledBuffer))
	}
	small := make([]byte, 0, 64<<10)
	b.put(small)
	if got := b.get(64 << 10); &got[:1][0] != &small[:1][0] {
		t.Error("a small buffer was not kept behind large ones")
	}
}
