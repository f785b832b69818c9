package kafka

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListConfigResources lists what can be configured: topics, brokers, their loggers, and the
// groups that have settings of their own.
//
//	0    subscriptions to clients' metrics (KIP-714), of which there are none
//	1    any type of resource (KIP-1142)
func listConfigResourcesAPI() *api {
	return waiting(kmsg.ListConfigResources, 0, 1, "(1):1", (*call).listConfigResources)
}

// configResourceTypes are Kafka's. Of clients' metrics nothing is configured here.
var configResourceTypes = []kmsg.ConfigResourceType{
	kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger,
	kmsg.ConfigResourceTypeClientMetrics, kmsg.ConfigResourceTypeGroupConfig,
}

func (c *call) listConfigResources(_ context.Context, req *kmsg.ListConfigResourcesRequest) kmsg.Response {
	resp := kmsg.NewPtrListConfigResourcesResponse()
	if err := c.mayCluster(kmsg.ACLOperationDescribeConfigs); err != nil {
		resp.ErrorCode = c.code(err)
		return resp
	}
	if req.Version == 0 {
		return resp
	}
	wanted := func(t kmsg.ConfigResourceType) bool {
		return len(req.ResourceTypes) == 0 || slices.Contains(req.ResourceTypes, int8(t))
	}
	for _, t := range req.ResourceTypes {
		if !slices.Contains(configResourceTypes, kmsg.ConfigResourceType(t)) {
			resp.ErrorCode = c.code(fmt.Errorf("resource type %d is none of %v: %w", t, configResourceTypes, kerr.UnsupportedVersion))
			return resp
		}
	}
	add := func(t kmsg.ConfigResourceType, name string) {
		r := kmsg.NewListConfigResourcesResponseConfigResource()
		r.Name, r.Type = name, int8(t)
		resp.ConfigResources = append(resp.ConfigResources, r)
	}
	if wanted(kmsg.ConfigResourceTypeTopic) {
		for _, t := range c.backend.Topics() {
			add(kmsg.ConfigResourceTypeTopic, t.Name)
		}
	}
	for _, t := range []kmsg.ConfigResourceType{kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger} {
		if wanted(t) {
			for _, n := range c.backend.Nodes(c.conn.peer.Listener) {
				add(t, strconv.Itoa(int(n.ID)))
			}
		}
	}
	if wanted(kmsg.ConfigResourceTypeGroupConfig) {
		for _, name := range c.backend.ConfiguredGroups() {
			add(kmsg.ConfigResourceTypeGroupConfig, name)
		}
	}
	return resp
}
