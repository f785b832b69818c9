package kafka

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

// leaderHints tells clients that came to the wrong node who leads instead, so
// that they need not ask for metadata first (KIP-951).
type leaderHints struct {
	call  *call
	nodes []Node // as listed for the listener, once asked for
	named []Node // those that a hint has named
}

// hint returns the leader and epoch to put beside an error code, -1 for none.
func (h *leaderHints) hint(t Topic, partition int32, code int16) (leader, epoch int32) {
	if code != kerr.NotLeaderForPartition.Code && code != kerr.FencedLeaderEpoch.Code {
		return -1, -1
	}
	if partition < 0 || int(partition) >= len(t.Partitions) {
		return -1, -1
	}
	p := t.Partitions[partition]
	if h.nodes == nil {
		h.nodes = h.call.backend.Nodes(h.call.conn.peer.Listener)
	}
	i := slices.IndexFunc(h.nodes, func(n Node) bool { return n.ID == p.Leader })
	if i < 0 {
		return -1, -1
	}
	if !slices.ContainsFunc(h.named, func(n Node) bool { return n.ID == p.Leader }) {
		h.named = append(h.named, h.nodes[i])
	}
	return p.Leader, p.LeaderEpoch
}

// optional is nil for an empty string, as a rack that is not set travels.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
