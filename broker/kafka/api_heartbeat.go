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
			if err := c.may(kmsg.ACLOperationRead, onGroup, req.Group); err != nil {
				resp := kmsg.NewPtrHeartbeatResponse()
				resp.ErrorCode = c.code(err)
				return resp
			}
			return c.backend.Heartbeat(ctx, c.client, req)
		})
}
