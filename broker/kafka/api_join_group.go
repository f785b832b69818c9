package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// JoinGroup makes a client a member of a group of the classic protocol.
//
//	0
//	1    rebalance timeout
//	2    throttle time
//	3    throttling happens after the answer (KIP-219)
//	4    MEMBER_ID_REQUIRED: a member is told its id before it counts (KIP-394)
//	5    static members (KIP-345)
//	6    flexible
//	7    the protocol type in the answer (KIP-559)
//	8    a reason for joining (KIP-800)
//	9    the leader may be told to leave the assignment as it is (KIP-814)
//
// A join waits for the others; it stops waiting when its connection is leaving.
func joinGroupAPI() *api {
	return keeping(waiting(kmsg.JoinGroup, 0, 9,
		"s 4 4:1 s S:5 s [s b] S:8", func(c *call, _ context.Context, req *kmsg.JoinGroupRequest) kmsg.Response {
			if err := c.may(kmsg.ACLOperationRead, onGroup, req.Group); err != nil {
				resp := kmsg.NewPtrJoinGroupResponse()
				resp.ErrorCode, resp.Generation = c.code(err), -1
				return resp
			}
			return c.backend.JoinGroup(c.conn.leaving, c.client, req)
		}))
}
