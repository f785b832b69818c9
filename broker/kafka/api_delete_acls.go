package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/acl"
)

// DeleteAcls removes the bindings that filters choose, and says which they were.
//
//	1    patterns of resources' names (KIP-290)
//	2    flexible
//	3    resources of type User (KIP-373)
func deleteACLsAPI() *api {
	return waiting(kmsg.DeleteACLs, 1, 3, "[1 S 1 S S 1 1]", (*call).deleteACLs)
}

func (c *call) deleteACLs(ctx context.Context, req *kmsg.DeleteACLsRequest) kmsg.Response {
	ctx, cancel := context.WithTimeout(ctx, c.limits.MaxAdminWait)
	defer cancel()
	resp := kmsg.NewPtrDeleteACLsResponse()
	gone := make(map[acl.Binding]bool) // by an earlier filter of this request
	for i := range req.Filters {
		f := &req.Filters[i]
		r := kmsg.NewDeleteACLsResponseResult()
		matching, err := c.deleteMatching(ctx, acl.Filter{
			Resource: f.ResourceType, Pattern: f.ResourcePatternType, Name: f.ResourceName,
			Principal: f.Principal, Host: f.Host, Operation: f.Operation, Permission: f.PermissionType,
		}, gone)
		r.ErrorCode, r.ErrorMessage = c.code(err), message(err)
		for _, b := range matching {
			m := kmsg.NewDeleteACLsResponseResultMatchingACL()
			m.ResourceType, m.ResourcePatternType, m.ResourceName = b.Resource, b.Pattern, b.Name
			m.Principal, m.Host, m.Operation, m.PermissionType = b.Principal, b.Host, b.Operation, b.Permission()
			r.MatchingACLs = append(r.MatchingACLs, m)
		}
		resp.Results = append(resp.Results, r)
	}
	return resp
}

// deleteMatching removes what one filter chooses, and returns it.
func (c *call) deleteMatching(ctx context.Context, f acl.Filter, gone map[acl.Binding]bool) ([]acl.Binding, error) {
	if err := c.checkACLRequest(kmsg.ACLOperationAlter, f); err != nil {
		return nil, err
	}
	var matching []acl.Binding
	c.authorizer.List.All(func(b acl.Binding) bool {
		if f.Matches(b) && !gone[b] {
			matching = append(matching, b)
		}
		return true
	})
	if len(matching) == 0 {
		return nil, nil
	}
	if err := c.backend.RemoveACLs(ctx, matching); err != nil {
		return nil, err
	}
	for _, b := range matching {
		gone[b] = true
	}
	return matching, nil
}
