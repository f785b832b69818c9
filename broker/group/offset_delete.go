package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteOffsets deletes what a group has committed for partitions, and answers when
// that is applied (KIP-496). Topics that a member may be reading are refused with
// GROUP_SUBSCRIBED_TO_TOPIC, one by one; a group with members that are no consumers
// is refused as a whole, for what they read is unknown. A partition without an
// offset is no error.
func (c *Coordinator) DeleteOffsets(now int64, t Token, req *kmsg.OffsetDeleteRequest) []Effect {
	c.begin(now)
	version := req.Version
	c.expect(t, func(err *kerr.Error) kmsg.Response {
		r := kmsg.NewPtrOffsetDeleteResponse()
		r.Version, r.ErrorCode = version, err.Code
		return r
	})
	g := c.groups[req.Group]
	switch {
	case req.Group == "":
		c.refuse(t, kerr.InvalidGroupID)
		return c.end()
	case g == nil || g.phase == dead:
		c.refuse(t, kerr.GroupIDNotFound)
		return c.end()
	case g.phase != empty && g.protocolType != consumerType:
		c.refuse(t, kerr.NonEmptyGroup)
		return c.end()
	}
	r := kmsg.NewPtrOffsetDeleteResponse()
	r.Version = version
	var topics []topicPartitions
	reading := map[string]bool{} // what subscribes says, once for each topic
	deleted := map[topicPartition]bool{}
	for _, q := range req.Topics {
		x := kmsg.NewOffsetDeleteResponseTopic()
		x.Topic = q.Topic
		subscribed, asked := reading[q.Topic]
		if !asked {
			subscribed = g.phase != empty && g.subscribes(q.Topic)
			reading[q.Topic] = subscribed
		}
		del := topicPartitions{topic: q.Topic}
		for _, p := range q.Partitions {
			y := kmsg.NewOffsetDeleteResponseTopicPartition()
			y.Partition = p.Partition
			if subscribed {
				y.ErrorCode = kerr.GroupSubscribedToTopic.Code
			} else if _, ok := c.state.Offset(g.id, q.Topic, p.Partition); ok && !deleted[topicPartition{q.Topic, p.Partition}] {
				deleted[topicPartition{q.Topic, p.Partition}] = true
				del.partitions = append(del.partitions, p.Partition)
			}
			x.Partitions = append(x.Partitions, y)
		}
		if len(del.partitions) > 0 {
			topics = append(topics, del)
		}
		r.Topics = append(r.Topics, x)
	}
	if len(topics) == 0 {
		c.answer(t, r)
		return c.end()
	}
	c.persist(g, deleteOffsetsCommand(g.id, topics), func(err *kerr.Error) {
		if err != nil {
			c.refuse(t, err)
			return
		}
		c.answer(t, r)
	})
	return c.end()
}
