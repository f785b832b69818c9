package sdk

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// commit stores the positions of partitions that have changed since their last
// commit, and returns when the coordinator has answered. Failures are told to the
// listener and tried again with the next commit.
func (c *Consumer) commit(ctx context.Context, ps []*partition) error {
	c.commitMu.Lock()
	defer c.commitMu.Unlock()

	now := map[*partition]position{}
	offsets := map[string]map[int32]kgo.EpochOffset{}
	metadata := map[topicPartition]string{}
	c.mu.Lock()
	for _, p := range ps {
		at := p.tracker.position()
		if at.offset < 0 || at.offset == p.committed.offset && at.metadata == p.committed.metadata {
			continue
		}
		now[p] = at
		metadata[p.topicPartition] = at.metadata
		if offsets[p.topic] == nil {
			offsets[p.topic] = map[int32]kgo.EpochOffset{}
		}
		offsets[p.topic][p.topicPartition.partition] = kgo.EpochOffset{Epoch: at.epoch, Offset: at.offset}
	}
	client := c.client
	c.mu.Unlock()
	if len(now) == 0 {
		return nil
	}

	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	refused := map[topicPartition]error{}
	var failed error
	client.CommitOffsetsSync(kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		putMetadata(req, metadata)
		return nil
	}), offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		if failed = err; err == nil {
			refused = refusals(resp)
		}
	})

	c.mu.Lock()
	if failed == nil {
		for p, at := range now {
			if refused[p.topicPartition] == nil {
				p.committed = at
			}
		}
	}
	c.mu.Unlock()
	for tp, err := range refused {
		failed = errors.Join(failed, fmt.Errorf("topic %q partition %d: %w", tp.topic, tp.partition, err))
	}
	if failed != nil {
		c.config.listen(CommitFailed{Group: c.group, Err: failed})
	}
	return failed
}

func putMetadata(req *kmsg.OffsetCommitRequest, metadata map[topicPartition]string) {
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			m := metadata[topicPartition{t.Topic, t.Partitions[j].Partition}]
			t.Partitions[j].Metadata = &m
		}
	}
}

func refusals(resp *kmsg.OffsetCommitResponse) map[topicPartition]error {
	refused := map[topicPartition]error{}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				refused[topicPartition{t.Topic, p.Partition}] = err
			}
		}
	}
	return refused
}
