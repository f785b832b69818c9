package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// mayCommitConsumed says whether the sender may commit offsets for a consumer group: a
// member that knows its epoch, or one of before that is as good, or anyone without one
// while there are no members.
func (c *Coordinator) mayCommitConsumed(k *consumerGroup, req *kmsg.OffsetCommitRequest, epoch int32) *kerr.Error {
	if epoch < 0 && len(k.members) == 0 {
		return nil
	}
	m := k.members[req.MemberID]
	switch {
	case m == nil:
		return kerr.UnknownMemberID
	case m.classic == nil && req.Version < 9:
		// Older versions have no error that tells it to wait for its next heartbeat.
		return kerr.UnsupportedVersion
	case c.hasHad(m, epoch, offsetsOf(req)):
		return nil
	}
	return m.knows(epoch)
}

// hasHad reports whether a member has had all partitions whose offsets it commits since an
// epoch before its newest. The answer with that one may be on its way still, and nobody
// else can have committed for what the member has not given up (KIP-1251). It is all or
// nothing, but for what is refused alone.
func (c *Coordinator) hasHad(m *consumerMember, epoch int32, asked []topicOffsets) bool {
	if epoch >= m.epoch {
		return false
	}
	topics := c.cfg.Topics()
	for _, t := range asked {
		id, _, _ := topics.Topic(t.topic)
		for _, p := range t.partitions {
			since, owns := m.since[partition{id, p.partition}]
			if (!owns || epoch < since) && !c.tooMuchMetadata(p) {
				return false
			}
		}
	}
	return true
}

// mayFetch says whether the sender may read a consumer group's offsets: anyone who
// claims no membership, or a member that knows its epoch.
func (k *consumerGroup) mayFetch(q *kmsg.OffsetFetchRequestGroup) *kerr.Error {
	if q.MemberID == nil && q.MemberEpoch < 0 {
		return nil
	}
	var m *consumerMember
	if q.MemberID != nil {
		m = k.members[*q.MemberID]
	}
	if m == nil {
		return kerr.UnknownMemberID
	}
	return m.knows(q.MemberEpoch)
}

func (m *consumerMember) knows(epoch int32) *kerr.Error {
	switch {
	case epoch == m.epoch:
		return nil
	case m.classic != nil:
		return kerr.IllegalGeneration
	}
	return kerr.StaleMemberEpoch
}

// mayTxnCommitConsumed is mayCommitConsumed for a member that commits in a transaction, whose API has no
// error of its own for an epoch that has passed.
func (c *Coordinator) mayTxnCommitConsumed(k *consumerGroup, req *kmsg.TxnOffsetCommitRequest) *kerr.Error {
	m := k.members[req.MemberID]
	if m == nil {
		return kerr.UnknownMemberID
	}
	if m.knows(req.Generation) != nil && !c.hasHad(m, req.Generation, txnOffsetsOf(req)) {
		return kerr.IllegalGeneration
	}
	return nil
}
