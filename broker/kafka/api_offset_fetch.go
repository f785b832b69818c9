package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetFetch tells how far groups have read.
//
//	 1    offsets come from the log, not from ZooKeeper
//	 2    null for all topics; an error code for the whole answer
//	 3    throttle time
//	 4    throttling happens after the answer (KIP-219)
//	 5    the leader epoch of what was read (KIP-320)
//	 6    flexible
//	 7    only offsets that no open transaction may change (KIP-447)
//	 8    several groups (KIP-709)
//	 9    member id and epoch of the new protocol (KIP-848)
//	10    topic ids (KIP-516)
func offsetFetchAPI() *api {
	return waiting(kmsg.OffsetFetch, 1, 10,
		"s:0-7 [s (4)]:0-7 [s S:9 4:9 [s:8-9 16:10 (4)]]:8 1:7", (*call).offsetFetch)
}

// offsetFetch has the Backend deal in names; ids are put in front of it and
// behind. A topic that is gone has no id, and is left out where all are asked for.
func (c *call) offsetFetch(ctx context.Context, req *kmsg.OffsetFetchRequest) kmsg.Response {
	if req.Version < 10 {
		return c.backend.OffsetFetch(ctx, c.client, req)
	}
	unknown := make([][]kmsg.OffsetFetchResponseGroupTopic, len(req.Groups))
	ids := make(map[string][16]byte)
	for i := range req.Groups {
		g := &req.Groups[i]
		if g.Topics == nil {
			continue
		}
		known := make([]kmsg.OffsetFetchRequestGroupTopic, 0, len(g.Topics))
		for _, t := range g.Topics {
			topic, err := c.backend.TopicByID(t.TopicID)
			if err != nil {
				unknown[i] = append(unknown[i], unfetched(&t, c.code(err)))
				continue
			}
			t.Topic, ids[topic.Name] = topic.Name, topic.ID
			known = append(known, t)
		}
		g.Topics = known
	}
	resp := c.backend.OffsetFetch(ctx, c.client, req)
	for i := range resp.Groups {
		g := &resp.Groups[i]
		named := g.Topics[:0]
		for _, t := range g.Topics {
			id, ok := ids[t.Topic]
			if !ok {
				topic, err := c.backend.Topic(t.Topic)
				if err != nil {
					continue
				}
				id = topic.ID
			}
			t.TopicID = id
			named = append(named, t)
		}
		g.Topics = named
		if i < len(unknown) && g.ErrorCode == 0 {
			g.Topics = append(g.Topics, unknown[i]...)
		}
	}
	return resp
}

func unfetched(t *kmsg.OffsetFetchRequestGroupTopic, code int16) kmsg.OffsetFetchResponseGroupTopic {
	r := kmsg.NewOffsetFetchResponseGroupTopic()
	r.TopicID = t.TopicID
	for _, n := range t.Partitions {
		p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch, p.ErrorCode = n, -1, -1, code
		p.Metadata = new(string)
		r.Partitions = append(r.Partitions, p)
	}
	return r
}
