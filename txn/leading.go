package txn

import (
	"container/heap"
	"fmt"
	"time"

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
	// ErrEarly is a decision that came before the answer to its prepare.
	ErrEarly = fmt.Errorf("its prepare is not committed yet, try again: %w", kerr.RequestTimedOut)
	// ErrTooMany is a prepare beyond Policy.MaxHalves.
	ErrTooMany = fmt.Errorf("the shard holds too many half messages: %w", kerr.PolicyViolation)
)

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
}

// Leading is the leading half.
type Leading struct {
	halves    *Halves
	policy    Policy
	retention func(record.PartitionID) int64

	flights []flight // in the order of the log
	gone    int      // how many were taken from the front of flights
	byKey   map[Key][]flight
	asking  map[Key]bool // a question is being written
	due     dueHeap
}

// parkedInterval is how often it is looked whether a parked message's retention has
// passed: topics' settings may change.
const parkedInterval = time.Hour

// Lead takes the lead over h, which the caller goes on applying commands to.
// retention gives the retention.ms of the topic of a partition, -1 for ever.
func Lead(h *Halves, p Policy, retention func(record.PartitionID) int64) *Leading {
	l := &Leading{
		halves: h, policy: p, retention: retention,
		byKey: make(map[Key][]flight), asking: make(map[Key]bool),
	}
	for k, n := range h.all {
		l.due = append(l.due, dueAt{l.next(n), k})
	}
	heap.Init(&l.due)
	return l
}

// next is when something is due about a half message, as far as is known now.
func (l *Leading) next(n *Half) int64 {
	switch n.State {
	case Undecided:
		return n.Wait
	case Parked:
		return n.Prepared
	default:
		return n.Ended + l.policy.History.Milliseconds()
	}
}

// Prepare decides whether a message is held as part of entry at. The command goes
// into the entry beside the message.
func (l *Leading) Prepare(k Key, r PrepareRequest, now int64, at record.Index) (record.Command, Verdict, error) {
	if n := l.halves.all[k]; n != nil {
		if n.Body != r.Body || n.Group != r.Group || n.Principal != r.Principal {
			return nil, Verdict{}, fmt.Errorf("%q: %w", k.ID, ErrReused)
		}
		return nil, Verdict{Duplicate: true}, nil
	}
	for _, f := range l.byKey[k] {
		if f.kind == kindPrepared {
			if f.prepare.Body != r.Body || f.prepare.Group != r.Group || f.prepare.Principal != r.Principal {
				return nil, Verdict{}, fmt.Errorf("%q: %w", k.ID, ErrReused)
			}
			return nil, Verdict{Duplicate: true, InFlight: f.at}, nil
		}
	}
	if len(l.halves.all) >= l.policy.MaxHalves {
		return nil, Verdict{}, fmt.Errorf("%q: %w", k.ID, ErrTooMany)
	}
	l.fly(flight{at: at, key: k, kind: kindPrepared, prepare: r})
	return preparedCommand(k.ID, r, now+l.policy.Immunity.Milliseconds()), Verdict{}, nil
}

// End decides whether a half message ends as part of entry at: the first decision
// wins, the same again is a duplicate, another is refused. offset is the one that
// the message gets in its partition, -1 for a rollback.
func (l *Leading) End(k Key, to State, principal string, offset int64, at record.Index) (record.Command, Verdict, error) {
	invariant.That(to.Ended(), "ending as %v", to)
	n := l.halves.all[k]
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
		return nil, Verdict{Duplicate: true}, decided(k, n.State, to)
	}
	if f, ok := l.ending(k); ok {
		return nil, Verdict{Duplicate: true, InFlight: f.at}, decided(k, f.end, to)
	}
	l.fly(flight{at: at, key: k, kind: kindEnded, end: to})
	return endedCommand(k.ID, to, offset), Verdict{}, nil
}

func decided(k Key, is, to State) error {
	if is != to {
		return fmt.Errorf("%q is %v: %w", k.ID, is, ErrDecided)
	}
	return nil
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

// ActionKind says what is due about a half message.
type ActionKind uint8

const (
	Ask    ActionKind = iota + 1 // put question Number to its group, then Act
	Park                         // nobody answered the last question
	GiveUp                       // parked, and its topic's retention has passed: roll it back
	Forget                       // ended long ago
)

// Action is one thing that is due.
type Action struct {
	Kind   ActionKind
	Key    Key
	Number int
}

// Due takes up to max things that are due. Each is handed out once, until Act has
// made it part of the log or Failed gave it back.
func (l *Leading) Due(now int64, max int) []Action {
	var actions []Action
	for len(actions) < max && len(l.due) > 0 && l.due[0].at <= now {
		k := heap.Pop(&l.due).(dueAt).key
		n := l.halves.all[k]
		// What is in flight comes back to the heap when it is applied.
		if n == nil || l.asking[k] || len(l.byKey[k]) > 0 {
			continue
		}
		switch {
		case n.State == Undecided && n.Wait > now, n.State.Ended() && l.next(n) > now:
			heap.Push(&l.due, dueAt{l.next(n), k})
			continue
		case n.State == Undecided && n.Asked < l.policy.Checks:
			actions = append(actions, Action{Ask, k, n.Asked + 1})
		case n.State == Undecided:
			actions = append(actions, Action{Park, k, 0})
		case n.State == Parked:
			r := l.retention(k.Target)
			if r < 0 || n.Prepared+r > now {
				heap.Push(&l.due, dueAt{now + parkedInterval.Milliseconds(), k})
				continue
			}
			actions = append(actions, Action{GiveUp, k, 0})
		default:
			actions = append(actions, Action{Forget, k, 0})
		}
		l.asking[k] = true
	}
	return actions
}

// Act makes an action part of entry at. The command is nil if a decision has
// overtaken it.
func (l *Leading) Act(a Action, now int64, at record.Index) record.Command {
	delete(l.asking, a.Key)
	n := l.halves.all[a.Key]
	_, ending := l.ending(a.Key)
	f := flight{at: at, key: a.Key}
	var c record.Command
	switch {
	case n == nil || ending:
		return nil // what is in flight puts it back on the heap
	case a.Kind == Ask && n.State == Undecided && n.Asked == a.Number-1:
		f.kind, c = kindAsked, askedCommand(a.Key.ID, a.Number, now+l.policy.Interval.Milliseconds())
	case a.Kind == Park && n.State == Undecided:
		f.kind, c = kindParked, parkedCommand(a.Key.ID)
	case a.Kind == GiveUp && n.State == Parked:
		f.kind, f.end, c = kindEnded, RolledBack, endedCommand(a.Key.ID, RolledBack, -1)
	case a.Kind == Forget && n.State.Ended():
		f.kind, c = kindExpired, expiredCommand(a.Key.ID)
	default:
		heap.Push(&l.due, dueAt{l.next(n), a.Key})
		return nil
	}
	l.fly(f)
	return c
}

// failedRetry is the pause before an action that failed is due again.
const failedRetry = time.Second

// Failed gives an action back that could not be carried out: it is due again in a
// second.
func (l *Leading) Failed(a Action, now int64) {
	delete(l.asking, a.Key)
	heap.Push(&l.due, dueAt{now + failedRetry.Milliseconds(), a.Key})
}

func (l *Leading) fly(f flight) {
	l.flights = append(l.flights, f)
	l.byKey[f.key] = append(l.byKey[f.key], f)
}

// Applied tells that the entry is applied: what it decided is in the applied half.
func (l *Leading) Applied(at record.Index) {
	n := 0
	for n < len(l.flights) && l.flights[n].at <= at {
		k := l.flights[n].key
		if fs := l.byKey[k][1:]; len(fs) > 0 {
			l.byKey[k] = fs
		} else {
			delete(l.byKey, k)
		}
		if h := l.halves.all[k]; h != nil {
			heap.Push(&l.due, dueAt{l.next(h), k})
		}
		n++
	}
	l.flights, l.gone = l.flights[n:], l.gone+n
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
		k := l.flights[last].key
		if fs := l.byKey[k]; len(fs) > 1 {
			l.byKey[k] = fs[:len(fs)-1]
		} else {
			delete(l.byKey, k)
		}
		if h := l.halves.all[k]; h != nil {
			heap.Push(&l.due, dueAt{l.next(h), k})
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

// dueHeap orders half messages by the time at which something may be due about
// them. A key may be there more than once, and too early: Due looks again.
type dueHeap []dueAt

type dueAt struct {
	at  int64
	key Key
}

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)        { *h = append(*h, x.(dueAt)) }
func (h *dueHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
