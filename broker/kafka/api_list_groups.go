package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListGroups names the groups that this node coordinates.
//
//	0
//	1    throttle time
//	2    throttling happens after the answer (KIP-219)
//	3    flexible
//	4    by state (KIP-518)
//	5    by type (KIP-848)
func listGroupsAPI() *api {
	return waiting(kmsg.ListGroups, 0, 5,
		"(s):4 (s):5", func(c *call, ctx context.Context, req *kmsg.ListGroupsRequest) kmsg.Response {
			return c.backend.ListGroups(ctx, req)
		})
}
