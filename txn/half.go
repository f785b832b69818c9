package txn

import (
	"fmt"

	"github.com/splashdam/splashdam/broker/record"
)

// Key names a half message: its id within the partition that it is meant for.
type Key struct {
	Target record.PartitionID
	ID     string
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
	all       map[Key]*Half
	undecided int // Undecided or Parked
}

// NewHalves knows none.
func NewHalves() *Halves { return &Halves{all: make(map[Key]*Half)} }

// Get returns what is known of a half message.
func (h *Halves) Get(k Key) (Half, bool) {
	if p := h.all[k]; p != nil {
		return *p, true
	}
	return Half{}, false
}

// Len is how many are known, Undecided how many of them nobody has decided.
func (h *Halves) Len() int       { return len(h.all) }
func (h *Halves) Undecided() int { return h.undecided }

// Close forgets everything about a partition: its topic is deleted, and with it
// what was held for it.
func (h *Halves) Close(target record.PartitionID) {
	for k := range h.all {
		if k.Target == target {
			h.remove(k)
		}
	}
}

func (h *Halves) set(k Key, n Half) {
	if old := h.all[k]; old != nil && !old.State.Ended() {
		h.undecided--
	}
	if !n.State.Ended() {
		h.undecided++
	}
	h.all[k] = &n
}

func (h *Halves) remove(k Key) {
	if old := h.all[k]; old != nil && !old.State.Ended() {
		h.undecided--
	}
	delete(h.all, k)
}
