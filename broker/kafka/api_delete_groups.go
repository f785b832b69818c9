package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteGroups deletes empty groups with their offsets.
//
//	0
//	1    throttling happens after the answer (KIP-219)
//	2    flexible
//	3    an error message for each group
func deleteGroupsAPI() *api {
	return waiting(kmsg.DeleteGroups, 0, 3,
		"(s)", func(c *call, ctx context.Context, req *kmsg.DeleteGroupsRequest) kmsg.Response {
			return c.backend.DeleteGroups(ctx, req)
		})
}
