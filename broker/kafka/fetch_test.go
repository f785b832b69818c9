package kafka

import (
	"bytes"
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/record"
)

// reading is a request for partitions 0, 1, 2... of a topic, each from an offset on.
func reading(version int16, topic string, offsets ...int64) *kmsg.FetchRequest {
	req := at(kmsg.NewPtrFetchRequest(), version)
	req.MaxBytes, req.MinBytes, req.MaxWaitMillis = math.MaxInt32, 1, 0
	t := kmsg.NewFetchRequestTopic()
	t.Topic = topic
	for i, o := range offsets {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = int32(i), o, 1<<20
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	return req
}

func partitionsRead(resp *kmsg.FetchResponse) []kmsg.FetchResponseTopicPartition {
	var all []kmsg.FetchResponseTopicPartition
	for _, t := range resp.Topics {
		all = append(all, t.Partitions...)
	}
	return all
}

// baseOffsets are those of the batches in some records.
func baseOffsets(t *testing.T, records []byte) (bases []int64) {
	t.Helper()
	for len(records) > 0 {
		b, rest, err := record.SplitBatch(records)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Validate(); err != nil {
			t.Fatal(err)
		}
		bases, records = append(bases, b.BaseOffset()), rest
	}
	return bases
}

func TestEveryVersionOfFetchReadsWhatWasProduced(t *testing.T) {
	f := newFake()
	id := f.add("t", 1).ID
	for range 3 {
		f.produce("t", 0, 5)
	}
	w := to(t, f)
	for v := int16(4); v <= 18; v++ {
		// An offset inside a batch is answered with the whole batch.
		req := reading(v, "t", 7)
		if v >= 13 {
			req.Topics[0].Topic, req.Topics[0].TopicID = "", id
		}
		resp := ask[*kmsg.FetchResponse](w, req)
		p := partitionsRead(resp)[0]
		bases := baseOffsets(t, p.RecordBatches)
		if p.ErrorCode != 0 || len(bases) != 2 || bases[0] != 5 || bases[1] != 10 {
			t.Errorf("v%d: error %d, batches at %v", v, p.ErrorCode, bases)
		}
		if p.HighWatermark != 15 || p.LastStableOffset != 15 || v >= 5 && p.LogStartOffset != 0 || v >= 11 && p.PreferredReadReplica != -1 {
			t.Errorf("v%d: %+v", v, p)
		}
		if v >= 13 && resp.Topics[0].TopicID != id || v < 13 && resp.Topics[0].Topic != "t" {
			t.Errorf("v%d: topic %q, id %x", v, resp.Topics[0].Topic, resp.Topics[0].TopicID)
		}
	}
}

func TestWhatCannotBeReadSaysWhyPerPartition(t *testing.T) {
	f := newFake()
	f.add("t", 4, func(t *Topic) { t.Partitions[2].Err = kerr.NotLeaderForPartition })
	for range 3 {
		f.produce("t", 0, 5)
		f.produce("t", 1, 5)
	}
	f.topics["t"].logs[0].start = 5
	w := to(t, f)
	req := reading(12, "t", 2, 16, 0, 0, 0)
	req.MaxWaitMillis = math.MaxInt32 // an error is answered at once
	req.Topics = append(req.Topics, reading(12, "unknown", 0).Topics...)
	got := partitionsRead(ask[*kmsg.FetchResponse](w, req))
	for i, want := range []struct {
		code       *kerr.Error
		start, end int64
	}{
		{kerr.OffsetOutOfRange, 5, 15},
		{kerr.OffsetOutOfRange, 0, 15},
		{kerr.NotLeaderForPartition, -1, -1},
		{nil, 0, 0},
		{kerr.UnknownTopicOrPartition, -1, -1},
		{kerr.UnknownTopicOrPartition, -1, -1},
	} {
		p := got[i]
		if want.code == nil != (p.ErrorCode == 0) || want.code != nil && p.ErrorCode != want.code.Code {
			t.Errorf("number %d: error %d, want %v", i, p.ErrorCode, want.code)
		}
		if p.LogStartOffset != want.start || p.HighWatermark != want.end || p.LastStableOffset != want.end || p.RecordBatches == nil || len(p.RecordBatches) > 0 {
			t.Errorf("number %d: %+v", i, p)
		}
	}
	byID := reading(13, "", 0)
	byID.Topics[0].TopicID = [16]byte{9}
	if p := partitionsRead(ask[*kmsg.FetchResponse](w, byID))[0]; p.ErrorCode != kerr.UnknownTopicID.Code {
		t.Errorf("an unknown id: error %d", p.ErrorCode)
	}
}

func TestTheLeaderIsNamedToWhoAsksTheWrongNode(t *testing.T) {
	f := newFake()
	id := f.add("t", 1, func(t *Topic) { t.Partitions[0].Err = kerr.NotLeaderForPartition; t.Partitions[0].Leader = 2 }).ID
	f.self = append(f.self, Node{ID: 2, Host: "other", Port: 9093})
	req := reading(16, "", 0)
	req.Topics[0].TopicID = id
	resp := ask[*kmsg.FetchResponse](to(t, f), req)
	p := partitionsRead(resp)[0]
	if p.CurrentLeader.LeaderID != 2 || p.CurrentLeader.LeaderEpoch != 5 || len(resp.Brokers) != 1 || resp.Brokers[0].Host != "other" {
		t.Errorf("leader %+v among %+v", p.CurrentLeader, resp.Brokers)
	}
}

// KIP-74.
func TestTheFirstBatchComesWhateverItsSizeAndTheRestWithinTheLimits(t *testing.T) {
	f := newFake()
	f.add("t", 3)
	for p := range int32(3) {
		f.produce("t", p, 10)
		f.produce("t", p, 10)
	}
	one := len(batchOf(10))
	w := to(t, f)
	for name, c := range map[string]struct {
		all, each int
		want      [3]int // batches per partition
	}{
		"no room at all":               {0, 0, [3]int{1, 0, 0}},
		"no room in the answer":        {1, 1 << 20, [3]int{1, 0, 0}},
		"no room in a partition":       {1 << 20, 1, [3]int{1, 0, 0}},
		"room for one":                 {one, one, [3]int{1, 0, 0}},
		"room for one per partition":   {1 << 20, one, [3]int{1, 1, 1}},
		"room for three in the answer": {3 * one, 1 << 20, [3]int{2, 1, 0}},
		"room for all":                 {6 * one, 2 * one, [3]int{2, 2, 2}},
		"negative limits":              {-1, -1, [3]int{1, 0, 0}},
	} {
		req := reading(12, "t", 0, 0, 0)
		req.MaxBytes = int32(c.all)
		for i := range req.Topics[0].Partitions {
			req.Topics[0].Partitions[i].PartitionMaxBytes = int32(c.each)
		}
		for i, p := range partitionsRead(ask[*kmsg.FetchResponse](w, req)) {
			if got := len(baseOffsets(t, p.RecordBatches)); got != c.want[i] {
				t.Errorf("%s: %d batches of partition %d, want %d", name, got, i, c.want[i])
			}
		}
	}
}

func TestAnAnswerHasNoMoreRecordsThanTheServersLimit(t *testing.T) {
	f := newFake()
	f.add("t", 3)
	for range 10 {
		for p := range int32(3) {
			f.produce("t", p, 50)
		}
	}
	one := len(batchOf(50))
	w := connect(t, context.Background(), serverOf(t, f, Limits{MaxFetchBytes: 4 * one}, Events{}))
	total := 0
	for _, p := range partitionsRead(ask[*kmsg.FetchResponse](w, reading(12, "t", 0, 0, 0))) {
		total += len(p.RecordBatches)
	}
	if total != 4*one {
		t.Errorf("%d bytes, the limit is %d", total, 4*one)
	}
}

// Many small partitions and a large one behind them: what was read first must not
// move when the buffer grows.
func TestRecordsOfManyPartitionsAreTheirOwn(t *testing.T) {
	f := newFake()
	const n = 60
	f.add("t", n)
	offsets := make([]int64, n)
	for p := range int32(n) {
		for range 1 + p%5 {
			f.produce("t", p, 1+int(p)*7)
		}
	}
	for i, p := range partitionsRead(ask[*kmsg.FetchResponse](to(t, f), reading(12, "t", offsets...))) {
		var want []byte
		for _, b := range f.topics["t"].logs[i].batches {
			want = append(want, b...)
		}
		if !bytes.Equal(p.RecordBatches, want) {
			t.Fatalf("partition %d: %d bytes, want %d", i, len(p.RecordBatches), len(want))
		}
	}
}

// poll is a bubble with one client that fetches partition 0 of topic t and waits,
// while ten records are produced at some times.
func poll(t *testing.T, change func(*kmsg.FetchRequest), produced []time.Duration, want time.Duration, wantBatches int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.add("t", 1)
		w := connect(t, context.Background(), serverOf(t, f, Limits{}, Events{}))
		w.nc.SetDeadline(time.Time{})
		req := reading(12, "t", 0)
		req.MaxWaitMillis = 5000
		change(req)
		began := time.Now()
		id := w.send(req)
		for _, d := range produced {
			time.AfterFunc(d, func() { f.produce("t", 0, 10) })
		}
		p := partitionsRead(w.receive(req, id).(*kmsg.FetchResponse))[0]
		if d := time.Since(began); d != want {
			t.Errorf("it took %v, want %v", d, want)
		}
		if got := len(baseOffsets(t, p.RecordBatches)); got != wantBatches {
			t.Errorf("%d batches, want %d", got, wantBatches)
		}
		if len(f.watchers) > 0 {
			t.Errorf("%d are still watched for", len(f.watchers))
		}
		w.nc.Close()
		w.end()
	})
}

func TestALongPollWakesOnData(t *testing.T) {
	poll(t, func(*kmsg.FetchRequest) {}, []time.Duration{700 * time.Millisecond}, 700*time.Millisecond, 1)
}

func TestALongPollWaitsForMinBytes(t *testing.T) {
	req := func(r *kmsg.FetchRequest) { r.MinBytes = int32(2*len(batchOf(10)) + 1) }
	poll(t, req, []time.Duration{1 * time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second}, 3*time.Second, 3)
}

func TestALongPollEndsAtItsTimeWithWhatThereIs(t *testing.T) {
	poll(t, func(*kmsg.FetchRequest) {}, nil, 5*time.Second, 0)
	few := func(r *kmsg.FetchRequest) { r.MinBytes = 1 << 20 }
	poll(t, few, []time.Duration{2 * time.Second}, 5*time.Second, 1)
}

func TestALongPollEndsAtTheServersLimit(t *testing.T) {
	poll(t, func(r *kmsg.FetchRequest) { r.MaxWaitMillis = math.MaxInt32 }, nil, 5*time.Minute, 0)
}

func TestAPollThatAsksForNoBytesOrNoTimeDoesNotWait(t *testing.T) {
	poll(t, func(r *kmsg.FetchRequest) { r.MinBytes = 0 }, nil, 0, 0)
	poll(t, func(r *kmsg.FetchRequest) { r.MinBytes = -1 }, nil, 0, 0)
	poll(t, func(r *kmsg.FetchRequest) { r.MaxWaitMillis = 0 }, nil, 0, 0)
	poll(t, func(r *kmsg.FetchRequest) { r.MaxWaitMillis = -1 }, nil, 0, 0)
}

func TestALongPollWakesWhenItsPartitionFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.add("t", 1)
		w := connect(t, context.Background(), serverOf(t, f, Limits{}, Events{}))
		req := reading(12, "t", 0)
		req.MaxWaitMillis = 5000
		id := w.send(req)
		synctest.Wait()
		f.mu.Lock()
		f.topics["t"].Partitions[0].Err = kerr.NotLeaderForPartition
		for wake := range f.watchers {
			wake <- struct{}{}
		}
		f.mu.Unlock()
		began := time.Now()
		if p := partitionsRead(w.receive(req, id).(*kmsg.FetchResponse))[0]; p.ErrorCode != kerr.NotLeaderForPartition.Code || time.Since(began) != 0 {
			t.Errorf("error %d after %v", p.ErrorCode, time.Since(began))
		}
		w.nc.Close()
		w.end()
	})
}

func TestALongPollEndsWithItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.add("t", 1)
		w := connect(t, context.Background(), serverOf(t, f, Limits{}, Events{}))
		req := reading(12, "t", 0)
		req.MaxWaitMillis = math.MaxInt32
		w.send(req)
		synctest.Wait()
		if len(f.watchers) != 1 {
			t.Fatalf("%d watch", len(f.watchers))
		}
		began := time.Now()
		w.nc.Close()
		w.end()
		if len(f.watchers) > 0 || time.Since(began) > 0 {
			t.Errorf("%d watch, %v later", len(f.watchers), time.Since(began))
		}
	})
}

func TestWhatComesBetweenReadingAndWatchingIsNotMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.add("t", 1)
		f.watching = func() { f.produce("t", 0, 1) }
		w := connect(t, context.Background(), serverOf(t, f, Limits{}, Events{}))
		req := reading(12, "t", 0)
		req.MaxWaitMillis = 5000
		began := time.Now()
		if p := partitionsRead(ask[*kmsg.FetchResponse](w, req))[0]; p.HighWatermark != 1 || time.Since(began) > 0 {
			t.Errorf("the partition ends at %d after %v", p.HighWatermark, time.Since(began))
		}
		w.nc.Close()
		w.end()
	})
}
