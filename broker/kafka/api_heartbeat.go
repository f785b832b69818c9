package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Heartbeat keeps a member in its group, and tells it of a rebalance.
//
//	0
//	1    throttle time
//	2    throttling happens after the answer (KIP-219)
//	3    static members (KIP-345)
//	4    flexible
func heartbeatAPI() *api {
	return waiting(kmsg.Heartbeat, 0, 4,
		"s 4 s S:3", func(c *call, ctx context.Context, req *kmsg.HeartbeatRequest) kmsg.Response {
			return c.backend.Heartbeat(ctx, c.client, req)
		})
}
