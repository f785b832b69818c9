package group

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// MigrationPolicy says in which directions a group with members may change its
// protocol (group.consumer.migration.policy, KIP-848).
type MigrationPolicy string

// The policies, by Kafka's names.
const (
	MigrateBothWays MigrationPolicy = "bidirectional"
	MigrateUp       MigrationPolicy = "upgrade"
	MigrateDown     MigrationPolicy = "downgrade"
	MigrateNever    MigrationPolicy = "disabled"
)

// MigrationPolicies are all there are.
func MigrationPolicies() []string {
	return []string{string(MigrateBothWays), string(MigrateUp), string(MigrateDown), string(MigrateNever)}
}

func (p MigrationPolicy) up() bool   { return p == MigrateBothWays || p == MigrateUp }
func (p MigrationPolicy) down() bool { return p == MigrateBothWays || p == MigrateDown }

// upgrade makes a classic group one of the consumer protocol, in which its members
// go on speaking theirs. Epochs go on from the generation. Nothing is persisted
// before the turn's end. It is done for a member that may join, only: whoever is
// refused changes nothing.
func (c *Coordinator) upgrade(g *group, req *kmsg.ConsumerGroupHeartbeatRequest) *kerr.Error {
	k := newConsumerGroup()
	k.group, k.assignment = g.generation, g.generation
	if len(g.members) > 0 {
		if !c.cfg.MigrationPolicy.up() || g.protocolType != consumerType || len(g.members) > c.cfg.ConsumerMaxSize {
			return kerr.GroupIDNotFound // as in Kafka: there is no such consumer group
		}
		for _, m := range g.order {
			// Whoever was never told its id comes back as somebody new.
			if !m.knowsID {
				continue
			}
			next, ok := c.upgradedMember(g, k, m)
			if !ok {
				return kerr.GroupIDNotFound
			}
			k.set(next)
			k.deadlines[m.id].session = c.now + m.session
		}
		if _, err := c.mayJoin(k, req.MemberID, req.InstanceID); err != nil {
			return err
		}
		k.dirty = true
	}
	for _, m := range slices.Clone(g.order) {
		c.release(g, m, m.id, kerr.RebalanceInProgress)
	}
	next := newGroup(g.id, c.now)
	next.protocolType, next.consumer, next.since = consumerType, k, g.since
	g.adopt(next)
	return nil
}

// upgradedMember is a classic member in a consumer group. It has what it was
// assigned; while a rebalance is under way, what it says that it still owns.
func (c *Coordinator) upgradedMember(g *group, k *consumerGroup, m *member) (*consumerMember, bool) {
	var metadata []byte
	if len(m.protocols) > 0 {
		metadata = m.protocols[0].metadata
	}
	if g.protocol != nil {
		metadata = m.metadata(*g.protocol)
	}
	sub, ok := readSubscription(metadata)
	if !ok {
		return nil, false
	}
	has := c.partitionsOf(sub.OwnedPartitions)
	if len(m.assignment) > 0 {
		a := kmsg.NewConsumerMemberAssignment()
		if err := a.ReadFrom(m.assignment); err != nil {
			return nil, false
		}
		has = c.assignedBy(&a)
	}
	// Two may claim the same after a rebalance that was cut off; then the first has it.
	has = has.filter(func(p partition) bool { return k.owners[p] == "" })
	next := &consumerMember{
		id: m.id, instance: m.instance, rack: sub.Rack, client: m.client, rebalance: int32(m.rebalance),
		topics:  slices.Compact(slices.Sorted(slices.Values(sub.Topics))),
		classic: &classicMember{int32(m.session), m.protocols},
		epoch:   g.generation, previous: g.generation, target: has,
	}
	next.hold(has, nil, g.generation)
	return next, true
}

// readSubscription reads a consumer's metadata and refuses what claims more than
// its bytes can hold.
func readSubscription(b []byte) (*kmsg.ConsumerMemberMetadata, bool) {
	if _, ok := subscription(b); !ok {
		return nil, false
	}
	m := kmsg.NewConsumerMemberMetadata()
	if err := m.ReadFrom(b); err != nil {
		return nil, false
	}
	return &m, true
}

func (c *Coordinator) partitionsOf(owned []kmsg.ConsumerMemberMetadataOwnedPartition) partitions {
	topics := c.cfg.Topics()
	var list []partition
	for _, t := range owned {
		if id, _, ok := topics.Topic(t.Topic); ok {
			for _, n := range t.Partitions {
				list = append(list, partition{id, n})
			}
		}
	}
	return newPartitions(list)
}

func (c *Coordinator) assignedBy(a *kmsg.ConsumerMemberAssignment) partitions {
	topics := c.cfg.Topics()
	var list []partition
	for _, t := range a.Topics {
		if id, _, ok := topics.Topic(t.Topic); ok {
			for _, n := range t.Partitions {
				list = append(list, partition{id, n})
			}
		}
	}
	return newPartitions(list)
}

// classicAssignment is what a classic member has, in the version of its
// subscription. Topics that are gone are left out.
func (c *Coordinator) classicAssignment(m *consumerMember) []byte {
	topics := c.cfg.Topics()
	a := kmsg.NewConsumerMemberAssignment()
	r := kbin.Reader{Src: m.classic.protocols[0].metadata}
	a.Version = r.Int16()
	m.assigned.byTopic(func(id [16]byte, part partitions) {
		if name, ok := topics.TopicName(id); ok {
			x := kmsg.NewConsumerMemberAssignmentTopic()
			x.Topic, x.Partitions = name, part.numbers()
			a.Topics = append(a.Topics, x)
		}
	})
	return a.AppendTo(nil)
}

// downgraded is the group as one of the classic protocol, if all members that are
// left speak that and the policy lets it: nil if not. A rebalance follows, for the
// members have no leader yet.
func (c *Coordinator) downgraded(g *group) *group {
	k := g.consumer
	if len(k.members) == 0 || len(k.members) > c.cfg.MaxSize || !c.cfg.MigrationPolicy.down() {
		return nil
	}
	for _, m := range k.members {
		if m.classic == nil {
			return nil
		}
	}
	next := newGroup(g.id, c.now)
	// Members who knew the epoch before the last leave know this generation, and so
	// are asked to join again instead of being fenced.
	next.protocolType, next.generation = consumerType, k.group-1
	for _, m := range k.sorted() {
		next.generation = max(next.generation, m.epoch)
		x := &member{
			id: m.id, instance: m.instance, client: m.client,
			rebalance: int64(m.rebalance), session: int64(m.classic.session), protocols: m.classic.protocols,
			assignment: c.classicAssignment(m), deadline: c.now + int64(m.classic.session), knowsID: true,
		}
		next.add(x)
	}
	protocol := next.elect()
	next.protocol = &protocol
	next.enter(stable, c.now)
	next.readTopics()
	return next
}
