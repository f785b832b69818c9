package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// WriteTxnMarkers ends transactions in partitions, past their coordinators. In Kafka it
// is what coordinators tell brokers; here only operators use it, to end a transaction
// that hangs (KIP-664).
//
//	0    gone in Kafka 4
//	1    flexible
//	2    whether the epoch is one that no batch of the transaction has (KIP-1228)
func writeTxnMarkersAPI() *api {
	return waiting(kmsg.WriteTxnMarkers, 1, 2, "[8 2 1 [s (4)] 4 1:2]", (*call).writeTxnMarkers)
}

func (c *call) writeTxnMarkers(ctx context.Context, req *kmsg.WriteTxnMarkersRequest) kmsg.Response {
	resp := kmsg.NewPtrWriteTxnMarkersResponse()
	var mayNot error
	if !c.allowsCluster(kmsg.ACLOperationAlter) {
		mayNot = c.mayCluster(kmsg.ACLOperationClusterAction)
	}
	for _, m := range req.Markers {
		r := kmsg.NewWriteTxnMarkersResponseMarker()
		r.ProducerID = m.ProducerID
		for _, t := range m.Topics {
			x := kmsg.NewWriteTxnMarkersResponseMarkerTopic()
			x.Topic = t.Topic
			for _, n := range t.Partitions {
				p := kmsg.NewWriteTxnMarkersResponseMarkerTopicPartition()
				p.Partition = n
				if mayNot != nil {
					p.ErrorCode = c.code(mayNot)
				} else if m.ProducerID < 0 || m.ProducerEpoch < 0 {
					p.ErrorCode = kerr.InvalidRequest.Code
				} else {
					p.ErrorCode = c.code(c.backend.WriteMarkers(ctx, t.Topic, n, MarkerRequest{
						Producer: m.ProducerID, Epoch: m.ProducerEpoch, Commit: m.Committed,
						Coordinator: m.CoordinatorEpoch, Bumped: m.TransactionVersion >= 2,
					}))
				}
				x.Partitions = append(x.Partitions, p)
			}
			r.Topics = append(r.Topics, x)
		}
		resp.Markers = append(resp.Markers, r)
	}
	return resp
}
