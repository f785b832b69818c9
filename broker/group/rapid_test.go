package group

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/splashdam/splashdam/broker/record"
)

// TestRandomMembers drives a group with clients that join, sync, beat, commit,
// leave and hang up at random, over a log that loses proposals and a lead that
// moves, and holds the coordinator to the invariants that doc.go names.
func TestRandomMembers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// The seed decides everything, so that all steps are equally likely; what
		// rapid shrinks is their number.
		steps := rapid.IntRange(100, 800).Draw(t, "steps")
		w := newWorld(t, rapid.Uint64().Draw(t, "seed"))
		for range steps {
			w.step()
			w.check()
		}
		w.settle()
		w.check()
		w.checkReplay()
	})
}

// robot is a client of the group.
type robot struct {
	name     string
	instance *string
	version  int16 // of its Join requests
	topics   int   // changes its metadata

	id         string
	generation int32
	leads      []string // whom it has to assign to, as the leader
	busy       Token    // what it waits for, 0 for nothing
	wants      string   // what it does next: join, sync, or beat
}

type world struct {
	t       *rapid.T
	rng     *rand.Rand
	cfg     Config
	state   *State
	c       *Coordinator
	now     int64
	ids     int
	tokens  Token
	robots  []*robot
	waiting map[Token]*robot // requests without an answer
	commits map[Token]int64  // what is committed by a request
	queue   []Persist

	applied []record.Command
	times   []int64
	half    []byte // a snapshot, and how many commands it has
	halfAt  int

	told    map[string]string // generation/member -> assignment
	owners  map[string]string // generation/assignment -> robot
	highest int32             // generation that the present coordinator told
	stored  int32             // generation in the state
}

const loneGroup = "g"

func pick[T any](w *world, from ...T) T { return from[w.rng.IntN(len(from))] }

func newWorld(t *rapid.T, seed uint64) *world {
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 0)), cfg: DefaultConfig(), state: NewState(), now: start,
		waiting: map[Token]*robot{}, commits: map[Token]int64{},
		told: map[string]string{}, owners: map[string]string{},
	}
	w.cfg.MaxSize = 2 + w.rng.IntN(8)
	w.cfg.NewID = func() string { w.ids++; return strconv.Itoa(w.ids) }
	for i := range 1 + w.rng.IntN(5) {
		r := &robot{name: string(rune('a' + i)), version: pick[int16](w, 0, 3, 5, 8, 9), wants: "join"}
		if r.version >= 5 && w.rng.IntN(2) == 0 {
			r.instance = kmsg.StringPtr("i" + r.name)
		}
		w.robots = append(w.robots, r)
	}
	w.c = Lead(w.state, w.cfg, w.now)
	return w
}

func (w *world) step() {
	switch n := w.rng.IntN(100); {
	case n < 45:
		w.act(w.robots[w.rng.IntN(len(w.robots))])
	case n < 75:
		w.apply()
	case n < 90:
		w.pass(w.rng.Int64N(2_000))
	case n < 94:
		w.pass(w.rng.Int64N(40_000))
	case n < 97:
		w.fail()
	case n < 98:
		w.loseLead()
	default:
		w.half, w.halfAt = w.state.View().Encode(), len(w.applied)
	}
}

func (w *world) pass(ms int64) {
	w.now += ms
	w.effects(w.c.Tick(w.now))
	w.effects(w.c.Tick(w.now)) // what the first one made due at once
	if next := w.c.Next(); next <= w.now {
		w.t.Fatalf("after two ticks at %d the next is due at %d", w.now, next)
	}
}

func (w *world) apply() {
	if len(w.queue) == 0 {
		return
	}
	p := w.queue[0]
	w.queue = w.queue[1:]
	w.log(p.Command)
	w.effects(w.c.Done(w.now, p.ID, nil))
}

// log applies a command.
func (w *world) log(c record.Command) {
	if err := w.state.Apply(c, w.now); err != nil {
		w.t.Fatal(err)
	}
	w.applied = append(w.applied, bytes.Clone(c))
	w.times = append(w.times, w.now)
	g := w.state.groups[loneGroup]
	if g == nil {
		w.stored, w.highest = 0, 0
		clear(w.told)
		clear(w.owners)
	} else if g.meta != nil {
		if g.meta.generation < w.stored {
			w.t.Fatalf("the stored generation fell from %d to %d", w.stored, g.meta.generation)
		}
		w.stored = g.meta.generation
	}
}

func (w *world) fail() {
	if len(w.queue) == 0 {
		return
	}
	p := w.queue[0]
	w.queue = w.queue[1:]
	err := pick(w, errors.New("busy"), fmt.Errorf("proposing: %w", kerr.NotLeaderForPartition))
	w.effects(w.c.Done(w.now, p.ID, err))
}

// loseLead keeps a part of what was proposed; the rest never was.
func (w *world) loseLead() {
	w.effects(w.c.Resign(w.now))
	if len(w.waiting) != 0 {
		w.t.Fatalf("%d requests have no answer after the lead was lost", len(w.waiting))
	}
	for _, p := range w.queue[:w.rng.IntN(len(w.queue)+1)] {
		w.log(p.Command)
	}
	w.queue = nil
	restored, err := Restore(w.state.View().Encode())
	if err != nil {
		w.t.Fatal(err)
	}
	w.state, w.highest = restored, 0
	w.c = Lead(w.state, w.cfg, w.now)
}

// act lets a client do something sensible, mostly.
func (w *world) act(r *robot) {
	if r.busy != 0 {
		if w.rng.IntN(20) > 0 {
			return
		}
		t := r.busy
		r.busy = 0
		if w.rng.IntN(2) == 0 {
			delete(w.waiting, t)
			w.effects(w.c.Forget(w.now, t))
		}
		if w.rng.IntN(2) == 0 {
			r.id, r.wants = "", "join"
		}
		return
	}
	w.tokens++
	t := w.tokens
	w.waiting[t] = r
	r.busy = t
	action := r.wants
	if r.id != "" && action == "beat" {
		action = pick(w, "beat", "beat", "beat", "commit", "commit", "commit", "sync", "join", "leave", "restart")
	}
	if action == "restart" {
		r.id, action = "", "join"
	}
	switch action {
	case "join":
		w.effects(w.c.Join(w.now, t, Client{r.name, "/::1", ""}, w.joinRequest(r)))
	case "sync":
		q := kmsg.NewPtrSyncGroupRequest()
		q.Version, q.Group, q.MemberID, q.InstanceID, q.Generation = 4, loneGroup, r.id, r.instance, r.generation
		for _, id := range r.leads {
			a := kmsg.NewSyncGroupRequestGroupAssignment()
			a.MemberID, a.MemberAssignment = id, fmt.Appendf(nil, "%d:%d:%s", t, r.generation, id)
			q.GroupAssignment = append(q.GroupAssignment, a)
		}
		w.effects(w.c.Sync(w.now, t, q))
	case "beat":
		q := kmsg.NewPtrHeartbeatRequest()
		q.Version, q.Group, q.MemberID, q.InstanceID, q.Generation = 4, loneGroup, r.id, r.instance, r.generation
		w.effects(w.c.Heartbeat(w.now, t, q))
	case "commit":
		q := kmsg.NewPtrOffsetCommitRequest()
		q.Version, q.Group, q.MemberID, q.InstanceID, q.Generation = 8, loneGroup, r.id, r.instance, r.generation
		x := kmsg.NewOffsetCommitRequestTopic()
		x.Topic = "t"
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Offset = int64(t)
		x.Partitions = append(x.Partitions, p)
		q.Topics = append(q.Topics, x)
		w.commits[t] = p.Offset
		w.effects(w.c.Commit(w.now, t, q))
	case "leave":
		q := kmsg.NewPtrLeaveGroupRequest()
		q.Version, q.Group = 4, loneGroup
		m := kmsg.NewLeaveGroupRequestMember()
		m.MemberID, m.InstanceID = r.id, r.instance
		q.Members = append(q.Members, m)
		w.effects(w.c.Leave(w.now, t, q))
	}
}

func (w *world) joinRequest(r *robot) *kmsg.JoinGroupRequest {
	if w.rng.IntN(4) == 0 {
		r.topics++
	}
	q := kmsg.NewPtrJoinGroupRequest()
	q.Version, q.Group, q.MemberID, q.InstanceID = r.version, loneGroup, r.id, r.instance
	q.ProtocolType, q.SessionTimeoutMillis, q.RebalanceTimeoutMillis = "consumer", 10_000, 30_000
	for _, name := range pick(w, []string{"x", "y"}, []string{"x", "y"}, []string{"x", "y"}, []string{"y", "x"}, []string{"x"}) {
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name, p.Metadata = name, consumes("t"+strconv.Itoa(r.topics))
		q.Protocols = append(q.Protocols, p)
	}
	return q
}

func (w *world) effects(out []Effect) {
	for _, e := range out {
		switch e := e.(type) {
		case Persist:
			w.queue = append(w.queue, e)
		case Answer:
			r := w.waiting[e.Token]
			if r == nil {
				w.t.Fatalf("token %d is answered twice, or nobody asked: %s", e.Token, printResponse(e.Response))
			}
			delete(w.waiting, e.Token)
			if r.busy == e.Token {
				r.busy = 0
				w.answered(r, e)
			}
		}
	}
}

// answered is the client's reaction.
func (w *world) answered(r *robot, e Answer) {
	switch a := e.Response.(type) {
	case *kmsg.JoinGroupResponse:
		switch a.ErrorCode {
		case 0:
			if a.Generation < w.highest {
				w.t.Fatalf("the generation fell from %d to %d", w.highest, a.Generation)
			}
			w.highest = a.Generation
			r.id, r.generation, r.leads, r.wants = a.MemberID, a.Generation, nil, "sync"
			if !a.SkipAssignment {
				for _, m := range a.Members {
					r.leads = append(r.leads, m.MemberID)
				}
			}
		case kerr.MemberIDRequired.Code:
			r.id = a.MemberID
		default:
			w.refused(r, a.ErrorCode)
		}
	case *kmsg.SyncGroupResponse:
		if a.ErrorCode != 0 {
			w.refused(r, a.ErrorCode)
			return
		}
		r.wants = "beat"
		w.assigned(r, a.MemberAssignment)
	case *kmsg.HeartbeatResponse:
		if a.ErrorCode != 0 {
			w.refused(r, a.ErrorCode)
		}
	case *kmsg.LeaveGroupResponse:
		r.id, r.wants = "", "join"
	case *kmsg.OffsetCommitResponse:
		if a.Topics[0].Partitions[0].ErrorCode != 0 {
			return
		}
		// Nothing else was applied since, so it must be what is there.
		if o, _ := w.state.Offset(loneGroup, "t", 0); o.Offset != w.commits[e.Token] {
			w.t.Fatalf("offset %d was acknowledged, the state has %d", w.commits[e.Token], o.Offset)
		}
	}
}

func (w *world) refused(r *robot, code int16) {
	r.wants = "join"
	if code == kerr.UnknownMemberID.Code || code == kerr.FencedInstanceID.Code || code == kerr.IllegalGeneration.Code || code == kerr.GroupMaxSizeReached.Code {
		r.id = ""
	}
}

func (w *world) assigned(r *robot, assignment []byte) {
	if len(assignment) == 0 {
		return
	}
	key := fmt.Sprintf("%d/%s", r.generation, r.id)
	if was, ok := w.told[key]; ok && was != string(assignment) {
		w.t.Fatalf("member %s was told %q and %q in one generation", key, was, assignment)
	}
	w.told[key] = string(assignment)
	owner := fmt.Sprintf("%d/%s", r.generation, assignment)
	if was, ok := w.owners[owner]; ok && was != r.name {
		w.t.Fatalf("assignment %s was given to %s and to %s", owner, was, r.name)
	}
	w.owners[owner] = r.name
	stored := w.state.groups[loneGroup].meta
	if stored == nil || stored.generation < r.generation {
		w.t.Fatalf("an assignment of generation %d was told before it was applied", r.generation)
	}
}

// settle lets everything that waits come to its end: nobody sends anything more.
func (w *world) settle() {
	for range 20 {
		for len(w.queue) > 0 {
			w.apply()
		}
		if len(w.waiting) == 0 {
			return
		}
		w.pass(w.cfg.NewMemberJoinTimeout.Milliseconds())
	}
	w.t.Fatalf("requests without an answer: %v", slices.Sorted(maps.Keys(w.waiting)))
}

// check holds the groups to what must be true between two calls.
func (w *world) check() {
	for id, g := range w.c.groups {
		if err := sound(w.c, g); err != "" {
			w.t.Fatalf("group %s in %s: %s", id, g.phase, err)
		}
	}
}

func sound(c *Coordinator, g *group) string {
	joining, support := 0, map[string]int{}
	for _, m := range g.order {
		if g.members[m.id] != m {
			return "member " + m.id + " is listed and not known"
		}
		if m.instance != nil && g.static[*m.instance] != m.id {
			return "instance " + *m.instance + " is not " + m.id
		}
		if m.join != nil {
			joining++
		}
		for _, p := range m.protocols {
			support[p.name]++
		}
		if m.deadline == never && !m.waits() {
			return "member " + m.id + " can never be lost"
		}
		if m.sync != nil && g.phase != completing {
			return "a sync waits"
		}
	}
	switch {
	case len(g.order) != len(g.members), len(g.static) > len(g.members):
		return "members are counted wrongly"
	case joining != g.joining:
		return "waiting joins are counted wrongly"
	case !maps.Equal(support, g.support):
		return "protocols are counted wrongly"
	case len(g.members) > 0 && g.members[g.leader] == nil:
		return "no leader"
	case len(g.members) > 0 && (g.phase == empty || g.phase == dead):
		return "members of an empty group"
	case len(g.members) == 0 && (g.phase == completing || g.phase == stable):
		return "no members"
	case g.phase == preparing && g.joinBy == never:
		return "a rebalance without an end"
	case g.phase != preparing && g.joinBy != never:
		return "an end without a rebalance"
	case g.phase == completing && g.syncBy == never && !g.storing:
		return "members may owe their sync for ever"
	case g.phase == preparing && g.syncBy != never:
		return "syncs are awaited in a rebalance"
	case g.earliest() < g.wake:
		return "a deadline will be missed"
	case g.wake != never && (g.place < 0 || c.timers[g.place] != g):
		return "it is not scheduled"
	}
	return ""
}

// checkReplay makes the state anew from the log, and from a snapshot and the rest.
func (w *world) checkReplay() {
	want := w.state.View().Encode()
	fresh := NewState()
	for i, c := range w.applied {
		if err := fresh.Apply(c, w.times[i]); err != nil {
			w.t.Fatal(err)
		}
	}
	if got := fresh.View().Encode(); !bytes.Equal(got, want) {
		w.t.Fatalf("the log gives another state:\n%q\n%q", got, want)
	}
	if w.half == nil {
		return
	}
	s, err := Restore(w.half)
	if err != nil {
		w.t.Fatal(err)
	}
	for i, c := range w.applied[w.halfAt:] {
		if err := s.Apply(c, w.times[w.halfAt+i]); err != nil {
			w.t.Fatal(err)
		}
	}
	if got := s.View().Encode(); !bytes.Equal(got, want) {
		w.t.Fatalf("a snapshot and the rest of the log give another state:\n%s", strings.ToValidUTF8(string(got), "."))
	}
}
