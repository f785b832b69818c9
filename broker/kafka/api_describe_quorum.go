package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeQuorum shows the replicas of the cluster's metadata, by Kafka's name for its
// log (KIP-595). Only the node that leads them answers.
//
//	0
//	1    when a replica was heard of, and when it had all (KIP-836)
//	2    texts of errors, the addresses of the voters, ids of directories, of which there
//	     are none (KIP-853)
func describeQuorumAPI() *api {
	return waiting(kmsg.DescribeQuorum, 0, 2, "[s [4]]", (*call).describeQuorum)
}

// metadataTopic is what Kafka's tools ask for; it is no topic that can be read.
const metadataTopic = "__cluster_metadata"

func (c *call) describeQuorum(ctx context.Context, req *kmsg.DescribeQuorumRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeQuorumResponse()
	fail := func(err error) kmsg.Response {
		resp.ErrorCode, resp.ErrorMessage = c.code(err), message(err)
		return resp
	}
	if err := c.mayCluster(kmsg.ACLOperationDescribe); err != nil {
		return fail(err)
	}
	if !asksForMetadata(req) {
		for i := range req.Topics {
			resp.Topics = append(resp.Topics, c.noQuorum(&req.Topics[i]))
		}
		return resp
	}
	q, err := c.backend.Quorum(ctx)
	if err != nil {
		return fail(err)
	}
	p := kmsg.NewDescribeQuorumResponseTopicPartition()
	p.LeaderID, p.LeaderEpoch, p.HighWatermark = q.Leader, q.Epoch, q.HighWatermark
	p.CurrentVoters, p.Observers = states(q.Voters), states(q.Observers)
	resp.Topics = []kmsg.DescribeQuorumResponseTopic{{Topic: metadataTopic, Partitions: []kmsg.DescribeQuorumResponseTopicPartition{p}}}
	for _, n := range c.backend.Nodes(c.conn.peer.Listener) {
		node := kmsg.NewDescribeQuorumResponseNode()
		node.NodeID = n.ID
		node.Listeners = []kmsg.DescribeQuorumResponseNodeListener{{Name: c.conn.peer.Listener, Host: n.Host, Port: uint16(n.Port)}}
		resp.Nodes = append(resp.Nodes, node)
	}
	return resp
}

// asksForMetadata says whether a request is for the one partition that there is; as in
// Kafka one that is for others besides is for none.
func asksForMetadata(req *kmsg.DescribeQuorumRequest) bool {
	return len(req.Topics) == 1 && req.Topics[0].Topic == metadataTopic &&
		len(req.Topics[0].Partitions) == 1 && req.Topics[0].Partitions[0].Partition == 0
}

func (c *call) noQuorum(asked *kmsg.DescribeQuorumRequestTopic) kmsg.DescribeQuorumResponseTopic {
	t := kmsg.NewDescribeQuorumResponseTopic()
	t.Topic = asked.Topic
	for _, a := range asked.Partitions {
		p := kmsg.NewDescribeQuorumResponseTopicPartition()
		err := fmt.Errorf("only partition 0 of %s has a quorum to describe, and is asked for alone: %w", metadataTopic, kerr.UnknownTopicOrPartition)
		p.Partition, p.ErrorCode, p.ErrorMessage = a.Partition, c.code(err), message(err)
		t.Partitions = append(t.Partitions, p)
	}
	return t
}

func states(replicas []QuorumReplica) []kmsg.DescribeQuorumResponseTopicPartitionReplicaState {
	var all []kmsg.DescribeQuorumResponseTopicPartitionReplicaState
	for _, r := range replicas {
		s := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
		s.ReplicaID, s.LogEndOffset, s.LastFetchTimestamp, s.LastCaughtUpTimestamp = r.Node, r.LogEnd, r.HeardMs, r.CaughtUpMs
		all = append(all, s)
	}
	return all
}
