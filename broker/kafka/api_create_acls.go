package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/acl"
)

// CreateAcls adds bindings. One that is there already is no error.
//
//	1    patterns of resources' names (KIP-290)
//	2    flexible
//	3    resources of type User (KIP-373)
func createACLsAPI() *api {
	return waiting(kmsg.CreateACLs, 1, 3, "[1 s 1 s s 1 1]", (*call).createACLs)
}

func (c *call) createACLs(ctx context.Context, req *kmsg.CreateACLsRequest) kmsg.Response {
	ctx, cancel := context.WithTimeout(ctx, c.limits.MaxAdminWait)
	defer cancel()
	errs := make([]error, len(req.Creations))
	refused := c.checkACLRequest(kmsg.ACLOperationAlter)
	var add []acl.Binding
	var place []int
	for i := range req.Creations {
		if errs[i] = refused; refused != nil {
			continue
		}
		b, err := binding(&req.Creations[i])
		if errs[i] = err; err == nil {
			add, place = append(add, b), append(place, i)
		}
	}
	if len(add) > 0 {
		for i, err := range c.backend.AddACLs(ctx, add) {
			errs[place[i]] = err
		}
	}
	resp := kmsg.NewPtrCreateACLsResponse()
	for _, err := range errs {
		r := kmsg.NewCreateACLsResponseResult()
		r.ErrorCode, r.ErrorMessage = c.code(err), message(err)
		resp.Results = append(resp.Results, r)
	}
	return resp
}

// binding reads one line of a request.
func binding(a *kmsg.CreateACLsRequestCreation) (acl.Binding, error) {
	b := acl.Binding{
		Resource: a.ResourceType, Pattern: a.ResourcePatternType, Name: a.ResourceName, Principal: a.Principal,
		Host: a.Host, Operation: a.Operation, Allow: a.PermissionType == kmsg.ACLPermissionTypeAllow,
	}
	err := b.Check()
	if err == nil && !b.Allow && a.PermissionType != kmsg.ACLPermissionTypeDeny {
		err = fmt.Errorf("the permission %s (%d) is neither ALLOW nor DENY", a.PermissionType, a.PermissionType)
	}
	if err != nil {
		return b, fmt.Errorf("%w: %w", err, kerr.InvalidRequest)
	}
	return b, nil
}
