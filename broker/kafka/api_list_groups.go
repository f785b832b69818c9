package kafka

import (
	"context"
	"slices"

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
	return waiting(kmsg.ListGroups, 0, 5, "(s):4 (s):5", (*call).listGroups)
}

// listGroups names all groups to who may describe the cluster, to others those that
// they may describe.
func (c *call) listGroups(ctx context.Context, req *kmsg.ListGroupsRequest) kmsg.Response {
	resp := c.backend.ListGroups(ctx, req)
	if !c.allowsCluster(kmsg.ACLOperationDescribe) {
		resp.Groups = slices.DeleteFunc(resp.Groups, func(g kmsg.ListGroupsResponseGroup) bool {
			return !c.allows(kmsg.ACLOperationDescribe, onGroup, g.Group)
		})
	}
	return resp
}
