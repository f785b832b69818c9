package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeProducers lists the idempotent producers that partitions know, and since
// which offset a transaction of theirs is open (KIP-664). It has one version.
func describeProducersAPI() *api {
	return waiting(kmsg.DescribeProducers, 0, 0, "[s (4)]", (*call).describeProducers)
}

func (c *call) describeProducers(_ context.Context, req *kmsg.DescribeProducersRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeProducersResponse()
	answered := make(map[TopicPartition]bool)
	for _, t := range req.Topics {
		x := kmsg.NewDescribeProducersResponseTopic()
		x.Topic = t.Topic
		for _, n := range t.Partitions {
			if !first(answered, TopicPartition{t.Topic, n}) {
				continue
			}
			p := kmsg.NewDescribeProducersResponseTopicPartition()
			p.Partition = n
			var producers []ProducerState
			_, err := c.topicNamed(kmsg.ACLOperationRead, t.Topic)
			if err == nil {
				producers, err = c.backend.Producers(t.Topic, n)
			}
			p.ErrorCode, p.ErrorMessage = c.code(err), message(err)
			for _, s := range producers {
				a := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
				a.ProducerID, a.ProducerEpoch, a.LastSequence, a.LastTimestamp = s.ID, int32(s.Epoch), s.LastSequence, s.LastUsed
				a.CoordinatorEpoch, a.CurrentTxnStartOffset = s.Coordinator, s.Transaction
				p.ActiveProducers = append(p.ActiveProducers, a)
			}
			x.Partitions = append(x.Partitions, p)
		}
		resp.Topics = append(resp.Topics, x)
	}
	return resp
}
