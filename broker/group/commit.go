package group

import (
	"unicode/utf16"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Commit stores offsets and answers when they are applied. Topics are taken by
// their name: for version 10 the caller resolves the ids, which come back in the
// answer as they were.
func (c *Coordinator) Commit(now int64, t Token, req *kmsg.OffsetCommitRequest) []Effect {
	c.begin(now)
	r := CommitAnswer(req, 0)
	c.expect(t, func(err *kerr.Error) kmsg.Response {
		for i := range r.Topics {
			for j := range r.Topics[i].Partitions {
				r.Topics[i].Partitions[j].ErrorCode = err.Code
			}
		}
		return r
	})
	g, err := c.mayCommit(req)
	if err != nil {
		c.refuse(t, err)
		return c.end()
	}
	if m := g.members[req.MemberID]; m != nil && (g.phase == stable || g.phase == preparing) {
		c.heard(g, m)
	}
	topics := c.acceptable(req.Group, offsetsOf(req), func(i, j int, err *kerr.Error) { r.Topics[i].Partitions[j].ErrorCode = err.Code })
	if len(topics) == 0 {
		c.answer(t, r)
		return c.end()
	}
	retention := int64(-1)
	if req.Version >= 2 && req.Version <= 4 {
		retention = req.RetentionTimeMillis
	}
	c.persist(g, commitCommand(g.id, retention, topics), func(err *kerr.Error) {
		if err != nil {
			c.refuse(t, err)
			return
		}
		c.answer(t, r)
	})
	return c.end()
}

// CommitAnswer answers every partition of a commit with one error code, 0 for none.
func CommitAnswer(req *kmsg.OffsetCommitRequest, code int16) *kmsg.OffsetCommitResponse {
	r := kmsg.NewPtrOffsetCommitResponse()
	r.Version = req.Version
	for _, t := range req.Topics {
		x := kmsg.NewOffsetCommitResponseTopic()
		x.Topic, x.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			y := kmsg.NewOffsetCommitResponseTopicPartition()
			y.Partition, y.ErrorCode = p.Partition, code
			x.Partitions = append(x.Partitions, y)
		}
		r.Topics = append(r.Topics, x)
	}
	return r
}

// mayCommit says whether the sender may commit for the group. Members need the
// current generation. Anyone without one (a consumer that assigns partitions to
// itself, an administrator) may while there are no members.
func (c *Coordinator) mayCommit(req *kmsg.OffsetCommitRequest) (*group, *kerr.Error) {
	generation := req.Generation
	if req.Version < 1 {
		generation = -1
	}
	g := c.groups[req.Group]
	switch {
	case g == nil && generation < 0:
		return c.create(req.Group)
	case g == nil && req.Version >= 9:
		return nil, kerr.GroupIDNotFound
	case g == nil:
		return nil, kerr.IllegalGeneration
	case g.phase == dead:
		return nil, kerr.CoordinatorNotAvailable
	case g.consumer != nil:
		return g, c.mayCommitConsumed(g.consumer, req, generation)
	case generation < 0 && g.phase == empty:
		return g, nil
	case generation < 0 && req.MemberID == "" && req.InstanceID == nil:
		return nil, kerr.UnknownMemberID
	}
	if err := g.check(req.MemberID, req.InstanceID); err != nil {
		return nil, err
	}
	if generation != g.generation {
		return nil, kerr.IllegalGeneration
	}
	if g.phase == completing {
		// It knows the generation, but no assignment of it yet.
		return nil, kerr.RebalanceInProgress
	}
	return g, nil
}

// offsetsOf is what a request wants to be stored.
func offsetsOf(req *kmsg.OffsetCommitRequest) []topicOffsets {
	topics := make([]topicOffsets, len(req.Topics))
	for i, t := range req.Topics {
		topics[i].topic = t.Topic
		for _, p := range t.Partitions {
			epoch := p.LeaderEpoch
			if req.Version < 6 {
				epoch = -1
			}
			topics[i].partitions = append(topics[i].partitions, partitionOffset{p.Partition, p.Offset, epoch, orEmpty(p.Metadata)})
		}
	}
	return topics
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// acceptable picks what can be stored, and calls refuse for the rest, with the places of
// topic and partition.
func (c *Coordinator) acceptable(group string, asked []topicOffsets, refuse func(i, j int, err *kerr.Error)) []topicOffsets {
	var topics []topicOffsets
	offsets := 0
	if gs := c.state.groups[group]; gs != nil {
		offsets = gs.offsets + gs.pendingPartitions()
	}
	for i, t := range asked {
		x := topicOffsets{topic: t.topic}
		for j, p := range t.partitions {
			_, known := c.state.Offset(group, t.topic, p.partition)
			switch {
			case c.tooMuchMetadata(p):
				refuse(i, j, kerr.OffsetMetadataTooLarge)
				continue
			case !known && offsets >= c.cfg.MaxOffsets:
				refuse(i, j, kerr.PolicyViolation)
				continue
			case !known:
				offsets++
			}
			x.partitions = append(x.partitions, p)
		}
		if len(x.partitions) > 0 {
			topics = append(topics, x)
		}
	}
	return topics
}

func (c *Coordinator) tooMuchMetadata(p partitionOffset) bool {
	return utf16Len(p.metadata) > c.cfg.OffsetMetadataMaxBytes
}

// utf16Len is the length of a string as Java counts it.
func utf16Len(s string) int {
	n := 0
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n
}
