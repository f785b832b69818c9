package sdk

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// offsetFetchByName is the last version of OffsetFetch that answers with topic
// names; later ones answer with ids, which the hook below could not translate.
const offsetFetchByName = 9

// rebalanceOptions hooks the consumer into the group.
func (c *Consumer) rebalanceOptions() []kgo.Opt {
	versions := kversion.Tip()
	versions.SetMaxKeyVersion(kmsg.OffsetFetch.Int16(), offsetFetchByName)
	return []kgo.Opt{
		kgo.MaxVersions(versions),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, ps map[string][]int32) { c.assign(ps) }),
		kgo.OnOffsetsFetched(func(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
			c.resume(resp)
			return nil
		}),
		kgo.OnPartitionsRevoked(func(ctx context.Context, _ *kgo.Client, ps map[string][]int32) { c.revoke(ctx, ps) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, ps map[string][]int32) { c.lose(ps) }),
	}
}

// assign makes room for partitions that this member got.
func (c *Consumer) assign(ps map[string][]int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	each(ps, func(tp topicPartition) {
		p := &partition{topicPartition: tp, tracker: newTracker(nowhere), committed: nowhere, drained: make(chan struct{})}
		p.ctx, p.cancel = context.WithCancelCause(context.Background())
		c.assigned[tp] = p
		delete(c.missing, tp.topic)
	})
}

// resume begins the new partitions where the group left them: it comes after
// assign and before the first fetch.
func (c *Consumer) resume(resp *kmsg.OffsetFetchResponse) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			for _, f := range t.Partitions {
				p := c.assigned[topicPartition{t.Topic, f.Partition}]
				if p == nil || f.ErrorCode != 0 || f.Offset < 0 {
					continue
				}
				var metadata string
				if f.Metadata != nil {
					metadata = *f.Metadata
				}
				p.committed = position{offset: f.Offset, epoch: f.LeaderEpoch, metadata: metadata}
				p.tracker = newTracker(p.committed)
			}
		}
	}
}

// revoke gives partitions back in good order: no new handlers, wait for those that
// run, commit, let go. The group waits for it.
func (c *Consumer) revoke(ctx context.Context, ps map[string][]int32) {
	gone := c.closePartitions(ps)
	c.mu.Lock()
	drained := c.stopping // leave has done it
	c.mu.Unlock()
	if !drained {
		c.drain(gone, c.config.drain)
	}
	c.commit(ctx, gone)
	c.release(gone)
}

// lose drops partitions that already belong to somebody else, who has begun at
// the committed offsets.
func (c *Consumer) lose(ps map[string][]int32) {
	gone := c.closePartitions(ps)
	for _, p := range gone {
		p.cancel(ErrRevoked)
	}
	c.release(gone)
}

// closePartitions stops new handlers in partitions.
func (c *Consumer) closePartitions(ps map[string][]int32) []*partition {
	c.mu.Lock()
	defer c.mu.Unlock()
	var closed []*partition
	each(ps, func(tp topicPartition) {
		if p := c.assigned[tp]; p != nil {
			p.close()
			closed = append(closed, p)
		}
	})
	return closed
}

// close needs Consumer.mu.
func (p *partition) close() {
	if p.closing {
		return
	}
	p.closing = true
	if p.running == 0 {
		close(p.drained)
	}
}

// drain waits for the handlers of closed partitions: for limit, then it ends their
// contexts and waits a last moment. What still runs is abandoned, and told.
func (c *Consumer) drain(ps []*partition, limit time.Duration) (abandoned int) {
	soft, last := time.NewTimer(limit), time.NewTimer(limit+lastGrace)
	defer soft.Stop()
	defer last.Stop()
	expired, over := false, false
	for _, p := range ps {
		if !expired {
			select {
			case <-p.drained:
				continue
			case <-soft.C:
				expired = true
				for _, p := range ps {
					p.cancel(ErrRevoked)
				}
			}
		}
		if !over {
			select {
			case <-p.drained:
				continue
			case <-last.C:
				over = true
			}
		}
		c.mu.Lock()
		running := p.running
		c.mu.Unlock()
		if running > 0 {
			abandoned += running
			c.config.listen(HandlersAbandoned{Topic: p.topic, Partition: p.topicPartition.partition, Running: running})
		}
	}
	return abandoned
}

// release forgets partitions.
func (c *Consumer) release(ps []*partition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range ps {
		p.cancel(ErrRevoked)
		if c.assigned[p.topicPartition] == p {
			delete(c.assigned, p.topicPartition)
		}
		if p.paused {
			c.client.ResumeFetchPartitions(p.asMap())
		}
	}
	wake(c.wakeHandlers)
	wake(c.wakePoll)
}

func each(ps map[string][]int32, f func(topicPartition)) {
	for topic, numbers := range ps {
		for _, n := range numbers {
			f(topicPartition{topic, n})
		}
	}
}
