package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/record"
)

// producing is a request for one partition.
func producing(version, acks int16, topic string, partition int32, records []byte) *kmsg.ProduceRequest {
	req := at(kmsg.NewPtrProduceRequest(), version)
	req.Acks, req.TimeoutMillis = acks, 30_000
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, records
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

func outcome(resp *kmsg.ProduceResponse) kmsg.ProduceResponseTopicPartition {
	return resp.Topics[0].Partitions[0]
}

// reseal gives a batch a right CRC.
func reseal(b record.Batch) record.Batch {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// built is a batch of one record.
func built(o record.BuildOptions) record.Batch {
	return record.Build(o, []record.Record{{Value: []byte("v")}})
}

// plainly are the options of a batch without a producer id.
func plainly(change func(*record.BuildOptions)) record.BuildOptions {
	o := record.BuildOptions{ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}
	change(&o)
	return o
}

// withByte sets one byte of a batch.
func withByte(b record.Batch, at int, v byte) record.Batch {
	b[at] = v
	return b
}

func claimingRecords(n, lastDelta int32) record.Batch {
	b := batchOf(3)
	binary.BigEndian.PutUint32(b[57:], uint32(n))
	binary.BigEndian.PutUint32(b[23:], uint32(lastDelta))
	return reseal(b)
}

func claimingLength(n int32) record.Batch {
	b := batchOf(3)
	binary.BigEndian.PutUint32(b[8:], uint32(n))
	return b
}

func TestBadBatchesAreRefusedWithKafkasCodesAndLeaveTheConnectionOpen(t *testing.T) {
	f := newFake()
	f.add("t", 1)
	f.add("small", 1, func(t *Topic) { t.Config.MaxMessageBytes = len(batchOf(3)) - 1 })
	f.add("nothing", 1, func(t *Topic) { t.Config.MaxMessageBytes = 0 })
	f.add("__internal", 1, func(t *Topic) { t.Internal = true })
	w := to(t, f)
	for name, c := range map[string]struct {
		topic   string
		records []byte
		want    *kerr.Error
	}{
		"no records":                         {"t", nil, kerr.InvalidRecord},
		"empty records":                      {"t", []byte{}, kerr.InvalidRecord},
		"half a header":                      {"t", batchOf(1)[:record.BatchHeaderSize-1], kerr.InvalidRecord},
		"a batch cut off":                    {"t", batchOf(3)[:len(batchOf(3))-1], kerr.InvalidRecord},
		"a batch length of -1":               {"t", claimingLength(-1), kerr.CorruptMessage},
		"a batch length of the lowest":       {"t", claimingLength(math.MinInt32), kerr.CorruptMessage},
		"a batch length of the highest":      {"t", claimingLength(math.MaxInt32), kerr.InvalidRecord},
		"a batch length short of the header": {"t", claimingLength(48), kerr.CorruptMessage},
		"a wrong CRC":                        {"t", withByte(batchOf(3), 20, 0xaa), kerr.CorruptMessage},
		"a corrupt record":                   {"t", withByte(batchOf(3), record.BatchHeaderSize+3, 0xaa), kerr.CorruptMessage},
		"magic 0":                            {"t", reseal(withByte(batchOf(3), 16, 0)), kerr.InvalidRecord},
		"magic 1":                            {"t", reseal(withByte(batchOf(3), 16, 1)), kerr.InvalidRecord},
		"magic 3":                            {"t", reseal(withByte(batchOf(3), 16, 3)), kerr.InvalidRecord},
		"two batches":                        {"t", append(batchOf(1), batchOf(1)...), kerr.InvalidRecord},
		"a byte behind the batch":            {"t", append(batchOf(1), 0), kerr.InvalidRecord},
		"a record count of 0":                {"t", claimingRecords(0, -1), kerr.InvalidRecord},
		"a record count of -1":               {"t", claimingRecords(-1, -2), kerr.InvalidRecord},
		"more records than offsets":          {"t", claimingRecords(4, 2), kerr.InvalidRecord},
		"fewer records than offsets":         {"t", claimingRecords(3, 3), kerr.InvalidRecord},
		"the highest last offset":            {"t", claimingRecords(3, math.MaxInt32), kerr.InvalidRecord},
		"an unknown codec":                   {"t", reseal(withByte(batchOf(3), 22, 5)), kerr.InvalidRecord},
		"a control batch":                    {"t", built(plainly(func(o *record.BuildOptions) { o.Control = true })), kerr.InvalidRecord},
		"a transaction":                      {"t", built(record.BuildOptions{ProducerID: 5, Transactional: true}), kerr.TransactionalIDAuthorizationFailed},
		"a base offset":                      {"t", withByte(batchOf(3), 7, 1), kerr.InvalidRecord},
		"a producer without an epoch":        {"t", built(record.BuildOptions{ProducerID: 5, ProducerEpoch: -1}), kerr.InvalidRecord},
		"a producer without a sequence":      {"t", built(record.BuildOptions{ProducerID: 5, BaseSequence: -1}), kerr.InvalidRecord},
		"a claim of log append time":         {"t", reseal(withByte(batchOf(3), 22, 8)), kerr.InvalidTimestamp},
		"a batch over max.message.bytes":     {"small", batchOf(3), kerr.MessageTooLarge},
		"max.message.bytes of 0":             {"nothing", batchOf(1), kerr.MessageTooLarge},
		"an unknown topic":                   {"unknown", batchOf(1), kerr.UnknownTopicOrPartition},
		"a topic that cannot be":             {"..", batchOf(1), kerr.UnknownTopicOrPartition},
		"an internal topic":                  {"__internal", batchOf(1), kerr.InvalidTopicException},
	} {
		t.Run(name, func(t *testing.T) {
			for v := int16(3); v <= 12; v++ {
				for _, acks := range []int16{1, -1} {
					got := outcome(ask[*kmsg.ProduceResponse](w, producing(v, acks, c.topic, 0, slices.Clone(c.records))))
					if got.ErrorCode != c.want.Code || got.BaseOffset != -1 {
						t.Errorf("v%d: error %d at offset %d, want %d", v, got.ErrorCode, got.BaseOffset, c.want.Code)
					}
					if v >= 8 && (got.ErrorMessage == nil || *got.ErrorMessage == "") {
						t.Errorf("v%d: no message", v)
					}
				}
			}
		})
	}
	for name, topic := range f.topics {
		if end := topic.logs[0].end; end != 0 {
			t.Errorf("topic %s ends at %d", name, end)
		}
	}
}

func TestABatchOfExactlyMaxMessageBytesIsTaken(t *testing.T) {
	f := newFake()
	f.add("t", 1, func(t *Topic) { t.Config.MaxMessageBytes = len(batchOf(3)) })
	if got := outcome(ask[*kmsg.ProduceResponse](to(t, f), producing(9, -1, "t", 0, batchOf(3)))); got.ErrorCode != 0 || got.BaseOffset != 0 {
		t.Errorf("error %d at offset %d", got.ErrorCode, got.BaseOffset)
	}
}

func TestUnknownPartitionsAndIDsAreNotProducedTo(t *testing.T) {
	f := newFake()
	id := f.add("t", 2).ID
	w := to(t, f)
	for _, partition := range []int32{-1, 2, math.MaxInt32, math.MinInt32} {
		if got := outcome(ask[*kmsg.ProduceResponse](w, producing(9, -1, "t", partition, batchOf(1)))); got.ErrorCode != kerr.UnknownTopicOrPartition.Code || got.Partition != partition {
			t.Errorf("partition %d: error %d for %d", partition, got.ErrorCode, got.Partition)
		}
	}
	for _, c := range []struct {
		id   [16]byte
		want int16
	}{{id, 0}, {[16]byte{1}, kerr.UnknownTopicID.Code}, {[16]byte{}, kerr.UnknownTopicID.Code}} {
		req := producing(13, -1, "", 1, batchOf(1))
		req.Topics[0].TopicID = c.id
		resp := ask[*kmsg.ProduceResponse](w, req)
		if got := outcome(resp); got.ErrorCode != c.want || resp.Topics[0].TopicID != c.id {
			t.Errorf("topic id %x: error %d for %x", c.id, got.ErrorCode, resp.Topics[0].TopicID)
		}
	}
}

func TestZstdNeedsVersionSeven(t *testing.T) {
	f := newFake()
	f.add("t", 1)
	w := to(t, f)
	for v := int16(3); v <= 12; v++ {
		want := int16(0)
		if v < 7 {
			want = kerr.UnsupportedCompressionType.Code
		}
		for _, c := range []record.Codec{record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd} {
			got := outcome(ask[*kmsg.ProduceResponse](w, producing(v, 1, "t", 0, built(plainly(func(o *record.BuildOptions) { o.Codec = c })))))
			if c != record.Zstd && got.ErrorCode != 0 || c == record.Zstd && got.ErrorCode != want {
				t.Errorf("v%d, %v: error %d", v, c, got.ErrorCode)
			}
		}
	}
}

func TestTimestampsAreHeldAgainstTheTopicsBounds(t *testing.T) {
	now := time.Now().UnixMilli()
	const hour = 3600_000
	for _, c := range []struct {
		base, max     int64
		before, after int64
		want          *kerr.Error
	}{
		{now, now, math.MaxInt64, hour, nil},
		{0, 0, math.MaxInt64, hour, nil},
		{-1, -1, hour, hour, nil}, // without a time
		{now - 2*hour, now, hour, hour, kerr.InvalidTimestamp},
		{now - hour/2, now, hour, hour, nil},
		{now, now + hour + 60_000, math.MaxInt64, hour, kerr.InvalidTimestamp},
		{now, now + hour - 60_000, math.MaxInt64, hour, nil},
		{now, math.MaxInt64, math.MaxInt64, hour, kerr.InvalidTimestamp},
		{now, math.MaxInt64, math.MaxInt64, math.MaxInt64, nil},
		{math.MinInt64, now, hour, hour, kerr.InvalidTimestamp},
	} {
		b := batchOf(1)
		binary.BigEndian.PutUint64(b[27:], uint64(c.base))
		binary.BigEndian.PutUint64(b[35:], uint64(c.max))
		topic := TopicConfig{MaxMessageBytes: 1 << 20, TimestampBeforeMs: c.before, TimestampAfterMs: c.after}
		err := checkBatch(reseal(b), topic, now)
		if want := c.want; want == nil && err != nil || want != nil && !isCode(err, want) {
			t.Errorf("%d to %d, %d before and %d after: %v", c.base-now, c.max-now, c.before, c.after, err)
		}
		topic.LogAppendTime = true
		if err := checkBatch(b, topic, now); err != nil {
			t.Errorf("%d to %d under LogAppendTime: %v", c.base-now, c.max-now, err)
		}
	}
}

func TestAcksThatDoNotExistAreRefused(t *testing.T) {
	f := newFake()
	f.add("t", 1)
	w := to(t, f)
	for _, acks := range []int16{2, -2, math.MaxInt16, math.MinInt16} {
		if got := outcome(ask[*kmsg.ProduceResponse](w, producing(9, acks, "t", 0, batchOf(1)))); got.ErrorCode != kerr.InvalidRequiredAcks.Code {
			t.Errorf("acks=%d: error %d", acks, got.ErrorCode)
		}
	}
	if f.topics["t"].logs[0].end != 0 {
		t.Error("something was appended")
	}
}

func TestAcksZeroIsNotAnswered(t *testing.T) {
	f := newFake()
	f.add("t", 1)
	w := to(t, f)
	for range 3 {
		w.send(producing(9, 0, "t", 0, batchOf(2)))
	}
	if got := outcome(ask[*kmsg.ProduceResponse](w, producing(9, 1, "t", 0, batchOf(2)))); got.BaseOffset != 6 {
		t.Errorf("the first answer is for offset %d", got.BaseOffset)
	}
}

func TestABatchThatFailsUnderAcksZeroClosesTheConnection(t *testing.T) {
	f := newFake()
	f.add("t", 1)
	for name, req := range map[string]*kmsg.ProduceRequest{
		"an unknown topic": producing(9, 0, "unknown", 0, batchOf(1)),
		"a wrong CRC":      producing(9, 0, "t", 0, withByte(batchOf(1), 20, 0xaa)),
	} {
		t.Run(name, func(t *testing.T) {
			w := to(t, f)
			w.send(req)
			if err := w.end(); err == nil || !strings.Contains(err.Error(), "acks=0 and the batch was not appended") {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

func TestPartitionsOfARequestFailOnTheirOwn(t *testing.T) {
	f := newFake()
	f.add("a", 2)
	f.add("b", 1, func(t *Topic) { t.Partitions[0].Err = kerr.NotLeaderForPartition; t.Partitions[0].Leader = 1 })
	req := producing(10, -1, "a", 0, batchOf(1))
	more := func(topic string, p int32, records []byte) {
		req.Topics = append(req.Topics, producing(10, -1, topic, p, records).Topics...)
	}
	more("a", 1, withByte(batchOf(1), 20, 0xaa))
	more("unknown", 0, batchOf(1))
	more("b", 0, batchOf(1))
	more("a", 1, batchOf(4))
	resp := ask[*kmsg.ProduceResponse](to(t, f), req)
	want := []int16{0, kerr.CorruptMessage.Code, kerr.UnknownTopicOrPartition.Code, kerr.NotLeaderForPartition.Code, 0}
	for i, code := range want {
		if got := resp.Topics[i].Partitions[0]; got.ErrorCode != code || (code == 0) != (got.BaseOffset == 0) {
			t.Errorf("number %d: error %d at offset %d, want %d", i, got.ErrorCode, got.BaseOffset, code)
		}
	}
	// Who leads is told beside the error alone (KIP-951).
	if hint := resp.Topics[3].Partitions[0].CurrentLeader; hint.LeaderID != 1 || hint.LeaderEpoch != 5 || len(resp.Brokers) != 1 || resp.Brokers[0].Host != "localhost" {
		t.Errorf("hint %+v with %+v", hint, resp.Brokers)
	}
	if hint := resp.Topics[1].Partitions[0].CurrentLeader; hint.LeaderID != -1 {
		t.Errorf("a hint beside another error: %+v", hint)
	}
}

func TestRecordsToBlameAreNamedFromVersionEightOn(t *testing.T) {
	f := newFake()
	f.add("t", 1)
	f.refuse = &Appended{BaseOffset: -1, Err: kerr.InvalidRecord, RecordErrors: []RecordError{{1, "no key"}, {3, ""}}}
	w := to(t, f)
	for v := int16(3); v <= 12; v++ {
		got := outcome(ask[*kmsg.ProduceResponse](w, producing(v, -1, "t", 0, batchOf(4)))).ErrorRecords
		if v < 8 && len(got) == 0 {
			continue
		}
		if v < 8 || len(got) != 2 || got[0].RelativeOffset != 1 || *got[0].ErrorMessage != "no key" || got[1].RelativeOffset != 3 || got[1].ErrorMessage != nil {
			t.Errorf("v%d: %+v", v, got)
		}
	}
}

func TestABatchThatIsNotAppendedInTimeIsAnsweredWithATimeout(t *testing.T) {
	for name, c := range map[string]struct {
		asked int32
		want  time.Duration
	}{
		"the client's time": {1500, 1500 * time.Millisecond},
		"the limit":         {math.MaxInt32, 5 * time.Minute},
		"none":              {0, 5 * time.Minute},
		"a negative one":    {-1, 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.add("t", 1)
				var complete func()
				f.hold = func(done func()) { complete = done }
				w := connect(t, context.Background(), serverOf(t, f, Limits{IdleTimeout: time.Hour}, Events{}))
				w.nc.SetDeadline(time.Time{})
				req := producing(9, -1, "t", 0, batchOf(1))
				req.TimeoutMillis = c.asked
				began := time.Now()
				if got := outcome(ask[*kmsg.ProduceResponse](w, req)); got.ErrorCode != kerr.RequestTimedOut.Code {
					t.Errorf("error %d", got.ErrorCode)
				}
				if d := time.Since(began); d != c.want {
					t.Errorf("it took %v, want %v", d, c.want)
				}
				complete() // late, and to nobody
				w.nc.Close()
				if err := w.end(); errors.Is(err, ErrPanic) {
					t.Error(err)
				}
			})
		})
	}
}

// The memory of a request is used again, but not while the backend has a batch of it.
func TestABatchStaysWhatItIsUntilTheBackendIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.add("t", 1)
		var held []func()
		f.hold = func(complete func()) { held = append(held, complete) }
		w := connect(t, context.Background(), serverOf(t, f, Limits{}, Events{}))
		for i := range 20 {
			req := producing(9, -1, "t", 0, batchOf(i+1))
			req.TimeoutMillis = 1
			ask[*kmsg.ProduceResponse](w, req)
			ask[*kmsg.MetadataResponse](w, at(kmsg.NewPtrMetadataRequest(), 1))
		}
		for _, complete := range held {
			complete()
		}
		if f.changed != nil || len(held) != 20 {
			t.Errorf("%d batches: %v", len(held), f.changed)
		}
		w.nc.Close()
		w.end()
	})
}
