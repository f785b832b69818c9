package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// states is what each shard of a node would put into a snapshot now.
func (n *node) states(t *testing.T) map[record.ShardID][]commitlog.Section {
	t.Helper()
	states := make(map[record.ShardID][]commitlog.Section)
	for _, s := range n.allShards() {
		must(t, s.host.Do(context.Background(), func() { states[s.id] = s.capture().encode().Sections }))
	}
	return states
}

// describe is a group as its members and operators see it.
func (a asker) describe(t *testing.T, group string) kmsg.DescribeGroupsResponseGroup {
	t.Helper()
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{group}
	resp, err := req.RequestWith(context.Background(), a)
	must(t, err)
	must(t, kerr.ErrorForCode(resp.Groups[0].ErrorCode))
	return resp.Groups[0]
}

// TestAnOrderlyEndLeavesASnapshotOfAllThatWasApplied ends a node that has written so little
// that no snapshot was due. Damage in what it wrote then keeps no start, and costs its place
// only.
func TestAnOrderlyEndLeavesASnapshotOfAllThatWasApplied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		mem := vfs.NewMem()
		cfg := small(t, mem)
		cfg.Shards = 1
		n := run(t, cfg)
		ask := n.asker(t)
		must(t, ask.createTopic(ctx, orders, 1))
		for _, value := range []string{"first", "second", "third"} {
			_, err := ask.produce(ctx, orders, 0, batch(-1, 0, value))
			must(t, err)
		}
		n.shut(t)
		for _, s := range n.allShards() {
			if at, last := s.log.Snapshot().Index, s.log.Last(); at != s.applied || at != last {
				t.Errorf("shard %d: the newest snapshot is at %d, %d are applied, the log ends at %d", s.id, at, s.applied, last)
			}
		}
		flip(t, mem, n.shards[1].cfg.Dir, "second")
		n = run(t, cfg)
		ask = n.asker(t)
		if _, err := ask.fetchAt(ctx, orders, 1); !errors.Is(err, kerr.CorruptMessage) {
			t.Errorf("fetching the damaged batch: %v", err)
		}
		if got, err := ask.fetchAt(ctx, orders, 2); err != nil || !slices.Equal(got, []string{"third"}) {
			t.Errorf("fetching the one behind it: %q, %v", got, err)
		}
		must(t, n.end())
	})
}

// TestAFencedShardWritesNoSnapshotAtItsEnd has a disk on which the syncs of one shard fail.
func TestAFencedShardWritesNoSnapshotAtItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		var dir string
		var failing atomic.Bool
		fs := vfs.NewFault(vfs.NewMem(), func(op vfs.Op) error {
			if !failing.Load() || !strings.HasPrefix(op.Name, dir) {
				return nil
			}
			if strings.Contains(op.Name, ".snap") {
				t.Errorf("%v", op)
			}
			if op.Kind == vfs.OpSync {
				return errors.New("input/output error")
			}
			return nil
		})
		cfg := small(t, fs)
		cfg.Shards = 1
		n := run(t, cfg)
		ask := n.asker(t)
		must(t, ask.createTopic(ctx, orders, 1))
		dir = n.shards[1].cfg.Dir
		failing.Store(true)
		if _, err := ask.produce(ctx, orders, 0, batch(-1, 0, "lost")); err == nil {
			t.Error("produced")
		}
		if err := n.end(); err == nil {
			t.Error("it ended in order")
		}
	})
}

// TestANodeIsTheSameAfterAStartFromItsSnapshots takes snapshots in the middle of all
// that a node keeps, and loses the power.
func TestANodeIsTheSameAfterAStartFromItsSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		mem := vfs.NewMem()
		n := run(t, small(t, mem))
		ask := n.asker(t)
		must(t, ask.createTopic(ctx, orders, 2))
		must(t, ask.createTopic(ctx, halves, 1, "message.type", "transaction"))
		producer, err := ask.producerID(ctx)
		must(t, err)
		member := n.client(t, kgo.ConsumerGroup(readers), kgo.ConsumeTopics(orders), kgo.InstanceID("one"),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
		values := func(i int32) []string { return []string{fmt.Sprint("a", i), fmt.Sprint("b", i)} }
		for i := range int32(8) {
			for p := range int32(2) {
				if offset, err := ask.produce(ctx, orders, p, batch(producer, 2*i, values(i)...)); err != nil || offset != int64(2*i) {
					t.Fatalf("batch %d is at %d: %v", i, offset, err)
				}
			}
			id := fmt.Sprint(i)
			for j, state := range []string{"prepare", "commit", "rollback"} {
				if int(i)%3 >= j { // so a third is undecided
					if i%3 == 2 && state == "commit" {
						continue
					}
					if _, err := ask.produce(ctx, halves, 0, half(id, state, "service", "half "+id)); err != nil {
						t.Fatal(err)
					}
				}
			}
			poll(t, member, 4)
			must(t, member.CommitUncommittedOffsets(ctx))
			if i%2 == 1 {
				n.snapshot()
				must(t, ask.createTopic(ctx, fmt.Sprint("more", i), 1)) // for the metadata
			}
		}
		synctest.Wait()
		group, states := ask.describe(t, readers), n.states(t)
		member.Close() // a static member does not leave

		n = run(t, small(t, mem.CrashClean()))
		for _, s := range n.allShards() {
			if at := s.log.Snapshot().Index; at == 0 {
				t.Errorf("shard %d started from the beginning of its log", s.id)
			}
		}
		for id, sections := range n.states(t) {
			for i, sec := range sections {
				if id == record.MetadataShard && sec.Name == sectionShard {
					continue // its time: the node has registered again
				}
				if was := states[id][i]; sec.Name != was.Name || !bytes.Equal(sec.Data, was.Data) {
					t.Errorf("shard %d: section %s was\n%q and is\n%q", id, sec.Name, was.Data, sec.Data)
				}
			}
		}
		ask = n.asker(t)
		if got := ask.describe(t, readers); got.State != "Stable" || !reflect.DeepEqual(got, group) {
			t.Errorf("the group was %+v and is %+v", group, got)
		}
		for p := range int32(2) {
			if offset, err := ask.committed(ctx, readers, orders, p); err != nil || offset != 16 {
				t.Errorf("partition %d: %d is committed, want 16: %v", p, offset, err)
			}
			// The last five batches are known by their sequences, the others not by
			// their offsets any more; and none is skipped.
			for i := range int32(8) {
				offset, err := ask.produce(ctx, orders, p, batch(producer, 2*i, values(i)...))
				switch {
				case i < 3 && !errors.Is(err, kerr.DuplicateSequenceNumber):
					t.Errorf("a retry of batch %d is answered with offset %d: %v", i, offset, err)
				case i >= 3 && (err != nil || offset != int64(2*i)):
					t.Errorf("a retry of batch %d is answered with offset %d: %v", i, offset, err)
				}
			}
			if _, err := ask.produce(ctx, orders, p, batch(producer, 18, "gap")); !errors.Is(err, kerr.OutOfOrderSequenceNumber) {
				t.Errorf("a gap in the sequences: %v", err)
			}
			if got, err := ask.read(ctx, orders, p); err != nil || len(got) != 16 || !slices.Equal(got[14:], values(7)) {
				t.Errorf("partition %d has %q: %v", p, got, err)
			}
		}
		for i := range 8 {
			_, err := ask.produce(ctx, halves, 0, half(fmt.Sprint(i), "commit", "", ""))
			if rolledBack := i%3 == 2; (err != nil) != rolledBack {
				t.Errorf("committing half message %d: %v", i, err)
			}
		}
		want := []string{"half 1", "half 4", "half 7", "half 0", "half 3", "half 6"}
		if got, err := ask.read(ctx, halves, 0); err != nil || !slices.Equal(got, want) {
			t.Errorf("consumers see %q, want %q: %v", got, want, err)
		}
		n.shut(t)
	})
}

// TestACaptureStaysAsItIs encodes a capture before and behind the rest of a workload.
func TestACaptureStaysAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := run(t, small(t, vfs.NewMem()))
		w := &workload{ledger: newLedger(), n: n, ask: n.asker(t), producer: -1}
		w.do()
		captures := make(map[*Shard]capture)
		before := make(map[*Shard][]commitlog.Section)
		for _, s := range n.allShards() {
			must(t, s.host.Do(context.Background(), func() { captures[s] = s.capture() }))
			before[s] = captures[s].encode().Sections
		}
		must(t, w.goOn())
		must(t, w.ask.deleteTopic(context.Background(), orders))
		for s, c := range captures {
			for i, sec := range c.encode().Sections {
				if !bytes.Equal(sec.Data, before[s][i].Data) {
					t.Errorf("shard %d: section %s has changed", s.id, sec.Name)
				}
			}
		}
		n.shut(t)
	})
}

// TestASnapshotIsOfOneMoment takes snapshots while many producers write: what comes
// behind a capture must not be in it, or it would count twice after a start.
func TestASnapshotIsOfOneMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		mem := vfs.NewMem()
		n := run(t, small(t, mem))
		must(t, n.asker(t).createTopic(ctx, orders, 2))
		var all sync.WaitGroup
		var taken sync.Map // the snapshots seen
		const producers, batches = 4, 50
		for range producers {
			ask := n.asker(t)
			producer, err := ask.producerID(ctx)
			must(t, err)
			all.Go(func() {
				for i := range int32(batches) {
					for p := range int32(2) {
						if _, err := ask.produce(ctx, orders, p, batch(producer, i, fmt.Sprint(producer, i))); err != nil {
							t.Error(err)
						}
					}
					if i%5 == 4 {
						n.snapshot()
					}
					for _, s := range n.shards {
						taken.Store(s.log.Snapshot(), s.id)
					}
				}
			})
		}
		all.Wait()
		n.snapshot()
		if _, err := n.asker(t).produce(ctx, orders, 0, batch(-1, 0, "last")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		states := n.states(t)
		n.shut(t)
		if seen := len(maps.Collect(taken.Range)); seen < 10 {
			t.Errorf("only %d snapshots were taken", seen)
		}

		n = run(t, small(t, mem))
		for id, sections := range n.states(t) {
			for i, sec := range sections {
				if id != record.MetadataShard && !bytes.Equal(sec.Data, states[id][i].Data) {
					t.Errorf("shard %d: section %s differs", id, sec.Name)
				}
			}
		}
		ask := n.asker(t)
		for p, want := range []int{producers*batches + 1, producers * batches} {
			if got, err := ask.read(ctx, orders, int32(p)); err != nil || len(got) != want {
				t.Errorf("partition %d has %d records, want %d: %v", p, len(got), want, err)
			}
		}
		n.shut(t)
	})
}
