package kafka

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeConfigs shows the settings of topics and of this broker.
//
//	1    sources and synonyms (KIP-226)
//	2    throttling happens after the answer (KIP-219)
//	3    types and documentation (KIP-569)
//	4    flexible
func describeConfigsAPI() *api {
	return waiting(kmsg.DescribeConfigs, 1, 4, "[1 s (s)] 1:1 1:3", (*call).describeConfigs)
}

func (c *call) describeConfigs(_ context.Context, req *kmsg.DescribeConfigsRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeConfigsResponse()
	for i := range req.Resources {
		asked := &req.Resources[i]
		r := kmsg.NewDescribeConfigsResponseResource()
		r.ResourceType, r.ResourceName = asked.ResourceType, asked.ResourceName
		entries, err := c.settings(asked)
		r.ErrorCode, r.ErrorMessage = c.code(err), message(err)
		r.Configs = []kmsg.DescribeConfigsResponseResourceConfig{}
		for j := range entries {
			e := &entries[j]
			// No names, and an empty list of names, mean all, as in Kafka.
			if len(asked.ConfigNames) == 0 || slices.Contains(asked.ConfigNames, e.Name) {
				r.Configs = append(r.Configs, e.described(req))
			}
		}
		resp.Resources = append(resp.Resources, r)
	}
	return resp
}

// settings finds what a resource is set to. The broker without a name is the
// default of all brokers, which has no settings of its own here.
func (c *call) settings(r *kmsg.DescribeConfigsRequestResource) ([]ConfigEntry, error) {
	switch r.ResourceType {
	case kmsg.ConfigResourceTypeTopic:
		return c.backend.TopicConfigs(r.ResourceName)
	case kmsg.ConfigResourceTypeBroker:
		if r.ResourceName == "" {
			return nil, nil
		}
		if id, err := strconv.ParseInt(r.ResourceName, 10, 32); err != nil || int32(id) != c.backend.NodeID() {
			return nil, fmt.Errorf("broker %q: this is broker %d, each describes its own settings: %w", r.ResourceName, c.backend.NodeID(), kerr.InvalidRequest)
		}
		return c.backend.BrokerConfigs(), nil
	}
	return nil, fmt.Errorf("resource %q is a %s, which has no settings: %w", r.ResourceName, r.ResourceType, kerr.InvalidRequest)
}

// shown is the value as clients may see it.
func (e *ConfigEntry) shown() *string {
	if e.Sensitive {
		return nil
	}
	return e.Value
}

func (e *ConfigEntry) described(req *kmsg.DescribeConfigsRequest) kmsg.DescribeConfigsResponseResourceConfig {
	s := kmsg.NewDescribeConfigsResponseResourceConfig()
	s.Name, s.Value = e.Name, e.shown()
	s.ReadOnly, s.IsSensitive = e.ReadOnly, e.Sensitive
	s.Source, s.ConfigType = e.Source, e.Type
	s.ConfigSynonyms = []kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{}
	if req.IncludeSynonyms {
		for i := range e.Synonyms {
			y := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			y.Name, y.Source = e.Synonyms[i].Name, e.Synonyms[i].Source
			if !e.Sensitive {
				y.Value = &e.Synonyms[i].Value
			}
			s.ConfigSynonyms = append(s.ConfigSynonyms, y)
		}
	}
	if req.IncludeDocumentation {
		s.Documentation = optional(e.Doc)
	}
	return s
}
