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
	ctx, cancel := context.WithTimeout(ctx, c.limits.MaxAdminWait)
	defer cancel()
	type resource struct {
		kind kmsg.ConfigResourceType
		name string
	}
	named := make(map[resource]int)
	for i := range req.Resources {
		named[resource{req.Resources[i].ResourceType, req.Resources[i].ResourceName}]++
	}
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	for i := range req.Resources {
		asked := &req.Resources[i]
		r := kmsg.NewIncrementalAlterConfigsResponseResource()
		r.ResourceType, r.ResourceName = asked.ResourceType, asked.ResourceName
		changes, err := configChanges(asked)
		switch {
		case named[resource{asked.ResourceType, asked.ResourceName}] > 1:
			err = fmt.Errorf("%s %q is named twice: %w", asked.ResourceType, asked.ResourceName, kerr.InvalidRequest)
		case err == nil:
			err = c.backend.AlterTopicConfigs(ctx, asked.ResourceName, changes, req.ValidateOnly)
		}
		r.ErrorCode, r.ErrorMessage = c.code(err), message(err)
		resp.Resources = append(resp.Resources, r)
	}
	return resp
}

// configChanges checks what a request changes of one topic.
func configChanges(r *kmsg.IncrementalAlterConfigsRequestResource) ([]ConfigChange, error) {
	if r.ResourceType != kmsg.ConfigResourceTypeTopic {
		return nil, fmt.Errorf("%s %q: only topics can be changed, a broker's settings are in its configuration file: %w", r.ResourceType, r.ResourceName, kerr.InvalidRequest)
	}
	seen := make(map[string]bool)
	changes := make([]ConfigChange, 0, len(r.Configs))
	for _, s := range r.Configs {
		switch {
		case seen[s.Name]:
			return nil, fmt.Errorf("topic %q: %s is changed twice: %w", r.ResourceName, s.Name, kerr.InvalidRequest)
		case s.Op < kmsg.IncrementalAlterConfigOpSet || s.Op > kmsg.IncrementalAlterConfigOpSubtract:
			return nil, fmt.Errorf("topic %q: %s: unknown operation %d: %w", r.ResourceName, s.Name, s.Op, kerr.InvalidRequest)
		case s.Value == nil && s.Op != kmsg.IncrementalAlterConfigOpDelete:
			return nil, fmt.Errorf("topic %q: %s has no value: %w", r.ResourceName, s.Name, kerr.InvalidRequest)
		}
		seen[s.Name] = true
		changes = append(changes, ConfigChange{Name: s.Name, Op: s.Op, Value: s.Value})
	}
	return changes, nil
}
