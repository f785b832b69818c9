package kafka

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterPartitionAssignments, which Kafka calls AlterPartitionReassignments, asks for
// other replicas of partitions (KIP-455). A partition is where its shard is, and shards
// move as a whole: only the replicas that a partition has can be asked for.
//
//	0    flexible
//	1    whether the number of replicas may change (KIP-860)
func alterPartitionAssignmentsAPI() *api {
	return waiting(kmsg.AlterPartitionAssignments, 0, 1, "4 1:1 [s [4 (4)]]", (*call).alterPartitionAssignments)
}

func (c *call) alterPartitionAssignments(_ context.Context, req *kmsg.AlterPartitionAssignmentsRequest) kmsg.Response {
	resp := kmsg.NewPtrAlterPartitionAssignmentsResponse()
	resp.AllowReplicationFactorChange = req.AllowReplicationFactorChange
	for i := range req.Topics {
		t := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		t.Topic = req.Topics[i].Topic
		topic, missing := c.backend.Topic(t.Topic)
		for _, asked := range req.Topics[i].Partitions {
			err := nameless(missing)
			if err == nil {
				err = reassignment(topic, asked.Partition, asked.Replicas)
			}
			p := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			p.Partition, p.ErrorCode, p.ErrorMessage = asked.Partition, c.code(err), message(err)
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// reassignment errors unless a partition has these replicas. None, null, asks for what
// is under way to be called off.
func reassignment(t Topic, partition int32, replicas []int32) error {
	switch {
	case partition < 0 || int(partition) >= len(t.Partitions):
		return fmt.Errorf("topic %q has no partition %d: %w", t.Name, partition, kerr.UnknownTopicOrPartition)
	case replicas == nil:
		return fmt.Errorf("topic %q partition %d is not being moved: %w", t.Name, partition, kerr.NoReassignmentInProgress)
	}
	asked, has := slices.Sorted(slices.Values(replicas)), slices.Sorted(slices.Values(t.Partitions[partition].Replicas))
	if !slices.Equal(asked, has) {
		return fmt.Errorf("topic %q partition %d: replicas %v: its shard has %v, and partitions do not move alone: %w", t.Name, partition, replicas, has, kerr.InvalidReplicaAssignment)
	}
	return nil
}
