package group

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kbin"

	"github.com/splashdam/splashdam/broker/record"
)

// consumerState is the applied half of a group of the consumer protocol. Between
// two views it is changed in place; its members are immutable.
type consumerState struct {
	view uint64 // as groupState.epoch
	consumerEpochs
	since   int64 // when the group became, or ceased to be, empty, by the log's time, ms
	members map[string]*consumerMember
}

// consumerEpochs is what a consumer group has beside its members.
type consumerEpochs struct {
	group      int32 // rises with every change that may need another assignment
	assignment int32 // of the last target assignment
	// topics is a hash of all that the group subscribes to (KIP-1101): where it
	// differs from what the cluster has, the group has missed a change.
	topics   uint64
	assignor string // that made the last target assignment
}

// consumerChange is a change of a consumer group: the members that are new or
// other, and the ids of those that are gone. A group of the classic protocol, or
// none, becomes one of the consumer protocol by it.
type consumerChange struct {
	consumerEpochs
	members []*consumerMember
	gone    []string
}

func consumerCommand(group string, c *consumerChange) record.Command {
	b := appendEpochs(begin(consumerChanged, group), c.consumerEpochs)
	b = kbin.AppendCompactArrayLen(b, len(c.members))
	for _, m := range c.members {
		b = appendMember(b, m)
	}
	b = kbin.AppendCompactArrayLen(b, len(c.gone))
	for _, id := range c.gone {
		b = kbin.AppendCompactString(b, id)
	}
	return b
}

func appendEpochs(b []byte, e consumerEpochs) []byte {
	b = kbin.AppendInt32(b, e.group)
	b = kbin.AppendInt32(b, e.assignment)
	b = kbin.AppendInt64(b, int64(e.topics))
	return kbin.AppendCompactString(b, e.assignor)
}

func readEpochs(r *kbin.Reader) consumerEpochs {
	return consumerEpochs{r.Int32(), r.Int32(), uint64(r.Int64()), r.CompactString()}
}

func (s *State) readConsumerChange(r *kbin.Reader, group string, now int64) (change func()) {
	c := consumerChange{consumerEpochs: readEpochs(r)}
	for range count(r) {
		m := readMember(r)
		if !r.Ok() {
			return nil
		}
		c.members = append(c.members, m)
	}
	for range count(r) {
		c.gone = append(c.gone, r.CompactString())
		if !r.Ok() {
			return nil
		}
	}
	return func() {
		k := s.consumers(s.group(group), now)
		before := len(k.members)
		k.consumerEpochs = c.consumerEpochs
		for _, id := range c.gone {
			delete(k.members, id)
		}
		for _, m := range c.members {
			k.members[m.id] = m
		}
		if (before == 0) != (len(k.members) == 0) {
			k.since = now
		}
	}
}

// consumers returns the consumer half of a group that is being changed, for
// changing too.
func (s *State) consumers(g *groupState, now int64) *consumerState {
	k := g.consumer
	switch {
	case k == nil:
		k = &consumerState{view: s.epoch, since: now, members: map[string]*consumerMember{}}
	case k.view != s.epoch:
		k = &consumerState{s.epoch, k.consumerEpochs, k.since, maps.Clone(k.members)}
	default:
		return k
	}
	g.meta, g.consumer = nil, k
	return k
}

// appendConsumers encodes a consumer group for a snapshot: since i64, group epoch
// i32, assignment epoch i32, hash of topics i64, assignor, members by rising id.
func appendConsumers(b []byte, k *consumerState) []byte {
	b = appendEpochs(kbin.AppendInt64(b, k.since), k.consumerEpochs)
	b = kbin.AppendCompactArrayLen(b, len(k.members))
	for _, id := range slices.Sorted(maps.Keys(k.members)) {
		b = appendMember(b, k.members[id])
	}
	return b
}

func readConsumers(r *kbin.Reader) *consumerState {
	k := &consumerState{since: r.Int64(), consumerEpochs: readEpochs(r), members: map[string]*consumerMember{}}
	for range count(r) {
		m := readMember(r)
		if !r.Ok() {
			return nil
		}
		if k.members[m.id] != nil {
			r.Span(-1)
			return nil
		}
		k.members[m.id] = m
	}
	return k
}
