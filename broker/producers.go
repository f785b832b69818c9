package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/broker/record"
)

// producerIDBlock is how many producer ids a node takes from the metadata shard at
// a time, as in Kafka. What is left of a block when the node ends is never used.
const producerIDBlock = 1000

// producerIDs are the ids that this node may still hand out: [next, end).
type producerIDs struct {
	mu        sync.Mutex
	next, end int64
}

// InitProducerID implements kafka.Producers. A producer without a transactional id
// gets a new id whatever it had before: it raises its epoch itself (KIP-360).
func (b *Broker) InitProducerID(ctx context.Context) (int64, int16, error) {
	p := &b.producerIDs
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == p.end {
		// Written in the loop, read only when that is done.
		var from, to int64
		err := b.changeMetadata(ctx, func(c *cluster.Controller) (cmd record.Command, err error) {
			cmd, from, to, err = c.AllocateProducerIDs(b.cfg.NodeID, producerIDBlock)
			return cmd, err
		})
		if errors.Is(err, kerr.NotController) {
			// Clients ask any node, and try again: as in Kafka.
			err = fmt.Errorf("%w: %w", kerr.CoordinatorLoadInProgress, err)
		}
		if err != nil {
			return -1, -1, fmt.Errorf("taking a block of producer ids: %w", err)
		}
		p.next, p.end = from, to
	}
	id := p.next
	p.next++
	return id, 0, nil
}
