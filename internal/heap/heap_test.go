package heap

import "testing"

var kept []byte

func TestWhatIsAllocatedIsCounted(t *testing.T) {
	if n := Allocated(func() { kept = make([]byte, 10<<20) }); n < 10<<20 || n > 11<<20 {
		t.Errorf("%d bytes for 10 MiB", n)
	}
	if n := Allocated(func() { kept = kept[:1] }); n > 1<<20 {
		t.Errorf("%d bytes for nothing", n)
	}
}
