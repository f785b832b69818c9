package broker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/kafka"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/seeds"
	"github.com/splashdam/splashdam/internal/vfs"
	"github.com/splashdam/splashdam/txn"
)

// moody is a coordinator whose answers come in any order, after any time, or never, and
// behind whose back markers end what it has just spoken of.
type moody struct {
	*Broker
	producer int64
	epoch    int16

	mu      sync.Mutex
	random  *rand.Rand
	waiting sync.WaitGroup
	// How often it was asked, and said yes behind a marker, no, and nothing.
	asked, outdated, refused, silent int
}

func (c *moody) Enlist(_ string, e txn.Enlistment, done func(error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	var err error
	wait, marker := time.Duration(c.random.IntN(50))*time.Millisecond, false
	switch n := c.random.IntN(40); {
	case n < 12:
		c.outdated++
		marker = true
	case n < 14:
		c.refused++
		err = []error{kerr.ConcurrentTransactions, kerr.CoordinatorNotAvailable, kerr.NotCoordinator}[c.random.IntN(3)]
	case n < 15:
		c.silent++
		wait = 2 * verificationTimeout
	}
	if !marker && wait == 0 {
		done(err)
		return
	}
	c.waiting.Go(func() {
		time.Sleep(wait)
		if marker {
			<-c.mark(e.Partitions[0])
		}
		done(err)
	})
}

// mark ends the transaction in a partition.
func (c *moody) mark(p record.PartitionID) <-chan error {
	ended := make(chan error, 1)
	c.WriteMarker(txn.Marker{Partition: p, Producer: c.producer, Epoch: c.epoch, Commit: true}, func(err error) { ended <- err })
	return ended
}

// Whatever a coordinator answers, and whenever, no batch of a producer is refused because
// one that came later was decided on before it, and none waits for ever.
func TestBatchesOfATransactionKeepTheirOrderWhateverTheirCoordinatorAnswers(t *testing.T) {
	first, count := seeds.Range(t, 10, 300)
	var sum [4]int
	for seed := first; seed-first < count && !t.Failed(); seed++ {
		t.Logf("SPLASHDAM_TEST_SEED=%d", seed)
		inBubble(t, func(t *testing.T, ctx context.Context, n *node, _ *vfs.Mem) {
			x := n.transactor(t, "pipelined", false)
			must(t, x.init(ctx))
			x.close()
			at, err := n.locate("t", 0)
			must(t, err)
			c := &moody{Broker: n.Broker, producer: x.producer, epoch: x.epoch, random: rand.New(rand.NewPCG(seed, 1))}
			defer c.waiting.Wait()
			must(t, at.shard.host.Do(ctx, func() { at.shard.peers = c }))

			pace := rand.New(rand.NewPCG(seed, 2))
			const batches, pipelined = 60, 5
			for next, tries := 0, 0; next < batches; tries++ {
				if tries == 10*batches {
					t.Fatalf("batch %d of %d does not come through: the coordinator was asked %d times", next, batches, c.asked)
				}
				var answers []chan kafka.Appended
				for i := next; i < min(next+pipelined, batches); i++ {
					b := record.Build(record.BuildOptions{
						BaseTimestamp: time.Now().UnixMilli(), ProducerID: x.producer, ProducerEpoch: x.epoch, BaseSequence: int32(i), Transactional: true,
					}, []record.Record{{Value: fmt.Append(nil, i)}})
					answer := make(chan kafka.Appended, 1)
					answers = append(answers, answer)
					n.Append(kafka.AppendRequest{Topic: "t", Partition: 0, Acks: -1, TransactionalID: x.id, Batch: b}, func(a kafka.Appended) { answer <- a })
					time.Sleep(time.Duration(pace.IntN(20)) * time.Millisecond)
					if pace.IntN(3) == 0 {
						c.mark(at.id)
					}
				}
				failed := false
				began := time.Now()
				for i, answer := range answers {
					a := <-answer
					switch {
					case a.Err == nil && failed:
						t.Fatalf("batch %d went in before one that failed", next+i)
					case a.Err != nil && !failed && errors.Is(a.Err, kerr.OutOfOrderSequenceNumber):
						t.Fatalf("batch %d was overtaken: %v", next+i, a.Err)
					case a.Err != nil:
						failed = true
					}
					if !failed {
						answers[i] = nil
					}
				}
				if waited := time.Since(began); waited > time.Minute {
					t.Fatalf("the answers came after %v", waited)
				}
				for next < batches && len(answers) > 0 && answers[0] == nil {
					next, answers = next+1, answers[1:]
				}
			}
			c.waiting.Wait()
			synctest.Wait()
			for i, n := range []int{c.asked, c.outdated, c.refused, c.silent} {
				sum[i] += n
			}
			must(t, at.shard.host.Do(ctx, func() {
				if k := len(at.shard.verifying.lanes); k > 0 {
					t.Errorf("%d producers wait still", k)
				}
			}))
		})
	}
	t.Logf("asked %d times, %d of them outrun by a marker, %d refused, %d not answered", sum[0], sum[1], sum[2], sum[3])
	if count > 1 && !t.Failed() && (sum[1] == 0 || sum[2] == 0 || sum[3] == 0) {
		t.Error("that tries too little")
	}
}
