package txn

import (
	"container/heap"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/invariant"
)

// Why a prepare or a decision is refused. Clients get INVALID_RECORD with the text.
var (
	// ErrReused is an id that another message has, or had not long ago.
	ErrReused = fmt.Errorf("the id is used by another message: give each half message an id of its own: %w", kerr.InvalidRecord)
	// ErrDecided is a decision against the one that was first.
	ErrDecided = fmt.Errorf("it was decided otherwise before: %w", kerr.InvalidRecord)
	// ErrUnknown is a decision about something that was never prepared here.
	ErrUnknown = fmt.Errorf("no such half message in this partition: send the decision to the topic and partition where the prepare was acknowledged: %w", kerr.InvalidRecord)
	// ErrPrincipal is a decision by somebody else than the sender.
	ErrPrincipal = fmt.Errorf("only who prepared a half message may decide it: %w", kerr.InvalidRecord)
	// ErrEarly is a request that depends on one that may yet be lost: a decision that
	// came before the answer to its prepare, or something else about an id than what
	// is in flight. What a client is refused for good, the log must hold.
	ErrEarly = fmt.Errorf("what came before about this id is not committed yet, try again: %w", kerr.RequestTimedOut)
	// ErrTooMany is a prepare beyond Policy.MaxHalves.
	ErrTooMany = fmt.Errorf("the shard holds too many undecided half messages: %w", kerr.PolicyViolation)
)

// maxPrincipal bounds the name of who prepares, in bytes.
const maxPrincipal = 1024

// PrepareRequest is a message to hold.
type PrepareRequest struct {
	Held      int64 // the offset that it gets in the hidden partition
	Group     string
	Principal string
	Body      Hash
}

// Verdict is what became of a request that was not refused.
type Verdict struct {
	// Duplicate says that it was done before: nothing is to be added to the log.
	Duplicate bool
	// InFlight is the entry that the first is in, 0 if that is applied.
	InFlight record.Index
}

// flight is a decision in an entry that is not applied yet.
type flight struct {
	at      record.Index
	key     Key
	kind    uint8
	prepare PrepareRequest
	end     State
	taken   bool // from its heap: what is taken back belongs there again
}

// Leading is the leading half.
type Leading struct {
	halves    *Halves
	policy    Policy
	retention func(record.PartitionID) int64

	flights []flight // in the order of the log
	gone    int      // how many were taken from the front of flights
	byKey   map[Key][]flight
	growth  int // how many more will be known when all flights are applied
	// due has the undecided and parked ones by when something may be due, ended the
	// others by when they ended: each once, but for those that were taken from there,
	// by Due or MakeRoom, until what was decided about them is settled.
	due, ended timeHeap
}

// Lead takes the lead over h, which the caller goes on applying commands to.
// retention gives the retention.ms of the topic of a partition, -1 for ever.
func Lead(h *Halves, p Policy, retention func(record.PartitionID) int64) *Leading {
	l := &Leading{
		halves: h, policy: p, retention: retention,
		byKey: make(map[Key][]flight),
	}
	h.each(func(k Key, n *Half) {
		if n.State.Ended() {
			l.ended = append(l.ended, watched{n.Ended, k, n.Held})
		} else {
			l.due = append(l.due, watched{n.due(), k, n.Held})
		}
	})
	heap.Init(&l.due)
	heap.Init(&l.ended)
	return l
}

// MakeRoom forgets, as part of entry at, the half message that ended first, if there
// is no room for another one: where there are many, their history is short. To be
// called before Prepare. The command is nil if there is nothing to forget.
func (l *Leading) MakeRoom(at record.Index) (Key, record.Command) {
	for l.full() && len(l.ended) > 0 {
		w := heap.Pop(&l.ended).(watched)
		if l.find(w.key, w.held) != nil { // else it is gone with its partition
			l.fly(flight{at: at, key: w.key, kind: kindExpired, taken: true})
			return w.key, expiredCommand(w.key.ID)
		}
	}
	return Key{}, nil
}

// full reports whether there is no room for another half message.
func (l *Leading) full() bool { return l.halves.Len()+l.growth >= l.policy.MaxHalves }

// Prepare decides whether a message is held as part of entry at. The command goes
// into the entry beside the message.
func (l *Leading) Prepare(k Key, r PrepareRequest, now int64, at record.Index) (record.Command, Verdict, error) {
	if n := l.halves.find(k); n != nil {
		if n.Body != r.Body || n.Group != r.Group || n.Principal != r.Principal {
			return nil, Verdict{}, fmt.Errorf("%q: %w", k.ID, ErrReused)
		}
		return nil, Verdict{Duplicate: true}, nil
	}
	for _, f := range l.byKey[k] {
		if f.kind == kindPrepared {
			if f.prepare.Body != r.Body || f.prepare.Group != r.Group || f.prepare.Principal != r.Principal {
				return nil, Verdict{}, fmt.Errorf("%q: %w", k.ID, ErrEarly)
			}
			return nil, Verdict{Duplicate: true, InFlight: f.at}, nil
		}
	}
	if len(r.Principal) > maxPrincipal {
		return nil, Verdict{}, fmt.Errorf("%q: its sender's name has %d bytes, %d can be kept: %w", k.ID, len(r.Principal), maxPrincipal, kerr.InvalidRecord)
	}
	if l.full() {
		return nil, Verdict{}, fmt.Errorf("%q: %w", k.ID, ErrTooMany)
	}
	l.fly(flight{at: at, key: k, kind: kindPrepared, prepare: r})
	return preparedCommand(k.ID, r, now+l.policy.Immunity.Milliseconds()), Verdict{}, nil
}

// End decides whether a half message ends as part of entry at: the first decision
// wins, the same again is a duplicate, another is refused, for good once the first is
// applied. offset is the one that
// the message gets in its partition, -1 for a rollback.
func (l *Leading) End(k Key, to State, principal string, offset int64, at record.Index) (record.Command, Verdict, error) {
	invariant.That(to.Ended(), "ending as %v", to)
	n := l.halves.find(k)
	if n == nil {
		if len(l.byKey[k]) > 0 {
			return nil, Verdict{}, fmt.Errorf("%q: %w", k.ID, ErrEarly)
		}
		return nil, Verdict{}, fmt.Errorf("%q: %w", k.ID, ErrUnknown)
	}
	if n.Principal != principal {
		return nil, Verdict{}, fmt.Errorf("%q: %w", k.ID, ErrPrincipal)
	}
	if n.State.Ended() {
		if n.State != to {
			return nil, Verdict{}, fmt.Errorf("%q is %v: %w", k.ID, n.State, ErrDecided)
		}
		return nil, Verdict{Duplicate: true}, nil
	}
	if f, ok := l.ending(k); ok {
		if f.end != to {
			return nil, Verdict{}, fmt.Errorf("%q: %w", k.ID, ErrEarly)
		}
		return nil, Verdict{Duplicate: true, InFlight: f.at}, nil
	}
	l.fly(flight{at: at, key: k, kind: kindEnded, end: to})
	return endedCommand(k.ID, to, offset), Verdict{}, nil
}

// ending is the decision in flight, if there is one.
func (l *Leading) ending(k Key) (flight, bool) {
	for _, f := range l.byKey[k] {
		if f.kind == kindEnded {
			return f, true
		}
	}
	return flight{}, false
}

func (l *Leading) fly(f flight) {
	l.flights = append(l.flights, f)
	l.byKey[f.key] = append(l.byKey[f.key], f)
	l.growth += f.growth()
}

// growth is how many more half messages are known once the flight is applied.
func (f flight) growth() int {
	switch f.kind {
	case kindPrepared:
		return 1
	case kindExpired:
		return -1
	}
	return 0
}

// Applied tells that the entry is applied: what it decided is in the applied half.
func (l *Leading) Applied(at record.Index) {
	n := 0
	for n < len(l.flights) && l.flights[n].at <= at {
		f := l.flights[n]
		l.land(f, l.byKey[f.key][1:])
		if h := l.halves.find(f.key); f.kind == kindEnded || h != nil && !h.State.Ended() {
			l.watch(f.key) // else another flight of this entry ends it
		}
		n++
	}
	l.flights, l.gone = l.flights[n:], l.gone+n
}

// land takes a flight off, which leaves others about the same half message.
func (l *Leading) land(f flight, others []flight) {
	l.growth -= f.growth()
	if len(others) > 0 {
		l.byKey[f.key] = others
	} else {
		delete(l.byKey, f.key)
	}
}

// Mark is a moment to which Undo goes back.
type Mark int

// Mark returns the present moment. It is good until the entry that is being
// gathered has been proposed.
func (l *Leading) Mark() Mark { return Mark(l.gone + len(l.flights)) }

// Undo takes back what was decided since the mark. None of it may be applied.
func (l *Leading) Undo(m Mark) {
	for l.gone+len(l.flights) > int(m) {
		last := len(l.flights) - 1
		f := l.flights[last]
		fs := l.byKey[f.key]
		l.land(f, fs[:len(fs)-1])
		if f.taken {
			l.watch(f.key)
		}
		l.flights = l.flights[:last]
	}
}

// Dropped takes back what was decided for an entry that was not proposed: the last.
func (l *Leading) Dropped(at record.Index) {
	n := len(l.flights)
	for n > 0 && l.flights[n-1].at == at {
		n--
	}
	l.Undo(Mark(l.gone + n))
}
