package kafka

import (
	"context"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeConfigs shows the settings of topics, of groups and of this broker, what is set
// for all brokers, and the levels of this broker's loggers (KIP-412).
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
	type question struct {
		of    ConfigResource
		names string
	}
	answered := make(map[question]bool)
	for i := range req.Resources {
		asked := &req.Resources[i]
		of := ConfigResource{asked.ResourceType, asked.ResourceName}
		if !first(answered, question{of, strings.Join(asked.ConfigNames, ",")}) {
			continue
		}
		r := kmsg.NewDescribeConfigsResponseResource()
		r.ResourceType, r.ResourceName = asked.ResourceType, asked.ResourceName
		err := c.mayConfigure(kmsg.ACLOperationDescribeConfigs, of)
		var entries []ConfigEntry
		if err == nil {
			entries, err = c.backend.Configs(of)
		}
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
	switch {
	case e.Source == kmsg.ConfigSourceDynamicBrokerLoggerConfig:
		s.Documentation = kmsg.StringPtr("") // as in Kafka not null, asked for or not
	case req.IncludeDocumentation:
		s.Documentation = optional(e.Doc)
	}
	return s
}
