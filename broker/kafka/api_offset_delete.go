package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetDelete deletes what a group has committed for partitions of topics that
// none of its members reads (KIP-496).
//
//	0
func offsetDeleteAPI() *api {
	return waiting(kmsg.OffsetDelete, 0, 0, "s [s [4]]", (*call).offsetDelete)
}

// offsetDelete answers by itself for partitions that do not exist, as Kafka does.
func (c *call) offsetDelete(ctx context.Context, req *kmsg.OffsetDeleteRequest) kmsg.Response {
	if err := c.may(kmsg.ACLOperationDelete, onGroup, req.Group); err != nil {
		resp := kmsg.NewPtrOffsetDeleteResponse()
		resp.ErrorCode = c.code(err)
		return resp
	}
	var known []kmsg.OffsetDeleteRequestTopic
	var refused []kmsg.OffsetDeleteResponseTopic
	for _, t := range req.Topics {
		topic, err := c.topicFor(kmsg.ACLOperationRead, t.Topic, [16]byte{}, false)
		code := c.code(err)
		there := kmsg.NewOffsetDeleteRequestTopic()
		there.Topic = t.Topic
		r := kmsg.NewOffsetDeleteResponseTopic()
		r.Topic = t.Topic
		for _, p := range t.Partitions {
			if err == nil && p.Partition >= 0 && int(p.Partition) < len(topic.Partitions) {
				there.Partitions = append(there.Partitions, p)
				continue
			}
			x := kmsg.NewOffsetDeleteResponseTopicPartition()
			x.Partition, x.ErrorCode = p.Partition, code
			if err == nil {
				x.ErrorCode = kerr.UnknownTopicOrPartition.Code
			}
			r.Partitions = append(r.Partitions, x)
		}
		if len(there.Partitions) > 0 {
			known = append(known, there)
		}
		if len(r.Partitions) > 0 {
			refused = append(refused, r)
		}
	}
	req.Topics = known
	resp := c.backend.OffsetDelete(ctx, req)
	if resp.ErrorCode != 0 {
		return resp
	}
	resp.Topics = joined(resp.Topics, refused,
		func(t *kmsg.OffsetDeleteResponseTopic) string { return t.Topic },
		func(to, from *kmsg.OffsetDeleteResponseTopic) {
			to.Partitions = append(to.Partitions, from.Partitions...)
		})
	return resp
}
