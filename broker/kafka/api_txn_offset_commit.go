package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TxnOffsetCommit stores how far a group has read, as part of a transaction.
//
//	0
//	1    throttling happens after the answer (KIP-219)
//	2    the leader epoch of what was read (KIP-320)
//	3    flexible; which member of the group commits (KIP-447)
//	4    TRANSACTION_ABORTABLE may be answered (KIP-890)
//	5    the group becomes part of the transaction by this (KIP-890)
func txnOffsetCommitAPI() *api {
	return waiting(kmsg.TxnOffsetCommit, 0, 5, "s s 8 2 4:3 s:3 S:3 [s [4 8 4:2 S]]", (*call).txnOffsetCommit)
}

// txnOffsetCommit passes on what belongs to topics that exist.
func (c *call) txnOffsetCommit(ctx context.Context, req *kmsg.TxnOffsetCommitRequest) kmsg.Response {
	var known []kmsg.TxnOffsetCommitRequestTopic
	var refused []kmsg.TxnOffsetCommitResponseTopic
	mayNot := c.may(kmsg.ACLOperationWrite, onTxnID, req.TransactionalID)
	if mayNot == nil {
		mayNot = c.may(kmsg.ACLOperationRead, onGroup, req.Group)
	}
	if mayNot == nil && req.Group == "" {
		mayNot = fmt.Errorf("an empty group id: %w", kerr.InvalidGroupID)
	}
	for i := range req.Topics {
		t := &req.Topics[i]
		topic, err := Topic{}, mayNot
		if err == nil {
			topic, err = c.topicFor(kmsg.ACLOperationRead, t.Topic, [16]byte{}, false)
		}
		code := kerr.UnknownTopicOrPartition.Code
		if mayNot != nil || isRefusal(err) {
			code = c.code(err)
		}
		r, k := kmsg.NewTxnOffsetCommitResponseTopic(), *t
		r.Topic, k.Partitions = t.Topic, nil
		for _, p := range t.Partitions {
			if err == nil && p.Partition >= 0 && int(p.Partition) < len(topic.Partitions) {
				k.Partitions = append(k.Partitions, p)
				continue
			}
			x := kmsg.NewTxnOffsetCommitResponseTopicPartition()
			x.Partition, x.ErrorCode = p.Partition, code
			r.Partitions = append(r.Partitions, x)
		}
		if len(k.Partitions) > 0 {
			known = append(known, k)
		}
		if len(r.Partitions) > 0 {
			refused = append(refused, r)
		}
	}
	resp := kmsg.NewPtrTxnOffsetCommitResponse()
	if req.Topics = known; mayNot == nil && (len(known) > 0 || len(refused) == 0) {
		resp = c.backend.TxnOffsetCommit(ctx, c.client, req)
	}
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			p := &resp.Topics[i].Partitions[j]
			p.ErrorCode = txnCommitCode(p.ErrorCode, req.Version)
		}
	}
	resp.Topics = joined(resp.Topics, refused,
		func(t *kmsg.TxnOffsetCommitResponseTopic) string { return t.Topic },
		func(to, from *kmsg.TxnOffsetCommitResponseTopic) {
			to.Partitions = append(to.Partitions, from.Partitions...)
		})
	return resp
}

// txnCommitCode is an error as a version of the API knows it.
func txnCommitCode(code, version int16) int16 {
	switch {
	case code == kerr.ProducerFenced.Code:
		return kerr.InvalidProducerEpoch.Code
	case code == kerr.ConcurrentTransactions.Code && version < 5:
		return kerr.CoordinatorLoadInProgress.Code // the one that makes them try again
	case code == kerr.InvalidTxnState.Code && version >= 4:
		return kerr.TransactionAbortable.Code
	case version < 3 && (code == kerr.UnknownMemberID.Code || code == kerr.IllegalGeneration.Code || code == kerr.FencedInstanceID.Code):
		return kerr.UnknownServerError.Code // they have named no member
	}
	return code
}
