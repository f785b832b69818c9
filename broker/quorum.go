package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/kafka"
)

// Quorum implements kafka.Cluster: the replicas of the metadata shard, as their leader
// knows them. Kafka's offsets there are Raft's indexes here: one for each entry.
func (b *Broker) Quorum(ctx context.Context) (kafka.Quorum, error) {
	var q kafka.Quorum
	leads := false
	err := b.meta.host.Do(ctx, func() {
		st := b.meta.status.Load()
		if leads = st.leading; !leads {
			return
		}
		now := time.Now().UnixMilli()
		committed, replicas := b.meta.host.Group()
		q = kafka.Quorum{Leader: b.cfg.NodeID, Epoch: st.term.LeaderEpoch(), HighWatermark: int64(committed) + 1}
		for _, r := range replicas {
			x := kafka.QuorumReplica{Node: int32(r.ID), LogEnd: int64(r.Match) + 1, HeardMs: -1, CaughtUpMs: -1}
			if x.Node == b.cfg.NodeID {
				x.HeardMs, x.CaughtUpMs = now, now
			}
			if r.Voter {
				q.Voters = append(q.Voters, x)
			} else {
				q.Observers = append(q.Observers, x)
			}
		}
	})
	switch {
	case err != nil:
		return q, fmt.Errorf("asking for the replicas of the metadata: %w", err)
	case !leads:
		return q, fmt.Errorf("this node does not lead the metadata, ask the controller: %w", kerr.NotLeaderForPartition)
	}
	return q, nil
}
