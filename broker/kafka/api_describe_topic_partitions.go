package kafka

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeTopicPartitions says who leads which partition, a page at a time (KIP-966). The
// pages are in the order of the topics' names; a cursor says where the next one begins.
//
//	0    flexible
func describeTopicPartitionsAPI() *api {
	return waiting(kmsg.DescribeTopicPartitions, 0, 0, "[s] 4 <s 4>", (*call).describeTopicPartitions)
}

// maxDescribedPartitions bounds a page, Kafka's max.request.partition.size.limit.
const maxDescribedPartitions = 2000

func (c *call) describeTopicPartitions(_ context.Context, req *kmsg.DescribeTopicPartitionsRequest) kmsg.Response {
	names := make([]string, 0, len(req.Topics))
	for i := range req.Topics {
		names = append(names, req.Topics[i].Topic)
	}
	if cursor := req.Cursor; cursor != nil && (cursor.Partition < 0 || len(names) > 0 && !slices.Contains(names, cursor.Topic)) {
		return c.misplaced(req)
	}
	if len(names) == 0 {
		for _, t := range c.backend.Topics() {
			if c.allows(kmsg.ACLOperationDescribe, onTopic, t.Name) {
				names = append(names, t.Name)
			}
		}
	}
	slices.Sort(names)
	p := page{call: c, room: max(1, min(int(req.ResponsePartitionLimit), maxDescribedPartitions))}
	p.metadata = &describer{call: c, req: &kmsg.MetadataRequest{IncludeTopicAuthorizedOperations: true}, nodes: make(map[int32]bool)}
	for _, n := range c.backend.Nodes(c.conn.peer.Listener) {
		p.metadata.nodes[n.ID] = true
	}
	resp := kmsg.NewPtrDescribeTopicPartitionsResponse()
	for _, name := range slices.Compact(names) {
		from := int32(0)
		if cursor := req.Cursor; cursor != nil {
			switch strings.Compare(name, cursor.Topic) {
			case -1:
				continue
			case 0:
				from = cursor.Partition
			}
		}
		if p.room == 0 {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name, Partition: from}
			break
		}
		t, next := p.topic(name, from)
		resp.Topics = append(resp.Topics, t)
		if next >= 0 {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name, Partition: next}
			break
		}
	}
	return resp
}

// misplaced answers a request whose cursor is nowhere: as in Kafka it is invalid as a
// whole. Where all topics are asked for, that of the cursor says so.
func (c *call) misplaced(req *kmsg.DescribeTopicPartitionsRequest) kmsg.Response {
	err := fmt.Errorf("the cursor is at partition %d of topic %q, which is not asked for: %w", req.Cursor.Partition, req.Cursor.Topic, kerr.InvalidRequest)
	topics := req.Topics
	if len(topics) == 0 {
		topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: req.Cursor.Topic}}
	}
	resp := kmsg.NewPtrDescribeTopicPartitionsResponse()
	for i := range topics {
		t := kmsg.NewDescribeTopicPartitionsResponseTopic()
		t.Topic, t.ErrorCode = &topics[i].Topic, c.code(err)
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// page is an answer that is being filled.
type page struct {
	*call
	metadata *describer
	room     int // partitions
}

// topic describes the partitions of a topic from a number on, as far as there is room.
// next is the first that has none, -1 if all have.
func (p *page) topic(name string, from int32) (a kmsg.DescribeTopicPartitionsResponseTopic, next int32) {
	a = kmsg.NewDescribeTopicPartitionsResponseTopic()
	a.Topic = &name
	t, err := p.topicNamed(kmsg.ACLOperationDescribe, name)
	if err != nil {
		a.ErrorCode, a.AuthorizedOperations = p.code(err), p.operations(!isRefusal(err), onTopic, name)
		return a, -1
	}
	m := p.metadata.topic(t)
	a.TopicID, a.IsInternal, a.AuthorizedOperations = m.TopicID, m.IsInternal, m.AuthorizedOperations
	for _, q := range m.Partitions[min(int(from), len(m.Partitions)):] {
		if p.room == 0 {
			return a, q.Partition
		}
		p.room--
		d := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
		d.ErrorCode, d.Partition, d.LeaderID, d.LeaderEpoch = q.ErrorCode, q.Partition, q.Leader, q.LeaderEpoch
		d.Replicas, d.ISR, d.OfflineReplicas = q.Replicas, q.ISR, q.OfflineReplicas
		d.EligibleLeaderReplicas, d.LastKnownELR = []int32{}, []int32{} // Raft elects whoever has all
		a.Partitions = append(a.Partitions, d)
	}
	return a, -1
}
