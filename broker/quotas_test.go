package broker

import (
	"context"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/quota"
	"github.com/splashdam/splashdam/internal/vfs"
)

// TestQuotasAreRememberedOverARestart: they are in the metadata shard, what was taken
// is not.
func TestQuotasAreRememberedOverARestart(t *testing.T) {
	disk := vfs.NewMem()
	everybody := quota.Entity{User: quota.Everybody()}
	within(t, Config{FS: disk}, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		changes := []quota.Change{{Key: quota.ControllerMutationRate, Value: 1}}
		must(t, n.AlterQuotas(ctx, everybody, changes, true))
		if len(n.Quotas()) > 0 {
			t.Error("what was only to be checked is done")
		}
		must(t, n.AlterQuotas(ctx, everybody, changes, false))
	})
	within(t, Config{FS: disk}, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		must(t, ask.createTopic(ctx, orders, 20))
		if err := ask.createTopic(ctx, "more", 1); !errors.Is(err, kerr.ThrottlingQuotaExceeded) {
			t.Errorf("over the quota: %v", err)
		}
		must(t, n.AlterQuotas(ctx, everybody, []quota.Change{{Key: quota.ControllerMutationRate}}, false))
		if len(n.Quotas()) > 0 {
			t.Errorf("left are %v", n.Quotas())
		}
	})
}
