package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/partition"
	"github.com/splashdam/splashdam/broker/record"
)

// This file decides where partitions' logs begin: by age and by size. It is done by
// whoever leads a shard, by the clock of its entries, to the batch; what is decided is a command in the
// log, so that all replicas agree. Deleting the bytes is the cleaner's business.

// retention remembers the sizes of partitions, so that each batch is counted once. It
// belongs to the cleaner's goroutine.
type retention map[record.PartitionID]extent

// extent is the bytes of a partition's batches from start to end.
type extent struct{ start, end, bytes int64 }

// retain moves the log starts of a shard's partitions to where retention.ms and
// retention.bytes say, if this node leads the shard.
func (b *Broker) retain(ctx context.Context, s *Shard, sizes retention) error {
	if !s.status.Load().leading {
		return nil
	}
	now, err := s.leaderTime(ctx)
	if err != nil {
		return err
	}
	v := b.view()
	settings := make(map[*cluster.Topic]cluster.TopicSettings)
	bounds := s.openBounds()
	for p := range sizes {
		if _, open := bounds[p]; !open {
			delete(sizes, p)
		}
	}
	var changes []partitionChange
	var errs []error
	for p, at := range bounds {
		t, _, ok := v.Partition(p)
		if !ok {
			continue
		}
		set, known := settings[t]
		if !known {
			set = b.settings().Topic(t)
			settings[t] = set
		}
		if !set.Expires {
			continue
		}
		start, err := sizes.start(s.log, p, at, set, now)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if start > at.LogStart {
			changes = append(changes, partitionChange{id: p, command: partition.LogStartCommand(start)})
		}
	}
	return errors.Join(append(errs, s.changePartitions(ctx, changes))...)
}

// leaderTime is the clock by which entries are decided: the leader's own, and what was
// last heard of it elsewhere.
func (s *Shard) leaderTime(ctx context.Context) (now int64, err error) {
	err = s.host.Do(ctx, func() {
		if now = s.time; s.leading != nil {
			now = s.clock.now()
		}
	})
	return now, err
}

// changePartitions proposes changes and waits until they are applied.
func (s *Shard) changePartitions(ctx context.Context, changes []partitionChange) error {
	for len(changes) > 0 {
		n := min(len(changes), maxChangesPerEntry)
		done := make(chan error, 1)
		if err := s.submit(&partitionItem{changes: changes[:n], done: func(err error) { done <- err }}); err != nil {
			return err
		}
		select {
		case err := <-done:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		changes = changes[n:]
	}
	return nil
}

// openBounds is where the open partitions that are not hidden begin and end.
func (s *Shard) openBounds() map[record.PartitionID]partition.Bounds {
	s.mu.RLock()
	defer s.mu.RUnlock()
	bounds := make(map[record.PartitionID]partition.Bounds, s.partitions.Len())
	s.partitions.Each(func(p record.PartitionID, b partition.Bounds) {
		if !p.Hidden() {
			bounds[p] = b
		}
	})
	return bounds
}

// start is where a partition's log should begin.
func (sizes retention) start(log *commitlog.Log, p record.PartitionID, at partition.Bounds, set cluster.TopicSettings, now int64) (int64, error) {
	start := at.LogStart
	if set.RetentionMs >= 0 {
		var err error
		if start, err = log.OlderThan(p, now-set.RetentionMs, start, at.HighWatermark); err != nil {
			return start, err
		}
	}
	if set.RetentionBytes < 0 {
		delete(sizes, p)
		return start, nil
	}
	x, known := sizes[p]
	if !known || x.start != at.LogStart || set.Compacted {
		x = extent{start: at.LogStart, end: at.LogStart}
	}
	x, err := x.fit(log, p, start, at.HighWatermark, set.RetentionBytes)
	if err == nil {
		sizes[p] = x
	}
	return x.start, err
}

// fit grows an extent up to end, and cuts it at the front to start, and then as long
// as what is left has at least most bytes: as in Kafka a partition is never cut below
// its retention.bytes.
func (x extent) fit(log *commitlog.Log, p record.PartitionID, start, end, most int64) (extent, error) {
	err := log.Batches(p, x.end, func(b commitlog.BatchInfo) bool {
		if b.Next > end {
			return false
		}
		x.bytes += int64(b.Size)
		return true
	})
	if err != nil {
		return x, err
	}
	x.end = end
	err = log.Batches(p, x.start, func(b commitlog.BatchInfo) bool {
		if b.Next > end || b.Next > start && x.bytes-int64(b.Size) < most {
			return false
		}
		x.bytes -= int64(b.Size)
		x.start = b.Next
		return true
	})
	x.start = max(x.start, start)
	return x, err
}

// DeleteRecords implements kafka.Partitions.
func (b *Broker) DeleteRecords(ctx context.Context, topic string, p int32, before int64) (int64, error) {
	at, err := b.locate(topic, p)
	if err != nil {
		return -1, err
	}
	if internalTopic(topic) {
		return -1, fmt.Errorf("topic %q is internal, its records cannot be deleted: %w", topic, kerr.InvalidTopicException)
	}
	if !b.settings().Topic(at.topic).Expires {
		return -1, fmt.Errorf("the cleanup.policy of topic %q does not contain delete: %w", topic, kerr.PolicyViolation)
	}
	err = at.shard.propose(ctx, at.id, func(*leading, *pending) (record.Command, error) {
		bounds, open := at.shard.partitions.Bounds(at.id)
		switch {
		case !open:
			return nil, fmt.Errorf("the partition is not open: %w", kerr.UnknownTopicOrPartition)
		case before == deleteAll:
			return partition.LogStartCommand(bounds.HighWatermark), nil
		case before < 0 || before > bounds.HighWatermark:
			return nil, fmt.Errorf("offset %d is outside [%d, %d]: %w", before, bounds.LogStart, bounds.HighWatermark, kerr.OffsetOutOfRange)
		case before <= bounds.LogStart:
			return nil, nil
		}
		return partition.LogStartCommand(before), nil
	})
	if err != nil {
		return -1, fmt.Errorf("topic %q partition %d: %w", topic, p, err)
	}
	return at.shard.bounds(at.id).LogStart, nil
}

// deleteAll is what DeleteRecords calls the high watermark.
const deleteAll = -1
