package txn

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/splashdam/splashdam/internal/heap"
)

// everyState is a half message in each state, of two partitions.
func everyState() *Halves {
	h := NewHalves()
	for i, s := range []State{Undecided, Parked, Committed, RolledBack} {
		n := Half{
			State: s, Held: int64(i), Group: "g", Principal: "User:a", Body: Hash{byte(i)},
			Prepared: 1000, Asked: i, Wait: 7000, Offset: -1,
		}
		if s.Ended() {
			n.Ended = 8000
		}
		if s == Committed {
			n.Offset = 42
		}
		h.set(Key{1 + 0x100*1, fmt.Sprint("id-", i)}, n)
		h.set(Key{1, fmt.Sprint("id-", i)}, n)
	}
	return h
}

func TestASnapshotHasItsBytesForEver(t *testing.T) {
	h := NewHalves()
	h.set(Key{1, "id-1"}, Half{
		State: Committed, Held: 5, Group: "g", Principal: "User:a", Body: Hash{1, 15: 2},
		Prepared: 1000, Asked: 3, Wait: 7000, Ended: 8000, Offset: 9,
	})
	const want = "01" + "00000001" + "000469642d31" + "03" + "0000000000000005" + "000167" + "0006557365723a61" +
		"01000000000000000000000000000002" + "00000000000003e8" + "00000003" + "0000000000001b58" + "0000000000001f40" + "0000000000000009"
	if got := hex.EncodeToString(h.View().Encode()); got != want {
		t.Errorf("it is\n%s, in a snapshot it is\n%s", got, want)
	}
}

func TestWhatASnapshotHoldsIsRestored(t *testing.T) {
	h := everyState()
	r, err := RestoreHalves(h.View().Encode())
	if err != nil {
		t.Fatal(err)
	}
	if r.Len() != 8 || r.Undecided() != 4 {
		t.Errorf("%d known and %d undecided, want 8 and 4", r.Len(), r.Undecided())
	}
	h.each(func(k Key, n *Half) {
		if got, ok := r.Get(k); !ok || got != *n {
			t.Errorf("%v: %+v, was %+v", k, got, *n)
		}
	})
}

func TestASnapshotDoesNotSeeWhatComesLater(t *testing.T) {
	h := everyState()
	before := string(h.View().Encode())
	v := h.View()
	for _, c := range sample {
		if err := h.Apply(1, c.command, 9000); err != nil {
			t.Fatal(err)
		}
	}
	h.Close(0x101)
	if string(v.Encode()) != before {
		t.Error("it changed")
	}
	if string(h.View().Encode()) == before {
		t.Error("the commands changed nothing")
	}
}

func TestDamagedSnapshotsAreRefused(t *testing.T) {
	good := everyState().View().Encode()
	refused := func(what string, data []byte) {
		t.Helper()
		if _, err := RestoreHalves(data); !errors.Is(err, ErrState) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// Half messages are not counted, so only a cut inside one is seen; the file's
	// checksum sees the others.
	starts := map[int]bool{1: true}
	for n := 1; n < len(good); n++ {
		if _, err := RestoreHalves(good[:n]); err == nil {
			starts[n] = true
		}
	}
	if len(starts) != 8 {
		t.Errorf("%d cuts are not seen, there are 8 half messages", len(starts))
	}
	refused("nothing", nil)
	refused("a byte behind it", append(good[:len(good):len(good)], 0))
	refused("the same half message twice", append(good[:len(good):len(good)], good[1:]...))
	for _, future := range []byte{0, stateVersion + 1, 255} {
		refused(fmt.Sprintf("version %d", future), append([]byte{future}, good[1:]...))
	}

	one := func(id string, change func(*Half)) []byte {
		n := Half{State: Undecided, Group: "g", Principal: "p", Offset: -1}
		change(&n)
		h := NewHalves()
		h.set(Key{1, id}, n)
		return h.View().Encode()
	}
	if _, err := RestoreHalves(one("id", func(*Half) {})); err != nil {
		t.Fatal(err)
	}
	refused("no id", one("", func(*Half) {}))
	refused("state 0", one("id", func(n *Half) { n.State = 0 }))
	refused("state 5", one("id", func(n *Half) { n.State = RolledBack + 1 }))
	refused("a negative place", one("id", func(n *Half) { n.Held = -1 }))
	refused("a negative number of questions", one("id", func(n *Half) { n.Asked = -1 }))
	refused("an impossible offset", one("id", func(n *Half) { n.State, n.Offset = Committed, -2 }))
	refused("a commit without an offset", one("id", func(n *Half) { n.State = Committed }))
	refused("an offset without a commit", one("id", func(n *Half) { n.State, n.Offset = Parked, 0 }))

	// A length that promises more than there is.
	id := strings.Index(string(good), "id-0") - 2
	for _, length := range []string{"\x7f\xff", "\xff\xff", "\x80\x00"} {
		refused("an id of hostile length", []byte(string(good[:id])+length+string(good[id+2:])))
	}
}

func FuzzRestoreHalves(f *testing.F) {
	f.Add([]byte{stateVersion})
	f.Add(everyState().View().Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		// A state takes more room than its bytes, but in proportion to them.
		if n := heap.Allocated(func() { _, _ = RestoreHalves(data) }); n > uint64(64*len(data)+1<<20) {
			t.Fatalf("%d bytes are allocated for an input of %d", n, len(data))
		}
		h, err := RestoreHalves(data)
		if err != nil {
			if !errors.Is(err, ErrState) {
				t.Fatalf("another error: %v", err)
			}
			return
		}
		if string(h.View().Encode()) != string(data) {
			t.Fatal("what was restored has another encoding")
		}
		undecided := 0
		h.each(func(_ Key, n *Half) {
			if !n.State.Ended() {
				undecided++
			}
		})
		if h.Undecided() != undecided {
			t.Fatalf("%d undecided are counted, there are %d", h.Undecided(), undecided)
		}
	})
}
