package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ConsumerDescribe tells what is known of a consumer group, as it is persisted.
// One that does not exist, or is a classic group, is GROUP_ID_NOT_FOUND.
func (c *Coordinator) ConsumerDescribe(group string) kmsg.ConsumerGroupDescribeResponseGroup {
	r := kmsg.NewConsumerGroupDescribeResponseGroup()
	r.Group = group
	if group == "" {
		r.ErrorCode = kerr.InvalidGroupID.Code
		return r
	}
	g, s := c.groups[group], c.state.groups[group]
	if g == nil || g.phase == dead || s == nil || s.consumer == nil {
		r.ErrorCode = kerr.GroupIDNotFound.Code
		message := "Group " + group + " not found."
		if g != nil && g.phase != dead {
			message = "Group " + group + " is not a consumer group."
		}
		r.ErrorMessage = &message
		return r
	}
	k := &consumerGroup{consumerEpochs: s.consumer.consumerEpochs, members: s.consumer.members}
	r.State, r.Epoch, r.AssignmentEpoch, r.AssignorName = k.phase().String(), k.group, k.assignment, k.assignor
	topics := c.cfg.Topics()
	for _, m := range k.sorted() {
		x := kmsg.NewConsumerGroupDescribeResponseGroupMember()
		x.MemberID, x.InstanceID, x.RackID, x.MemberEpoch = m.id, m.instance, m.rack, m.epoch
		x.ClientID, x.ClientHost, x.SubscribedTopics = m.client.ID, m.client.Host, m.topics
		x.SubscribedTopicRegex = kmsg.StringPtr(m.regex)                     // as in Kafka not null where there is none
		x.Assignment = describeAssignment(topics, m.assigned.or(m.revoking)) // what it has until it says otherwise
		x.TargetAssignment = describeAssignment(topics, m.target)
		x.MemberType = 1
		if m.classic != nil {
			x.MemberType = 0
		}
		r.Members = append(r.Members, x)
	}
	return r
}

// describeAssignment leaves out topics that are gone: they have no name.
func describeAssignment(topics Topics, ps partitions) kmsg.Assignment {
	a := kmsg.NewAssignment()
	ps.byTopic(func(id [16]byte, part partitions) {
		if name, ok := topics.TopicName(id); ok {
			x := kmsg.NewAssignmentTopicPartition()
			x.TopicID, x.Topic, x.Partitions = id, name, part.numbers()
			a.TopicPartitions = append(a.TopicPartitions, x)
		}
	})
	return a
}
