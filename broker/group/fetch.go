package group

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Fetch answers an OffsetFetch from what is applied. It changes nothing. For
// version 8 on, where a request names groups that may live in several shards, the
// caller may use FetchGroup for each instead.
func (c *Coordinator) Fetch(req *kmsg.OffsetFetchRequest) *kmsg.OffsetFetchResponse {
	r := kmsg.NewPtrOffsetFetchResponse()
	r.Version = req.Version
	if req.Version >= 8 {
		for i := range req.Groups {
			r.Groups = append(r.Groups, c.FetchGroup(&req.Groups[i], req.RequireStable))
		}
		return r
	}
	q := kmsg.NewOffsetFetchRequestGroup()
	q.Group = req.Group
	for _, t := range req.Topics {
		x := kmsg.NewOffsetFetchRequestGroupTopic()
		x.Topic, x.Partitions = t.Topic, t.Partitions
		q.Topics = append(q.Topics, x)
	}
	if req.Topics != nil && q.Topics == nil {
		q.Topics = []kmsg.OffsetFetchRequestGroupTopic{}
	}
	a := c.FetchGroup(&q, req.RequireStable)
	r.ErrorCode = a.ErrorCode
	for _, t := range a.Topics {
		x := kmsg.NewOffsetFetchResponseTopic()
		x.Topic = t.Topic
		for _, p := range t.Partitions {
			y := kmsg.NewOffsetFetchResponseTopicPartition()
			y.Partition, y.Offset, y.LeaderEpoch, y.Metadata, y.ErrorCode = p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode
			x.Partitions = append(x.Partitions, y)
		}
		r.Topics = append(r.Topics, x)
	}
	return r
}

// FetchGroup answers for one group: the partitions asked for, or, with nil topics,
// all that the group has committed. A partition without an offset has -1, and so
// have all partitions of a group that does not exist: that is no error, not even where
// the caller claims to be a member of it. Topics go by their name; an id
// comes back as it was. With stable, a partition that an open transaction commits an
// offset for is UNSTABLE_OFFSET_COMMIT: ask again (KIP-447).
func (c *Coordinator) FetchGroup(q *kmsg.OffsetFetchRequestGroup, stable bool) kmsg.OffsetFetchResponseGroup {
	r := kmsg.NewOffsetFetchResponseGroup()
	r.Group = q.Group
	if g := c.groups[q.Group]; g != nil && g.consumer != nil {
		if err := g.consumer.mayFetch(q); err != nil {
			r.ErrorCode = err.Code
			return r
		}
	}
	if q.Topics == nil {
		r.Topics = c.fetchAll(q.Group, stable)
		return r
	}
	for _, t := range q.Topics {
		x := kmsg.NewOffsetFetchResponseGroupTopic()
		x.Topic, x.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			o, ok := c.state.Offset(q.Group, t.Topic, p)
			if !ok {
				o = Offset{Offset: -1, LeaderEpoch: -1}
			}
			x.Partitions = append(x.Partitions, c.fetched(q.Group, t.Topic, p, &o, stable))
		}
		r.Topics = append(r.Topics, x)
	}
	return r
}

func (c *Coordinator) fetchAll(id string, stable bool) []kmsg.OffsetFetchResponseGroupTopic {
	gs := c.state.groups[id]
	if gs == nil {
		return nil
	}
	var topics []kmsg.OffsetFetchResponseGroupTopic
	for _, topic := range slices.Sorted(maps.Keys(gs.topics)) {
		x := kmsg.NewOffsetFetchResponseGroupTopic()
		x.Topic = topic
		offsets := gs.topics[topic].partitions
		for _, p := range slices.Sorted(maps.Keys(offsets)) {
			x.Partitions = append(x.Partitions, c.fetched(id, topic, p, offsets[p], stable))
		}
		topics = append(topics, x)
	}
	return topics
}

func (c *Coordinator) fetched(group, topic string, partition int32, o *Offset, stable bool) kmsg.OffsetFetchResponseGroupTopicPartition {
	r := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	if stable && c.state.Pending(group, topic, partition) {
		r.Partition, r.Offset, r.LeaderEpoch, r.Metadata = partition, -1, -1, new(string)
		r.ErrorCode = kerr.UnstableOffsetCommit.Code
		return r
	}
	r.Partition, r.Offset, r.LeaderEpoch, r.Metadata = partition, o.Offset, o.LeaderEpoch, kmsg.StringPtr(o.Metadata)
	return r
}
