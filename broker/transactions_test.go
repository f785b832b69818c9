package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// transactor is a transactional producer, by hand: it sends each request once.
type transactor struct {
	asker
	id       string
	producer int64
	epoch    int16
	bumps    bool // it relies on transaction.version 2
	sequence map[topicPartition]int32
}

// transactor connects to the node as a client of transaction.version 2, or as one of
// before.
func (n *node) transactor(t *testing.T, id string, bumps bool) *transactor {
	t.Helper()
	v := kversion.V3_0_0()
	if bumps {
		v.SetMaxKeyVersion(int16(kmsg.Produce), 12) // the last that names topics
		v.SetMaxKeyVersion(int16(kmsg.TxnOffsetCommit), 5)
		v.SetMaxKeyVersion(int16(kmsg.EndTxn), 5)
	}
	c := n.client(t, kgo.MaxVersions(v))
	return &transactor{asker: asker{c, c.SeedBrokers()[0]}, id: id, producer: -1, epoch: -1, bumps: bumps, sequence: map[topicPartition]int32{}}
}

// stubbornly repeats what Kafka's clients repeat, for a while.
func stubbornly(ask func() error) (err error) {
	for range 100 {
		err = ask()
		if !errors.Is(err, kerr.ConcurrentTransactions) && !errors.Is(err, kerr.CoordinatorNotAvailable) && !errors.Is(err, kerr.NotEnoughReplicas) &&
			!errors.Is(err, kerr.CoordinatorLoadInProgress) && !errors.Is(err, kerr.NotCoordinator) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

func (x *transactor) init(ctx context.Context) error {
	return stubbornly(func() error {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionalID, req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = &x.id, 10_000, -1, -1
		resp, err := req.RequestWith(ctx, x)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err == nil {
			x.producer, x.epoch = resp.ProducerID, resp.ProducerEpoch
			clear(x.sequence)
		}
		return err
	})
}

func (x *transactor) add(ctx context.Context, topic string, partition int32) error {
	return stubbornly(func() error {
		req := kmsg.NewPtrAddPartitionsToTxnRequest()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch = x.id, x.producer, x.epoch
		req.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: topic, Partitions: []int32{partition}}}
		resp, err := req.RequestWith(ctx, x)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
	})
}

// send sends a batch of one record as part of the transaction; of a client of before
// the partition must have been added.
func (x *transactor) send(ctx context.Context, topic string, partition int32, value string) error {
	at := topicPartition{topic, partition}
	err := stubbornly(func() error {
		req := kmsg.NewPtrProduceRequest()
		req.Acks, req.TimeoutMillis, req.TransactionID = -1, 5000, &x.id
		req.Topics = []kmsg.ProduceRequestTopic{{Topic: topic, Partitions: []kmsg.ProduceRequestTopicPartition{{
			Partition: partition,
			Records: record.Build(record.BuildOptions{
				BaseTimestamp: time.Now().UnixMilli(), ProducerID: x.producer, ProducerEpoch: x.epoch, BaseSequence: x.sequence[at], Transactional: true,
			}, []record.Record{{Value: []byte(value)}}),
		}}}}
		resp, err := req.RequestWith(ctx, x)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
	})
	if err == nil {
		x.sequence[at]++
	}
	return err
}

func (x *transactor) produce(ctx context.Context, topic string, partition int32, value string) error {
	if !x.bumps {
		if err := x.add(ctx, topic, partition); err != nil {
			return err
		}
	}
	return x.send(ctx, topic, partition, value)
}

// commitOffset commits, as part of the transaction, an offset of partition 0.
func (x *transactor) commitOffset(ctx context.Context, group, topic string, offset int64) error {
	if !x.bumps {
		err := stubbornly(func() error {
			req := kmsg.NewPtrAddOffsetsToTxnRequest()
			req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group = x.id, x.producer, x.epoch, group
			resp, err := req.RequestWith(ctx, x)
			if err != nil {
				return err
			}
			return kerr.ErrorForCode(resp.ErrorCode)
		})
		if err != nil {
			return err
		}
	}
	return stubbornly(func() error {
		req := kmsg.NewPtrTxnOffsetCommitRequest()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group, req.Generation = x.id, x.producer, x.epoch, group, -1
		req.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: topic, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{{Offset: offset, LeaderEpoch: -1}}}}
		resp, err := req.RequestWith(ctx, x)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
	})
}

// finish ends the transaction, and goes on as the answer says.
func (x *transactor) finish(ctx context.Context, commit bool) error {
	return stubbornly(func() error {
		req := kmsg.NewPtrEndTxnRequest()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = x.id, x.producer, x.epoch, commit
		resp, err := req.RequestWith(ctx, x)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err == nil && x.bumps {
			x.producer, x.epoch = resp.ProducerID, resp.ProducerEpoch
			clear(x.sequence)
		}
		return err
	})
}

// fetchCommitted fetches committed data once, from an offset on.
func (a asker) fetchCommitted(ctx context.Context, topic string, partition int32, offset int64, wait time.Duration) (kmsg.FetchResponseTopicPartition, error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.SessionEpoch, req.IsolationLevel, req.MinBytes, req.MaxWaitMillis = 1<<20, -1, 1, 1, int32(wait.Milliseconds())
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, offset, 1<<20
	ft := kmsg.NewFetchRequestTopic()
	ft.Topic, ft.Partitions = topic, append(ft.Partitions, p)
	req.Topics = append(req.Topics, ft)
	resp, err := req.RequestWith(ctx, a)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return kmsg.FetchResponseTopicPartition{}, err
	}
	got := resp.Topics[0].Partitions[0]
	return got, kerr.ErrorForCode(got.ErrorCode)
}

// readCommitted reads what Java's consumer would give out under read_committed, by the
// list of aborted transactions, once nothing is undecided any more.
func (a asker) readCommitted(ctx context.Context, topic string, partition int32) ([]string, error) {
	var values []string
	next := int64(0)
	aborting := map[int64]bool{}
	for range 200 {
		got, err := a.fetchCommitted(ctx, topic, partition, next, 0)
		if err != nil {
			return nil, err
		}
		if got.LastStableOffset < got.HighWatermark {
			time.Sleep(time.Second) // a transaction that was left open has to time out
			continue
		}
		if next == got.HighWatermark {
			return values, nil
		}
		aborted := got.AbortedTransactions
		slices.SortFunc(aborted, func(a, b kmsg.FetchResponseTopicPartitionAbortedTransaction) int {
			return int(a.FirstOffset - b.FirstOffset)
		})
		for rest := got.RecordBatches; len(rest) > 0; {
			var b record.Batch
			if b, rest, err = record.SplitBatch(rest); err != nil {
				return nil, err
			}
			next = b.NextOffset()
			for len(aborted) > 0 && aborted[0].FirstOffset < next {
				aborting[aborted[0].ProducerID] = true
				aborted = aborted[1:]
			}
			if m, ok := b.Marker(); ok {
				if !m.Commit {
					delete(aborting, b.ProducerID())
				}
				continue
			}
			if b.IsTransactional() && aborting[b.ProducerID()] {
				continue
			}
			records, err := b.Decode(1 << 20)
			if err != nil {
				return nil, err
			}
			for _, r := range records {
				values = append(values, string(r.Value))
			}
		}
	}
	return nil, fmt.Errorf("%s:%d hangs at offset %d", topic, partition, next)
}

// stableOffset is what a group has committed for partition 0, and that no transaction
// is about to change.
func (a asker) stableOffset(ctx context.Context, group, topic string) (int64, error) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.RequireStable = true
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = group
	g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: topic, Partitions: []int32{0}}}
	req.Groups = append(req.Groups, g)
	resp, err := req.RequestWith(ctx, a)
	if err == nil {
		err = kerr.ErrorForCode(resp.Groups[0].ErrorCode)
	}
	if err != nil {
		return -1, err
	}
	p := resp.Groups[0].Topics[0].Partitions[0]
	return p.Offset, kerr.ErrorForCode(p.ErrorCode)
}

// across is a node whose transactions cross its shards.
func across(t *testing.T, fs vfs.FS) Config {
	cfg := small(t, fs)
	cfg.Shards = 3
	cfg.Settings.TransactionStatePartitions = 3
	return cfg
}

// bank is a client whose transactions write the same value to three partitions, and an
// offset; it keeps a ledger.
type bank struct {
	created bool
	fates   []transfer
}

type transfer struct {
	value  string
	offset int64
	commit bool
	fate   fate // of its end
}

const ledgers = "ledgers"

// live does transfers, until one fails.
func (b *bank) live(ctx context.Context, x *transactor, name string, n int) error {
	if err := x.init(ctx); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	for i := range n {
		b.fates = append(b.fates, transfer{value: fmt.Sprint(name, i), offset: int64(len(b.fates) + 1), commit: i%3 != 1})
		f := &b.fates[len(b.fates)-1]
		for p := range int32(3) {
			if err := x.produce(ctx, ledgers, p, f.value); err != nil {
				return fmt.Errorf("producing %s: %w", f.value, err)
			}
		}
		if err := x.commitOffset(ctx, readers, ledgers, f.offset); err != nil {
			return fmt.Errorf("the offset of %s: %w", f.value, err)
		}
		f.fate = unknown
		if err := x.finish(ctx, f.commit); err != nil {
			return fmt.Errorf("ending %s: %w", f.value, err)
		}
		f.fate = done
	}
	return nil
}

// check demands that every transfer is everywhere or nowhere, as it was answered.
func (b *bank) check(ctx context.Context, a asker) error {
	var all [3][]string
	for p := range int32(3) {
		var err error
		if all[p], err = a.readCommitted(ctx, ledgers, p); err != nil {
			return err
		}
		if !slices.Equal(all[p], all[0]) {
			return fmt.Errorf("partition %d has %q, partition 0 has %q", p, all[p], all[0])
		}
	}
	offset := int64(-1)
	i := 0
	for _, f := range b.fates {
		there := i < len(all[0]) && all[0][i] == f.value
		if there {
			i, offset = i+1, f.offset
		}
		switch {
		case there && (!f.commit || f.fate == unasked):
			return fmt.Errorf("%+v is there: %q", f, all[0])
		case !there && f.commit && f.fate == done:
			return fmt.Errorf("%+v is not there: %q", f, all[0])
		}
	}
	if i != len(all[0]) {
		return fmt.Errorf("nobody committed %q", all[0][i:])
	}
	return stubbornly(func() error {
		got, err := a.stableOffset(ctx, readers, ledgers)
		switch {
		case errors.Is(err, kerr.UnstableOffsetCommit):
			return fmt.Errorf("%w: %w", kerr.ConcurrentTransactions, err)
		case err == nil && got != offset:
			return fmt.Errorf("the group is at %d, its last committed transaction has %d", got, offset)
		}
		return err
	})
}

// transact is a node's life with transactions of both kinds of clients.
func transact(t *testing.T, b *bank, cfg Config, name string) error {
	ctx := context.Background()
	n, err := open(t, cfg)
	if err != nil {
		return err
	}
	if err := n.up(); err != nil {
		return errors.Join(err, n.end())
	}
	a := n.asker(t)
	err = b.do(ctx, t, n, a, name)
	a.close()
	return errors.Join(err, n.end())
}

func (b *bank) do(ctx context.Context, t *testing.T, n *node, a asker, name string) error {
	err := a.createTopic(ctx, ledgers, 3)
	if errors.Is(err, kerr.TopicAlreadyExists) {
		err = nil
	}
	if err == nil {
		err = a.awaitCoordinator(ctx, readers)
	}
	if err == nil && b.created {
		err = b.check(ctx, a)
	}
	if err != nil {
		return err
	}
	b.created = true
	for _, bumps := range []bool{true, false} {
		x := n.transactor(t, "bank", bumps)
		err := b.live(ctx, x, fmt.Sprint(name, bumps, "-"), 3)
		x.close()
		if err != nil {
			return err
		}
	}
	return b.check(ctx, a)
}

// TestACrashAtAnyCallTearsNoTransaction: the decision, each marker, the offsets and
// the end of a transaction are in different logs, and a node dies between any two.
func TestACrashAtAnyCallTearsNoTransaction(t *testing.T) {
	t.Parallel()
	var total int
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewFault(vfs.NewMem(), nil)
		must(t, transact(t, new(bank), across(t, fs), "a"))
		total = fs.Calls()
	})
	noticed, decided := 0, 0
	points := forEach(t, total, func(t *testing.T, at point) {
		mem := vfs.NewMem()
		b := new(bank)
		if err := transact(t, b, across(t, vfs.NewFault(mem, vfs.CrashAt(at.call))), "a"); err != nil {
			noticed++
		}
		if n := len(b.fates); n > 0 && b.fates[n-1].fate == unknown {
			decided++
		}
		if err := transact(t, b, across(t, at.crash(mem)), "b"); err != nil {
			t.Fatalf("crash at call %d: %v", at.call, err)
		}
	})
	t.Logf("%d crashes were noticed, %d of them while a transaction ended", noticed, decided)
	if !t.Failed() && (noticed < points/2 || decided == 0) {
		t.Errorf("of %d crashes that is too few", points)
	}
}

// inBubble runs a test on a node with a topic "t" of three partitions, over three
// shards.
func inBubble(t *testing.T, test func(t *testing.T, ctx context.Context, n *node, mem *vfs.Mem)) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		mem := vfs.NewMem()
		n := run(t, across(t, mem))
		a := n.asker(t)
		must(t, a.createTopic(ctx, "t", 3))
		must(t, a.awaitCoordinator(ctx, readers))
		a.close()
		test(t, ctx, n, mem)
	})
}

func TestACommitWakesWhoWaitsForCommittedRecords(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, n *node, _ *vfs.Mem) {
		x, a := n.transactor(t, "x", true), n.asker(t)
		must(t, x.init(ctx))
		must(t, x.produce(ctx, "t", 0, "v"))
		began := time.Now()
		if got, err := a.fetchCommitted(ctx, "t", 0, 0, time.Second); err != nil || len(got.RecordBatches) > 0 || got.LastStableOffset != 0 || got.HighWatermark != 1 || time.Since(began) < time.Second {
			t.Errorf("of an open transaction, after %v: %+v, %v", time.Since(began), got, err)
		}
		finished := make(chan error, 1)
		time.AfterFunc(2*time.Second, func() { finished <- x.finish(ctx, true) })
		began = time.Now()
		got, err := a.fetchCommitted(ctx, "t", 0, 0, 5*time.Second)
		must(t, <-finished) // which may be answered after those who wait are woken
		if took := time.Since(began); err != nil || len(got.RecordBatches) == 0 || got.LastStableOffset != 2 || took < 2*time.Second || took > 3*time.Second {
			t.Errorf("after %v: %+v, %v", took, got, err)
		}
	})
}

func TestOffsetsOfAnOpenTransactionAreUnstable(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, n *node, _ *vfs.Mem) {
		a := n.asker(t)
		for i, bumps := range []bool{true, false} {
			x := n.transactor(t, fmt.Sprint("x", bumps), bumps)
			must(t, x.init(ctx))
			for j, commit := range []bool{true, false} {
				must(t, x.commitOffset(ctx, readers, "t", int64(10*i+j+1)))
				if _, err := a.stableOffset(ctx, readers, "t"); !errors.Is(err, kerr.UnstableOffsetCommit) {
					t.Errorf("bumps %t, while it is open: %v", bumps, err)
				}
				before := int64(10*(i-1) + 1)
				if j == 1 {
					before = int64(10*i + 1)
				}
				if got, err := a.committed(ctx, readers, "t", 0); err != nil || i+j > 0 && got != before {
					t.Errorf("bumps %t, whoever does not mind sees %d, %v, want %d", bumps, got, err, before)
				}
				must(t, x.finish(ctx, commit))
				time.Sleep(time.Second)
				if got, err := a.stableOffset(ctx, readers, "t"); err != nil || got != int64(10*i+1) {
					t.Errorf("bumps %t, ended with commit=%t: %d, %v", bumps, commit, got, err)
				}
			}
		}
	})
}

func TestAnEndThatComesLateDoesNotHitTheNextTransaction(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, n *node, _ *vfs.Mem) {
		x, a := n.transactor(t, "x", true), n.asker(t)
		must(t, x.init(ctx))
		must(t, x.produce(ctx, "t", 0, "first"))
		late := *x
		must(t, x.finish(ctx, true))
		must(t, x.produce(ctx, "t", 0, "second"))
		for _, commit := range []bool{true, false} {
			if err := late.finish(ctx, commit); !errors.Is(err, kerr.ProducerFenced) {
				t.Errorf("commit=%t, late: %v", commit, err)
			}
		}
		must(t, x.finish(ctx, false))
		if got, err := a.readCommitted(ctx, "t", 0); err != nil || !slices.Equal(got, []string{"first"}) {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestATransactionIsCommittedByAnotherConnectionAfterARestart(t *testing.T) {
	for _, bumps := range []bool{true, false} {
		inBubble(t, func(t *testing.T, ctx context.Context, n *node, mem *vfs.Mem) {
			x := n.transactor(t, "x", bumps)
			must(t, x.init(ctx))
			for p := range int32(3) {
				must(t, x.produce(ctx, "t", p, "v"))
			}
			must(t, x.commitOffset(ctx, readers, "t", 7))
			x.close()
			must(t, n.end())
			n = run(t, across(t, mem))
			y, a := n.transactor(t, "x", bumps), n.asker(t)
			y.producer, y.epoch = x.producer, x.epoch // from a checkpoint
			must(t, y.finish(ctx, true))
			for p := range int32(3) {
				if got, err := a.readCommitted(ctx, "t", p); err != nil || !slices.Equal(got, []string{"v"}) {
					t.Errorf("bumps %t, partition %d: %q, %v", bumps, p, got, err)
				}
			}
			if got, err := a.stableOffset(ctx, readers, "t"); err != nil || got != 7 {
				t.Errorf("bumps %t: the group is at %d, %v", bumps, got, err)
			}
		})
	}
}

// What was not stable for readers before another leader has come is not stable behind it,
// and what was is: through snapshots, through the log, and through both.
func TestWhatIsStableStaysSoUnderTheNextLeaders(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, n *node, mem *vfs.Mem) {
		open, other := n.transactor(t, "x", true), n.transactor(t, "y", true)
		must(t, open.init(ctx))
		must(t, other.init(ctx))
		must(t, other.produce(ctx, "t", 0, "a"))
		must(t, other.finish(ctx, true)) // offsets 0 and 1
		must(t, open.produce(ctx, "t", 0, "b"))
		stable := func(leader string, want, end int64, aborted int) {
			t.Helper()
			got, err := n.asker(t).fetchCommitted(ctx, "t", 0, 0, 0)
			if err != nil || got.LastStableOffset != want || got.HighWatermark != end || len(got.AbortedTransactions) != aborted {
				t.Errorf("%s: stable up to %d of %d with %d aborted, want %d of %d with %d (%v)",
					leader, got.LastStableOffset, got.HighWatermark, len(got.AbortedTransactions), want, end, aborted, err)
			}
		}
		stable("the first leader", 2, 3, 0)
		for i, snapshots := range []bool{false, true, false} {
			must(t, other.produce(ctx, "t", 0, "c"))
			must(t, other.finish(ctx, false))
			time.Sleep(time.Second) // its marker
			if snapshots {
				n.snapshot()
			}
			open.close()
			other.close()
			must(t, n.end())
			n = run(t, across(t, mem))
			for _, x := range []*transactor{open, other} {
				x.asker = n.transactor(t, x.id, true).asker
			}
			stable(fmt.Sprint("leader ", i+2), 2, int64(5+2*i), 0)
		}
		must(t, open.finish(ctx, true))
		time.Sleep(time.Second) // its marker
		stable("at the end", 10, 10, 3)
		got, err := n.asker(t).readCommitted(ctx, "t", 0)
		if err != nil || !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestATransactionThatIsLeftOpenIsAbortedWhenItsTimeIsUp(t *testing.T) {
	for _, bumps := range []bool{true, false} {
		inBubble(t, func(t *testing.T, ctx context.Context, n *node, _ *vfs.Mem) {
			x, a := n.transactor(t, "x", bumps), n.asker(t)
			must(t, x.init(ctx))
			must(t, x.produce(ctx, "t", 0, "v"))
			time.Sleep(9 * time.Second)
			must(t, x.produce(ctx, "t", 0, "w"))
			time.Sleep(3 * time.Second)
			if got, err := a.fetchCommitted(ctx, "t", 0, 0, 0); err != nil || got.LastStableOffset != 3 || len(got.AbortedTransactions) != 1 {
				t.Errorf("bumps %t: %+v, %v", bumps, got, err)
			}
			if err := x.send(ctx, "t", 0, "late"); !errors.Is(err, kerr.InvalidProducerEpoch) {
				t.Errorf("bumps %t: a batch behind its end: %v", bumps, err)
			}
			want := kerr.ProducerFenced
			if bumps { // to whom the epoch may as well have been given by an end
				want = kerr.InvalidTxnState
			}
			if err := x.finish(ctx, true); !errors.Is(err, want) {
				t.Errorf("bumps %t: a commit behind its end: %v", bumps, err)
			}
			must(t, x.init(ctx))
			must(t, x.produce(ctx, "t", 0, "again"))
			must(t, x.finish(ctx, true))
			if got, err := a.readCommitted(ctx, "t", 0); err != nil || !slices.Equal(got, []string{"again"}) {
				t.Errorf("bumps %t: %q, %v", bumps, got, err)
			}
		})
	}
}

func TestABatchWhosePartitionWasNotAnnouncedBeginsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, ctx context.Context, n *node, _ *vfs.Mem) {
		x, a := n.transactor(t, "x", false), n.asker(t)
		must(t, x.init(ctx))
		if err := x.send(ctx, "t", 0, "v"); !errors.Is(err, kerr.InvalidTxnState) {
			t.Errorf("without a transaction: %v", err)
		}
		must(t, x.add(ctx, "t", 1))
		if err := x.send(ctx, "t", 0, "v"); !errors.Is(err, kerr.InvalidTxnState) {
			t.Errorf("in a partition that is not part of it: %v", err)
		}
		must(t, x.send(ctx, "t", 1, "v"))
		must(t, x.finish(ctx, true))
		if err := x.send(ctx, "t", 1, "late"); !errors.Is(err, kerr.InvalidTxnState) && !errors.Is(err, kerr.NotEnoughReplicas) {
			t.Errorf("behind its end: %v", err)
		}
		if got, err := a.readCommitted(ctx, "t", 1); err != nil || !slices.Equal(got, []string{"v"}) {
			t.Errorf("%q, %v", got, err)
		}
		if got, err := a.readCommitted(ctx, "t", 0); err != nil || len(got) != 0 {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestAZombieIsFencedByWhoHasTakenOver(t *testing.T) {
	for _, bumps := range []bool{true, false} {
		inBubble(t, func(t *testing.T, ctx context.Context, n *node, _ *vfs.Mem) {
			old, x, a := n.transactor(t, "x", bumps), n.transactor(t, "x", bumps), n.asker(t)
			must(t, old.init(ctx))
			must(t, old.produce(ctx, "t", 0, "old"))
			must(t, old.commitOffset(ctx, readers, "t", 1))
			must(t, x.init(ctx))
			if err := old.send(ctx, "t", 0, "zombie"); !errors.Is(err, kerr.InvalidProducerEpoch) {
				t.Errorf("bumps %t: its batch: %v", bumps, err)
			}
			if err := old.commitOffset(ctx, readers, "t", 2); !errors.Is(err, kerr.InvalidProducerEpoch) && !errors.Is(err, kerr.ProducerFenced) {
				t.Errorf("bumps %t: its offsets: %v", bumps, err)
			}
			if err := old.finish(ctx, true); !errors.Is(err, kerr.ProducerFenced) {
				t.Errorf("bumps %t: its commit: %v", bumps, err)
			}
			must(t, x.produce(ctx, "t", 0, "new"))
			must(t, x.finish(ctx, true))
			if got, err := a.readCommitted(ctx, "t", 0); err != nil || !slices.Equal(got, []string{"new"}) {
				t.Errorf("bumps %t: %q, %v", bumps, got, err)
			}
			if got, err := a.stableOffset(ctx, readers, "t"); err != nil || got != -1 {
				t.Errorf("bumps %t: the group is at %d, %v", bumps, got, err)
			}
		})
	}
}
