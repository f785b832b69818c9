package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeCluster lists the brokers (KIP-700).
//
//	0    flexible
//	1    brokers or controllers; controllers have no endpoints of their own here (KIP-919)
//	2    fenced brokers too; none is listed as fenced (KIP-1073)
func describeClusterAPI() *api {
	return waiting(kmsg.DescribeCluster, 0, 2, "1 1:1 1:2", (*call).describeCluster)
}

const (
	endpointsOfBrokers     = 1
	endpointsOfControllers = 2
)

func (c *call) describeCluster(_ context.Context, req *kmsg.DescribeClusterRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeClusterResponse()
	resp.ClusterAuthorizedOperations = notAsked
	resp.ControllerID = -1
	if req.EndpointType != endpointsOfBrokers {
		err := fmt.Errorf("endpoint type %d: brokers have 1, controllers 2: %w", req.EndpointType, kerr.UnsupportedEndpointType)
		if req.EndpointType == endpointsOfControllers {
			err = fmt.Errorf("this is a listener of brokers, it has no controllers' endpoints: %w", kerr.MismatchedEndpointType)
		}
		resp.ErrorCode, resp.ErrorMessage = c.code(err), message(err)
		return resp
	}
	resp.ClusterID, resp.ControllerID = c.backend.ClusterID(), c.backend.ControllerID()
	resp.ClusterAuthorizedOperations = operations(req.IncludeClusterAuthorizedOperations, clusterOperations)
	for _, n := range c.backend.Nodes(c.conn.peer.Listener) {
		b := kmsg.NewDescribeClusterResponseBroker()
		b.NodeID, b.Host, b.Port, b.Rack = n.ID, n.Host, n.Port, optional(n.Rack)
		resp.Brokers = append(resp.Brokers, b)
	}
	return resp
}
