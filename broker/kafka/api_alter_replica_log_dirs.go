package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterReplicaLogDirs moves replicas of this node to another of its directories (KIP-113).
// There is one directory, so a replica is there already, or the directory is none of this
// node's.
//
//	1    throttling happens after the answer (KIP-219)
//	2    flexible
func alterReplicaLogDirsAPI() *api {
	return waiting(kmsg.AlterReplicaLogDirs, 1, 2, "[s [s (4)]]", (*call).alterReplicaLogDirs)
}

func (c *call) alterReplicaLogDirs(_ context.Context, req *kmsg.AlterReplicaLogDirsRequest) kmsg.Response {
	refused := c.mayCluster(kmsg.ACLOperationAlter)
	own, _, _ := c.backend.LogDir() // how much is free there, and whether that is known, does not count
	resp := kmsg.NewPtrAlterReplicaLogDirsResponse()
	at := make(map[string]int) // topics in the answer
	answered := make(map[TopicPartition]bool)
	for i := range req.Dirs {
		to := &req.Dirs[i]
		for j := range to.Topics {
			name := to.Topics[j].Topic
			for _, n := range to.Topics[j].Partitions {
				if !first(answered, TopicPartition{name, n}) {
					continue
				}
				err := refused
				if err == nil {
					err = c.move(name, n, to.Dir, own)
				}
				k, ok := at[name]
				if !ok {
					k = len(resp.Topics)
					at[name] = k
					t := kmsg.NewAlterReplicaLogDirsResponseTopic()
					t.Topic = name
					resp.Topics = append(resp.Topics, t)
				}
				p := kmsg.NewAlterReplicaLogDirsResponseTopicPartition()
				p.Partition, p.ErrorCode = n, c.code(err)
				resp.Topics[k].Partitions = append(resp.Topics[k].Partitions, p)
			}
		}
	}
	return resp
}

// move is what comes of moving a replica to a directory.
func (c *call) move(topic string, partition int32, to, own string) error {
	if to != own {
		return fmt.Errorf("directory %q is not that of this node: %w", to, kerr.LogDirNotFound)
	}
	t, err := c.described(topic, [16]byte{}, false)
	if err != nil || partition < 0 || int(partition) >= len(t.Partitions) || t.Partitions[partition].Leader < 0 {
		return fmt.Errorf("topic %q partition %d has no replica here: %w", topic, partition, kerr.ReplicaNotAvailable)
	}
	return nil
}
