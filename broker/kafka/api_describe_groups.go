package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeGroups shows the state and the members of groups of the classic protocol.
//
//	0
//	1    throttle time
//	2    throttling happens after the answer (KIP-219)
//	3    authorised operations (KIP-430)
//	4    static members (KIP-345)
//	5    flexible
//	6    GROUP_ID_NOT_FOUND and an error message (KIP-1043)
func describeGroupsAPI() *api {
	return waiting(kmsg.DescribeGroups, 0, 6,
		"(s) 1:3", func(c *call, ctx context.Context, req *kmsg.DescribeGroupsRequest) kmsg.Response {
			return c.backend.DescribeGroups(ctx, req)
		})
}
