package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/kafka"
	"github.com/splashdam/splashdam/internal/vfs"
)

// poll returns the values of the next records, n of them.
func poll(t *testing.T, c *kgo.Client, n int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var values []string
	for len(values) < n {
		fetches := c.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			t.Fatalf("%d of %d records came: %q", len(values), n, values)
		}
		fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return values
}

func produce(t *testing.T, c *kgo.Client, topic string, values ...string) {
	t.Helper()
	for _, v := range values {
		must(t, c.ProduceSync(context.Background(), &kgo.Record{Topic: topic, Value: []byte(v)}).FirstErr())
	}
}

// TestAGroupOutlivesItsNode restarts the node under a member that is not asked: it
// stays one, in its generation, and reads on where it was.
func TestTheOffsetsTopicIsThereAndInternalOnceAGroupHasACoordinator(t *testing.T) {
	n := run(t, small(t, vfs.NewMem()))
	defer n.shut(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a := n.asker(t)
	offsets := func() (found, internal bool) {
		resp, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, a)
		must(t, err)
		for _, topic := range resp.Topics {
			if *topic.Topic == "__consumer_offsets" {
				found, internal = true, topic.IsInternal
			}
		}
		return found, internal
	}
	if found, _ := offsets(); found {
		t.Error("it is there before anybody needs it")
	}
	must(t, a.awaitCoordinator(ctx, "g"))
	if found, internal := offsets(); !found || !internal {
		t.Errorf("it is there: %t, internal: %t", found, internal)
	}
}

func TestAGroupOutlivesItsNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{FS: vfs.NewMem(), Settings: settings(t, nil), Shards: 3}
		var now atomic.Pointer[node]
		now.Store(run(t, cfg))
		dial := kgo.Dialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
			return now.Load().wire.dial(ctx, network, addr)
		})
		ask := now.Load().asker(t)
		must(t, ask.createTopic(context.Background(), orders, 2))

		var moved atomic.Int32 // partitions that were given and taken
		count := func(_ context.Context, _ *kgo.Client, ps map[string][]int32) { moved.Add(int32(len(ps[orders]))) }
		member := now.Load().client(t, dial, kgo.ConsumerGroup(readers), kgo.ConsumeTopics(orders),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
			kgo.OnPartitionsAssigned(count), kgo.OnPartitionsRevoked(count), kgo.OnPartitionsLost(count))
		producer := now.Load().client(t, dial)
		produce(t, producer, orders, "one", "two")
		poll(t, member, 2)
		must(t, member.CommitUncommittedOffsets(context.Background()))
		_, generation := member.GroupMetadata()

		now.Load().shut(t)
		now.Store(run(t, cfg))
		produce(t, producer, orders, "three")
		if got := poll(t, member, 1); got[0] != "three" {
			t.Errorf("behind the restart comes %q", got)
		}
		must(t, member.CommitUncommittedOffsets(context.Background()))
		time.Sleep(time.Minute) // a session and more
		if _, g := member.GroupMetadata(); g != generation || moved.Load() != 2 {
			t.Errorf("generation %d became %d; %d partitions moved, 2 were assigned", generation, g, moved.Load())
		}
		// Who joins anew begins where the group has got to.
		member.Close()
		produce(t, producer, orders, "four")
		other := now.Load().client(t, kgo.ConsumerGroup(readers), kgo.ConsumeTopics(orders))
		if got := poll(t, other, 1); got[0] != "four" {
			t.Errorf("the next member reads %q", got)
		}
		other.Close()
		now.Load().shut(t)
	})
}

// gate is a file system whose writes under a directory wait while it is shut.
type gate struct {
	*vfs.Fault
	open chan struct{}
	shut atomic.Bool
}

func newGate(fs vfs.FS, dir string) *gate {
	g := &gate{open: make(chan struct{})}
	g.Fault = vfs.NewFault(fs, func(op vfs.Op) error {
		if op.Kind == vfs.OpWrite && g.shut.Load() && strings.HasPrefix(op.Name, dir) {
			<-g.open
		}
		return nil
	})
	return g
}

// pass opens the gate for good.
func (g *gate) pass() { close(g.open) }

func TestOffsetsOfADeletedTopicGoWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		cfg := Config{FS: vfs.NewMem(), Settings: settings(t, nil), Shards: 3}
		n := run(t, cfg)
		ask := n.asker(t)
		must(t, ask.createTopic(ctx, orders, 1))
		must(t, ask.createTopic(ctx, doomed, 2))
		var groups []string // enough to be in all shards
		for i := range 12 {
			group := fmt.Sprint(readers, i)
			groups = append(groups, group)
			must(t, ask.awaitCoordinator(ctx, group))
			must(t, ask.commit(ctx, group, orders, 0, 5))
			must(t, ask.commit(ctx, group, doomed, 1, 7))
		}
		must(t, ask.deleteTopic(ctx, doomed))
		must(t, ask.createTopic(ctx, doomed, 2))
		check := func() {
			t.Helper()
			for _, group := range groups {
				kept, err := ask.committed(ctx, group, orders, 0)
				must(t, err)
				gone, err := ask.committed(ctx, group, doomed, 1)
				must(t, err)
				if kept != 5 || gone != -1 {
					t.Errorf("group %s: %d is committed for a topic that is there, want 5, and %d for a new one, want -1", group, kept, gone)
				}
			}
		}
		check()
		n.shut(t)
		n = run(t, cfg)
		ask = n.asker(t)
		must(t, ask.awaitCoordinator(ctx, readers))
		check()
		n.shut(t)
	})
}

// TestACommitInFlightIsDeletedWithItsTopic lets a commit wait for the disk while its
// topic, which lives in another shard, is deleted.
func TestACommitInFlightIsDeletedWithItsTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		fs := newGate(vfs.NewMem(), "data/shards/0001")
		n := run(t, Config{FS: fs, Settings: settings(t, nil), Shards: 2})
		ask, other := n.asker(t), n.asker(t)
		must(t, ask.awaitCoordinator(ctx, readers))
		group, topic := "", ""
		for i := range 100 {
			group = fmt.Sprint(readers, i)
			if s, err := n.coordinating(group); err == nil && s.id == 1 {
				break
			}
		}
		for i := range 100 {
			topic = fmt.Sprint(doomed, i)
			must(t, ask.createTopic(ctx, topic, 1))
			if at, err := n.locate(topic, 0); err == nil && at.shard.id == 2 {
				break
			}
		}
		fs.shut.Store(true)
		committed := make(chan error, 1)
		go func() { committed <- ask.commit(ctx, group, topic, 0, 7) }()
		synctest.Wait()
		deleted := make(chan error, 1)
		go func() { deleted <- other.deleteTopic(ctx, topic) }()
		synctest.Wait()
		fs.pass()
		must(t, <-committed)
		must(t, <-deleted)
		must(t, ask.createTopic(ctx, topic, 1))
		if got, err := ask.committed(ctx, group, topic, 0); err != nil || got != -1 {
			t.Errorf("%d is committed for the new topic, want -1: %v", got, err)
		}
		n.shut(t)
	})
}

// TestATopicIsNotCreatedWhileOffsetsOfItsNameAreLeft deletes a topic while the shard
// that keeps the offsets can write nothing.
func TestATopicIsNotCreatedWhileOffsetsOfItsNameAreLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		fs := newGate(vfs.NewMem(), "data/shards/0001")
		n := run(t, Config{FS: fs, Settings: settings(t, nil)})
		ask := n.asker(t)
		must(t, ask.createTopic(ctx, doomed, 1))
		must(t, ask.awaitCoordinator(ctx, readers))
		must(t, ask.commit(ctx, readers, doomed, 0, 7))
		fs.shut.Store(true)
		must(t, ask.deleteTopic(ctx, doomed)) // gone for clients, whatever is left of it
		if err := ask.createTopic(ctx, doomed, 1); !errors.Is(err, kerr.RequestTimedOut) {
			t.Errorf("creating it again: %v", err)
		}
		fs.pass()
		must(t, ask.createTopic(ctx, doomed, 1))
		if got, err := ask.committed(ctx, readers, doomed, 0); err != nil || got != -1 {
			t.Errorf("%d is committed for the new topic, want -1: %v", got, err)
		}
		must(t, n.end())
	})
}

// TestNothingIsCommittedForATopicThatIsGone asks the node itself: the request may
// have been read before the topic was deleted.
func TestNothingIsCommittedForATopicThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		n := run(t, Config{FS: vfs.NewMem(), Settings: settings(t, nil)})
		ask := n.asker(t)
		must(t, ask.awaitCoordinator(ctx, readers))
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Group, req.Generation, req.Version = readers, -1, 8
		ct := kmsg.NewOffsetCommitRequestTopic()
		ct.Topic, ct.Partitions = doomed, []kmsg.OffsetCommitRequestTopicPartition{{Offset: 7}}
		req.Topics = append(req.Topics, ct)
		if code := n.OffsetCommit(ctx, kafka.Client{}, req).Topics[0].Partitions[0].ErrorCode; code != kerr.UnknownTopicOrPartition.Code {
			t.Errorf("code %d", code)
		}
		must(t, ask.createTopic(ctx, doomed, 1))
		if got, err := ask.committed(ctx, readers, doomed, 0); err != nil || got != -1 {
			t.Errorf("%d is committed, want -1: %v", got, err)
		}
		n.shut(t)
	})
}

// TestOffsetsAreForgottenThoughALookCameBeforeTheTopicWasGone holds the disk of the
// metadata while the deletion of a topic is on its way, and has the reconciler look.
func TestOffsetsAreForgottenThoughALookCameBeforeTheTopicWasGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		var held atomic.Bool
		release := make(chan struct{})
		fs := vfs.NewFault(vfs.NewMem(), func(op vfs.Op) error {
			if held.Load() && op.Kind == vfs.OpWrite && strings.Contains(op.Name, "shards/0000/") {
				<-release
			}
			return nil
		})
		n := run(t, Config{FS: fs, Settings: settings(t, nil), Shards: 1})
		ask := n.asker(t)
		must(t, ask.createTopic(ctx, orders, 1))
		must(t, ask.awaitCoordinator(ctx, readers))
		must(t, ask.commit(ctx, readers, orders, 0, 7))
		held.Store(true)
		var both sync.WaitGroup
		both.Go(func() { must(t, errors.Join(n.DeleteTopics(ctx, []string{orders})...)) })
		synctest.Wait()
		both.Go(func() { must(t, n.forgetOffsets(ctx)) })
		synctest.Wait()
		held.Store(false)
		close(release)
		both.Wait()
		if offset, err := ask.committed(ctx, readers, orders, 0); err != nil || offset != -1 {
			t.Errorf("offset %d is left of a topic that is deleted: %v", offset, err)
		}
		n.shut(t)
	})
}
