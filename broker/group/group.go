package group

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/internal/invariant"
)

// phase is where a group is in its life; doc.go has the picture.
type phase uint8

const (
	empty phase = iota
	preparing
	completing
	stable
	dead
	// Of a consumer group alone: there is no assignment of its epoch yet; there is
	// one, and not all members have theirs.
	assigning
	reconciling
)

// String is the name by which Kafka's tools know the phase.
func (p phase) String() string {
	return [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Assigning", "Reconciling"}[p]
}

// consumerType is the protocol type of consumers, whose metadata we can read.
const consumerType = "consumer"

// group is a group as the leader sees it. Unlike State it knows who waits and
// until when.
type group struct {
	id         string
	phase      phase
	since      int64 // of the phase, ms
	generation int32
	// protocolType is that of the first member; "" in a simple group.
	protocolType string
	protocol     *string // nil in a group that is or becomes empty
	leader       string  // "" if there is none

	members map[string]*member
	order   []*member         // the members, by when they came
	static  map[string]string // instance id -> member id
	// support counts the members that support a protocol.
	support map[string]int
	// joining counts the members whose Join waits.
	joining int
	// pending are ids that were handed out (KIP-394) and have not joined yet, with
	// the time when they are forgotten.
	pending map[string]int64
	// topics are those the members of the current generation subscribe to, if
	// topicsKnown: the group is of consumers and all of their metadata was read.
	topics      map[string]bool
	topicsKnown bool

	// joinBy ends the preparing phase. The first rebalance of an empty group is
	// initial: it ends after a delay that grows while members come (grown since
	// the delay began), at most by what is left of the rebalance timeout.
	joinBy           int64
	initial, grown   bool
	delay, remaining int64
	// syncBy is when the members that owe a Sync are removed.
	syncBy int64
	// storing is set while the leader's assignment is being persisted.
	storing bool
	// emptying collects who waits until the empty generation is persisted.
	emptying *outcome
	// inFlight counts what is being persisted for the group.
	inFlight int

	// consumer is set in a group of the consumer protocol. Such a group has its
	// members there, and of the fields above only phase, since, protocolType and
	// inFlight mean anything.
	consumer *consumerGroup
	// inTurn is set while requests that have waited are taken up again: they are one
	// turn.
	inTurn bool

	wake  int64 // not later than the group's earliest deadline
	place int   // in the schedule, -1 if it is not there
}

// outcome tells several waiters how one proposal ended.
type outcome struct{ waiters []func(*kerr.Error) }

func newGroup(id string, now int64) *group {
	return &group{
		id:      id,
		since:   now,
		members: map[string]*member{},
		static:  map[string]string{},
		support: map[string]int{},
		pending: map[string]int64{},
		joinBy:  never,
		syncBy:  never,
		wake:    never,
		place:   -1,
	}
}

// enter moves the group to a phase.
func (g *group) enter(p phase, now int64) { g.phase, g.since = p, now }

// check says whether a request comes from a current member: KIP-345 fences an
// instance that another process has taken over.
func (g *group) check(id string, instance *string) *kerr.Error {
	if instance != nil {
		current, ok := g.static[*instance]
		if !ok {
			return kerr.UnknownMemberID
		}
		if current != id {
			return kerr.FencedInstanceID
		}
	}
	if g.members[id] == nil {
		return kerr.UnknownMemberID
	}
	return nil
}

// add takes in a member that does not wait yet.
func (g *group) add(m *member) {
	invariant.That(g.members[m.id] == nil, "member %q joins group %q twice", m.id, g.id)
	if m.instance != nil {
		_, taken := g.static[*m.instance]
		invariant.That(!taken, "instance %q joins group %q twice", *m.instance, g.id)
		g.static[*m.instance] = m.id
	}
	if g.leader == "" {
		g.leader = m.id
	}
	g.members[m.id] = m
	g.order = append(g.order, m)
	g.countSupport(m, 1)
	delete(g.pending, m.id)
}

// remove takes a member out; whoever waits for it must have been answered.
func (g *group) remove(m *member) {
	invariant.That(m.join == nil && m.sync == nil, "member %q of group %q is removed while it waits", m.id, g.id)
	delete(g.members, m.id)
	g.order = slices.DeleteFunc(g.order, func(x *member) bool { return x == m })
	g.countSupport(m, -1)
	if m.instance != nil {
		delete(g.static, *m.instance)
	}
	if g.leader == m.id {
		g.leader = ""
		if len(g.order) > 0 {
			g.leader = g.order[0].id
		}
	}
}

// swap puts a member in the place of another of the same instance; neither waits.
func (g *group) swap(old, next *member) {
	invariant.That(old.join == nil && old.sync == nil, "member %q of group %q is replaced while it waits", old.id, g.id)
	delete(g.members, old.id)
	g.members[next.id] = next
	g.order[slices.Index(g.order, old)] = next
	g.static[*next.instance] = next.id
	g.countSupport(old, -1)
	g.countSupport(next, 1)
	if g.leader == old.id {
		g.leader = next.id
	}
}

func (g *group) countSupport(m *member, by int) {
	for _, p := range m.protocols {
		g.support[p.name] += by
		if g.support[p.name] == 0 {
			delete(g.support, p.name)
		}
	}
}

// supports reports whether somebody with these protocols may join: an empty group
// takes anyone who names a type and a protocol, the others need the same type and
// a protocol that all members have.
func (g *group) supports(protocolType string, ps []kmsg.JoinGroupRequestProtocol) bool {
	if g.phase == empty {
		return protocolType != "" && len(ps) > 0
	}
	return g.protocolType == protocolType && slices.ContainsFunc(ps, func(p kmsg.JoinGroupRequestProtocol) bool {
		return g.support[p.Name] == len(g.members)
	})
}

// elect returns the protocol of the next generation: each member votes for the
// first in its list that all members support. Of equal ones that wins which an
// older member voted for.
func (g *group) elect() string {
	votes := map[string]int{}
	var order []string
	for _, m := range g.order {
		for _, p := range m.protocols {
			if g.support[p.name] == len(g.members) {
				if votes[p.name]++; votes[p.name] == 1 {
					order = append(order, p.name)
				}
				break
			}
		}
	}
	invariant.That(len(order) > 0, "the members of group %q have no protocol in common", g.id)
	best := order[0]
	for _, name := range order {
		if votes[name] > votes[best] {
			best = name
		}
	}
	return best
}

// allJoined reports whether nobody has to be waited for in the preparing phase.
func (g *group) allJoined() bool { return g.joining == len(g.members) && len(g.pending) == 0 }

// electLeader makes sure that the leader is among those who joined. It returns
// false if nobody is.
func (g *group) electLeader() bool {
	if m := g.members[g.leader]; m != nil && m.join != nil {
		return true
	}
	for _, m := range g.order {
		if m.join != nil {
			g.leader = m.id
			return true
		}
	}
	return false
}

// nextGeneration begins one, empty if nobody is left.
func (g *group) nextGeneration(now int64) {
	g.generation++
	g.protocol = nil
	if len(g.members) == 0 {
		g.enter(empty, now)
	} else {
		p := g.elect()
		g.protocol = &p
		g.enter(completing, now)
	}
	g.readTopics()
}

// readTopics finds out what the members subscribe to. Every version of a
// consumer's metadata begins as version 0 does.
func (g *group) readTopics() {
	g.topics, g.topicsKnown = nil, false
	if g.protocolType != consumerType || len(g.members) > 0 && g.protocol == nil {
		return
	}
	topics := map[string]bool{}
	for _, m := range g.order {
		names, ok := subscription(m.metadata(*g.protocol))
		if !ok {
			return
		}
		for _, t := range names {
			topics[t] = true
		}
	}
	g.topics, g.topicsKnown = topics, true
}

// subscribes reports whether the group may still be reading the topic. Of
// consumers whose metadata is unknown it must be assumed.
func (g *group) subscribes(topic string) bool {
	if g.consumer != nil {
		return g.consumer.subscribes(topic)
	}
	if g.topicsKnown {
		return g.topics[topic]
	}
	return g.protocolType == consumerType
}

// rebalanceTimeout is how long members have to join again: the longest that any
// of them asked for, in ms.
func (g *group) rebalanceTimeout() int64 {
	var t int64
	for _, m := range g.order {
		t = max(t, m.rebalance)
	}
	return t
}

// earliest is the next time at which something happens by itself.
func (g *group) earliest() int64 {
	if g.consumer != nil {
		return g.consumer.earliest()
	}
	at := min(g.joinBy, g.syncBy)
	for _, m := range g.order {
		at = min(at, m.deadline)
	}
	for _, d := range g.pending {
		at = min(at, d)
	}
	return at
}

// persisted is the group as its generation is stored, with the assignments given
// by member id; nil means the members' own.
func (g *group) persisted(assignments map[string][]byte) *metadata {
	out := &metadata{protocolType: g.protocolType, generation: g.generation, protocol: g.protocol, since: g.since}
	if g.leader != "" {
		leader := g.leader
		out.leader = &leader
	}
	for _, m := range g.order {
		x := memberMetadata{
			id: m.id, instance: m.instance, clientID: m.client.ID, clientHost: m.client.Host,
			rebalance: int32(m.rebalance), session: int32(m.session),
			assignment: m.assignment,
		}
		if g.protocol != nil {
			x.subscription = m.metadata(*g.protocol)
		}
		if assignments != nil {
			x.assignment = assignments[m.id]
		}
		out.members = append(out.members, x)
	}
	return out
}

// restored is the inverse of persisted. Members get a fresh session each: that
// the coordinator moved is not their fault.
func restored(id string, s *groupState, cfg *Config, now int64) *group {
	g := newGroup(id, now)
	if s.consumer != nil {
		g.consumer, g.protocolType = restoredConsumers(s.consumer, cfg.ConsumerPace(id), now), consumerType
		g.phase, g.since = g.consumer.phase(), s.consumer.since
		return g
	}
	if s.meta == nil {
		return g
	}
	g.generation, g.protocolType, g.protocol, g.since = s.meta.generation, s.meta.protocolType, s.meta.protocol, s.meta.since
	for i := range s.meta.members {
		x := &s.meta.members[i]
		m := &member{
			id: x.id, instance: x.instance, client: Client{ID: x.clientID, Host: x.clientHost},
			rebalance: int64(x.rebalance), session: int64(x.session),
			assignment: x.assignment, deadline: now + int64(x.session), knowsID: true,
		}
		if g.protocol != nil {
			m.protocols = []protocol{{*g.protocol, x.subscription}}
		}
		g.add(m)
	}
	if s.meta.leader != nil && g.members[*s.meta.leader] != nil {
		g.leader = *s.meta.leader
	}
	if len(g.members) > 0 {
		g.phase = stable
	}
	g.readTopics()
	return g
}
