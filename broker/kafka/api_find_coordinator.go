package kafka

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// FindCoordinator says which node coordinates a group or a transactional id.
//
//	0
//	1    coordinators of transactions, throttle time, error message
//	2    throttling happens after the answer (KIP-219)
//	3    flexible
//	4    several keys at once (KIP-699)
//	5    TRANSACTION_ABORTABLE may be answered (KIP-890)
//	6    coordinators of share groups (KIP-932; refused here)
func findCoordinatorAPI() *api {
	return waiting(kmsg.FindCoordinator, 0, 6, "s:0-3 1:1 (s):4", (*call).findCoordinator)
}

// What a coordinator is asked for.
const (
	coordinatorOfGroup       = 0
	coordinatorOfTransaction = 1
)

func (c *call) findCoordinator(ctx context.Context, req *kmsg.FindCoordinatorRequest) kmsg.Response {
	resp := kmsg.NewPtrFindCoordinatorResponse()
	keys := req.CoordinatorKeys
	if req.Version < 4 {
		keys = []string{req.CoordinatorKey}
	}
	nodes := c.backend.Nodes(c.conn.peer.Listener)
	for _, key := range keys {
		a := kmsg.NewFindCoordinatorResponseCoordinator()
		a.Key = key
		n, err := c.coordinator(ctx, req.CoordinatorType, key, nodes)
		if err != nil {
			n = Node{ID: -1, Port: -1}
		}
		a.NodeID, a.Host, a.Port = n.ID, n.Host, n.Port
		a.ErrorCode, a.ErrorMessage = c.code(err), message(err)
		resp.Coordinators = append(resp.Coordinators, a)
	}
	if req.Version < 4 {
		a := resp.Coordinators[0]
		resp.NodeID, resp.Host, resp.Port = a.NodeID, a.Host, a.Port
		resp.ErrorCode, resp.ErrorMessage = a.ErrorCode, a.ErrorMessage
	}
	return resp
}

func (c *call) coordinator(ctx context.Context, kind int8, key string, nodes []Node) (Node, error) {
	find := c.backend.Coordinator
	switch kind {
	case coordinatorOfGroup:
		if err := c.may(kmsg.ACLOperationDescribe, onGroup, key); err != nil {
			return Node{}, err
		}
	case coordinatorOfTransaction:
		if err := c.may(kmsg.ACLOperationDescribe, onTxnID, key); err != nil {
			return Node{}, err
		}
		find = c.backend.TransactionCoordinator
	default:
		return Node{}, fmt.Errorf("coordinators of type %d are not offered: %w", kind, kerr.InvalidRequest)
	}
	id, err := find(ctx, key)
	if err != nil {
		return Node{}, err
	}
	i := slices.IndexFunc(nodes, func(n Node) bool { return n.ID == id })
	if i < 0 {
		return Node{}, fmt.Errorf("node %d, which coordinates %q, has no address on listener %s: %w", id, key, c.conn.peer.Listener, kerr.CoordinatorNotAvailable)
	}
	return nodes[i], nil
}
