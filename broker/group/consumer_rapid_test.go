package group

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/splashdam/splashdam/broker/record"
)

// TestRandomConsumers drives a group with clients of both protocols that join,
// give up, take over, commit, leave, crash and lose answers at random, over a log
// that loses proposals, a lead that moves and topics that change, and holds the
// coordinator to this:
//
//   - no partition is owned by two clients that the group knows as members;
//   - a member's epoch never falls, nor do the stored epochs of the group;
//   - what a client was told is in State;
//   - a commit under an epoch of before is taken only for what its member has had since;
//   - left alone, the group settles, and each partition has one owner;
//   - replay of the log, and a snapshot with the rest of it, give the same state.
func TestRandomConsumers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steps := rapid.IntRange(100, 800).Draw(t, "steps")
		w := newClub(t, rapid.Uint64().Draw(t, "seed"))
		for range steps {
			w.step()
			w.check()
		}
		w.settle()
		w.replay()
	})
}

// patron is a client of the group.
type patron struct {
	name     string
	classic  bool
	instance *string
	lives    int // each has another member id, but for classic members

	id       string
	epoch    int32
	regex    bool
	topics   []string
	owned    partitions // what it works on
	assigned partitions // what it shall come to, if not nil
	report   bool       // what it owns has changed since it said so
	leads    []string
	wants    string // join, sync, beat
	busy     Token
}

type club struct {
	t       *rapid.T
	rng     *rand.Rand
	cfg     Config
	topics  *fakeTopics
	state   *State
	c       *Coordinator
	now     int64
	ids     int
	tokens  Token
	patrons []*patron
	waiting map[Token]*patron
	queue   []Persist

	applied []record.Command
	times   []int64
	half    *View
	halfAt  int
	stored  consumerEpochs
	// past is what each member had, by its id, as often as that was stored.
	past map[string][]*consumerMember

	settling bool // nobody changes its mind any more
}

func newClub(t *rapid.T, seed uint64) *club {
	w := &club{
		t: t, rng: rand.New(rand.NewPCG(seed, 0)), cfg: DefaultConfig(), state: NewState(), now: start,
		waiting: map[Token]*patron{}, topics: newFakeTopics(), past: map[string][]*consumerMember{},
	}
	w.cfg.NewID = func() string { w.ids++; return strconv.Itoa(w.ids) }
	w.cfg.Topics = func() Topics { return w.topics }
	pace := DefaultPace()
	pace.AssignmentInterval = time.Duration(max(0, w.rng.IntN(8)-4)) * time.Second
	w.cfg.ConsumerPace = func(string) Pace { return pace }
	w.cfg.ConsumerMaxSize = 3 + w.rng.IntN(4)
	w.cfg.MigrationPolicy = []MigrationPolicy{MigrateBothWays, MigrateBothWays, MigrateBothWays, MigrateUp}[w.rng.IntN(4)]
	w.topics.set("t", int32(1+w.rng.IntN(8)))
	w.topics.set("u", int32(1+w.rng.IntN(4)))
	classic := w.rng.IntN(3) // of three
	for i := range 1 + w.rng.IntN(5) {
		p := &patron{name: string(rune('a' + i)), classic: w.rng.IntN(3) < classic, topics: []string{"t"}, wants: "join"}
		if w.rng.IntN(3) == 0 {
			p.instance = kmsg.StringPtr("i" + p.name)
		}
		w.patrons = append(w.patrons, p)
	}
	w.c = Lead(w.state, w.cfg, w.now)
	return w
}

func (w *club) step() {
	switch n := w.rng.IntN(100); {
	case n < 55:
		w.act(w.patrons[w.rng.IntN(len(w.patrons))])
	case n < 80:
		w.apply()
	case n < 90:
		w.pass(w.rng.Int64N(3_000))
	case n < 92:
		w.pass(w.rng.Int64N(60_000))
	case n < 95:
		w.fail()
	case n < 96:
		w.loseLead()
	case n < 97:
		w.commit()
	case n < 98:
		w.topics.set([]string{"t", "u", "v"}[w.rng.IntN(3)], int32(w.rng.IntN(9)))
	default:
		w.half, w.halfAt = w.state.View(), len(w.applied)
	}
}

func (w *club) pass(ms int64) {
	w.now += ms
	w.effects(w.c.Tick(w.now))
	w.effects(w.c.Tick(w.now))
	if next := w.c.Next(); next <= w.now {
		w.t.Fatalf("after two ticks at %d the next is due at %d", w.now, next)
	}
}

func (w *club) apply() {
	if len(w.queue) == 0 {
		return
	}
	p := w.queue[0]
	w.queue = w.queue[1:]
	w.log(p.Command)
	w.effects(w.c.Done(w.now, p.ID, nil))
}

func (w *club) log(c record.Command) {
	if err := w.state.Apply(c, w.now); err != nil {
		w.t.Fatal(err)
	}
	w.applied, w.times = append(w.applied, bytes.Clone(c)), append(w.times, w.now)
	g := w.state.groups[loneGroup]
	if g == nil || g.consumer == nil {
		w.stored = consumerEpochs{}
		return
	}
	if g.consumer.group < w.stored.group || g.consumer.assignment < w.stored.assignment {
		w.t.Fatalf("the stored epochs fell from %v to %v", w.stored, g.consumer.consumerEpochs)
	}
	w.stored = g.consumer.consumerEpochs
	for id, m := range g.consumer.members {
		if past := w.past[id]; len(past) == 0 || past[len(past)-1] != m {
			w.past[id] = append(past, m)
		}
	}
}

// commit commits for a partition under some epoch that a member has had.
func (w *club) commit() {
	g := w.c.groups[loneGroup]
	if g == nil || g.consumer == nil || len(g.consumer.members) == 0 {
		return
	}
	members := g.consumer.sorted()
	m := members[w.rng.IntN(len(members))]
	past := w.past[m.id]
	if len(past) == 0 {
		return
	}
	topic := []string{"t", "u"}[w.rng.IntN(2)]
	id, count, ok := w.topics.Topic(topic)
	if !ok {
		return
	}
	q := partition{id, w.rng.Int32N(count)}
	epoch := past[max(0, len(past)-1-w.rng.IntN(8))].epoch
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Version, req.Group, req.MemberID, req.Generation = 9, loneGroup, m.id, epoch
	req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetCommitRequestTopicPartition{{Partition: q.number, Offset: 1}}}}
	w.tokens++
	w.waiting[w.tokens] = &patron{name: "committer"}
	before := len(w.queue)
	w.effects(w.c.Commit(w.now, w.tokens, req))
	if taken := len(w.queue) > before; taken && epoch < m.epoch {
		if !w.hadSince(m, epoch, q) {
			w.t.Fatalf("%s commits with epoch %d of %d for partition %d of %s, which it has not had since then", m.id, epoch, m.epoch, q.number, topic)
		}
	}
}

// hadSince reports whether a member has had a partition, and was not asked for it, in all
// that was stored of it since it last had an epoch.
func (w *club) hadSince(m *consumerMember, epoch int32, q partition) bool {
	past := append(slices.Clone(w.past[m.id]), m)
	for i, x := range slices.Backward(past) {
		if !x.owns().has(q) || i+1 < len(past) && x.revoking.has(q) && past[i+1].assigned.has(q) {
			return false
		}
		if x.epoch <= epoch {
			return true
		}
	}
	return false
}

func (w *club) fail() {
	if len(w.queue) > 0 {
		p := w.queue[0]
		w.queue = w.queue[1:]
		w.effects(w.c.Done(w.now, p.ID, errors.New("busy")))
	}
}

func (w *club) loseLead() {
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
	w.state = restored
	w.c = Lead(w.state, w.cfg, w.now)
}

// act lets a client do something sensible, mostly.
func (w *club) act(p *patron) {
	if p.busy != 0 {
		if w.rng.IntN(15) > 0 {
			return
		}
		// It loses the answer, and goes on from what it knows.
		t := p.busy
		p.busy = 0
		delete(w.waiting, t)
		w.effects(w.c.Forget(w.now, t))
		if p.classic {
			p.wants, p.owned = "join", nil
		}
		return
	}
	if p.assigned != nil && w.rng.IntN(2) == 0 {
		p.owned, p.assigned, p.report = p.assigned, nil, true
		return
	}
	do := p.wants
	if do == "beat" {
		do = []string{"beat", "beat", "beat", "beat", "beat", "beat", "subscribe", "leave", "crash"}[w.rng.IntN(9)]
	}
	if do == "crash" {
		w.crash(p)
		return
	}
	w.send(p, do)
}

// crash makes the client begin anew, knowing nothing.
func (w *club) crash(p *patron) {
	p.lives++
	p.id, p.epoch, p.owned, p.assigned, p.wants = "", 0, nil, nil, "join"
}

func (w *club) send(p *patron, do string) {
	w.tokens++
	t := w.tokens
	w.waiting[t] = p
	p.busy = t
	if p.classic {
		w.effects(w.classic(p, t, do))
	} else {
		w.effects(w.c.ConsumerHeartbeat(w.now, t, Client{p.name, "/::1", ""}, w.beat(p, do)))
	}
}

func (w *club) beat(p *patron, do string) *kmsg.ConsumerGroupHeartbeatRequest {
	q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	q.Version, q.Group, q.MemberEpoch, q.InstanceID = 1, loneGroup, p.epoch, p.instance
	if p.id == "" {
		p.id = fmt.Sprintf("%s%d", p.name, p.lives)
	}
	q.MemberID = p.id
	full := do == "join" || w.rng.IntN(3) == 0
	if do == "subscribe" && !w.settling {
		p.regex = w.rng.IntN(3) == 0
		p.topics = [][]string{{"t"}, {"t", "u"}, {"u", "v"}, {}}[w.rng.IntN(4)]
	}
	if do == "leave" {
		p.owned, p.assigned = nil, nil
		q.MemberEpoch = -1
		if p.instance != nil && w.rng.IntN(2) == 0 {
			q.MemberEpoch = leftForNow
		}
		return q
	}
	if full || do == "subscribe" {
		q.SubscribedTopicNames, q.SubscribedTopicRegex = append([]string{}, p.topics...), kmsg.StringPtr("")
		if p.regex {
			q.SubscribedTopicRegex = kmsg.StringPtr("[tv]")
		}
		q.RebalanceTimeoutMillis = 20_000
	}
	if full || p.report {
		p.report = false
		q.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		p.owned.byTopic(func(id [16]byte, part partitions) {
			q.Topics = append(q.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: id, Partitions: part.numbers()})
		})
	}
	return q
}

func (w *club) classic(p *patron, t Token, do string) []Effect {
	switch do {
	case "join", "subscribe":
		p.owned = nil // it is an eager one
		q := kmsg.NewPtrJoinGroupRequest()
		q.Version, q.Group, q.MemberID, q.InstanceID = 9, loneGroup, p.id, p.instance
		q.ProtocolType, q.SessionTimeoutMillis, q.RebalanceTimeoutMillis = "consumer", 10_000, 20_000
		if do == "subscribe" {
			p.topics = [][]string{{"t"}, {"t", "u"}}[w.rng.IntN(2)]
		}
		q.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: consumes(p.topics...)}}
		return w.c.Join(w.now, t, Client{p.name, "/::1", ""}, q)
	case "sync":
		q := kmsg.NewPtrSyncGroupRequest()
		q.Version, q.Group, q.MemberID, q.InstanceID, q.Generation = 4, loneGroup, p.id, p.instance, p.epoch
		q.GroupAssignment = w.share(p.leads)
		return w.c.Sync(w.now, t, q)
	case "leave":
		p.owned = nil
		q := kmsg.NewPtrLeaveGroupRequest()
		q.Version, q.Group = 4, loneGroup
		m := kmsg.NewLeaveGroupRequestMember()
		m.MemberID, m.InstanceID = p.id, p.instance
		q.Members = append(q.Members, m)
		return w.c.Leave(w.now, t, q)
	}
	q := kmsg.NewPtrHeartbeatRequest()
	q.Version, q.Group, q.MemberID, q.InstanceID, q.Generation = 4, loneGroup, p.id, p.instance, p.epoch
	return w.c.Heartbeat(w.now, t, q)
}

// share is a leader's assignment of t.
func (w *club) share(ids []string) []kmsg.SyncGroupRequestGroupAssignment {
	var out []kmsg.SyncGroupRequestGroupAssignment
	for i, id := range ids {
		a := kmsg.NewConsumerMemberAssignment()
		x := kmsg.NewConsumerMemberAssignmentTopic()
		x.Topic = "t"
		for n := i; n < int(w.topics.counts["t"]); n += len(ids) {
			x.Partitions = append(x.Partitions, int32(n))
		}
		a.Topics = append(a.Topics, x)
		out = append(out, kmsg.SyncGroupRequestGroupAssignment{MemberID: id, MemberAssignment: a.AppendTo(nil)})
	}
	return out
}

func (w *club) effects(out []Effect) {
	for _, e := range out {
		switch e := e.(type) {
		case Persist:
			w.queue = append(w.queue, e)
		case Answer:
			p := w.waiting[e.Token]
			if p == nil {
				w.t.Fatalf("token %d is answered twice, or nobody asked: %s", e.Token, printResponse(e.Response))
			}
			delete(w.waiting, e.Token)
			p.busy = 0
			w.answered(p, e.Response)
		}
	}
}

func (w *club) answered(p *patron, r kmsg.Response) {
	switch a := r.(type) {
	case *kmsg.ConsumerGroupHeartbeatResponse:
		switch a.ErrorCode {
		case 0:
			w.told(p, a)
		case kerr.UnknownMemberID.Code, kerr.FencedMemberEpoch.Code, kerr.GroupIDNotFound.Code, kerr.FencedInstanceID.Code:
			if p.wants, p.epoch, p.owned, p.assigned = "join", 0, nil, nil; a.ErrorCode == kerr.FencedInstanceID.Code {
				w.crash(p)
			}
		}
	case *kmsg.JoinGroupResponse:
		switch a.ErrorCode {
		case 0:
			p.id, p.epoch, p.wants, p.leads = a.MemberID, a.Generation, "sync", nil
			if !a.SkipAssignment {
				for _, m := range a.Members {
					p.leads = append(p.leads, m.MemberID)
				}
			}
		case kerr.MemberIDRequired.Code:
			p.id = a.MemberID
		default:
			w.refused(p, a.ErrorCode)
		}
	case *kmsg.SyncGroupResponse:
		if a.ErrorCode != 0 {
			w.refused(p, a.ErrorCode)
			return
		}
		p.wants = "beat"
		m := kmsg.NewConsumerMemberAssignment()
		if len(a.MemberAssignment) > 0 {
			if err := m.ReadFrom(a.MemberAssignment); err != nil {
				w.t.Fatalf("assignment %q: %v", a.MemberAssignment, err)
			}
		}
		p.owned = w.c.assignedBy(&m)
	case *kmsg.HeartbeatResponse:
		if a.ErrorCode != 0 {
			w.refused(p, a.ErrorCode)
		}
	case *kmsg.LeaveGroupResponse:
		w.crash(p)
	}
}

func (w *club) refused(p *patron, code int16) {
	switch code {
	case kerr.RebalanceInProgress.Code:
		p.wants = "join"
	case kerr.NotCoordinator.Code, kerr.CoordinatorNotAvailable.Code:
	default:
		p.id, p.wants, p.owned = "", "join", nil
	}
}

// told is a member's reaction: it takes over what it is told, and gives up later.
func (w *club) told(p *patron, a *kmsg.ConsumerGroupHeartbeatResponse) {
	if a.MemberEpoch < 0 {
		w.crash(p)
		return
	}
	if a.MemberEpoch < p.epoch {
		w.t.Fatalf("the epoch of %s fell from %d to %d", p.id, p.epoch, a.MemberEpoch)
	}
	m := w.state.groups[loneGroup].consumer.members[p.id]
	if m == nil || m.epoch != a.MemberEpoch {
		w.t.Fatalf("%s was told epoch %d before it was applied", p.id, a.MemberEpoch)
	}
	p.epoch, p.wants = a.MemberEpoch, "beat"
	if a.Assignment != nil {
		p.assigned = told(a.Assignment)
		if !slices.Equal(p.assigned, m.assigned) {
			w.t.Fatalf("%s was told that it has %v, State says %v", p.id, p.assigned, m.assigned)
		}
		if p.assigned == nil {
			p.assigned = partitions{}
		}
		// What it gets it takes at once: if it took it later, and said in between what
		// it owns, the group could not tell that from having given it up again. The
		// protocol leaves that to clients.
		p.owned = p.owned.or(p.assigned)
	}
}

// members are those that the group knows, as it is applied.
func (w *club) members() map[string]bool {
	out := map[string]bool{}
	g := w.state.groups[loneGroup]
	switch {
	case g == nil:
	case g.consumer != nil:
		for id := range g.consumer.members {
			out[id] = true
		}
	case g.meta != nil:
		for _, m := range g.meta.members {
			out[m.id] = true
		}
	}
	return out
}

func (w *club) check() {
	known := w.members()
	owners := map[partition]string{}
	for _, p := range w.patrons {
		if !known[p.id] {
			continue // it was lost, and works on in vain until it hears of that
		}
		for _, q := range p.owned {
			if other := owners[q]; other != "" {
				w.t.Fatalf("%s and %s own partition %d of %q", other, p.id, q.number, q.topic)
			}
			owners[q] = p.id
		}
	}
	for _, g := range w.c.groups {
		if g.consumer == nil {
			if err := sound(w.c, g); err != "" {
				w.t.Fatalf("group in %s: %s", g.phase, err)
			}
			continue
		}
		if err := soundConsumers(g.consumer); err != "" {
			w.t.Fatalf("consumer group: %s", err)
		}
	}
}

func soundConsumers(k *consumerGroup) string {
	owned := 0
	for id, m := range k.members {
		for _, p := range m.owns() {
			owned++
			if k.owners[p] != id {
				return fmt.Sprintf("partition %d is %q's and owned by %q", p.number, id, k.owners[p])
			}
		}
		if m.instance != nil && k.static[*m.instance] != id {
			return "instance " + *m.instance + " is not " + id
		}
		if k.deadlines[id] == nil || k.deadlines[id].session == never {
			return id + " can never be lost"
		}
		if m.epoch > k.assignment || m.epoch < leftForNow {
			return fmt.Sprintf("%s has epoch %d of %d", id, m.epoch, k.assignment)
		}
		if len(m.since) != len(m.owns()) {
			return fmt.Sprintf("%s has %d partitions, of %d is known since when", id, len(m.owns()), len(m.since))
		}
		for _, p := range m.owns() {
			if since, ok := m.since[p]; !ok || since > max(0, m.epoch) {
				return fmt.Sprintf("%s, of epoch %d, has partition %d since %d, %t", id, m.epoch, p.number, since, ok)
			}
		}
		if len(m.revoking) > 0 != (m.state == unrevoked) {
			return id + " gives up what it was not asked to"
		}
	}
	switch {
	case owned != len(k.owners):
		return "owners are counted wrongly"
	case len(k.static) > len(k.members) || len(k.deadlines) != len(k.members):
		return "members are counted wrongly"
	case len(k.answers) > 0 || len(k.changed) > 0 || k.bump || k.dirty:
		return "a turn is left open"
	case k.assignment > k.group:
		return "an assignment of the future"
	}
	return ""
}

// settle lets the clients be, and expects them to share all that there is.
func (w *club) settle() {
	w.topics.set("t", 5)
	w.settling = true
	for _, p := range w.patrons {
		p.topics, p.regex = []string{"t"}, false
	}
	for i := range 400 {
		for _, p := range w.patrons {
			if p.busy != 0 {
				continue
			}
			if p.assigned != nil {
				p.owned, p.assigned, p.report = p.assigned, nil, true
			}
			do := p.wants
			switch {
			case do != "beat":
			case p.classic && i == 50:
				do = "join" // a leader that sees that the topic has grown
			case !p.classic && i == 0:
				do = "subscribe"
			}
			w.send(p, do)
			w.check()
		}
		for len(w.queue) > 0 {
			w.apply()
			w.check()
		}
		w.pass(3_000)
	}
	known, owned := w.members(), 0
	for _, p := range w.patrons {
		if known[p.id] {
			owned += len(p.owned)
		}
	}
	if owned != 5 {
		g := w.c.groups[loneGroup]
		for _, p := range w.patrons {
			w.t.Logf("%s %q classic %v epoch %d wants %s busy %d owns %s", p.name, p.id, p.classic, p.epoch, p.wants, p.busy, printPartitions(p.owned))
		}
		w.t.Fatalf("in phase %s the members %v own %d of 5 partitions", g.phase, slices.Sorted(maps.Keys(known)), owned)
	}
}

// replay makes the state anew from the log, and from a snapshot and the rest.
func (w *club) replay() {
	want := w.state.View().Encode()
	for from, s := range map[int]*State{0: NewState(), w.halfAt: nil} {
		if from == w.halfAt && w.half != nil {
			var err error
			if s, err = Restore(w.half.Encode()); err != nil {
				w.t.Fatal(err)
			}
		}
		if s == nil {
			continue
		}
		for i, c := range w.applied[from:] {
			if err := s.Apply(c, w.times[from+i]); err != nil {
				w.t.Fatal(err)
			}
		}
		if !bytes.Equal(s.View().Encode(), want) {
			w.t.Fatalf("the log from command %d on gives another state", from)
		}
	}
}
