package group

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/internal/invariant"
)

// consumerGroup is a group of the consumer protocol (KIP-848) as the leader sees
// it. It may be one change ahead of State, never two: while a change is being
// persisted all requests at the group wait, and then are one turn, whose changes
// are persisted together.
type consumerGroup struct {
	consumerEpochs
	members map[string]*consumerMember
	static  map[string]string    // instance id -> member id
	owners  map[partition]string // who owns what: assigned, or not given up yet
	// deadlines of the members, by id.
	deadlines map[string]*deadlines
	subs      subscriptions
	// assignAt is when the next assignment may be made, ms: at once, of a leader that has
	// made none yet.
	assignAt int64

	// The turn under way: what is to be answered, whose record is to be persisted,
	// whether the group's epoch must rise and whether something did.
	answers []reply
	changed map[string]bool
	bump    bool
	dirty   bool

	storing bool     // a change is being persisted
	waiting []func() // requests that came since then
}

// deadlines are when a member is lost, ms.
type deadlines struct {
	session int64
	// rebalance is set while the member owes something: to give partitions up, or, of
	// one that speaks the classic protocol, to join or to sync.
	rebalance int64
}

// reply builds a request's answer when the turn's assignment is known.
type reply struct {
	token Token
	build func() kmsg.Response
}

func newConsumerGroup() *consumerGroup {
	return &consumerGroup{
		members: map[string]*consumerMember{}, static: map[string]string{}, owners: map[partition]string{},
		deadlines: map[string]*deadlines{}, changed: map[string]bool{},
	}
}

// restoredConsumers is the group as State has it, with a fresh session each.
func restoredConsumers(s *consumerState, pace Pace, now int64) *consumerGroup {
	k := newConsumerGroup()
	k.consumerEpochs = s.consumerEpochs
	for _, id := range slices.Sorted(maps.Keys(s.members)) {
		m := s.members[id]
		k.set(m)
		k.deadlines[id].session = now + sessionOf(m, pace)
		if m.state == unrevoked {
			k.deadlines[id].rebalance = now + int64(m.rebalance)
		}
	}
	clear(k.changed)
	return k
}

// sessionOf is how long a member may be silent, ms.
func sessionOf(m *consumerMember, pace Pace) int64 {
	if m.classic != nil {
		return int64(m.classic.session)
	}
	return pace.SessionTimeout.Milliseconds()
}

// set puts a member in its place.
func (k *consumerGroup) set(m *consumerMember) {
	if old := k.members[m.id]; old != nil {
		k.release(old)
	} else {
		k.deadlines[m.id] = &deadlines{never, never}
	}
	for _, p := range m.owns() {
		invariant.That(k.owners[p] == "", "partition %d of topic %x belongs to %q and is given to %q", p.number, p.topic, k.owners[p], m.id)
		k.owners[p] = m.id
	}
	if m.instance != nil {
		k.static[*m.instance] = m.id
	}
	k.members[m.id] = m
	k.changed[m.id] = true
}

func (k *consumerGroup) release(m *consumerMember) {
	for _, p := range m.owns() {
		delete(k.owners, p)
	}
	if m.instance != nil && k.static[*m.instance] == m.id {
		delete(k.static, *m.instance)
	}
}

// remove takes a member out; what it had is free.
func (k *consumerGroup) remove(m *consumerMember) {
	k.release(m)
	delete(k.members, m.id)
	delete(k.deadlines, m.id)
	k.changed[m.id] = true
}

// phase is the group's state, by Kafka's name.
func (k *consumerGroup) phase() phase {
	switch {
	case len(k.members) == 0:
		return empty
	case k.group > k.assignment:
		return assigning
	}
	for _, m := range k.members {
		if m.state != settled || m.epoch != k.assignment {
			return reconciling
		}
	}
	return stable
}

// member finds one by its id and instance.
func (k *consumerGroup) member(id string, instance *string) (*consumerMember, *kerr.Error) {
	if instance != nil {
		current, ok := k.static[*instance]
		if !ok {
			return nil, kerr.UnknownMemberID
		}
		if current != id {
			return nil, kerr.FencedInstanceID
		}
	}
	m := k.members[id]
	if m == nil {
		return nil, kerr.UnknownMemberID
	}
	return m, nil
}

// subscribes reports whether a member may be reading the topic.
func (k *consumerGroup) subscribes(topic string) bool {
	for _, m := range k.members {
		if _, named := slices.BinarySearch(m.topics, topic); named || slices.Contains(k.subs.matches(m), topic) {
			return true
		}
	}
	return false
}

// heard begins a member's session anew.
func (k *consumerGroup) heard(id string, until int64) {
	if d := k.deadlines[id]; d != nil {
		d.session = until
	}
}

// earliest is the next time at which a member may be lost, or an assignment is due. While
// a change is being persisted nothing is.
func (k *consumerGroup) earliest() int64 {
	at := never
	if k.storing {
		return at
	}
	for _, d := range k.deadlines {
		at = min(at, d.session, d.rebalance)
	}
	if k.group > k.assignment && len(k.members) > 0 {
		at = min(at, k.assignAt)
	}
	return at
}

// change is what the turn has changed.
func (k *consumerGroup) change() *consumerChange {
	out := &consumerChange{consumerEpochs: k.consumerEpochs}
	for _, id := range slices.Sorted(maps.Keys(k.changed)) {
		if m := k.members[id]; m != nil {
			out.members = append(out.members, m)
		} else {
			out.gone = append(out.gone, id)
		}
	}
	return out
}

// sorted lists the members by id.
func (k *consumerGroup) sorted() []*consumerMember {
	out := make([]*consumerMember, 0, len(k.members))
	for _, id := range slices.Sorted(maps.Keys(k.members)) {
		out = append(out, k.members[id])
	}
	return out
}
