package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreatePartitions raises the number of partitions of topics (KIP-195).
//
//	0
//	1    throttling happens after the answer (KIP-219)
//	2    flexible
//	3    THROTTLING_QUOTA_EXCEEDED may be answered (KIP-599)
func createPartitionsAPI() *api {
	return waiting(kmsg.CreatePartitions, 0, 3, "[s 4 [(4)]] 4 1", (*call).createPartitions)
}

func (c *call) createPartitions(ctx context.Context, req *kmsg.CreatePartitionsRequest) kmsg.Response {
	ctx, cancel := context.WithTimeout(ctx, wait(req.TimeoutMillis, c.limits.MaxAdminWait))
	defer cancel()
	named := make(map[string]int)
	for i := range req.Topics {
		named[req.Topics[i].Topic]++
	}
	resp := kmsg.NewPtrCreatePartitionsResponse()
	answered := make(map[string]bool)
	for i := range req.Topics {
		t := &req.Topics[i]
		if !first(answered, t.Topic) {
			continue
		}
		var assignment [][]int32
		if t.Assignment != nil { // an empty one assigns too few
			assignment = [][]int32{}
		}
		for _, a := range t.Assignment {
			assignment = append(assignment, a.Replicas)
		}
		var err error
		if named[t.Topic] > 1 {
			err = fmt.Errorf("topic %q is named twice: %w", t.Topic, kerr.InvalidRequest)
		} else {
			err = c.backend.CreatePartitions(ctx, t.Topic, t.Count, assignment, req.ValidateOnly)
		}
		r := kmsg.NewCreatePartitionsResponseTopic()
		r.Topic, r.ErrorCode, r.ErrorMessage = t.Topic, c.code(err), message(err)
		resp.Topics = append(resp.Topics, r)
	}
	return resp
}
