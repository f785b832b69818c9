package broker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/kafka"
	"github.com/splashdam/splashdam/internal/vfs"
)

// within runs a test of a node that is up, with one client, and of which nothing
// unusual is asked.
func within(t *testing.T, cfg Config, test func(ctx context.Context, t *testing.T, n *node, ask asker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if cfg.FS == nil {
			cfg.FS = vfs.NewMem()
		}
		if cfg.Settings == nil {
			cfg.Settings = settings(t, nil)
		}
		n := run(t, cfg)
		ask := n.asker(t)
		test(context.Background(), t, n, ask)
		n.shut(t)
	})
}

// TestOpeningAPartitionTwiceIsHarmless: who creates a topic and the reconciler may
// both find its partitions closed.
func TestOpeningAPartitionTwiceIsHarmless(t *testing.T) {
	cfg := Config{FS: vfs.NewMem(), Shards: 2}
	within(t, cfg, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		must(t, ask.createTopic(ctx, orders, 4))
		topic, _ := n.view().Topic(orders)
		for p := range topic.Partitions {
			if _, err := ask.produce(ctx, orders, int32(p), batch(-1, 0, "one")); err != nil {
				t.Fatal(err)
			}
		}
		again := func(s *Shard) []partitionChange {
			var open []partitionChange
			for p := range topic.Partitions {
				if topic.Partitions[p].Shard == s.id {
					open = append(open, n.opening(topic, p), n.opening(topic, p))
				}
			}
			return open
		}
		must(t, n.inShards(ctx, again))
		for p := range topic.Partitions {
			if offset, err := ask.produce(ctx, orders, int32(p), batch(-1, 0, "two")); err != nil || offset != 1 {
				t.Errorf("partition %d goes on at %d: %v", p, offset, err)
			}
		}
	})
	within(t, cfg, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		for p := range int32(4) {
			if got, err := ask.read(ctx, orders, p); err != nil || len(got) != 2 {
				t.Errorf("partition %d has %q: %v", p, got, err)
			}
		}
	})
}

// TestAPartitionIsNotOpenedBehindItsTopicsDeletion opens the partitions of a topic
// that another client has deleted meanwhile.
func TestAPartitionIsNotOpenedBehindItsTopicsDeletion(t *testing.T) {
	within(t, Config{}, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		must(t, ask.createTopic(ctx, doomed, 1))
		topic, _ := n.view().Topic(doomed)
		at, err := n.locate(doomed, 0)
		must(t, err)
		must(t, ask.deleteTopic(ctx, doomed))
		must(t, n.openPartitions(ctx, topic))
		if at.shard.isOpen(at.id) {
			t.Error("it is open")
		}
	})
}

// TestTheDeletionOfATopicLeavesNothing deletes a topic while a batch and a prepare
// for it are on their way.
func TestTheDeletionOfATopicLeavesNothing(t *testing.T) {
	fs := newGate(vfs.NewMem(), "data/shards/0001")
	within(t, Config{FS: fs}, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		fs.open = make(chan struct{}) // of this bubble
		must(t, ask.createTopic(ctx, halves, 1, "message.type", "transaction"))
		if _, err := ask.produce(ctx, halves, 0, half("known", "prepare", "service", "x")); err != nil {
			t.Fatal(err)
		}
		at, err := n.locate(halves, 0)
		must(t, err)
		fs.shut.Store(true)
		deleted := make(chan error, 1)
		go func() { deleted <- ask.deleteTopic(ctx, halves) }()
		synctest.Wait() // the partition's end is in the log, and waits for the disk
		answered := make(chan kafka.Appended, 1)
		n.appendHeld(at, kafka.AppendRequest{Batch: half("late", "prepare", "service", "y")}, func(a kafka.Appended) { answered <- a })
		synctest.Wait()
		fs.pass()
		must(t, <-deleted)
		<-answered
		n.appendHeld(at, kafka.AppendRequest{Batch: half("later", "prepare", "service", "z")}, func(a kafka.Appended) { answered <- a })
		if a := <-answered; !errors.Is(a.Err, kerr.UnknownTopicOrPartition) {
			t.Errorf("behind the deletion a prepare is answered with %v", a.Err)
		}
		if known := at.shard.halves.Len(); known != 0 {
			t.Errorf("%d half messages of a deleted topic are known", known)
		}
		time.Sleep(time.Minute) // nobody asks about them
	})
}

// TestTopicsThatComeAndGoLeaveNothing has clients create, delete and use the same few
// topics at the same time.
func TestTopicsThatComeAndGoLeaveNothing(t *testing.T) {
	cfg := Config{FS: vfs.NewMem(), Shards: 3}
	names := []string{"a", "b", "c"}
	empty := func(ctx context.Context, t *testing.T, n *node, ask asker) {
		t.Helper()
		for _, s := range n.shards {
			for id := range s.openPartitionIDs() {
				if topic, _, ok := n.view().Partition(id); !ok {
					t.Errorf("shard %d: partition %v of no topic is open", s.id, id)
				} else if topic.Name == "a" || topic.Name == "b" || topic.Name == "c" {
					t.Errorf("topic %s is still there", topic.Name)
				}
			}
			if known := s.halves.Len(); known != 0 {
				t.Errorf("shard %d: %d half messages of no topic are known", s.id, known)
			}
		}
		must(t, ask.awaitCoordinator(ctx, readers))
		for _, name := range names {
			if got, err := ask.committed(ctx, readers, name, 0); err != nil || got != -1 {
				t.Errorf("%d is committed for topic %s, which is not there: %v", got, name, err)
			}
		}
	}
	within(t, cfg, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		must(t, ask.awaitCoordinator(ctx, readers))
		var all sync.WaitGroup
		kinds := []string{"create", "delete", "prepare", "prepare", "commit", "commit offset"}
		done := make([]atomic.Int32, len(kinds)) // how often each succeeded
		for worker := range uint64(6) {
			rnd := rand.New(rand.NewPCG(worker, 1))
			ask := n.asker(t)
			all.Go(func() {
				for i := range 400 {
					name, kind := names[rnd.IntN(len(names))], rnd.IntN(len(kinds))
					id := fmt.Sprint(worker, i/5)
					var err error
					switch kinds[kind] {
					case "create":
						err = ask.createTopic(ctx, name, 3, "message.type", "transaction")
					case "delete":
						err = ask.deleteTopic(ctx, name)
					case "commit offset":
						err = ask.commit(ctx, readers, name, 0, 1)
					default:
						_, err = ask.produce(ctx, name, 0, half(id, kinds[kind], "service", "x"))
					}
					if err == nil {
						done[kind].Add(1)
					}
				}
			})
		}
		all.Wait()
		for kind := range done {
			if n := done[kind].Load(); n < 5 {
				t.Errorf("%s: only %d succeeded", kinds[kind], n)
			}
		}
		for _, name := range names {
			if err := ask.deleteTopic(ctx, name); err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
				t.Error(err)
			}
		}
		synctest.Wait()
		empty(ctx, t, n, ask)
	})
	within(t, cfg, empty)
}

func TestADuplicateIsAnsweredAsTheOriginalWas(t *testing.T) {
	within(t, Config{}, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		must(t, ask.createTopic(ctx, orders, 1, "message.timestamp.type", "LogAppendTime"))
		must(t, ask.createTopic(ctx, halves, 1, "message.timestamp.type", "LogAppendTime", "message.type", "transaction"))
		if _, err := ask.produce(ctx, halves, 0, half("a", "prepare", "service", "x")); err != nil {
			t.Fatal(err)
		}
		producer, err := ask.producerID(ctx)
		must(t, err)
		send := func(topic string, b func() []byte) (offset, at int64) {
			t.Helper()
			answered := make(chan kafka.Appended, 1)
			n.Append(kafka.AppendRequest{Topic: topic, Batch: b(), Acks: -1, Principal: "User:ANONYMOUS"}, func(a kafka.Appended) { answered <- a })
			a := <-answered
			must(t, a.Err)
			return a.BaseOffset, a.LogAppendTime
		}
		for topic, b := range map[string]func() []byte{
			orders: func() []byte { return batch(producer, 0, "one") },
			halves: func() []byte { return half("a", "commit", "", "") },
		} {
			offset, at := send(topic, b)
			if now := time.Now().UnixMilli(); offset != 0 || at != now {
				t.Errorf("%s: offset %d at %d, it is %d", topic, offset, at, now)
			}
			time.Sleep(time.Second)
			if o, again := send(topic, b); o != offset || again != at {
				t.Errorf("%s: a duplicate is answered with offset %d at %d, the original was with %d at %d", topic, o, again, offset, at)
			}
		}
	})
}

// TestANodeThatDoesNotLeadTheMetadataSaysSo: NOT_LEADER_OR_FOLLOWER is about
// partitions, and makes nobody look for the controller.
func TestANodeThatDoesNotLeadTheMetadataSaysSo(t *testing.T) {
	within(t, Config{}, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		must(t, ask.createTopic(ctx, orders, 1))
		term := n.meta.status.Load().term
		must(t, n.meta.host.Do(ctx, n.meta.Follow))
		for what, err := range map[string]error{
			"creating a topic": ask.createTopic(ctx, doomed, 1),
			"deleting one":     ask.deleteTopic(ctx, orders),
		} {
			if !errors.Is(err, kerr.NotController) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if _, err := ask.producerID(ctx); !errors.Is(err, kerr.CoordinatorLoadInProgress) {
			t.Errorf("taking a producer id: %v", err)
		}
		must(t, n.meta.host.Do(ctx, func() { n.meta.Lead(term) }))
		must(t, ask.createTopic(ctx, doomed, 1))
		if _, err := ask.producerID(ctx); err != nil {
			t.Error(err)
		}
	})
}
