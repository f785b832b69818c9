package broker

import (
	"context"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/record"
)

// partitionSizes remembers what was counted of partitions' batches, so that each batch is
// counted once however often clients ask. The zero value is ready; its methods may be
// called concurrently.
type partitionSizes struct {
	mu sync.Mutex
	of map[record.PartitionID]extent
}

func (s *partitionSizes) known(p record.PartitionID) extent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[p]
}

// maxSizes bounds the partitions whose size is remembered, those of deleted topics
// among them; with more all are counted anew.
const maxSizes = 1 << 20

// remember keeps an extent.
func (s *partitionSizes) remember(p record.PartitionID, x extent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil || len(s.of) >= maxSizes {
		s.of = make(map[record.PartitionID]extent)
	}
	s.of[p] = x
}

// PartitionSize implements kafka.Partitions.
func (b *Broker) PartitionSize(ctx context.Context, topic string, p int32) (int64, error) {
	at, err := b.locate(topic, p)
	if err != nil {
		return 0, err
	}
	if !at.shard.isOpen(at.id) {
		return 0, fmt.Errorf("topic %q partition %d is not open: %w", topic, p, kerr.UnknownTopicOrPartition)
	}
	bounds := at.shard.bounds(at.id)
	x := b.sizes.known(at.id)
	if x.start != bounds.LogStart || b.settings().Topic(at.topic).Compacted {
		x = extent{start: bounds.LogStart, end: bounds.LogStart} // some are gone
	}
	err = at.shard.log.Batches(at.id, x.end, func(i commitlog.BatchInfo) bool {
		if i.Next > bounds.HighWatermark || ctx.Err() != nil {
			return false
		}
		x.bytes, x.end = x.bytes+int64(i.Size), i.Next
		return true
	})
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return 0, fmt.Errorf("counting the batches of topic %q partition %d: %w", topic, p, err)
	}
	b.sizes.remember(at.id, x)
	return x.bytes, nil
}

// LogDir implements kafka.Partitions.
func (b *Broker) LogDir() (dir string, free int64, err error) {
	free, err = b.cfg.FS.Free(b.cfg.Dir)
	return b.cfg.Dir, free, err
}
