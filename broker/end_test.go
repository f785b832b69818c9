package broker

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/internal/vfs"
)

// join asks to become a member of a group. The answer waits for the rebalance.
func (a asker) join(ctx context.Context, group, member string) (*kmsg.JoinGroupResponse, error) {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.MemberID, req.ProtocolType = group, member, "consumer"
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 60_000
	p := kmsg.NewJoinGroupRequestProtocol()
	p.Name, p.Metadata = "range", []byte{0, 0, 0, 0, 0, 0}
	req.Protocols = append(req.Protocols, p)
	return req.RequestWith(ctx, a)
}

// TestANodeEndsAtOnceWhateverIsWaitedFor ends a node under clients that wait for
// something of each kind: nobody is left waiting, neither they nor the node.
func TestANodeEndsAtOnceWhateverIsWaitedFor(t *testing.T) {
	const quiet = "quiet"
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		set := settings(t, map[string]string{"group.initial.rebalance.delay.ms": "5000"})
		n := run(t, Config{FS: vfs.NewMem(), Settings: set, Shards: 2})
		ask := n.asker(t)
		must(t, ask.createTopic(ctx, orders, 1))
		must(t, ask.createTopic(ctx, quiet, 1))
		must(t, ask.awaitCoordinator(ctx, readers))

		member := func(group string) string {
			resp, err := ask.join(ctx, group, "")
			must(t, err)
			if code := kerr.ErrorForCode(resp.ErrorCode); code != kerr.MemberIDRequired {
				t.Fatalf("joining: %v", code)
			}
			return resp.MemberID
		}
		// A group whose follower will wait for what its leader does not say.
		var joined sync.WaitGroup
		var follower *kmsg.JoinGroupResponse
		for range 2 {
			id, a := member("led"), n.asker(t)
			joined.Go(func() {
				resp, err := a.join(ctx, "led", id)
				if err != nil {
					t.Error(err)
				} else if resp.LeaderID != id {
					follower = resp
				}
			})
		}
		joined.Wait()
		if follower == nil || follower.ErrorCode != 0 {
			t.Fatalf("no follower: %+v", follower)
		}
		alone := member(readers)
		waiting := map[string]func(asker){
			"a fetch": func(a asker) {
				req := kmsg.NewPtrFetchRequest()
				req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = 300_000, 1, 1<<20, -1
				ft := kmsg.NewFetchRequestTopic()
				ft.Topic = quiet // where nothing is produced
				ft.Partitions = append(ft.Partitions, kmsg.NewFetchRequestTopicPartition())
				req.Topics = append(req.Topics, ft)
				_, _ = req.RequestWith(ctx, a.Requestor)
			},
			"a join": func(a asker) { _, _ = a.join(ctx, readers, alone) },
			"a sync": func(a asker) {
				req := kmsg.NewPtrSyncGroupRequest()
				req.Group, req.Generation, req.MemberID = "led", follower.Generation, follower.MemberID
				req.ProtocolType, req.Protocol = follower.ProtocolType, follower.Protocol
				_, _ = req.RequestWith(ctx, a)
			},
			"nothing": func(asker) {
				if conn, err := n.wire.dial(ctx, "", ""); err == nil {
					_, _ = conn.Read(make([]byte, 1))
				}
			},
		}
		var all sync.WaitGroup
		var over sync.Map
		for what, wait := range waiting {
			a := n.asker(t)
			all.Go(func() {
				wait(a)
				over.Store(what, true)
			})
		}
		// Producers that never stop, until there is no answer.
		for p := range 3 {
			a := n.asker(t)
			all.Go(func() {
				for i := 0; ; i++ {
					if _, err := a.produce(ctx, orders, 0, batch(-1, 0, fmt.Sprint(p, i))); err != nil {
						return
					}
					time.Sleep(100 * time.Millisecond)
				}
			})
		}
		time.Sleep(3 * time.Second)
		over.Range(func(what, _ any) bool {
			t.Errorf("%v does not wait", what)
			return true
		})
		began := time.Now()
		must(t, n.end())
		all.Wait()
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("the end took %v", took)
		}
		for _, l := range n.log.find("") {
			t.Errorf("logged: %s", l)
		}
	})
}

// goroutines returns the stacks of those that run code of this package or one of its
// parts, tests aside.
func goroutines() []string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var ours []string
	for _, stack := range strings.Split(string(buf), "\n\n") {
		for line := range strings.Lines(stack) {
			if strings.Contains(line, "/broker/") && strings.Contains(line, ".go:") && !strings.Contains(line, "_test.go:") {
				ours = append(ours, stack)
				break
			}
		}
	}
	return ours
}

// TestNothingOfANodeIsLeft runs a node on sockets and files, with producers and a
// group of consumers, ends it under them, and looks for goroutines that remain.
func TestNothingOfANodeIsLeft(t *testing.T) {
	if before := goroutines(); len(before) > 0 {
		t.Fatalf("something runs already: %s", before[0])
	}
	on, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr := on.Addr().(*net.TCPAddr)
	n := run(t, Config{
		FS: vfs.OS(), Dir: t.TempDir(), Settings: settings(t, nil), Shards: 3,
		Listeners: []Listener{{Name: "PLAINTEXT", Protocol: "PLAINTEXT", Net: on, Host: "127.0.0.1", Port: int32(addr.Port)}},
	})
	client := func(opts ...kgo.Opt) *kgo.Client {
		c, err := kgo.NewClient(append(opts, kgo.SeedBrokers(addr.String()), kgo.AllowAutoTopicCreation(), kgo.MetadataMinAge(100*time.Millisecond))...)
		must(t, err)
		t.Cleanup(c.Close)
		return c
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	producer := client()
	for i := range 100 {
		must(t, producer.ProduceSync(ctx, &kgo.Record{Topic: orders, Value: fmt.Append(nil, i)}).FirstErr())
	}
	// Static members, which do not try to leave when their node is gone.
	member := client(kgo.ConsumerGroup(readers), kgo.InstanceID("0"), kgo.ConsumeTopics(orders), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if errs := member.PollFetches(ctx).Errors(); len(errs) > 0 {
		t.Fatal(errs)
	}
	for i := range 3 {
		client(kgo.ConsumerGroup(readers), kgo.InstanceID(fmt.Sprint(i+1)), kgo.ConsumeTopics(orders)) // joins in the background
	}
	for i := range 1000 {
		producer.Produce(ctx, &kgo.Record{Topic: orders, Value: fmt.Append(nil, i)}, func(*kgo.Record, error) {})
	}
	began := time.Now()
	must(t, n.end())
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the end took %v", took)
	}
	if left := goroutines(); len(left) > 0 {
		t.Errorf("%d goroutines are left, one of them:\n%s", len(left), left[0])
	}
}
