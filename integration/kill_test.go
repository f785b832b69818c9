package integration

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestKilledNodeKeepsWhatItAcknowledged kills the node again and again under the
// load of idempotent producers. Afterwards every acknowledged message is there,
// once, and each producer's messages are in the order of their sending. Beside them
// something is written that nobody keeps, so that the segments are cleaned all the time.
func TestKilledNodeKeepsWhatItAcknowledged(t *testing.T) {
	cycles := Rounds(t, 4, 30)
	for _, shards := range []int{1, 3} {
		t.Run(fmt.Sprintf("shards=%d", shards), func(t *testing.T) {
			// Small segments, so that kills also meet rolls, seals and cleanings.
			n := Start(t, "--shards", strconv.Itoa(shards), "--set", "num.partitions=3", "--set", "log.segment.bytes=1048576",
				"--set", "log.retention.check.interval.ms=50", "--set", "log.cleaner.backoff.ms=50")
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rnd := rand.New(rand.NewPCG(seed, 0))

			const producers, partitions = 3, 3
			ctx := testContext(t, 5*time.Minute+time.Duration(cycles)*10*time.Second)
			loading, stop := context.WithCancel(ctx)
			defer stop()
			acked := make([][]bool, producers) // by producer and number; written by its own goroutine
			var total atomic.Int64
			done := make(chan error, producers+1)
			go func() { done <- waste(ctx, loading, n.Addr) }()
			for p := range producers {
				go func() { done <- load(ctx, loading, n.Addr, p, &acked[p], &total) }()
			}
			for c := range cycles {
				// Each cycle sees some messages through before the kill.
				want := total.Load() + 200
				for deadline := time.Now().Add(30 * time.Second); total.Load() < want; {
					if time.Now().After(deadline) {
						t.Fatalf("cycle %d: nothing is acknowledged any more", c)
					}
					time.Sleep(time.Millisecond)
				}
				time.Sleep(time.Duration(rnd.IntN(50)) * time.Millisecond)
				n.Kill()
				n.Restart()
			}
			stop()
			for range producers + 1 {
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}
			checkAcknowledged(ctx, t, n.Addr, acked, partitions)
			t.Logf("%d kills, %d messages acknowledged", cycles, total.Load())
		})
	}
}

// load sends numbered messages, each number to the partition of its own producer,
// until loading ends, and waits for what is in flight.
func load(ctx, loading context.Context, addr string, producer int, acked *[]bool, total *atomic.Int64) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic("kill"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(time.Millisecond), kgo.MaxBufferedRecords(500),
		kgo.RecordDeliveryTimeout(2*time.Minute), kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }))
	if err != nil {
		return err
	}
	defer cl.Close()
	type result struct {
		number int
		err    error
	}
	results := make(chan result, 1000)
	sent, settled := 0, 0
	settle := func(r result) error {
		settled++
		if r.err != nil {
			return fmt.Errorf("producer %d, message %d: %w", producer, r.number, r.err)
		}
		(*acked)[r.number] = true
		total.Add(1)
		return nil
	}
	for loading.Err() == nil || settled < sent {
		if loading.Err() == nil && sent-settled < 400 {
			number := sent
			sent++
			*acked = append(*acked, false)
			value := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(producer)), uint32(number))
			value = append(value, make([]byte, 500)...)
			cl.Produce(ctx, &kgo.Record{Partition: int32(producer), Value: value}, func(_ *kgo.Record, err error) { results <- result{number, err} })
			select {
			case r := <-results:
				if err := settle(r); err != nil {
					return err
				}
			default:
			}
			continue
		}
		select {
		case r := <-results:
			if err := settle(r); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// waste sends messages to a topic that keeps nothing, until loading ends. What becomes of
// them nobody asks.
func waste(ctx, loading context.Context, addr string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic("waste"), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.RecordDeliveryTimeout(time.Second), kgo.DisableIdempotentWrite(), kgo.MaxBufferedRecords(100))
	if err != nil {
		return err
	}
	defer cl.Close()
	retention := "10"
	req := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "waste", 3, 1
	topic.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms", Value: &retention}}
	req.Topics = append(req.Topics, topic)
	for loading.Err() == nil {
		if _, err := req.RequestWith(ctx, cl); err == nil {
			break
		}
	}
	value := make([]byte, 20<<10)
	for loading.Err() == nil {
		cl.Produce(loading, &kgo.Record{Value: value}, nil)
		time.Sleep(2 * time.Millisecond) // 10 MB a second is enough
	}
	return nil
}

// checkAcknowledged reads everything and compares it with what was acknowledged.
func checkAcknowledged(ctx context.Context, t *testing.T, addr string, acked [][]bool, partitions int) {
	t.Helper()
	offsets := make(map[int32]kgo.Offset)
	for p := range partitions {
		offsets[int32(p)] = kgo.NewOffset().AtStart()
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"kill": offsets}))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	next := make([]uint32, len(acked))
	want := 0
	for _, a := range acked {
		want += len(a)
	}
	for got := 0; got < want; {
		fs := cl.PollFetches(ctx)
		if err := fs.Err0(); err != nil {
			t.Fatalf("reading back after %d of %d messages: %v", got, want, err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			p, number := binary.BigEndian.Uint32(r.Value), binary.BigEndian.Uint32(r.Value[4:])
			if r.Partition != int32(p) {
				t.Fatalf("a message of producer %d in partition %d", p, r.Partition)
			}
			// Everything that was sent was acknowledged in the end, so there is no gap
			// either: each number follows the one before it.
			if number != next[p] {
				t.Fatalf("producer %d: message %d where %d is due (offset %d): lost, doubled or out of order", p, number, next[p], r.Offset)
			}
			next[p]++
			got++
		})
	}
	for p, a := range acked {
		for number, ok := range a {
			if !ok {
				t.Errorf("producer %d: message %d was never acknowledged", p, number)
			}
		}
	}
}
