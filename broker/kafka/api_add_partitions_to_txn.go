package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AddPartitionsToTxn makes partitions part of a transaction, all that a request names
// or none. Clients that rely on KIP-890 leave it to Produce.
//
//	0
//	1    throttling happens after the answer (KIP-219)
//	2    PRODUCER_FENCED may be answered (KIP-588)
//	3    flexible
//	4    several transactions at once, and only asking (KIP-890), for brokers
//	5    TRANSACTION_ABORTABLE may be answered (KIP-890)
func addPartitionsToTxnAPI() *api {
	return waiting(kmsg.AddPartitionsToTxn, 0, 5,
		"[s 8 2 1 [s (4)]]:4 s:0-3 8:0-3 2:0-3 [s (4)]:0-3", (*call).addPartitionsToTxn)
}

func (c *call) addPartitionsToTxn(ctx context.Context, req *kmsg.AddPartitionsToTxnRequest) kmsg.Response {
	resp := kmsg.NewPtrAddPartitionsToTxnResponse()
	if req.Version < 4 {
		t := kmsg.NewAddPartitionsToTxnRequestTransaction()
		t.TransactionalID, t.ProducerID, t.ProducerEpoch = req.TransactionalID, req.ProducerID, req.ProducerEpoch
		for _, x := range req.Topics {
			topic := kmsg.NewAddPartitionsToTxnRequestTransactionTopic()
			topic.Topic, topic.Partitions = x.Topic, x.Partitions
			t.Topics = append(t.Topics, topic)
		}
		for _, x := range c.addPartitions(ctx, &t, req.Version) {
			topic := kmsg.NewAddPartitionsToTxnResponseTopic()
			topic.Topic = x.Topic
			for _, p := range x.Partitions {
				a := kmsg.NewAddPartitionsToTxnResponseTopicPartition()
				a.Partition, a.ErrorCode = p.Partition, p.ErrorCode
				topic.Partitions = append(topic.Partitions, a)
			}
			resp.Topics = append(resp.Topics, topic)
		}
		return resp
	}
	for i := range req.Transactions {
		t := kmsg.NewAddPartitionsToTxnResponseTransaction()
		t.TransactionalID = req.Transactions[i].TransactionalID
		t.Topics = c.addPartitions(ctx, &req.Transactions[i], req.Version)
		resp.Transactions = append(resp.Transactions, t)
	}
	return resp
}

// addPartitions answers for every partition of one transaction. Where one does not
// exist the others are not tried, as in Kafka.
func (c *call) addPartitions(ctx context.Context, t *kmsg.AddPartitionsToTxnRequestTransaction, version int16) []kmsg.AddPartitionsToTxnResponseTransactionTopic {
	// Versions from 4 on are for servers, which speak for clients that they have checked.
	mayNot := c.mayAddPartitions(t.TransactionalID, version)
	var ps []TopicPartition
	unknown := make(map[TopicPartition]int16)
	for _, x := range t.Topics {
		topic, err := Topic{}, mayNot
		switch {
		case err != nil:
		case version < 4:
			if topic, err = c.topicFor(kmsg.ACLOperationWrite, x.Topic, [16]byte{}, false); topic.Internal {
				err = fmt.Errorf("topic %q is internal, only the broker makes it part of a transaction: %w", x.Topic, kerr.TopicAuthorizationFailed)
			}
		default:
			topic, err = c.backend.Topic(x.Topic)
		}
		for _, n := range x.Partitions {
			p := TopicPartition{x.Topic, n}
			ps = append(ps, p)
			switch {
			case isRefusal(err):
				unknown[p] = c.code(err)
			case err != nil || n < 0 || int(n) >= len(topic.Partitions):
				unknown[p] = kerr.UnknownTopicOrPartition.Code
			}
		}
	}
	code := kerr.OperationNotAttempted.Code
	switch {
	case len(unknown) > 0:
	case t.VerifyOnly:
		for _, p := range ps { // each has an answer of its own
			unknown[p] = c.verified(ctx, t, p)
		}
		code = 0
	default:
		err := c.backend.AddToTransaction(ctx, t.TransactionalID, t.ProducerID, t.ProducerEpoch, ps, false)
		code = c.fencedCode(err, version, 2)
	}
	var topics []kmsg.AddPartitionsToTxnResponseTransactionTopic
	for _, x := range t.Topics {
		topic := kmsg.NewAddPartitionsToTxnResponseTransactionTopic()
		topic.Topic = x.Topic
		for _, n := range x.Partitions {
			a := kmsg.NewAddPartitionsToTxnResponseTransactionTopicPartition()
			a.Partition, a.ErrorCode = n, code
			if code := unknown[TopicPartition{x.Topic, n}]; code != 0 {
				a.ErrorCode = code
			}
			topic.Partitions = append(topic.Partitions, a)
		}
		topics = append(topics, topic)
	}
	return topics
}

// verified is the code for a partition of which is asked whether it is part of a
// transaction.
func (c *call) verified(ctx context.Context, t *kmsg.AddPartitionsToTxnRequestTransaction, p TopicPartition) int16 {
	code := c.code(c.backend.AddToTransaction(ctx, t.TransactionalID, t.ProducerID, t.ProducerEpoch, []TopicPartition{p}, true))
	if code == kerr.InvalidTxnState.Code {
		return kerr.TransactionAbortable.Code
	}
	return code
}

// mayAddPartitions errors unless the client may add partitions to a transaction, but for
// those of topics that it may not write to.
func (c *call) mayAddPartitions(id string, version int16) error {
	if version < 4 {
		return c.may(kmsg.ACLOperationWrite, onTxnID, id)
	}
	return c.mayCluster(kmsg.ACLOperationClusterAction)
}
