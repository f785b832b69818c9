package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// LeaveGroup takes members out of a group.
//
//	0
//	1    throttle time
//	2    throttling happens after the answer (KIP-219)
//	3    several members, also static ones by their instance (KIP-345)
//	4    flexible
//	5    a reason for leaving (KIP-800)
func leaveGroupAPI() *api {
	return waiting(kmsg.LeaveGroup, 0, 5,
		"s s:0-2 [s S S:5]:3", func(c *call, ctx context.Context, req *kmsg.LeaveGroupRequest) kmsg.Response {
			if err := c.may(kmsg.ACLOperationRead, onGroup, req.Group); err != nil {
				resp := kmsg.NewPtrLeaveGroupResponse()
				resp.ErrorCode = c.code(err)
				return resp
			}
			return c.backend.LeaveGroup(ctx, c.client, req)
		})
}
