package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestAKilledNodeCopiesEveryRecordOnce has consumers copy a topic to another one,
// consume, produce and commit in one transaction, over three shards, while the node is
// killed again and again. Afterwards the copy has every record once for who reads
// what is committed, each partition's in order.
func TestAKilledNodeCopiesEveryRecordOnce(t *testing.T) {
	cycles := Rounds(t, 4, 30)
	n := Start(t, "--shards", "3", "--set", "num.partitions=3", "--set", "log.segment.bytes=1048576",
		"--set", "group.initial.rebalance.delay.ms=0")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	ctx := testContext(t, 3*time.Minute+time.Duration(cycles)*10*time.Second)

	records := 200 * cycles
	want := originals(ctx, t, n.Addr, records)
	copying, stop := context.WithCancel(ctx)
	defer stop()
	const copiers = 2
	done := make(chan error, copiers)
	for i := range copiers {
		go func() { done <- copyInTransactions(copying, n.Addr, fmt.Sprint("copier-", i)) }()
	}
	kills := 0
	got := committedValues(ctx, t, n.Addr, records, func(count int) {
		if kills < cycles && count > records*kills/cycles {
			time.Sleep(time.Duration(rnd.IntN(30)) * time.Millisecond)
			n.Kill()
			n.Restart()
			kills++
		}
	})
	stop()
	for range copiers {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	for p, values := range want {
		if len(got[p]) != len(values) {
			t.Fatalf("partition %d has %d records, and its copy %d", p, len(values), len(got[p]))
		}
		for i, v := range values {
			if got[p][i] != v {
				t.Fatalf("record %d of partition %d is %q, and in its copy %q", i, p, v, got[p][i])
			}
		}
	}
	t.Logf("%d kills, %d records", kills, records)
}

// originals fills the topic that is copied, and returns its values by partition.
func originals(ctx context.Context, t *testing.T, addr string, n int) map[int32][]string {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic("original"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	all := map[int32][]string{}
	for i := range n {
		r := &kgo.Record{Partition: int32(i % 3), Value: []byte(strconv.Itoa(i))}
		all[r.Partition] = append(all[r.Partition], string(r.Value))
		cl.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	return all
}

// copyInTransactions copies until the context ends, in sessions: one that fails is
// followed by another, as a service that is started again.
func copyInTransactions(ctx context.Context, addr, id string) error {
	for ctx.Err() == nil {
		if err := copySession(ctx, addr, id); err != nil && ctx.Err() == nil {
			if errors.Is(err, kerr.InvalidTxnState) || errors.Is(err, kerr.OutOfOrderSequenceNumber) {
				return fmt.Errorf("%s: %w", id, err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return nil
}

func copySession(ctx context.Context, addr, id string) error {
	s, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(addr), kgo.TransactionalID(id), kgo.TransactionTimeout(20*time.Second), kgo.AllowAutoTopicCreation(),
		kgo.ConsumerGroup("copiers"), kgo.ConsumeTopics("original"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets(), kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(500*time.Millisecond),
		kgo.DefaultProduceTopic("copy"), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.FetchMaxPartitionBytes(300),
		kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
	)
	if err != nil {
		return err
	}
	defer s.Close()
	for ctx.Err() == nil {
		fetches := s.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		if err := s.Begin(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			s.Produce(ctx, &kgo.Record{Partition: r.Partition, Value: r.Value}, nil)
		})
		if _, err := s.End(ctx, kgo.TryCommit); err != nil {
			return err
		}
	}
	return nil
}

// committedValues reads n committed records of the copy, and demands that no more come.
// It tells progress how many there are as they come.
func committedValues(ctx context.Context, t *testing.T, addr string, n int, progress func(count int)) map[int32][]string {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics("copy"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	all, count := map[int32][]string{}, 0
	take := func(ctx context.Context) {
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			all[r.Partition] = append(all[r.Partition], string(r.Value))
			count++
		})
	}
	for count < n && ctx.Err() == nil {
		take(ctx)
		progress(count)
	}
	more, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for more.Err() == nil {
		take(more)
	}
	if count != n {
		t.Fatalf("%d records were copied, %d are read", n, count)
	}
	return all
}
