package txn

import (
	"cmp"
	"container/heap"
	"time"

	"github.com/splashdam/splashdam/broker/record"
)

// This file is the clock's part of Leading: questions, and what ends by itself.

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
	held   int64 // tells the half message from a later one with its id
}

const (
	// parkedInterval is how often it is looked whether a parked message's retention has
	// passed: topics' settings may change.
	parkedInterval = time.Hour
	// retryInterval is the pause before a question that could not be put is due again,
	// and before it is looked again at what had a decision in flight.
	retryInterval = time.Second
)

// Due takes up to max things that are due. Each is handed out once, until Act has
// made it part of the log or Failed gave it back.
func (l *Leading) Due(now int64, max int) []Action {
	var actions []Action
	for len(actions) < max && len(l.due) > 0 && l.due[0].at <= now {
		w := heap.Pop(&l.due).(watched)
		n := l.find(w.key, w.held)
		if n == nil || n.State.Ended() {
			continue
		}
		again := now + retryInterval.Milliseconds() // if a decision is in flight
		if _, ending := l.ending(w.key); !ending {
			var a Action
			if a, again = l.action(w.key, n, now); again <= now {
				actions = append(actions, a)
				continue
			}
		}
		heap.Push(&l.due, watched{again, w.key, w.held})
	}
	before := now - l.policy.History.Milliseconds()
	for len(actions) < max && len(l.ended) > 0 && l.ended[0].at <= before {
		if w := heap.Pop(&l.ended).(watched); l.find(w.key, w.held) != nil {
			actions = append(actions, Action{Kind: Forget, Key: w.key, held: w.held})
		}
	}
	return actions
}

// action is what to do next about an undecided half message, and when.
func (l *Leading) action(k Key, n *Half, now int64) (a Action, at int64) {
	a = Action{Key: k, held: n.Held}
	switch {
	case n.State == Undecided && n.Asked < l.policy.Checks:
		a.Kind, a.Number = Ask, n.Asked+1
		return a, n.Wait
	case n.State == Undecided:
		a.Kind = Park
		return a, n.Wait
	}
	a.Kind = GiveUp
	if r := l.retention(k.Target); r < 0 || now-n.Prepared < r {
		return a, now + parkedInterval.Milliseconds()
	}
	return a, now
}

// Act makes an action part of entry at. The command is nil if a decision has
// overtaken it.
func (l *Leading) Act(a Action, now int64, at record.Index) record.Command {
	n := l.find(a.Key, a.held)
	if n == nil {
		return nil
	}
	if _, ending := l.ending(a.Key); ending {
		l.watch(a.Key) // it may yet be lost
		return nil
	}
	f := flight{at: at, key: a.Key, taken: true}
	var c record.Command
	switch {
	case a.Kind == Ask && n.State == Undecided && n.Asked == a.Number-1:
		f.kind, c = kindAsked, askedCommand(a.Key.ID, a.Number, now+l.policy.Interval.Milliseconds())
	case a.Kind == Park && n.State == Undecided:
		f.kind, c = kindParked, parkedCommand(a.Key.ID)
	case a.Kind == GiveUp && n.State == Parked:
		f.kind, f.end, c = kindEnded, RolledBack, endedCommand(a.Key.ID, RolledBack, -1)
	case a.Kind == Forget && n.State.Ended():
		f.kind, c = kindExpired, expiredCommand(a.Key.ID)
	default:
		return nil // it has ended and is on its heap
	}
	l.fly(f)
	return c
}

// Failed gives a question back that could not be put: it is due again in a moment.
func (l *Leading) Failed(a Action, now int64) {
	if n := l.find(a.Key, a.held); n != nil && !n.State.Ended() {
		heap.Push(&l.due, watched{now + retryInterval.Milliseconds(), a.Key, a.held})
	}
}

// due is when something is due about an undecided half message, as far as is known
// now.
func (n *Half) due() int64 {
	if n.State == Parked {
		return n.Prepared
	}
	return n.Wait
}

// watch puts a half message on its heap.
func (l *Leading) watch(k Key) {
	switch n := l.halves.find(k); {
	case n == nil:
	case n.State.Ended():
		heap.Push(&l.ended, watched{n.Ended, k, n.Held})
	default:
		heap.Push(&l.due, watched{n.due(), k, n.Held})
	}
}

// find is the half message that was held there, nil if it is forgotten.
func (l *Leading) find(k Key, held int64) *Half {
	if n := l.halves.find(k); n != nil && n.Held == held {
		return n
	}
	return nil
}

// timeHeap orders half messages by a time, so that what is due is found without
// looking at the others. Who takes one looks whether it is still what it was.
type timeHeap []watched

type watched struct {
	at   int64
	key  Key
	held int64
}

// Len, Less, Swap, Push and Pop are container/heap's.
func (h timeHeap) Len() int { return len(h) }
func (h timeHeap) Less(i, j int) bool {
	// Ties too, so that the same calls lead to the same actions.
	return cmp.Or(cmp.Compare(h[i].at, h[j].at), h[i].key.compare(h[j].key)) < 0
}
func (h timeHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *timeHeap) Push(x any)   { *h = append(*h, x.(watched)) }
func (h *timeHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	(*h)[last] = watched{} // lets go of the id
	*h = (*h)[:last]
	return x
}
