package broker

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/internal/vfs"
)

// holding is what a group's members work on, by partition of orders.
type holding struct {
	mu    sync.Mutex
	by    map[int32]string
	moves int
	wrong []string
}

// as are the options of a member that notes what it is given and what it gives up.
func (h *holding) as(name string) []kgo.Opt {
	gone := func(_ context.Context, _ *kgo.Client, ps map[string][]int32) {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, p := range ps[orders] {
			delete(h.by, p)
		}
	}
	return []kgo.Opt{
		kgo.ConsumerGroup(readers), kgo.ConsumeTopics(orders), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.OnPartitionsRevoked(gone), kgo.OnPartitionsLost(gone),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, ps map[string][]int32) {
			h.mu.Lock()
			defer h.mu.Unlock()
			for _, p := range ps[orders] {
				if other := h.by[p]; other != "" {
					h.wrong = append(h.wrong, fmt.Sprintf("%s is given partition %d of %s", name, p, other))
				}
				h.by[p] = name
				h.moves++
			}
		}),
	}
}

// shares waits until partitions are shared as told: how many each has.
func (h *holding) shares(t *testing.T, want map[string]int) {
	t.Helper()
	var got map[string]int
	for range 200 {
		got = map[string]int{}
		h.mu.Lock()
		for _, name := range h.by {
			got[name]++
		}
		wrong := h.wrong
		h.mu.Unlock()
		if len(wrong) > 0 {
			t.Fatal(wrong)
		}
		if fmt.Sprint(got) == fmt.Sprint(want) {
			return
		}
		time.Sleep(time.Second)
	}
	t.Fatalf("the members have %v partitions, want %v", got, want)
}

// describeConsumers describes a consumer group; an asker's versions are too old.
func (n *node) describeConsumers(t *testing.T, group string) kmsg.ConsumerGroupDescribeResponseGroup {
	t.Helper()
	c := n.client(t)
	defer c.Close()
	req := kmsg.NewPtrConsumerGroupDescribeRequest()
	req.Groups = []string{group}
	resp, err := req.RequestWith(context.Background(), c)
	must(t, err)
	return resp.Groups[0]
}

func (n *node) groupType(t *testing.T, group string) string {
	t.Helper()
	c := n.client(t)
	defer c.Close()
	resp, err := kmsg.NewPtrListGroupsRequest().RequestWith(context.Background(), c)
	must(t, err)
	for _, g := range resp.Groups {
		if g.Group == group {
			return g.GroupType
		}
	}
	return ""
}

// TestAConsumerGroupOutlivesItsNode restarts the node under two members of the
// consumer protocol: both keep their epochs and what they have, and read on. Then
// the topic grows, and they share what is new.
func TestAConsumerGroupOutlivesItsNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{FS: vfs.NewMem(), Settings: settings(t, nil), Shards: 3}
		var now atomic.Pointer[node]
		now.Store(run(t, cfg))
		dial := kgo.Dialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
			return now.Load().wire.dial(ctx, network, addr)
		})
		ask := now.Load().asker(t)
		must(t, ask.createTopic(context.Background(), orders, 4))
		h := &holding{by: map[int32]string{}}
		a := now.Load().client(t, append(h.as("a"), dial, kgo.ServerSideBalancer())...)
		h.shares(t, map[string]int{"a": 4})
		b := now.Load().client(t, append(h.as("b"), dial, kgo.ServerSideBalancer())...)
		h.shares(t, map[string]int{"a": 2, "b": 2})
		producer := now.Load().client(t, dial, kgo.RecordPartitioner(kgo.ManualPartitioner()))
		send := func(value string) {
			t.Helper()
			for p := range int32(4) {
				must(t, producer.ProduceSync(context.Background(), &kgo.Record{Topic: orders, Partition: p, Value: []byte(value)}).FirstErr())
			}
		}
		send("one")
		for _, c := range []*kgo.Client{a, b} {
			poll(t, c, 2)
			must(t, c.CommitUncommittedOffsets(context.Background()))
		}
		before, moves := now.Load().describeConsumers(t, readers), h.moves
		now.Load().shut(t)
		now.Store(run(t, cfg))
		ask = now.Load().asker(t)
		must(t, ask.awaitCoordinator(context.Background(), readers))
		send("two")
		for _, c := range []*kgo.Client{a, b} {
			if got := poll(t, c, 2); got[0] != "two" || got[1] != "two" {
				t.Errorf("behind the restart come %q", got)
			}
			must(t, c.CommitUncommittedOffsets(context.Background()))
		}
		time.Sleep(2 * time.Minute) // sessions and more
		after := now.Load().describeConsumers(t, readers)
		if after.Epoch != before.Epoch || after.State != "Stable" || h.moves != moves {
			t.Errorf("before %+v, after %+v; %d partitions moved", before, after, h.moves-moves)
		}
		for i := range after.Members {
			if after.Members[i].MemberEpoch != before.Members[i].MemberEpoch {
				t.Errorf("member %s: epoch %d became %d", after.Members[i].MemberID, before.Members[i].MemberEpoch, after.Members[i].MemberEpoch)
			}
		}
		grow := kmsg.NewPtrCreatePartitionsRequest()
		topic := kmsg.NewCreatePartitionsRequestTopic()
		topic.Topic, topic.Count = orders, 8
		grow.Topics = append(grow.Topics, topic)
		resp, err := grow.RequestWith(context.Background(), ask)
		must(t, err)
		must(t, kerr.ErrorForCode(resp.Topics[0].ErrorCode))
		h.shares(t, map[string]int{"a": 4, "b": 4})
		a.Close()
		h.shares(t, map[string]int{"b": 8})
		b.Close()
		now.Load().shut(t)
	})
}

// TestAGroupChangesItsProtocolUnderItsMembers upgrades a classic group by a member
// of the consumer protocol, and downgrades it when that leaves.
func TestAGroupChangesItsProtocolUnderItsMembers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := run(t, Config{FS: vfs.NewMem(), Settings: settings(t, nil), Shards: 2})
		ask := n.asker(t)
		must(t, ask.createTopic(context.Background(), orders, 6))
		for _, balancer := range []kgo.GroupBalancer{kgo.RangeBalancer(), kgo.CooperativeStickyBalancer()} {
			h := &holding{by: map[int32]string{}}
			old := n.client(t, append(h.as("old"), kgo.Balancers(balancer))...)
			h.shares(t, map[string]int{"old": 6})
			second := n.client(t, append(h.as("second"), kgo.Balancers(balancer))...)
			h.shares(t, map[string]int{"old": 3, "second": 3})
			if got := n.groupType(t, readers); got != "classic" {
				t.Errorf("two classic members make a %s group", got)
			}
			next := n.client(t, append(h.as("next"), kgo.ServerSideBalancer())...)
			h.shares(t, map[string]int{"old": 2, "second": 2, "next": 2})
			d := n.describeConsumers(t, readers)
			if n.groupType(t, readers) != "consumer" || len(d.Members) != 3 || d.State != "Stable" {
				t.Errorf("upgraded: %+v", d)
			}
			second.Close()
			h.shares(t, map[string]int{"old": 3, "next": 3})
			next.Close()
			h.shares(t, map[string]int{"old": 6})
			if got := n.groupType(t, readers); got != "classic" {
				t.Errorf("the last member of the consumer protocol leaves a %s group", got)
			}
			old.Close()
		}
		n.shut(t)
	})
}
