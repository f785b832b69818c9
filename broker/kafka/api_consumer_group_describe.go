package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ConsumerGroupDescribe shows the state and the members of groups of the consumer
// protocol (KIP-848).
//
//	0
//	1    which protocol a member speaks (KIP-1099)
func consumerGroupDescribeAPI() *api {
	return waiting(kmsg.ConsumerGroupDescribe, 0, 1,
		"(s) 1", func(c *call, ctx context.Context, req *kmsg.ConsumerGroupDescribeRequest) kmsg.Response {
			return c.backend.ConsumerGroupDescribe(ctx, req)
		})
}
