package txn

import (
	"cmp"
	"fmt"

	"github.com/splashdam/splashdam/broker/record"
)

// Key names a half message: its id within the partition that it is meant for.
type Key struct {
	Target record.PartitionID
	ID     string
}

// compare orders keys by partition, then id.
func (k Key) compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Target, o.Target), cmp.Compare(k.ID, o.ID))
}

// State of a half message.
type State uint8

const (
	Undecided  State = 1
	Parked     State = 2 // undecided, and nobody is asked any more
	Committed  State = 3
	RolledBack State = 4
)

// Ended reports whether the decision has been made.
func (s State) Ended() bool { return s == Committed || s == RolledBack }

func (s State) String() string {
	switch s {
	case Undecided:
		return "undecided"
	case Parked:
		return "parked"
	case Committed:
		return "committed"
	case RolledBack:
		return "rolled back"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Half is what is known of a half message. A Half in Halves is never changed: a
// command replaces it. Times are the leader's, in ms.
type Half struct {
	State     State
	Held      int64 // its offset in the hidden partition record.Halves
	Group     string
	Principal string // who prepared it, and alone may decide
	Body      Hash
	Prepared  int64
	Asked     int   // questions put so far
	Wait      int64 // its group is left alone until then
	Ended     int64 // when it was decided
	Offset    int64 // of the message in its partition once committed, else -1
}

// Halves is the applied half: all half messages of a shard, those that ended
// included until they expire.
type Halves struct {
	// byTarget has no empty maps, so that a partition costs nothing once the last of
	// its half messages is forgotten, and is forgotten at once when it is deleted.
	byTarget  map[record.PartitionID]map[string]*Half
	known     int
	undecided int // Undecided or Parked
}

// NewHalves knows none.
func NewHalves() *Halves {
	return &Halves{byTarget: make(map[record.PartitionID]map[string]*Half)}
}

// Get returns what is known of a half message.
func (h *Halves) Get(k Key) (Half, bool) {
	if p := h.find(k); p != nil {
		return *p, true
	}
	return Half{}, false
}

// Len is how many are known, Undecided how many of them nobody has decided.
func (h *Halves) Len() int       { return h.known }
func (h *Halves) Undecided() int { return h.undecided }

// EachHeld calls do with the offset at which a half message is held, in no order, for
// those that nobody has decided. What is held of the others is of no use any more.
func (h *Halves) EachHeld(do func(offset int64)) {
	h.each(func(_ Key, n *Half) {
		if !n.State.Ended() {
			do(n.Held)
		}
	})
}

// Close forgets everything about a partition: its topic is deleted, and with it
// what was held for it.
func (h *Halves) Close(target record.PartitionID) {
	for _, n := range h.byTarget[target] {
		h.count(n, -1)
	}
	delete(h.byTarget, target)
}

func (h *Halves) find(k Key) *Half { return h.byTarget[k.Target][k.ID] }

// each calls do for every half message, in no order.
func (h *Halves) each(do func(Key, *Half)) {
	for target, halves := range h.byTarget {
		for id, n := range halves {
			do(Key{target, id}, n)
		}
	}
}

func (h *Halves) set(k Key, n Half) {
	halves := h.byTarget[k.Target]
	if halves == nil {
		halves = make(map[string]*Half)
		h.byTarget[k.Target] = halves
	}
	if old := halves[k.ID]; old != nil {
		h.count(old, -1)
	}
	h.count(&n, 1)
	halves[k.ID] = &n
}

func (h *Halves) remove(k Key) {
	halves := h.byTarget[k.Target]
	h.count(halves[k.ID], -1)
	if delete(halves, k.ID); len(halves) == 0 {
		delete(h.byTarget, k.Target)
	}
}

func (h *Halves) count(n *Half, by int) {
	h.known += by
	if !n.State.Ended() {
		h.undecided += by
	}
}
