package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetCommit stores how far a group has read.
//
//	 2    retention by request, which is ignored as in Kafka since KIP-211
//	 3    throttle time
//	 4    throttling happens after the answer (KIP-219)
//	 5    no retention any more (KIP-211)
//	 6    the leader epoch of what was read (KIP-320)
//	 7    static members (KIP-345)
//	 8    flexible
//	 9    members of the new protocol; GROUP_ID_NOT_FOUND, STALE_MEMBER_EPOCH (KIP-848)
//	10    topic ids (KIP-516)
func offsetCommitAPI() *api {
	return waiting(kmsg.OffsetCommit, 2, 10,
		"s 4:1 s:1 S:7 8:2-4 [s:0-9 16:10 [4 8 8:1-1 4:6 S]]", (*call).offsetCommit)
}

// offsetCommit passes on what belongs to partitions that exist, under the topics' names;
// the Backend does not see the rest, nor ids it does not know.
func (c *call) offsetCommit(ctx context.Context, req *kmsg.OffsetCommitRequest) kmsg.Response {
	var known []kmsg.OffsetCommitRequestTopic
	var refused []kmsg.OffsetCommitResponseTopic
	ids := make(map[string][16]byte)
	mayNot := c.may(kmsg.ACLOperationRead, onGroup, req.Group)
	for i := range req.Topics {
		t := &req.Topics[i]
		topic, err := Topic{}, mayNot
		if err == nil {
			topic, err = c.topicFor(kmsg.ACLOperationRead, t.Topic, t.TopicID, req.Version >= 10)
		}
		r := kmsg.NewOffsetCommitResponseTopic()
		r.Topic, r.TopicID = t.Topic, t.TopicID
		if err == nil {
			r.Topic, r.TopicID = topic.Name, topic.ID
		}
		code := c.code(err)
		there := t.Partitions[:0]
		for _, asked := range t.Partitions {
			if err == nil && asked.Partition >= 0 && int(asked.Partition) < len(topic.Partitions) {
				there = append(there, asked)
				continue
			}
			p := kmsg.NewOffsetCommitResponseTopicPartition()
			p.Partition, p.ErrorCode = asked.Partition, code
			if err == nil {
				p.ErrorCode = kerr.UnknownTopicOrPartition.Code
			}
			r.Partitions = append(r.Partitions, p)
		}
		if len(there) > 0 {
			t.Topic, t.Partitions, ids[topic.Name] = topic.Name, there, topic.ID
			known = append(known, *t)
		}
		if len(r.Partitions) > 0 {
			refused = append(refused, r)
		}
	}
	if mayNot != nil || len(known) == 0 && len(refused) > 0 {
		resp := kmsg.NewPtrOffsetCommitResponse()
		resp.Topics = refused
		return resp
	}
	req.Topics = known
	resp := c.backend.OffsetCommit(ctx, c.client, req)
	for i := range resp.Topics {
		resp.Topics[i].TopicID = ids[resp.Topics[i].Topic]
	}
	resp.Topics = joined(resp.Topics, refused,
		func(t *kmsg.OffsetCommitResponseTopic) topicKey { return topicKey{t.Topic, t.TopicID} },
		func(to, from *kmsg.OffsetCommitResponseTopic) {
			to.Partitions = append(to.Partitions, from.Partitions...)
		})
	return resp
}
