package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// tidyNode looks for what to delete every second, in segments of 64 KiB.
func tidyNode(t *testing.T, fs vfs.FS, set map[string]string) Config {
	all := map[string]string{"log.cleaner.backoff.ms": "1000", "log.retention.check.interval.ms": "1000"}
	for name, value := range set {
		all[name] = value
	}
	s := settings(t, all)
	s.SegmentBytes = 64 << 10
	return Config{FS: fs, Settings: s, Shards: 1}
}

// fill produces n batches of 4000 bytes, a second apart.
func (a asker) fill(t *testing.T, topic string, partition int32, n int) {
	t.Helper()
	for i := range n {
		if _, err := a.produce(context.Background(), topic, partition, batch(-1, 0, strings.Repeat(string(rune('a'+i%26)), 4000))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
	}
}

// bounds asks for the earliest and the latest offset.
func (a asker) bounds(t *testing.T, topic string, partition int32) (earliest, latest int64) {
	t.Helper()
	var found [2]int64
	for i, ts := range []int64{timestampEarliest, timestampLatest} {
		req := kmsg.NewPtrListOffsetsRequest()
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp, p.CurrentLeaderEpoch = partition, ts, -1
		lt := kmsg.NewListOffsetsRequestTopic()
		lt.Topic, lt.Partitions = topic, append(lt.Partitions, p)
		req.Topics = append(req.Topics, lt)
		resp, err := req.RequestWith(context.Background(), a)
		must(t, err)
		must(t, kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode))
		found[i] = resp.Topics[0].Partitions[0].Offset
	}
	return found[0], found[1]
}

// fetch returns what comes from an offset on, and its error.
func (a asker) fetch(t *testing.T, topic string, partition int32, offset int64) ([]byte, error) {
	t.Helper()
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.SessionEpoch = 1<<20, -1
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = partition, offset, 1<<20, -1
	ft := kmsg.NewFetchRequestTopic()
	ft.Topic, ft.Partitions = topic, append(ft.Partitions, p)
	req.Topics = append(req.Topics, ft)
	resp, err := req.RequestWith(context.Background(), a)
	must(t, err)
	got := resp.Topics[0].Partitions[0]
	return got.RecordBatches, kerr.ErrorForCode(got.ErrorCode)
}

func (a asker) deleteRecords(t *testing.T, topic string, partition int32, before int64) (int64, error) {
	t.Helper()
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 5000
	p := kmsg.NewDeleteRecordsRequestTopicPartition()
	p.Partition, p.Offset = partition, before
	dt := kmsg.NewDeleteRecordsRequestTopic()
	dt.Topic, dt.Partitions = topic, append(dt.Partitions, p)
	req.Topics = append(req.Topics, dt)
	resp, err := req.RequestWith(context.Background(), a)
	must(t, err)
	got := resp.Topics[0].Partitions[0]
	return got.LowWatermark, kerr.ErrorForCode(got.ErrorCode)
}

// size is the bytes of the data shard's segments.
func (n *node) size() int64 { return n.shards[1].log.Size() }

func TestWhatIsOlderThanItsRetentionLeavesTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		n := run(t, tidyNode(t, mem, nil))
		ask := n.asker(t)
		must(t, ask.createTopic(context.Background(), orders, 1, "retention.ms", "60000"))
		ask.fill(t, orders, 0, 200)        // a batch a second
		time.Sleep(300 * time.Millisecond) // between two looks of the cleaner
		earliest, latest := ask.bounds(t, orders, 0)
		if earliest < 130 || earliest > 145 || latest != 200 {
			t.Errorf("after 200 seconds [%d, %d), want the last minute", earliest, latest)
		}
		if size := n.size(); size > 500_000 {
			t.Errorf("%d bytes for a minute of 4 KB a second", size)
		}
		if _, err := ask.fetch(t, orders, 0, earliest-1); !errors.Is(err, kerr.OffsetOutOfRange) {
			t.Errorf("below the log start: %v", err)
		}
		got, err := ask.fetch(t, orders, 0, earliest)
		if err != nil || record.Batch(got).BaseOffset() != earliest {
			t.Errorf("at the log start: %d bytes, %v", len(got), err)
		}
		time.Sleep(10 * time.Minute)
		if earliest, latest = ask.bounds(t, orders, 0); earliest != 200 || latest != 200 {
			t.Errorf("much later [%d, %d)", earliest, latest)
		}
		if size := n.size(); size > 20_000 {
			t.Errorf("%d bytes for nothing", size)
		}
		n.shut(t)
		n = run(t, tidyNode(t, mem.CrashClean(), nil))
		ask = n.asker(t)
		if earliest, latest = ask.bounds(t, orders, 0); earliest != 200 || latest != 200 {
			t.Errorf("after a start [%d, %d)", earliest, latest)
		}
		if offset, err := ask.produce(context.Background(), orders, 0, batch(-1, 0, "one more")); err != nil || offset != 200 {
			t.Errorf("one more is at %d: %v", offset, err)
		}
		n.shut(t)
	})
}

func TestAPartitionIsCutDownToItsRetentionBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := run(t, tidyNode(t, vfs.NewMem(), nil))
		ask := n.asker(t)
		must(t, ask.createTopic(context.Background(), orders, 2, "retention.bytes", "100000"))
		ask.fill(t, orders, 0, 20)
		ask.fill(t, orders, 1, 60)
		if earliest, _ := ask.bounds(t, orders, 0); earliest != 0 {
			t.Errorf("80 KB begin at %d", earliest)
		}
		// 25 batches have more than 100000 bytes, 24 have not.
		for range 3 {
			time.Sleep(2 * time.Second) // longer than between two looks, of which one may fall together with the last batch
			earliest, latest := ask.bounds(t, orders, 1)
			if latest-earliest != 25 {
				t.Errorf("[%d, %d), want 25 batches", earliest, latest)
			}
			ask.fill(t, orders, 1, 7)
		}
		n.shut(t)
	})
}

func TestATopicWithoutDeleteKeepsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := run(t, tidyNode(t, vfs.NewMem(), nil))
		ask := n.asker(t)
		must(t, ask.createTopic(context.Background(), orders, 1, "retention.ms", "1000", "retention.bytes", "1", "cleanup.policy", ""))
		ask.fill(t, orders, 0, 50)
		time.Sleep(time.Minute)
		if earliest, latest := ask.bounds(t, orders, 0); earliest != 0 || latest != 50 {
			t.Errorf("[%d, %d)", earliest, latest)
		}
		if _, err := ask.deleteRecords(t, orders, 0, 10); !errors.Is(err, kerr.PolicyViolation) {
			t.Errorf("deleting records: %v", err)
		}
		n.shut(t)
	})
}

func TestRecordsAreDeletedOnRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		n := run(t, tidyNode(t, mem, nil))
		ask := n.asker(t)
		must(t, ask.createTopic(context.Background(), orders, 1))
		must(t, ask.createTopic(context.Background(), "others", 1))
		ask.fill(t, orders, 0, 100)
		ask.fill(t, "others", 0, 10)
		for _, c := range []struct {
			before, low int64
			err         error
		}{
			{30, 30, nil}, {20, 30, nil}, {101, -1, kerr.OffsetOutOfRange}, {-2, -1, kerr.OffsetOutOfRange}, {-1, 100, nil},
		} {
			if low, err := ask.deleteRecords(t, orders, 0, c.before); low != c.low || !errors.Is(err, c.err) {
				t.Errorf("before %d: low watermark %d, %v, want %d, %v", c.before, low, err, c.low, c.err)
			}
		}
		if _, err := ask.deleteRecords(t, orders, 1, 0); !errors.Is(err, kerr.UnknownTopicOrPartition) {
			t.Errorf("of a partition that is not there: %v", err)
		}
		time.Sleep(time.Minute)
		if size := n.size(); size > 60_000 {
			t.Errorf("%d bytes, of which 40 KB are of use", size)
		}
		n.shut(t)
		n = run(t, tidyNode(t, mem.CrashClean(), nil))
		ask = n.asker(t)
		if earliest, latest := ask.bounds(t, orders, 0); earliest != 100 || latest != 100 {
			t.Errorf("after a start [%d, %d)", earliest, latest)
		}
		values, err := ask.read(context.Background(), "others", 0)
		if err != nil || len(values) != 10 {
			t.Errorf("of the other topic %d are left: %v", len(values), err)
		}
		n.shut(t)
	})
}

func TestADeletedTopicLeavesTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := run(t, tidyNode(t, vfs.NewMem(), nil))
		ask := n.asker(t)
		must(t, ask.createTopic(context.Background(), orders, 3))
		must(t, ask.createTopic(context.Background(), "others", 1))
		for p := range int32(3) {
			ask.fill(t, orders, p, 30)
			ask.fill(t, "others", 0, 3)
		}
		must(t, ask.deleteTopic(context.Background(), orders))
		time.Sleep(time.Minute)
		if size := n.size(); size > 50_000 {
			t.Errorf("%d bytes, of which 36 KB are of use", size)
		}
		values, err := ask.read(context.Background(), "others", 0)
		if err != nil || len(values) != 9 {
			t.Errorf("of the other topic %d are left: %v", len(values), err)
		}
		n.shut(t)
	})
}

// Held messages that were decided are of no use; those that were not are all there is of
// them.
func TestAHalfMessageIsKeptUntilItIsDecided(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		mem := vfs.NewMem()
		nobodyAsks := map[string]string{"half.message.immunity.ms": "36000000"}
		n := run(t, tidyNode(t, mem, nobodyAsks))
		ask := n.asker(t)
		must(t, ask.createTopic(ctx, halves, 1, "message.type", "transaction"))
		must(t, ask.createTopic(ctx, orders, 1, "retention.ms", "1000"))
		body := func(i int) string { return fmt.Sprint(i, strings.Repeat("x", 3000)) }
		for i := range 100 {
			if _, err := ask.produce(ctx, halves, 0, half(fmt.Sprint(i), "prepare", "service", body(i))); err != nil {
				t.Fatal(err)
			}
			if i%10 == 0 {
				continue
			}
			if _, err := ask.produce(ctx, halves, 0, half(fmt.Sprint(i), "rollback", "", "")); err != nil {
				t.Fatal(err)
			}
		}
		ask.fill(t, orders, 0, 30)
		time.Sleep(2 * time.Minute)
		if size := n.size(); size > 80_000 {
			t.Errorf("%d bytes, of which 30 KB are of use", size)
		}
		must(t, n.end())
		n = run(t, tidyNode(t, mem.CrashClean(), nobodyAsks))
		ask = n.asker(t)
		for i := 0; i < 100; i += 10 {
			if _, err := ask.produce(ctx, halves, 0, half(fmt.Sprint(i), "commit", "", "")); err != nil {
				t.Fatalf("committing %d: %v", i, err)
			}
		}
		values, err := ask.read(ctx, halves, 0)
		must(t, err)
		for i, v := range values {
			if v != body(10*i) {
				t.Errorf("message %d is %.20q", i, v)
			}
		}
		if len(values) != 10 {
			t.Errorf("%d messages", len(values))
		}
		must(t, n.end())
	})
}

func TestASegmentEndsAtItsAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := run(t, tidyNode(t, vfs.NewMem(), map[string]string{"log.roll.ms": "3600000"}))
		ask := n.asker(t)
		must(t, ask.createTopic(context.Background(), orders, 1))
		ask.fill(t, orders, 0, 1)
		before := len(n.shards[1].log.Segments())
		time.Sleep(59 * time.Minute)
		if got := len(n.shards[1].log.Segments()); got != before {
			t.Errorf("%d segments before the hour", got)
		}
		time.Sleep(2 * time.Minute)
		ask.fill(t, orders, 0, 1)
		if got := n.shards[1].log.Segments(); len(got) != before+1 || got[len(got)-1].First == 1 {
			t.Errorf("%d segments behind the hour", len(got))
		}
		n.shut(t)
	})
}

func TestThePaceIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pace
		begin := time.Now()
		for range 50 {
			must(t, p.wait(context.Background(), 100, 1000))
		}
		if took := time.Since(begin); took < 4800*time.Millisecond || took > 5*time.Second {
			t.Errorf("5000 bytes at 1000 a second took %v", took)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := p.wait(ctx, 1, 1000); !errors.Is(err, context.Canceled) {
			t.Errorf("canceled: %v", err)
		}
	})
}

// keyed is a batch of records with keys; a value "" is none.
func keyed(pairs ...string) record.Batch {
	var records []record.Record
	for i := 0; i+1 < len(pairs); i += 2 {
		r := record.Record{Key: []byte(pairs[i])}
		if pairs[i+1] != "" {
			r.Value = []byte(pairs[i+1])
		}
		records = append(records, r)
	}
	return record.Build(record.BuildOptions{
		Codec: record.Snappy, BaseTimestamp: time.Now().UnixMilli(), ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1,
	}, records)
}

func TestACompactedTopicEndsWithOneRecordForEachKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		mem := vfs.NewMem()
		n := run(t, tidyNode(t, mem, map[string]string{"log.cleaner.delete.retention.ms": "60000"}))
		ask := n.asker(t)
		must(t, ask.createTopic(ctx, orders, 1, "cleanup.policy", "compact", "max.compaction.lag.ms", "30000"))
		must(t, ask.createTopic(ctx, "others", 1))
		ask.fill(t, "others", 0, 20)
		newest := map[string]string{}
		for i := range 300 {
			a, b := fmt.Sprint("key", i%7), fmt.Sprint("key", i%13)
			value := fmt.Sprint(i, strings.Repeat("v", 500))
			if _, err := ask.produce(ctx, orders, 0, keyed(a, value, b, value)); err != nil {
				t.Fatal(err)
			}
			newest[a], newest[b] = value, value
		}
		if _, err := ask.produce(ctx, orders, 0, keyed("key3", "", "key4", "")); err != nil {
			t.Fatal(err)
		}
		delete(newest, "key3")
		delete(newest, "key4")
		check := func(when string, records int) {
			t.Helper()
			reader := n.client(t, kgo.ConsumeTopics(orders), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
			defer reader.Close()
			got, offset, count := map[string]string{}, int64(-1), 0
			for offset < 601 {
				fetched := reader.PollFetches(ctx)
				must(t, fetched.Err())
				fetched.EachRecord(func(r *kgo.Record) {
					if got[string(r.Key)] = string(r.Value); r.Value == nil {
						delete(got, string(r.Key))
					}
					offset, count = r.Offset, count+1
				})
				if count == records {
					break
				}
			}
			if !maps.Equal(got, newest) || count != records {
				t.Errorf("%s: %d records of %d keys, want %d of %d", when, count, len(got), records, len(newest))
			}
		}
		time.Sleep(40 * time.Second)
		// By max.compaction.lag.ms, though the segment is not full. The rest follows.
		check("after the lag", 13)
		time.Sleep(time.Hour)
		check("after an hour", 11)
		if got, err := ask.fetch(t, orders, 0, 600); err != nil || record.Batch(got).NextOffset() != 602 {
			t.Errorf("a reader does not come to the end: %d bytes, %v", len(got), err)
		}
		if size := n.size(); size > 120_000 {
			t.Errorf("%d bytes, of which 80 KB are another topic's", size)
		}
		if earliest, latest := ask.bounds(t, orders, 0); earliest != 0 || latest != 602 {
			t.Errorf("[%d, %d)", earliest, latest)
		}
		n.shut(t)
		n = run(t, tidyNode(t, mem.CrashClean(), nil))
		check("after a start", 11)
		ask = n.asker(t)
		if offset, err := ask.produce(ctx, orders, 0, keyed("key0", "new")); err != nil || offset != 602 {
			t.Errorf("one more is at %d: %v", offset, err)
		}
		values, err := ask.read(ctx, "others", 0)
		if err != nil || len(values) != 20 {
			t.Errorf("of the other topic %d are left: %v", len(values), err)
		}
		n.shut(t)
	})
}

// A disk that is nearly full is made room on at once, not when it is time; what may not be
// deleted is kept, and batches are refused; deleting still goes.
func TestANearlyFullDiskIsMadeRoomOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		mem := vfs.NewMem()
		set := map[string]string{
			"log.cleaner.backoff.ms": "3600000", "log.retention.check.interval.ms": "3600000", "disk.min.free.bytes": fmt.Sprint(1 << 20),
		}
		n := run(t, tidyNode(t, mem, set))
		ask := n.asker(t)
		must(t, ask.createTopic(ctx, orders, 1, "retention.ms", "60000"))
		must(t, ask.createTopic(ctx, "others", 1))
		mem.SetCapacity(14 << 20)
		ask.fill(t, orders, 0, 100)
		if earliest, _ := ask.bounds(t, orders, 0); earliest != 0 {
			t.Errorf("with room on the disk the log begins at %d", earliest)
		}
		// With less than 8 MiB it is time to hurry.
		big := func(topic string) error {
			_, err := ask.produce(ctx, topic, 0, batch(-1, 0, strings.Repeat("x", 1<<20)))
			time.Sleep(10 * time.Second)
			return err
		}
		for i := range 60 {
			if err := big(orders); err != nil {
				t.Fatalf("a topic that is kept for a minute, %d MiB: %v", i, err)
			}
		}
		if earliest, _ := ask.bounds(t, orders, 0); earliest < 140 {
			t.Errorf("with little room on the disk the log begins at %d", earliest)
		}
		// What is kept for a week cannot be deleted for that.
		var refused error
		kept := 0
		for refused == nil && kept < 60 {
			if refused = big("others"); refused == nil {
				kept++
			}
		}
		if !errors.Is(refused, kerr.KafkaStorageError) || kept < 4 {
			t.Errorf("after %d MiB more: %v", kept, refused)
		}
		if low, err := ask.deleteRecords(t, "others", 0, -1); err != nil || low != int64(kept) {
			t.Errorf("deleting: %d, %v", low, err)
		}
		time.Sleep(10 * time.Minute)
		if err := big("others"); err != nil {
			t.Errorf("with room again: %v", err)
		}
		must(t, n.end())
	})
}
