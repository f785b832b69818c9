package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeLogDirs says how much of the disk partitions take (KIP-113). All partitions of
// this node lie in one directory, in logs that they share: a partition's size is that of
// the batches that it still has.
//
//	1    throttling happens after the answer (KIP-219)
//	2    flexible
//	3    an error code for the whole answer
//	4    the size of the volume, which is not known here, and what is left of it (KIP-827)
//	5    whether the directory takes no new partitions (KIP-1066); it does
func describeLogDirsAPI() *api {
	return waiting(kmsg.DescribeLogDirs, 1, 5, "[s (4)]", (*call).describeLogDirs)
}

func (c *call) describeLogDirs(ctx context.Context, req *kmsg.DescribeLogDirsRequest) kmsg.Response {
	ctx, cancel := context.WithTimeout(ctx, c.limits.MaxAdminWait)
	defer cancel()
	if req.Topics == nil {
		for _, t := range c.backend.Topics() {
			asked := kmsg.DescribeLogDirsRequestTopic{Topic: t.Name}
			for p := range t.Partitions {
				asked.Partitions = append(asked.Partitions, int32(p))
			}
			req.Topics = append(req.Topics, asked)
		}
	}
	resp := kmsg.NewPtrDescribeLogDirsResponse()
	dir := kmsg.NewDescribeLogDirsResponseDir()
	var err error
	if dir.Dir, dir.UsableBytes, err = c.backend.LogDir(); err != nil {
		dir.ErrorCode = c.code(err)
	}
	seen := make(map[TopicPartition]bool)
	for i := range req.Topics {
		t := kmsg.NewDescribeLogDirsResponseDirTopic()
		t.Topic = req.Topics[i].Topic
		for _, n := range req.Topics[i].Partitions {
			if !first(seen, TopicPartition{t.Topic, n}) {
				continue
			}
			size, err := c.backend.PartitionSize(ctx, t.Topic, n)
			switch { // what is not here is left out, as in Kafka
			case err == nil:
				p := kmsg.NewDescribeLogDirsResponseDirTopicPartition()
				p.Partition, p.Size = n, size
				t.Partitions = append(t.Partitions, p)
			case !isCode(err, kerr.UnknownTopicOrPartition) && !isCode(err, kerr.NotLeaderForPartition):
				resp.ErrorCode = c.code(err)
				return resp
			}
		}
		if len(t.Partitions) > 0 {
			dir.Topics = append(dir.Topics, t)
		}
	}
	resp.Dirs = append(resp.Dirs, dir)
	return resp
}
