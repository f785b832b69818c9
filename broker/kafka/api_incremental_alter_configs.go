package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// IncrementalAlterConfigs changes single settings of topics (KIP-339). Settings of
// brokers come from their configuration files and are not changed here.
//
//	0
//	1    flexible
func incrementalAlterConfigsAPI() *api {
	return waiting(kmsg.IncrementalAlterConfigs, 0, 1, "[1 s [s 1 S]] 1", (*call).incrementalAlterConfigs)
}

func (c *call) incrementalAlterConfigs(ctx context.Context, req *kmsg.IncrementalAlterConfigsRequest) kmsg.Response {
	asked := make([]configResource, len(req.Resources))
	for i := range req.Resources {
		r := &req.Resources[i]
		asked[i] = configResource{kind: r.ResourceType, name: r.ResourceName}
		for _, s := range r.Configs {
			asked[i].changes = append(asked[i].changes, ConfigChange{Name: s.Name, Op: s.Op, Value: s.Value})
		}
	}
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	for i, err := range c.changeConfigs(ctx, asked, req.ValidateOnly, c.backend.AlterTopicConfigs) {
		r := kmsg.NewIncrementalAlterConfigsResponseResource()
		r.ResourceType, r.ResourceName = asked[i].kind, asked[i].name
		r.ErrorCode, r.ErrorMessage = c.code(err), message(err)
		resp.Resources = append(resp.Resources, r)
	}
	return resp
}

// configResource is what a request changes of one topic or broker.
type configResource struct {
	kind    kmsg.ConfigResourceType
	name    string
	changes []ConfigChange
}

// changeConfigs changes each resource on its own, and returns an error or nil for
// each.
func (c *call) changeConfigs(ctx context.Context, asked []configResource, validateOnly bool,
	change func(ctx context.Context, topic string, changes []ConfigChange, validateOnly bool) error) []error {
	ctx, cancel := context.WithTimeout(ctx, c.limits.MaxAdminWait)
	defer cancel()
	type resource struct {
		kind kmsg.ConfigResourceType
		name string
	}
	named := make(map[resource]int)
	for _, r := range asked {
		named[resource{r.kind, r.name}]++
	}
	errs := make([]error, len(asked))
	for i, r := range asked {
		if named[resource{r.kind, r.name}] > 1 {
			errs[i] = fmt.Errorf("%s %q is named twice: %w", r.kind, r.name, kerr.InvalidRequest)
		} else if errs[i] = c.mayAlter(r); errs[i] != nil {
			continue
		} else if errs[i] = r.check(); errs[i] == nil {
			errs[i] = change(ctx, r.name, r.changes, validateOnly)
		}
	}
	return errs
}

// mayAlter errors unless the client may change the settings of a resource.
func (c *call) mayAlter(r configResource) error {
	if r.kind == kmsg.ConfigResourceTypeTopic {
		return c.may(kmsg.ACLOperationAlterConfigs, onTopic, r.name)
	}
	return c.mayCluster(kmsg.ACLOperationAlterConfigs)
}

// check checks what a request says of one resource.
func (r *configResource) check() error {
	if r.kind != kmsg.ConfigResourceTypeTopic {
		return fmt.Errorf("%s %q: only topics can be changed, a broker's settings are in its configuration file: %w", r.kind, r.name, kerr.InvalidRequest)
	}
	seen := make(map[string]bool)
	for _, s := range r.changes {
		switch {
		case seen[s.Name]:
			return fmt.Errorf("topic %q: %s is changed twice: %w", r.name, s.Name, kerr.InvalidRequest)
		case s.Op < kmsg.IncrementalAlterConfigOpSet || s.Op > kmsg.IncrementalAlterConfigOpSubtract:
			return fmt.Errorf("topic %q: %s: unknown operation %d: %w", r.name, s.Name, s.Op, kerr.InvalidRequest)
		case s.Value == nil && s.Op != kmsg.IncrementalAlterConfigOpDelete:
			return fmt.Errorf("topic %q: %s has no value: %w", r.name, s.Name, kerr.InvalidRequest)
		}
		seen[s.Name] = true
	}
	return nil
}
