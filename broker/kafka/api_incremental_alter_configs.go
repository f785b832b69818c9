package kafka

import (
	"context"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// IncrementalAlterConfigs changes single settings of topics, of brokers and of groups, and
// levels of this broker's loggers (KIP-339, KIP-226, KIP-848, KIP-412).
//
//	0
//	1    flexible
func incrementalAlterConfigsAPI() *api {
	return waiting(kmsg.IncrementalAlterConfigs, 0, 1, "[1 s [s 1 S]] 1", (*call).incrementalAlterConfigs)
}

func (c *call) incrementalAlterConfigs(ctx context.Context, req *kmsg.IncrementalAlterConfigsRequest) kmsg.Response {
	asked := make([]configChanges, len(req.Resources))
	for i := range req.Resources {
		r := &req.Resources[i]
		asked[i].of = ConfigResource{r.ResourceType, r.ResourceName}
		asked[i].ValidateOnly = req.ValidateOnly
		for _, s := range r.Configs {
			asked[i].Changes = append(asked[i].Changes, ConfigChange{Name: s.Name, Op: s.Op, Value: s.Value})
		}
	}
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	for i, err := range c.changeConfigs(ctx, asked) {
		r := kmsg.NewIncrementalAlterConfigsResponseResource()
		r.ResourceType, r.ResourceName = asked[i].of.Type, asked[i].of.Name
		r.ErrorCode, r.ErrorMessage = c.code(err), message(err)
		resp.Resources = append(resp.Resources, r)
	}
	return resp
}

// configChanges is what a request changes of one resource.
type configChanges struct {
	of ConfigResource
	ConfigChanges
}

// changeConfigs changes each resource on its own, and returns an error or nil for
// each.
func (c *call) changeConfigs(ctx context.Context, asked []configChanges) []error {
	ctx, cancel := context.WithTimeout(ctx, c.limits.MaxAdminWait)
	defer cancel()
	named := make(map[ConfigResource]int)
	for _, r := range asked {
		named[r.of]++
	}
	errs := make([]error, len(asked))
	for i, r := range asked {
		if named[r.of] > 1 {
			errs[i] = fmt.Errorf("%s %q is named twice: %w", r.of.Type, r.of.Name, kerr.InvalidRequest)
		} else if errs[i] = c.mayConfigure(kmsg.ACLOperationAlterConfigs, r.of); errs[i] != nil {
			continue
		} else if r.Replace && r.of.Type == kmsg.ConfigResourceTypeBrokerLogger {
			errs[i] = fmt.Errorf("loggers of broker %q: their levels are changed by IncrementalAlterConfigs: %w", r.of.Name, kerr.InvalidRequest)
		} else if errs[i] = r.check(); errs[i] == nil {
			errs[i] = c.backend.AlterConfigs(ctx, r.of, r.ConfigChanges)
		}
	}
	return errs
}

// mayConfigure errors unless the client may do an operation to the settings of a
// resource, and it is one that has some here.
func (c *call) mayConfigure(op kmsg.ACLOperation, r ConfigResource) error {
	switch r.Type {
	case kmsg.ConfigResourceTypeTopic:
		return c.may(op, onTopic, r.Name)
	case kmsg.ConfigResourceTypeGroupConfig:
		if err := c.may(op, onGroup, r.Name); err != nil || r.Name != "" {
			return err
		}
		return fmt.Errorf("settings of a group without a name: %w", kerr.InvalidRequest)
	case kmsg.ConfigResourceTypeBroker:
		if err := c.mayCluster(op); err != nil || r.Name == "" {
			return err
		}
		if id, err := strconv.ParseInt(r.Name, 10, 32); err != nil || int32(id) != c.backend.NodeID() {
			return fmt.Errorf("broker %q: this is broker %d, each answers for its own settings, and any, for no name, for those of all: %w", r.Name, c.backend.NodeID(), kerr.InvalidRequest)
		}
		return nil
	case kmsg.ConfigResourceTypeBrokerLogger:
		if err := c.mayCluster(op); err != nil {
			return err
		}
		if id, err := strconv.ParseInt(r.Name, 10, 32); err != nil || int32(id) != c.backend.NodeID() {
			return fmt.Errorf("loggers of broker %q: this is broker %d, each answers for its own: %w", r.Name, c.backend.NodeID(), kerr.InvalidRequest)
		}
		return nil
	}
	if err := c.mayCluster(op); err != nil {
		return err
	}
	return fmt.Errorf("resource %q is a %s, which has no settings: %w", r.Name, r.Type, kerr.InvalidRequest)
}

// check checks what a request says of one resource.
func (r *configChanges) check() error {
	if r.of.Type == kmsg.ConfigResourceTypeTopic && r.of.Name == "" {
		return fmt.Errorf("settings of a topic without a name: %w", kerr.InvalidRequest)
	}
	seen := make(map[string]bool)
	for _, s := range r.Changes {
		switch {
		case seen[s.Name]:
			return fmt.Errorf("%s %q: %s is changed twice: %w", r.of.Type, r.of.Name, s.Name, kerr.InvalidRequest)
		case s.Op < kmsg.IncrementalAlterConfigOpSet || s.Op > kmsg.IncrementalAlterConfigOpSubtract:
			return fmt.Errorf("%s %q: %s: unknown operation %d: %w", r.of.Type, r.of.Name, s.Name, s.Op, kerr.InvalidRequest)
		case s.Value == nil && s.Op != kmsg.IncrementalAlterConfigOpDelete:
			return fmt.Errorf("%s %q: %s has no value: %w", r.of.Type, r.of.Name, s.Name, kerr.InvalidRequest)
		}
		seen[s.Name] = true
	}
	return nil
}
