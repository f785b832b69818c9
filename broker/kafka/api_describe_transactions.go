package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeTransactions tells how transactional ids stand with their coordinator
// (KIP-664). It has one version.
func describeTransactionsAPI() *api {
	return waiting(kmsg.DescribeTransactions, 0, 0, "(s)", (*call).describeTransactions)
}

func (c *call) describeTransactions(ctx context.Context, req *kmsg.DescribeTransactionsRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeTransactionsResponse()
	answered := make(map[string]bool)
	for _, id := range req.TransactionalIDs {
		if !first(answered, id) {
			continue
		}
		a := kmsg.NewDescribeTransactionsResponseTransactionState()
		a.TransactionalID = id
		t, err := c.transactionState(ctx, id)
		if a.ErrorCode = c.code(err); err == nil {
			a.State, a.TimeoutMillis, a.StartTimestamp = t.State, t.TimeoutMs, t.Started
			a.ProducerID, a.ProducerEpoch = t.Producer, t.Epoch
			at := make(map[string]int)
			for _, p := range t.Partitions {
				if !c.allows(kmsg.ACLOperationDescribe, onTopic, p.Topic) {
					continue
				}
				i, ok := at[p.Topic]
				if !ok {
					i = len(a.Topics)
					at[p.Topic] = i
					x := kmsg.NewDescribeTransactionsResponseTransactionStateTopic()
					x.Topic = p.Topic
					a.Topics = append(a.Topics, x)
				}
				a.Topics[i].Partitions = append(a.Topics[i].Partitions, p.Partition)
			}
		}
		resp.TransactionStates = append(resp.TransactionStates, a)
	}
	return resp
}

func (c *call) transactionState(ctx context.Context, id string) (TransactionState, error) {
	if id == "" {
		return TransactionState{}, fmt.Errorf("an empty transactional id: %w", kerr.InvalidRequest)
	}
	if err := c.may(kmsg.ACLOperationDescribe, onTxnID, id); err != nil {
		return TransactionState{}, err
	}
	return c.backend.Transaction(ctx, id)
}
