package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// SyncGroup hands out what the group's leader assigned.
//
//	0
//	1    throttle time
//	2    throttling happens after the answer (KIP-219)
//	3    static members (KIP-345)
//	4    flexible
//	5    protocol type and name, both ways (KIP-559)
//
// A sync waits for the leader's; it stops waiting when its connection is leaving.
func syncGroupAPI() *api {
	return keeping(waiting(kmsg.SyncGroup, 0, 5,
		"s 4 s S:3 S:5 S:5 [s b]", func(c *call, _ context.Context, req *kmsg.SyncGroupRequest) kmsg.Response {
			if err := c.may(kmsg.ACLOperationRead, onGroup, req.Group); err != nil {
				resp := kmsg.NewPtrSyncGroupResponse()
				resp.ErrorCode = c.code(err)
				return resp
			}
			return c.backend.SyncGroup(c.conn.leaving, c.client, req)
		}))
}
