package group

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

// expireBatch bounds how many groups one Tick looks at for expired offsets, and
// so how many commands one Tick asks for.
const expireBatch = 1000

// expireOffsets begins to look for what is past its retention when it is time,
// and goes on where the last Tick stopped.
func (c *Coordinator) expireOffsets() {
	if c.now >= c.expireAt && len(c.toExpire) == 0 {
		c.expireAt = c.now + c.cfg.OffsetsRetentionCheckInterval.Milliseconds()
		c.toExpire = slices.Sorted(maps.Keys(c.groups))
	}
	n := min(len(c.toExpire), expireBatch)
	for _, id := range c.toExpire[:n] {
		if g := c.groups[id]; g != nil {
			c.expireOffsetsOf(g)
		}
	}
	c.toExpire = c.toExpire[n:]
}

// expireOffsetsOf deletes what a group need not keep (KIP-211): of a group
// without members, all offsets once the retention has passed since the last
// member left or the offset was committed; of a simple group, each by its commit;
// of a stable group of consumers, those of topics that none of them subscribes to
// any more, by their commit. Otherwise a group that is used loses nothing. An
// empty group without offsets is deleted.
func (c *Coordinator) expireOffsetsOf(g *group) {
	if g.phase == dead || g.inFlight > 0 {
		return // the next look will do
	}
	since := int64(0)
	switch {
	case g.phase == empty && g.protocolType != "":
		// Kafka counts from here alone, and so drops what an administrator commits
		// to a group that has been empty for long at its next look.
		since = g.since
	case g.phase == empty, g.consumer != nil && g.consumer.subs.known, g.phase == stable && g.topicsKnown:
	default:
		return
	}
	if gs := c.state.groups[g.id]; gs != nil && len(gs.pending) > 0 {
		return // a transaction is about to commit
	}
	var expired []topicPartitions
	kept := false
	if gs := c.state.groups[g.id]; gs != nil {
		for _, topic := range slices.Sorted(maps.Keys(gs.topics)) {
			x := topicPartitions{topic: topic}
			offsets := gs.topics[topic].partitions
			for _, p := range slices.Sorted(maps.Keys(offsets)) {
				if !g.subscribes(topic) && c.expired(offsets[p], since) {
					x.partitions = append(x.partitions, p)
				} else {
					kept = true
				}
			}
			if len(x.partitions) > 0 {
				expired = append(expired, x)
			}
		}
	}
	switch {
	case g.phase == empty && !kept && len(g.pending) == 0:
		c.delete(g, func(*kerr.Error) {})
	case len(expired) > 0:
		c.persist(g, deleteOffsetsCommand(g.id, expired), func(*kerr.Error) {})
	}
}

func (c *Coordinator) expired(o *Offset, since int64) bool {
	if o.Expires >= 0 {
		return c.now >= o.Expires
	}
	return c.now-max(since, o.Committed) >= c.cfg.OffsetsRetention.Milliseconds()
}

// TopicsDeleted deletes all offsets committed for topics that are gone: a new topic
// of the same name must not be read from where the old one was left. It sees what
// is applied; no commit for such a topic may be in flight or come later.
func (c *Coordinator) TopicsDeleted(now int64, gone func(topic string) bool) []Effect {
	c.begin(now)
	for _, id := range slices.Sorted(maps.Keys(c.groups)) {
		gs := c.state.groups[id]
		if gs == nil {
			continue
		}
		partitions := map[string]map[int32]bool{}
		add := func(topic string, p int32) {
			if partitions[topic] == nil {
				partitions[topic] = map[int32]bool{}
			}
			partitions[topic][p] = true
		}
		for topic, t := range gs.topics {
			if gone(topic) {
				for p := range t.partitions {
					add(topic, p)
				}
			}
		}
		for _, pending := range gs.pending {
			for at := range pending.offsets {
				if gone(at.topic) {
					add(at.topic, at.partition)
				}
			}
		}
		var offsets []topicPartitions
		for _, topic := range slices.Sorted(maps.Keys(partitions)) {
			offsets = append(offsets, topicPartitions{topic, slices.Sorted(maps.Keys(partitions[topic]))})
		}
		if len(offsets) > 0 {
			c.persist(c.groups[id], deleteOffsetsCommand(id, offsets), func(*kerr.Error) {})
		}
	}
	return c.end()
}
