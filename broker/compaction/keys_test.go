package compaction

import (
	"fmt"
	"testing"
)

func TestKeysHoldNoMoreThanItsMemory(t *testing.T) {
	m := NewKeys(1<<40, 1<<20)
	if got := len(m.slots) * keySlotSize; got > 1<<20 {
		t.Errorf("%d bytes", got)
	}
	n := 0
	for m.put(1, fmt.Append(nil, n), int64(n)) {
		n++
	}
	if n < len(m.slots)*8/10 || n >= len(m.slots) {
		t.Errorf("%d keys in %d slots", n, len(m.slots))
	}
	for i := range n {
		if got := m.newest(1, fmt.Append(nil, i)); got != int64(i) {
			t.Fatalf("key %d is at %d", i, got)
		}
	}
	if got := m.newest(2, []byte("0")); got != -1 {
		t.Errorf("a key of another partition is at %d", got)
	}
}
