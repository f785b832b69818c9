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
	return waiting(kmsg.DeleteGroups, 0, 3, "(s)", (*call).deleteGroups)
}

func (c *call) deleteGroups(ctx context.Context, req *kmsg.DeleteGroupsRequest) kmsg.Response {
	allowed := *req
	allowed.Groups = nil
	var refused []kmsg.DeleteGroupsResponseGroup
	named := make(map[string]bool)
	for _, name := range req.Groups {
		if !first(named, name) {
			continue
		}
		err := c.may(kmsg.ACLOperationDelete, onGroup, name)
		if err == nil {
			allowed.Groups = append(allowed.Groups, name)
			continue
		}
		g := kmsg.NewDeleteGroupsResponseGroup()
		g.Group, g.ErrorCode, g.ErrorMessage = name, c.code(err), message(err)
		refused = append(refused, g)
	}
	resp := kmsg.NewPtrDeleteGroupsResponse()
	if len(allowed.Groups) > 0 {
		resp = c.backend.DeleteGroups(ctx, &allowed)
	}
	resp.Groups = append(resp.Groups, refused...)
	return resp
}
