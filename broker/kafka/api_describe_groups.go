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
	return waiting(kmsg.DescribeGroups, 0, 6, "(s) 1:3", (*call).describeGroups)
}

func (c *call) describeGroups(ctx context.Context, req *kmsg.DescribeGroupsRequest) kmsg.Response {
	allowed := *req
	allowed.Groups = nil
	var refused []kmsg.DescribeGroupsResponseGroup
	answered := make(map[string]bool)
	for _, name := range req.Groups {
		if !first(answered, name) {
			continue
		}
		err := c.may(kmsg.ACLOperationDescribe, onGroup, name)
		if err == nil {
			allowed.Groups = append(allowed.Groups, name)
			continue
		}
		g := kmsg.NewDescribeGroupsResponseGroup()
		g.Group, g.ErrorCode, g.ErrorMessage = name, c.code(err), message(err)
		g.AuthorizedOperations = notAsked
		refused = append(refused, g)
	}
	if len(allowed.Groups) == 0 {
		resp := kmsg.NewPtrDescribeGroupsResponse()
		resp.Groups = refused
		return resp
	}
	resp := c.backend.DescribeGroups(ctx, &allowed)
	for i := range resp.Groups {
		g := &resp.Groups[i]
		g.AuthorizedOperations = c.operations(req.IncludeAuthorizedOperations && g.ErrorCode == 0, onGroup, g.Group)
	}
	resp.Groups = append(resp.Groups, refused...)
	return resp
}
