package broker

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/kafka"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
	"github.com/splashdam/splashdam/txn"
)

// slowMarkers is a node whose markers take their time.
type slowMarkers struct {
	*Broker
	wait  time.Duration
	under sync.WaitGroup
}

func (s *slowMarkers) WriteMarker(m txn.Marker, done func(error)) {
	s.under.Go(func() {
		time.Sleep(s.wait)
		s.Broker.WriteMarker(m, done)
	})
}

// endingLate commits a transaction whose markers come that much later than the answer. s is its
// coordinator.
func (n *node) endingLate(t *testing.T, ctx context.Context, markers time.Duration) (x *transactor, s *Shard, slow *slowMarkers) {
	t.Helper()
	x = n.transactor(t, "next", true)
	must(t, x.init(ctx))
	must(t, x.produce(ctx, "t", 0, "first"))
	s, err := n.coordinatingTransaction(x.id)
	must(t, err)
	slow = &slowMarkers{Broker: n.Broker, wait: markers}
	must(t, s.host.Do(ctx, func() { s.peers = slow }))
	must(t, x.finish(ctx, true))
	x.close()
	return x, s, slow
}

// TestTheNextTransactionWaitsForTheEndOfTheOneBefore sends three batches of the next
// transaction as soon as the end of one is answered, when its markers are still to come.
func TestTheNextTransactionWaitsForTheEndOfTheOneBefore(t *testing.T) {
	for name, test := range map[string]struct {
		markers, least, most time.Duration
		want                 error
	}{
		"which comes soon": {30 * time.Millisecond, 20 * time.Millisecond, 90 * time.Millisecond, nil},
		"which takes long": {time.Minute, endingPatience, 2 * endingPatience, kerr.ConcurrentTransactions},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, ctx context.Context, n *node, _ *vfs.Mem) {
				x, s, slow := n.endingLate(t, ctx, test.markers)
				defer slow.under.Wait()
				began := time.Now()
				answers := make(chan kafka.Appended, 3)
				for i := range 3 {
					n.Append(kafka.AppendRequest{Topic: "t", Partition: 0, Acks: -1, TransactionalID: x.id, AddsPartition: true, Batch: record.Build(record.BuildOptions{
						BaseTimestamp: time.Now().UnixMilli(), ProducerID: x.producer, ProducerEpoch: x.epoch, BaseSequence: int32(i), Transactional: true,
					}, []record.Record{{Value: []byte("next")}})}, func(a kafka.Appended) { answers <- a })
				}
				for i := range 3 {
					a := <-answers
					waited := time.Since(began)
					if !errors.Is(a.Err, test.want) || i == 0 && (waited < test.least || waited > test.most) {
						t.Errorf("batch %d is answered after %v with %v, want %v", i, waited, a.Err, test.want)
					}
				}
				// The marker that comes late has ended the first transaction and no more.
				time.Sleep(2 * test.markers)
				y := n.transactor(t, "next", true)
				must(t, y.init(ctx))
				if got, err := y.readCommitted(ctx, "t", 0); err != nil || len(got) != 1 || got[0] != "first" {
					t.Errorf("committed are %q (%v), want the first only: what came behind was never ended", got, err)
				}
				y.close()
				must(t, s.host.Do(ctx, func() {
					if len(s.endings) > 0 {
						t.Errorf("somebody waits still: %v", s.endings)
					}
				}))
			})
		})
	}
}

// TestWhoWaitsForAnEndIsToldThatTheLeadIsLost ends a shard under a batch that waits.
func TestWhoWaitsForAnEndIsToldThatTheLeadIsLost(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, n *node, _ *vfs.Mem) {
		x, s, slow := n.endingLate(t, ctx, time.Second)
		defer slow.under.Wait()
		told := make(chan error, 1)
		n.Enlist(x.id, txn.Enlistment{Identity: txn.Identity{Producer: x.producer, Epoch: x.epoch}, Partitions: []record.PartitionID{1}}, func(err error) { told <- err })
		time.Sleep(10 * time.Millisecond)
		must(t, s.host.Do(ctx, func() { s.abandon(kerr.NotCoordinator, everything) }))
		if err := <-told; !errors.Is(err, kerr.NotCoordinator) {
			t.Errorf("it is told %v", err)
		}
	})
}
