package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ElectLeaders asks for leaders to be elected (KIP-183, KIP-460). Shards elect their
// leaders by Raft, with nobody's help, and no replica is preferred: where there is a
// leader no election is needed.
//
//	0    preferred replicas
//	1    the kind of election; an error code for the whole answer
//	2    flexible
func electLeadersAPI() *api {
	return waiting(kmsg.ElectLeaders, 0, 2, "1:1 [s (4)] 4", (*call).electLeaders)
}

// lastElectionType is the last of Kafka's kinds of elections: preferred and unclean.
const lastElectionType = 1

func (c *call) electLeaders(_ context.Context, req *kmsg.ElectLeadersRequest) kmsg.Response {
	resp := kmsg.NewPtrElectLeadersResponse()
	refused := c.mayCluster(kmsg.ACLOperationAlter)
	if resp.ErrorCode = c.code(refused); refused == nil && (req.ElectionType < 0 || req.ElectionType > lastElectionType) {
		refused = fmt.Errorf("election type %d, there are 0 (preferred) and 1 (unclean): %w", req.ElectionType, kerr.InvalidRequest)
		resp.ErrorCode = c.code(refused)
	}
	if req.Topics == nil && refused == nil { // as Kafka: of all partitions, those where an election was needed
		for _, t := range c.backend.Topics() {
			req.Topics = append(req.Topics, kmsg.ElectLeadersRequestTopic{Topic: t.Name})
		}
	}
	for i := range req.Topics {
		t := kmsg.NewElectLeadersResponseTopic()
		t.Topic = req.Topics[i].Topic
		var topic Topic
		missing := refused
		if refused == nil {
			topic, missing = c.backend.Topic(t.Topic)
		}
		for _, n := range req.Topics[i].Partitions {
			err := refused
			if err == nil {
				err = election(topic, nameless(missing), n)
			}
			p := kmsg.NewElectLeadersResponseTopicPartition()
			p.Partition, p.ErrorCode, p.ErrorMessage = n, c.code(err), message(err)
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// election is the outcome for one partition, never nil.
func election(t Topic, missing error, partition int32) error {
	switch {
	case missing != nil:
		return missing
	case partition < 0 || int(partition) >= len(t.Partitions):
		return fmt.Errorf("topic %q has no partition %d: %w", t.Name, partition, kerr.UnknownTopicOrPartition)
	case t.Partitions[partition].Leader < 0:
		return fmt.Errorf("topic %q partition %d: its shard is electing a leader: %w", t.Name, partition, kerr.EligibleLeadersNotAvailable)
	}
	return fmt.Errorf("topic %q partition %d has a leader: %w", t.Name, partition, kerr.ElectionNotNeeded)
}
