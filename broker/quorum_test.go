package broker

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

func TestANodeAloneIsTheQuorumOfItsMetadata(t *testing.T) {
	within(t, Config{NodeID: 7}, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		before, err := n.Quorum(ctx)
		must(t, err)
		must(t, ask.createTopic(ctx, orders, 1))
		q, err := n.Quorum(ctx)
		must(t, err)
		if q.Leader != 7 || q.Epoch < 1 || len(q.Voters) != 1 || len(q.Observers) != 0 || q.HighWatermark <= before.HighWatermark {
			t.Fatalf("%+v, before a change %+v", q, before)
		}
		if v := q.Voters[0]; v.Node != 7 || v.LogEnd != q.HighWatermark || v.HeardMs != time.Now().UnixMilli() || v.CaughtUpMs != v.HeardMs {
			t.Errorf("%+v, committed up to %d", v, q.HighWatermark)
		}
		// One that does not lead sends clients on.
		n.meta.setStatus(func(st *status) { st.leading = false })
		if _, err := n.Quorum(ctx); !errors.Is(err, kerr.NotLeaderForPartition) {
			t.Errorf("without the lead: %v", err)
		}
		n.meta.setStatus(func(st *status) { st.leading = true })
	})
}
