package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// mayCommit says whether the sender may commit for a consumer group: a member that
// knows its epoch, or anyone without one while there are no members.
func (k *consumerGroup) mayCommit(req *kmsg.OffsetCommitRequest, epoch int32) *kerr.Error {
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
	}
	return m.knows(epoch)
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

// mayTxnCommit is mayCommit for a member that commits in a transaction, whose API has no
// error of its own for an epoch that has passed.
func (k *consumerGroup) mayTxnCommit(req *kmsg.TxnOffsetCommitRequest) *kerr.Error {
	m := k.members[req.MemberID]
	if m == nil {
		return kerr.UnknownMemberID
	}
	if m.knows(req.Generation) != nil {
		return kerr.IllegalGeneration
	}
	return nil
}
