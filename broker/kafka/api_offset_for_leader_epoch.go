package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// OffsetForLeaderEpoch tells a client where a leader epoch ended, by which it
// finds out that the log was cut behind its back (KIP-320).
//
//	2    the leader epoch the client knows; older versions were for followers
//	3    replica id
//	4    flexible
func offsetForLeaderEpochAPI() *api {
	return waiting(kmsg.OffsetForLeaderEpoch, 2, 4, "4:3 [s [4 4:2 4]]", (*call).offsetForLeaderEpoch)
}

func (c *call) offsetForLeaderEpoch(_ context.Context, req *kmsg.OffsetForLeaderEpochRequest) kmsg.Response {
	resp := kmsg.NewPtrOffsetForLeaderEpochResponse()
	brokers := c.allowsCluster(kmsg.ACLOperationClusterAction) // followers ask too, and may about all
	for i := range req.Topics {
		t := kmsg.NewOffsetForLeaderEpochResponseTopic()
		t.Topic = req.Topics[i].Topic
		var err error
		if !brokers {
			_, err = c.topicFor(kmsg.ACLOperationDescribe, t.Topic, [16]byte{}, false)
		}
		for j := range req.Topics[i].Partitions {
			p := &req.Topics[i].Partitions[j]
			a := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			a.Partition, a.LeaderEpoch, a.EndOffset = p.Partition, -1, -1
			err := err
			if err == nil {
				var epoch int32
				var end int64
				if epoch, end, err = c.backend.EpochEnd(t.Topic, p.Partition, p.CurrentLeaderEpoch, p.LeaderEpoch); err == nil {
					a.LeaderEpoch, a.EndOffset = epoch, end
				}
			}
			a.ErrorCode = c.code(err)
			t.Partitions = append(t.Partitions, a)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}
