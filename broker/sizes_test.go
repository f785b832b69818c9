package broker

import (
	"context"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

func TestASizeIsThatOfTheBatchesThatAreLeft(t *testing.T) {
	within(t, Config{}, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		must(t, ask.createTopic(ctx, orders, 2))
		want := func(size int) {
			t.Helper()
			for range 2 { // what is remembered is as good as what is counted
				if got, err := n.PartitionSize(ctx, orders, 0); err != nil || got != int64(size) {
					t.Fatalf("size %d, %v; want %d", got, err, size)
				}
			}
		}
		want(0)
		first, second := batch(-1, 0, "one"), batch(-1, 0, "two", "three")
		for _, b := range [][]byte{first, second} {
			if _, err := ask.produce(ctx, orders, 0, b); err != nil {
				t.Fatal(err)
			}
		}
		want(len(first) + len(second))
		if _, err := ask.deleteRecords(t, orders, 0, 1); err != nil {
			t.Fatal(err)
		}
		want(len(second))
		if _, err := n.PartitionSize(ctx, orders, 2); !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Errorf("of no partition: %v", err)
		}
		stopped, stop := context.WithCancel(ctx)
		stop()
		if _, err := ask.produce(ctx, orders, 1, first); err != nil {
			t.Fatal(err)
		}
		if _, err := n.PartitionSize(stopped, orders, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("for nobody: %v", err)
		}
	})
}
