package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/acl"
)

// DescribeAcls lists the bindings that a filter chooses.
//
//	1    patterns of resources' names (KIP-290)
//	2    flexible
//	3    resources of type User (KIP-373)
func describeACLsAPI() *api {
	return waiting(kmsg.DescribeACLs, 1, 3, "1 S 1 S S 1 1", (*call).describeACLs)
}

// errNoAuthorizer is what reading and changing access control lists meets where none
// is obeyed, as in Kafka.
var errNoAuthorizer = fmt.Errorf("no authorizer is configured (authorizer.class.name): %w", kerr.SecurityDisabled)

func (c *call) describeACLs(_ context.Context, req *kmsg.DescribeACLsRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeACLsResponse()
	filter := acl.Filter{
		Resource: req.ResourceType, Pattern: req.ResourcePatternType, Name: req.ResourceName,
		Principal: req.Principal, Host: req.Host, Operation: req.Operation, Permission: req.PermissionType,
	}
	if err := c.checkACLRequest(kmsg.ACLOperationDescribe, filter); err != nil {
		resp.ErrorCode, resp.ErrorMessage = c.code(err), message(err)
		return resp
	}
	c.authorizer.List.All(func(b acl.Binding) bool {
		if !filter.Matches(b) {
			return true
		}
		// Bindings come in the order of their resources.
		last := len(resp.Resources) - 1
		if last < 0 || !sameResource(&resp.Resources[last], b) {
			r := kmsg.NewDescribeACLsResponseResource()
			r.ResourceType, r.ResourcePatternType, r.ResourceName = b.Resource, b.Pattern, b.Name
			resp.Resources = append(resp.Resources, r)
			last++
		}
		a := kmsg.NewDescribeACLsResponseResourceACL()
		a.Principal, a.Host, a.Operation, a.PermissionType = b.Principal, b.Host, b.Operation, b.Permission()
		resp.Resources[last].ACLs = append(resp.Resources[last].ACLs, a)
		return true
	})
	return resp
}

func sameResource(r *kmsg.DescribeACLsResponseResource, b acl.Binding) bool {
	return r.ResourceType == b.Resource && r.ResourcePatternType == b.Pattern && r.ResourceName == b.Name
}

// checkACLRequest checks who asks, whether there is a list, and the filters.
func (c *call) checkACLRequest(op kmsg.ACLOperation, filters ...acl.Filter) error {
	if err := c.mayCluster(op); err != nil {
		return err
	}
	if !c.authorizer.Enabled() {
		return errNoAuthorizer
	}
	var errs []error
	for _, f := range filters {
		if err := f.Check(); err != nil {
			errs = append(errs, fmt.Errorf("%w: %w", err, kerr.InvalidRequest))
		}
	}
	return errors.Join(errs...)
}
