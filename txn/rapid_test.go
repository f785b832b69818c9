package txn

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/splashdam/splashdam/broker/record"
)

// TestRandomHalfMessages drives Leading and three replicas of Halves with random
// requests, over a log that loses entries and a lead that moves, and holds them to a
// model that keeps nothing but a list of what happened and looks through all of it
// for every answer.
func TestRandomHalfMessages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// The seed decides everything, so that all steps are equally likely; what
		// rapid shrinks is their number.
		steps := rapid.IntRange(100, 1500).Draw(t, "steps")
		w := newWorld(t, rapid.Uint64().Draw(t, "seed"))
		for range steps {
			w.step()
			w.check()
		}
		w.settle()
	})
}

// event is something that a command of an entry does, as the model sees it.
type event struct {
	kind  string // prepare, ask, park, end, forget or close
	entry record.Index
	time  int64 // of the entry
	key   Key
	half  Half // of a prepare: all but the times; of others: what they change

	command record.Command // what the implementation made of it, nil for close
}

// model is what is in the log, applied, and what is in flight behind it.
type model struct {
	policy    Policy
	retention int64
	applied   []event
	inFlight  []event

	// Of the present leader:
	asked     map[Key]Action // questions and the like that were handed out
	notBefore map[Key]int64  // when it looks again, if not at once
}

// state goes through the log from its beginning.
func (m *model) state() map[Key]Half {
	all := map[Key]Half{}
	closed := map[record.PartitionID]bool{}
	for _, e := range m.applied {
		h, known := all[e.key]
		undecided := known && (h.State == Undecided || h.State == Parked)
		switch {
		case e.kind == "close":
			closed[e.key.Target] = true
			for k := range all {
				if k.Target == e.key.Target {
					delete(all, k)
				}
			}
		case closed[e.key.Target]:
		case e.kind == "prepare" && !known:
			h = e.half
			h.State, h.Prepared, h.Offset = Undecided, e.time, -1
			all[e.key] = h
		case e.kind == "ask" && undecided:
			h.Asked, h.Wait = e.half.Asked, e.half.Wait
			all[e.key] = h
		case e.kind == "park" && undecided:
			h.State = Parked
			all[e.key] = h
		case e.kind == "end" && undecided:
			h.State, h.Offset, h.Ended = e.half.State, e.half.Offset, e.time
			all[e.key] = h
		case e.kind == "forget" && known && !undecided:
			delete(all, e.key)
		}
	}
	return all
}

// flying is what is in flight about a half message, of one kind.
func (m *model) flying(k Key, kind string) (event, bool) {
	for _, e := range m.inFlight {
		if e.key == k && e.kind == kind {
			return e, true
		}
	}
	return event{}, false
}

func (m *model) full() bool {
	n := len(m.state())
	for _, e := range m.inFlight {
		switch e.kind {
		case "prepare":
			n++
		case "forget":
			n--
		}
	}
	return n >= m.policy.MaxHalves
}

// oldest is the half message that ended first and may be forgotten.
func (m *model) oldest() (Key, bool) {
	var best Key
	found := false
	all := m.state()
	for k, h := range all {
		if _, gone := m.flying(k, "forget"); gone || !h.State.Ended() || m.asked[k].Kind == Forget {
			continue
		}
		if !found || cmp.Or(cmp.Compare(h.Ended, all[best].Ended), k.compare(best)) < 0 {
			best, found = k, true
		}
	}
	return best, found
}

func sameMessage(a, b Half) bool {
	return a.Body == b.Body && a.Group == b.Group && a.Principal == b.Principal
}

// prepare says what must become of a prepare.
func (m *model) prepare(k Key, h Half) (Verdict, error) {
	if old, known := m.state()[k]; known {
		if !sameMessage(old, h) {
			return Verdict{}, ErrReused
		}
		return Verdict{Duplicate: true}, nil
	}
	if e, ok := m.flying(k, "prepare"); ok {
		if !sameMessage(e.half, h) {
			return Verdict{}, ErrEarly
		}
		return Verdict{Duplicate: true, InFlight: e.entry}, nil
	}
	if m.full() {
		return Verdict{}, ErrTooMany
	}
	return Verdict{}, nil
}

// end says what must become of a decision.
func (m *model) end(k Key, to State, principal string) (Verdict, error) {
	h, known := m.state()[k]
	if !known {
		if _, ok := m.flying(k, "prepare"); ok {
			return Verdict{}, ErrEarly
		}
		return Verdict{}, ErrUnknown
	}
	e, ending := m.flying(k, "end")
	switch {
	case h.Principal != principal:
		return Verdict{}, ErrPrincipal
	case h.State.Ended() && h.State != to:
		return Verdict{}, ErrDecided
	case h.State.Ended():
		return Verdict{Duplicate: true}, nil
	case ending && e.half.State != to:
		return Verdict{}, ErrEarly
	case ending:
		return Verdict{Duplicate: true, InFlight: e.entry}, nil
	}
	return Verdict{}, nil
}

// due says what must be handed out.
func (m *model) due(now int64, limit int) []Action {
	type candidate struct {
		at     int64
		action Action
	}
	order := func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.at, b.at), a.action.Key.compare(b.action.Key))
	}
	var undecided, ended []candidate
	for k, h := range m.state() {
		out, handedOut := m.asked[k]
		handedOut = handedOut && out.held == h.Held
		c := candidate{h.Wait, Action{Key: k, held: h.Held}}
		if h.State.Ended() {
			_, gone := m.flying(k, "forget")
			if c.at = h.Ended; !gone && !(handedOut && out.Kind == Forget) && c.at+m.policy.History.Milliseconds() <= now {
				c.action.Kind = Forget
				ended = append(ended, c)
			}
			continue
		}
		_, asking := m.flying(k, "ask")
		_, parking := m.flying(k, "park")
		e, ending := m.flying(k, "end")
		if handedOut || asking || parking || ending && e.half.Group == "given up" {
			continue
		}
		switch {
		case h.State == Parked:
			c.at, c.action.Kind = h.Prepared, GiveUp
		case h.Asked < m.policy.Checks:
			c.action.Kind, c.action.Number = Ask, h.Asked+1
		default:
			c.action.Kind = Park
		}
		if at, ok := m.notBefore[k]; ok {
			c.at = at
		}
		if c.at <= now {
			undecided = append(undecided, c)
		}
	}
	slices.SortFunc(undecided, order)
	slices.SortFunc(ended, order)
	var actions []Action
	for _, c := range undecided {
		if len(actions) == limit {
			break
		}
		k := c.action.Key
		h := m.state()[k]
		if _, ending := m.flying(k, "end"); ending {
			m.notBefore[k] = now + 1000
			continue
		}
		if h.State == Parked && (m.retention < 0 || m.retention > now-h.Prepared) {
			m.notBefore[k] = now + time.Hour.Milliseconds()
			continue
		}
		delete(m.notBefore, k)
		actions = append(actions, c.action)
	}
	for _, c := range ended {
		if len(actions) < limit {
			actions = append(actions, c.action)
		}
	}
	for _, a := range actions {
		m.asked[a.Key] = a
	}
	return actions
}

// act says what noting an action must lead to: "" for nothing, if it was overtaken.
func (m *model) act(a Action) string {
	if m.asked[a.Key] == a {
		delete(m.asked, a.Key)
	}
	h, known := m.state()[a.Key]
	_, ending := m.flying(a.Key, "end")
	switch {
	case !known || h.Held != a.held:
		return ""
	case a.Kind == Forget:
		return "forget"
	case ending:
		delete(m.notBefore, a.Key)
		return ""
	case h.State.Ended():
		return ""
	case a.Kind == Ask:
		return "ask"
	case a.Kind == Park:
		return "park"
	}
	return "end"
}

// world is the implementation, the model, and what drives both.
type world struct {
	t   *rapid.T
	rng *rand.Rand
	m   model

	halves   *Halves
	replicas []*Halves // the same log, one of them from a snapshot
	l        *Leading

	now     int64
	next    record.Index // the entry that is being gathered
	opened  int64        // its time, 0 if there is nothing in it
	actions []Action
	held    int64
	offset  int64
	epoch   record.PartitionID // rises when the two partitions are deleted
	closed  map[record.PartitionID]bool
	ended   map[int64]State // how each message ended, by where it was held
	visible map[int64]int64 // offset to where it was held
}

func pick[T any](w *world, from ...T) T { return from[w.rng.IntN(len(from))] }

func newWorld(t *rapid.T, seed uint64) *world {
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 0)), now: start, next: 1,
		halves: NewHalves(), replicas: []*Halves{NewHalves(), NewHalves()},
		closed: map[record.PartitionID]bool{}, ended: map[int64]State{}, visible: map[int64]int64{},
	}
	w.m.policy = Policy{
		Immunity: 6 * time.Second, Interval: 30 * time.Second, Checks: pick(w, 1, 2, 15),
		History: pick(w, time.Minute, 24*time.Hour), MaxHalves: pick(w, 3, 6, 100),
	}
	w.m.retention = pick[int64](w, -1, 1000, 7_200_000)
	w.lead()
	return w
}

func (w *world) lead() {
	w.l = Lead(w.halves, w.m.policy, func(record.PartitionID) int64 { return w.m.retention })
	w.m.asked, w.m.notBefore, w.actions = map[Key]Action{}, map[Key]int64{}, nil
}

func (w *world) step() {
	switch n := w.rng.IntN(100); {
	case n < 25:
		w.batch(1)
	case n < 35:
		w.batch(1 + w.rng.IntN(4))
	case n < 50:
		w.propose()
	case n < 65:
		for range 1 + w.rng.IntN(4) {
			w.apply()
		}
	case n < 80:
		w.pass(w.rng.Int64N(7_000))
	case n < 84:
		w.pass(w.rng.Int64N(120_000))
	case n < 85:
		w.pass(w.rng.Int64N(90_000_000))
	case n < 94:
		w.actOrFail()
	case n < 95:
		w.m.retention = pick[int64](w, -1, 0, 1000, 7_200_000, math.MaxInt64)
	case n < 96:
		w.deleteTopic()
	case n < 97:
		w.loseLead()
	default:
		w.replicas[1] = must(RestoreHalves(w.halves.View().Encode()))
	}
}

// entry begins one, if there is none.
func (w *world) entry() {
	if w.opened == 0 {
		w.opened = w.now
	}
}

// closeIfEmpty drops an entry of which nothing came.
func (w *world) closeIfEmpty() {
	if len(w.m.inFlight) == 0 || w.m.inFlight[len(w.m.inFlight)-1].entry < w.next {
		w.opened = 0
	}
}

func (w *world) add(kind string, k Key, h Half, c record.Command) {
	w.m.inFlight = append(w.m.inFlight, event{kind: kind, entry: w.next, time: w.opened, key: k, half: h, command: c})
}

// batch makes requests that are taken or refused together.
func (w *world) batch(n int) {
	w.entry()
	mark, events, held, offset := w.l.Mark(), len(w.m.inFlight), w.held, w.offset
	failed := false
	for range n {
		k := Key{w.epoch*10 + 1 + record.PartitionID(w.rng.IntN(2)), pick(w, "a", "b", "c", "d", "e", "f")}
		principal := pick(w, "alice", "alice", "alice", "bob")
		if w.rng.IntN(2) == 0 {
			failed = !w.prepare(k, principal) || failed
		} else {
			failed = !w.decide(k, principal, pick(w, Committed, RolledBack)) || failed
		}
	}
	if failed && n > 1 {
		w.undo(func() { w.l.Undo(mark) }, events)
		w.held, w.offset = held, offset
	}
	w.closeIfEmpty()
}

// undo takes back what is in flight but for the first events.
func (w *world) undo(do func(), events int) {
	do()
	for _, e := range w.m.inFlight[events:] {
		if e.kind == "close" {
			w.epoch = min(w.epoch, e.key.Target/10)
		}
		// What the leader had decided by itself is due as before.
		if e.kind == "ask" || e.kind == "park" || e.kind == "end" && e.half.Group == "given up" {
			delete(w.m.notBefore, e.key)
		}
	}
	w.m.inFlight = w.m.inFlight[:events]
}

func (w *world) prepare(k Key, principal string) bool {
	h := Half{
		Held: w.held, Group: pick(w, "g", "g", "h"), Principal: principal, Body: Hash{byte(w.rng.IntN(2))},
		Wait: w.opened + w.m.policy.Immunity.Milliseconds(),
	}
	oldest, evict := w.m.oldest()
	evict = evict && w.m.full()
	room, c := w.l.MakeRoom(w.next)
	if evict != (c != nil) || evict && room != oldest {
		w.t.Fatalf("making room forgot %v (%v), the model %v (%v)", room, c != nil, oldest, evict)
	}
	if evict {
		w.add("forget", room, Half{}, c)
	}
	wantVerdict, wantErr := w.m.prepare(k, h)
	c, v, err := w.l.Prepare(k, PrepareRequest{Held: h.Held, Group: h.Group, Principal: h.Principal, Body: h.Body}, w.opened, w.next)
	w.agree("prepare", k, c, v, err, wantVerdict, wantErr)
	if c != nil {
		w.held++
		w.add("prepare", k, h, c)
	}
	return err == nil
}

func (w *world) decide(k Key, principal string, to State) bool {
	offset := int64(-1)
	if to == Committed {
		offset = w.offset
	}
	wantVerdict, wantErr := w.m.end(k, to, principal)
	c, v, err := w.l.End(k, to, principal, offset, w.next)
	w.agree(to.String(), k, c, v, err, wantVerdict, wantErr)
	if c != nil {
		if to == Committed {
			w.offset++
		}
		w.add("end", k, Half{State: to, Offset: offset}, c)
	}
	return err == nil
}

func (w *world) agree(what string, k Key, c record.Command, v Verdict, err error, wantVerdict Verdict, wantErr error) {
	if !errors.Is(err, wantErr) || (err == nil) != (wantErr == nil) || v != wantVerdict {
		w.t.Fatalf("%s %v: %+v, %v; the model says %+v, %v", what, k, v, err, wantVerdict, wantErr)
	}
	if (c != nil) != (err == nil && !v.Duplicate) {
		w.t.Fatalf("%s %v: command %x with %+v, %v", what, k, c, v, err)
	}
}

// propose ends the entry that is being gathered, or loses it.
func (w *world) propose() {
	if w.opened == 0 {
		return
	}
	if w.rng.IntN(6) == 0 {
		events := slices.IndexFunc(w.m.inFlight, func(e event) bool { return e.entry == w.next })
		w.undo(func() { w.l.Dropped(w.next) }, events)
	} else {
		w.next++
	}
	w.opened = 0
}

// apply commits the oldest entry in flight, which is not the one being gathered.
func (w *world) apply() {
	if len(w.m.inFlight) == 0 || w.m.inFlight[0].entry == w.next {
		return
	}
	at := w.m.inFlight[0].entry
	for len(w.m.inFlight) > 0 && w.m.inFlight[0].entry == at {
		w.log(w.m.inFlight[0])
		w.m.inFlight = w.m.inFlight[1:]
	}
	w.l.Applied(at)
}

// log applies an event on all replicas, once or twice.
func (w *world) log(e event) {
	before, known := w.halves.Get(e.key)
	w.m.applied = append(w.m.applied, e)
	if e.kind == "close" {
		w.closed[e.key.Target] = true
		for _, h := range append(w.replicas, w.halves) {
			h.Close(e.key.Target)
		}
		return
	}
	if w.closed[e.key.Target] {
		return // as the shard does
	}
	for _, h := range append(w.replicas, w.halves) {
		if err := h.Apply(e.key.Target, e.command, e.time); err != nil {
			w.t.Fatal(err)
		}
	}
	if w.rng.IntN(4) == 0 {
		once := string(w.halves.View().Encode())
		if err := w.halves.Apply(e.key.Target, e.command, e.time+1); err != nil {
			w.t.Fatal(err)
		}
		if string(w.halves.View().Encode()) != once {
			w.t.Fatalf("%s of %v changed something when it was applied again", e.kind, e.key)
		}
	}
	if now, ok := w.halves.Get(e.key); ok {
		w.isFinal(before, known, now)
		if e.kind == "ask" || e.kind == "park" || e.kind == "prepare" {
			delete(w.m.notBefore, e.key)
		}
	}
}

// isFinal checks that a message never goes both ways, and to its own offset.
func (w *world) isFinal(before Half, known bool, now Half) {
	if known && before.Held != now.Held {
		w.t.Fatalf("the message held at %d is another one now, held at %d", before.Held, now.Held)
	}
	if !now.State.Ended() {
		if s, ok := w.ended[now.Held]; ok {
			w.t.Fatalf("the message held at %d had ended as %v and is %v again", now.Held, s, now.State)
		}
		return
	}
	if s, ok := w.ended[now.Held]; ok && s != now.State {
		w.t.Fatalf("the message held at %d ended as %v and then as %v", now.Held, s, now.State)
	}
	w.ended[now.Held] = now.State
	if now.State == Committed {
		if other, ok := w.visible[now.Offset]; ok && other != now.Held {
			w.t.Fatalf("the messages held at %d and %d are both at offset %d", other, now.Held, now.Offset)
		}
		w.visible[now.Offset] = now.Held
	}
}

func (w *world) deleteTopic() {
	w.entry()
	for i := range record.PartitionID(2) {
		w.add("close", Key{Target: w.epoch*10 + 1 + i}, Half{}, nil)
	}
	w.epoch++
}

// pass lets time pass, which ends an entry, and asks what is due.
func (w *world) pass(ms int64) {
	w.propose()
	w.now += ms
	limit := pick(w, 1, 2, 100)
	want := w.m.due(w.now, limit)
	got := w.l.Due(w.now, limit)
	if !slices.Equal(got, want) {
		w.t.Fatalf("at %d is due %+v, the model says %+v", w.now, got, want)
	}
	w.actions = append(w.actions, got...)
}

func (w *world) actOrFail() {
	if len(w.actions) == 0 {
		return
	}
	i := w.rng.IntN(len(w.actions))
	a := w.actions[i]
	w.actions = slices.Delete(w.actions, i, i+1)
	if a.Kind == Ask && w.rng.IntN(4) == 0 {
		w.l.Failed(a, w.now)
		if w.m.asked[a.Key] == a {
			delete(w.m.asked, a.Key)
		}
		if h, ok := w.m.state()[a.Key]; ok && h.Held == a.held && !h.State.Ended() {
			w.m.notBefore[a.Key] = w.now + 1000
		}
		return
	}
	w.act(a)
}

func (w *world) act(a Action) {
	w.entry()
	want := w.m.act(a)
	c := w.l.Act(a, w.opened, w.next)
	if (c != nil) != (want != "") {
		w.t.Fatalf("acting on %+v led to %x, the model wants %q", a, c, want)
	}
	switch want {
	case "":
		w.closeIfEmpty()
	case "ask":
		w.add(want, a.Key, Half{Asked: a.Number, Wait: w.opened + w.m.policy.Interval.Milliseconds()}, c)
	case "end":
		w.add(want, a.Key, Half{State: RolledBack, Offset: -1, Group: "given up"}, c)
	default:
		w.add(want, a.Key, Half{}, c)
	}
}

// loseLead keeps a part of what was proposed; the rest never was.
func (w *world) loseLead() {
	w.propose()
	last := w.next - record.Index(w.rng.IntN(4))
	for len(w.m.inFlight) > 0 && w.m.inFlight[0].entry < last {
		w.log(w.m.inFlight[0])
		w.m.inFlight = w.m.inFlight[1:]
	}
	w.undo(func() {}, 0)
	if w.rng.IntN(2) == 0 {
		w.halves = must(RestoreHalves(w.halves.View().Encode()))
	}
	w.lead()
}

// check compares everything.
func (w *world) check() {
	all := w.m.state()
	undecided := 0
	for k, h := range all {
		if !h.State.Ended() {
			undecided++
		}
		if got, ok := w.halves.Get(k); !ok || got != h {
			w.t.Fatalf("%v is %+v (%v), the model has %+v", k, got, ok, h)
		}
	}
	if w.halves.Len() != len(all) || w.halves.Undecided() != undecided {
		w.t.Fatalf("%d known, %d undecided; the model has %d and %d", w.halves.Len(), w.halves.Undecided(), len(all), undecided)
	}
	encoded := string(w.halves.View().Encode())
	for i, r := range w.replicas {
		if string(r.View().Encode()) != encoded {
			w.t.Fatalf("replica %d has another state", i)
		}
	}
	w.checkHeaps(all)
}

// checkHeaps sees that a half message is watched once, unless Due has handed it out
// or a decision of the leader's own is in flight, and that nothing piles up.
func (w *world) checkHeaps(all map[Key]Half) {
	for name, h := range map[string]timeHeap{"due": w.l.due, "ended": w.l.ended} {
		seen := map[string]bool{}
		for _, x := range h {
			id := fmt.Sprint(x.key, x.held)
			if seen[id] {
				w.t.Fatalf("%v is watched twice as %s", x.key, name)
			}
			seen[id] = true
		}
	}
	watched := map[Key]bool{}
	for _, x := range slices.Concat(w.l.due, w.l.ended) {
		if h, ok := all[x.key]; ok && h.Held == x.held {
			watched[x.key] = true
		}
	}
	for k := range all {
		taken := false
		for _, f := range w.l.byKey[k] {
			taken = taken || f.taken
		}
		if _, out := w.m.asked[k]; !out && !taken && !watched[k] {
			w.t.Fatalf("nobody watches %v", k)
		}
	}
}

// settle lets time pass until all is decided and forgotten.
func (w *world) settle() {
	w.propose()
	for len(w.m.inFlight) > 0 {
		w.apply()
	}
	w.lead() // questions that were handed out are put by the next leader
	w.m.retention = 7_200_000
	for range 100 {
		w.pass(time.Hour.Milliseconds() * 2)
		for _, a := range w.actions {
			w.act(a)
		}
		w.actions = nil
		w.propose()
		for len(w.m.inFlight) > 0 {
			w.apply()
		}
		w.check()
	}
	if n := w.halves.Len(); n != 0 {
		w.t.Fatalf("%d half messages stay for ever: %v", n, slices.Collect(maps.Keys(w.m.state())))
	}
	if len(w.l.due)+len(w.l.ended)+len(w.l.flights)+len(w.l.byKey) != 0 || w.l.growth != 0 {
		w.t.Fatalf("the leader still has %d, %d, %d, %d, %d", len(w.l.due), len(w.l.ended), len(w.l.flights), len(w.l.byKey), w.l.growth)
	}
}
