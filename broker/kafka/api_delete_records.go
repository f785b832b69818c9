package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteRecords moves the beginning of partitions' logs (KIP-107).
//
//	0    offset -1 means the high watermark
//	1    throttling happens after the answer (KIP-219)
//	2    flexible
func deleteRecordsAPI() *api {
	return waiting(kmsg.DeleteRecords, 0, 2, "[s [4 8]] 4", (*call).deleteRecords)
}

func (c *call) deleteRecords(ctx context.Context, req *kmsg.DeleteRecordsRequest) kmsg.Response {
	ctx, cancel := context.WithTimeout(ctx, wait(req.TimeoutMillis, c.limits.MaxAdminWait))
	defer cancel()
	named := make(map[TopicPartition]int)
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			named[TopicPartition{req.Topics[i].Topic, req.Topics[i].Partitions[j].Partition}]++
		}
	}
	resp := kmsg.NewPtrDeleteRecordsResponse()
	for i := range req.Topics {
		t := kmsg.NewDeleteRecordsResponseTopic()
		t.Topic = req.Topics[i].Topic
		for j := range req.Topics[i].Partitions {
			p := &req.Topics[i].Partitions[j]
			a := kmsg.NewDeleteRecordsResponseTopicPartition()
			a.Partition, a.LowWatermark = p.Partition, -1
			var err error
			if named[TopicPartition{t.Topic, p.Partition}] > 1 {
				err = fmt.Errorf("topic %q partition %d is named twice: %w", t.Topic, p.Partition, kerr.InvalidRequest)
			} else if err = c.may(kmsg.ACLOperationDelete, onTopic, t.Topic); err == nil {
				a.LowWatermark, err = c.backend.DeleteRecords(ctx, t.Topic, p.Partition, p.Offset)
			}
			a.ErrorCode = c.code(err)
			t.Partitions = append(t.Partitions, a)
		}
		if len(t.Partitions) > 0 {
			resp.Topics = append(resp.Topics, t)
		}
	}
	return resp
}
