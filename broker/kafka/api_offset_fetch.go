package kafka

import (
	"context"
	"slices"

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

// offsetFetch has the Backend deal in names, and in what the client may know; ids, and
// what it may not, are put in front of it and behind. A topic that is gone has no id,
// and is left out where all are asked for.
func (c *call) offsetFetch(ctx context.Context, req *kmsg.OffsetFetchRequest) kmsg.Response {
	if req.Version < 8 {
		return c.offsetFetchOne(ctx, req)
	}
	byID := req.Version >= 10
	var groups []kmsg.OffsetFetchRequestGroup
	var behind [][]kmsg.OffsetFetchResponseGroupTopic
	var refused []kmsg.OffsetFetchResponseGroup
	asked := make(map[groupPartition]bool)
	for _, g := range req.Groups {
		if g.Topics == nil && !first(asked, groupPartition{group: g.Group}) {
			continue
		}
		if err := c.may(kmsg.ACLOperationDescribe, onGroup, g.Group); err != nil {
			r := kmsg.NewOffsetFetchResponseGroup()
			r.Group, r.ErrorCode = g.Group, c.code(err)
			refused = append(refused, r)
			continue
		}
		var unknown []kmsg.OffsetFetchResponseGroupTopic
		if g.Topics != nil {
			known := make([]kmsg.OffsetFetchRequestGroupTopic, 0, len(g.Topics))
			for _, t := range g.Topics {
				name, err := c.fetchable(t.Topic, t.TopicID, byID)
				if err != nil {
					unknown = append(unknown, unfetched(&t, c.code(err)))
					continue
				}
				t.Topic = name
				t.Partitions = once(asked, g.Group, name, t.Partitions)
				known = append(known, t)
			}
			g.Topics = known
		}
		groups, behind = append(groups, g), append(behind, unknown)
	}
	resp := kmsg.NewPtrOffsetFetchResponse()
	if len(groups) > 0 || len(refused) == 0 {
		req.Groups = groups
		resp = c.backend.OffsetFetch(ctx, c.client, req)
	}
	for i := range resp.Groups {
		c.tell(&resp.Groups[i], byID)
		if i < len(behind) && resp.Groups[i].ErrorCode == 0 {
			resp.Groups[i].Topics = append(resp.Groups[i].Topics, behind[i]...)
		}
	}
	resp.Groups = append(resp.Groups, refused...)
	return resp
}

// groupPartition is what is asked for of a group: all, if it names no topic.
type groupPartition struct {
	group string
	TopicPartition
}

// once drops partitions that were asked for before.
func once(asked map[groupPartition]bool, group, topic string, partitions []int32) []int32 {
	return slices.DeleteFunc(partitions, func(n int32) bool { return !first(asked, groupPartition{group, TopicPartition{topic, n}}) })
}

// fetchable is the name of a topic whose offsets the client may know. Without ids it
// need not be there.
func (c *call) fetchable(name string, id [16]byte, byID bool) (string, error) {
	if !byID {
		return name, c.may(kmsg.ACLOperationDescribe, onTopic, name)
	}
	t, err := c.topicFor(kmsg.ACLOperationDescribe, "", id, true)
	return t.Name, err
}

// tell takes out of an answer what the client may not know, and gives topics their ids.
func (c *call) tell(g *kmsg.OffsetFetchResponseGroup, byID bool) {
	told := g.Topics[:0]
	for _, t := range g.Topics {
		if !c.allows(kmsg.ACLOperationDescribe, onTopic, t.Topic) {
			continue
		}
		if byID {
			topic, err := c.topicFor(kmsg.ACLOperationDescribe, t.Topic, [16]byte{}, false)
			if err != nil {
				continue
			}
			t.TopicID = topic.ID
		}
		told = append(told, t)
	}
	g.Topics = told
}

// offsetFetchOne is offsetFetch before version 8, for one group. Who may not know of
// the group is told so by the answer and, before version 2, by each partition.
func (c *call) offsetFetchOne(ctx context.Context, req *kmsg.OffsetFetchRequest) kmsg.Response {
	mayNot := c.may(kmsg.ACLOperationDescribe, onGroup, req.Group)
	var refused []kmsg.OffsetFetchResponseTopic
	all := req.Topics == nil
	known := make([]kmsg.OffsetFetchRequestTopic, 0, len(req.Topics))
	asked := make(map[groupPartition]bool)
	for _, t := range req.Topics {
		t.Partitions = once(asked, req.Group, t.Topic, t.Partitions)
		err := mayNot
		if err == nil {
			err = c.may(kmsg.ACLOperationDescribe, onTopic, t.Topic)
		}
		if err == nil {
			known = append(known, t)
			continue
		}
		r := kmsg.NewOffsetFetchResponseTopic()
		r.Topic = t.Topic
		for _, n := range t.Partitions {
			p := kmsg.NewOffsetFetchResponseTopicPartition()
			p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode = n, -1, -1, new(string), c.code(err)
			r.Partitions = append(r.Partitions, p)
		}
		refused = append(refused, r)
	}
	if mayNot != nil {
		resp := kmsg.NewPtrOffsetFetchResponse()
		resp.ErrorCode = c.code(mayNot)
		if req.Version < 2 {
			resp.Topics = refused
		}
		return resp
	}
	if !all {
		req.Topics = known
	}
	resp := c.backend.OffsetFetch(ctx, c.client, req)
	resp.Topics = slices.DeleteFunc(resp.Topics, func(t kmsg.OffsetFetchResponseTopic) bool {
		return !c.allows(kmsg.ACLOperationDescribe, onTopic, t.Topic)
	})
	resp.Topics = append(resp.Topics, refused...)
	return resp
}

func unfetched(t *kmsg.OffsetFetchRequestGroupTopic, code int16) kmsg.OffsetFetchResponseGroupTopic {
	r := kmsg.NewOffsetFetchResponseGroupTopic()
	r.Topic, r.TopicID = t.Topic, t.TopicID
	for _, n := range t.Partitions {
		p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
		p.Partition, p.Offset, p.LeaderEpoch, p.ErrorCode = n, -1, -1, code
		p.Metadata = new(string)
		r.Partitions = append(r.Partitions, p)
	}
	return r
}
