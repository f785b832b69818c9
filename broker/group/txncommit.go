package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TxnCommit stores offsets that become the group's when a transaction is committed, and
// answers when they are applied. Topics are taken by their name.
func (c *Coordinator) TxnCommit(now int64, t Token, req *kmsg.TxnOffsetCommitRequest, in Transaction) []Effect {
	c.begin(now)
	r := TxnCommitAnswer(req, 0)
	c.expect(t, func(err *kerr.Error) kmsg.Response {
		for i := range r.Topics {
			for j := range r.Topics[i].Partitions {
				r.Topics[i].Partitions[j].ErrorCode = err.Code
			}
		}
		return r
	})
	g, err := c.mayTxnCommit(req)
	if err != nil {
		c.refuse(t, err)
		return c.end()
	}
	if m := g.members[req.MemberID]; m != nil && (g.phase == stable || g.phase == preparing) {
		c.heard(g, m)
	}
	topics := c.acceptable(req.Group, txnOffsetsOf(req), func(i, j int, err *kerr.Error) { r.Topics[i].Partitions[j].ErrorCode = err.Code })
	if len(topics) == 0 {
		c.answer(t, r)
		return c.end()
	}
	c.persistIn(&in, g, pendingCommand(g.id, in.Producer, in.Epoch, topics), func(err *kerr.Error) {
		if err != nil {
			c.refuse(t, err)
			return
		}
		c.answer(t, r)
	})
	return c.end()
}

// txnOffsetsOf is what a request wants to be stored.
func txnOffsetsOf(req *kmsg.TxnOffsetCommitRequest) []topicOffsets {
	asked := make([]topicOffsets, len(req.Topics))
	for i, x := range req.Topics {
		asked[i].topic = x.Topic
		for _, p := range x.Partitions {
			epoch := p.LeaderEpoch
			if req.Version < 2 {
				epoch = -1
			}
			asked[i].partitions = append(asked[i].partitions, partitionOffset{p.Partition, p.Offset, epoch, orEmpty(p.Metadata)})
		}
	}
	return asked
}

// TxnCommitAnswer is CommitAnswer for offsets that are committed in a transaction.
func TxnCommitAnswer(req *kmsg.TxnOffsetCommitRequest, code int16) *kmsg.TxnOffsetCommitResponse {
	r := kmsg.NewPtrTxnOffsetCommitResponse()
	r.Version = req.Version
	for _, t := range req.Topics {
		x := kmsg.NewTxnOffsetCommitResponseTopic()
		x.Topic, x.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			y := kmsg.NewTxnOffsetCommitResponseTopicPartition()
			y.Partition, y.ErrorCode = p.Partition, code
			x.Partitions = append(x.Partitions, y)
		}
		r.Topics = append(r.Topics, x)
	}
	return r
}

// mayTxnCommit says whether a producer may commit for the group. One that names no
// member may, as its transactional id has fenced the one before it; one that does must
// be a member of the current generation, which need not have its assignment yet
// (KIP-447).
func (c *Coordinator) mayTxnCommit(req *kmsg.TxnOffsetCommitRequest) (*group, *kerr.Error) {
	g := c.groups[req.Group]
	member := req.Generation >= 0 || req.MemberID != "" || req.InstanceID != nil
	switch {
	case g == nil && req.Generation < 0:
		return c.create(req.Group)
	case g == nil:
		return nil, kerr.IllegalGeneration
	case g.phase == dead:
		return nil, kerr.CoordinatorNotAvailable
	case !member, req.Generation < 0 && g.phase == empty:
		return g, nil
	case g.consumer != nil:
		return g, c.mayTxnCommitConsumed(g.consumer, req)
	}
	if err := g.check(req.MemberID, req.InstanceID); err != nil {
		return nil, err
	}
	if req.Generation != g.generation {
		return nil, kerr.IllegalGeneration
	}
	return g, nil
}
