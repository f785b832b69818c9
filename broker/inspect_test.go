package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/txn"
)

var codecs = []record.Codec{record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd}

func looker() *Broker {
	b := &Broker{inflating: make(chan struct{}, 1)}
	b.current.Store(new(cluster.BrokerSettings))
	return b
}

func batchOf(c record.Codec, records ...record.Record) record.Batch {
	for i := range records {
		records[i].OffsetDelta = int32(i)
	}
	return record.Build(record.BuildOptions{Codec: c, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}, records)
}

// reseal gives a batch a right CRC.
func reseal(b record.Batch) record.Batch {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// claiming is a batch whose header says n records.
func claiming(n int32, b record.Batch) record.Batch {
	binary.BigEndian.PutUint32(b[57:], uint32(n))
	binary.BigEndian.PutUint32(b[23:], uint32(n-1))
	return reseal(b)
}

func mustCarry(t *testing.T, err error, want *kerr.Error) {
	t.Helper()
	if got, ok := errors.AsType[*kerr.Error](err); !ok || got.Code != want.Code {
		t.Errorf("%v, want %v", err, want.Message)
	}
}

func TestARecordCountThatLiesIsAnInvalidRecord(t *testing.T) {
	b := looker()
	for _, c := range codecs {
		for _, n := range []int32{1, 3, 1 << 30} {
			batch := claiming(n, batchOf(c, record.Record{Value: []byte("a")}, record.Record{Value: []byte("b")}))
			if err := batch.Validate(); err != nil {
				t.Fatal(err)
			}
			mustCarry(t, b.inspect(batch, "t", cluster.TopicSettings{}), kerr.InvalidRecord)
		}
		if err := b.inspect(batchOf(c, record.Record{Value: []byte("a")}), "t", cluster.TopicSettings{}); err != nil {
			t.Errorf("%v: a sound batch: %v", c, err)
		}
	}
}

func TestRecordsThatAreNotThoseOfTheirCodecAreInvalid(t *testing.T) {
	b := looker()
	for _, c := range codecs {
		batch := batchOf(record.None, record.Record{Value: []byte("a")})
		batch[len(batch)-3] = 0x7f // the length of the value
		batch[22] = byte(c)
		mustCarry(t, b.inspect(reseal(batch), "t", cluster.TopicSettings{}), kerr.InvalidRecord)
	}
}

// Each of these is a few KiB to 2 MiB and would inflate to 65 MiB.
func TestADecompressionBombIsTooLargeAndCostsNoMoreThanTheLimit(t *testing.T) {
	b := looker()
	for _, c := range codecs[1:] {
		bomb := batchOf(c, record.Record{Value: make([]byte, maxInflated+1<<20)})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		mustCarry(t, b.inspect(bomb, "t", cluster.TopicSettings{}), kerr.MessageTooLarge)
		mustCarry(t, b.takeApart(place{topic: new(cluster.Topic)}, bomb, new(heldItem)), kerr.MessageTooLarge)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 2*4*maxInflated {
			t.Errorf("%v: %d bytes were allocated to refuse %d twice", c, used, len(bomb))
		}
		if len(b.inflating) != 0 {
			t.Fatalf("%v: %d batches are still being inflated", c, len(b.inflating))
		}
	}
}

func TestABatchThatInflatesToTheLimitIsTakenAndOneByteMoreIsNot(t *testing.T) {
	b := looker()
	const header = 61
	around := len(batchOf(record.None, record.Record{Value: make([]byte, maxInflated-20)})) - header - (maxInflated - 20)
	sized := func(c record.Codec, body int) record.Batch {
		return batchOf(c, record.Record{Value: make([]byte, body-around)})
	}
	for _, c := range codecs[1:] {
		if err := b.inspect(sized(c, maxInflated), "t", cluster.TopicSettings{}); err != nil {
			t.Errorf("%v: at the limit: %v", c, err)
		}
		mustCarry(t, b.inspect(sized(c, maxInflated+1), "t", cluster.TopicSettings{}), kerr.MessageTooLarge)
	}
}

func TestABatchThatCannotBeInflatedIsRefusedByEveryTopic(t *testing.T) {
	b := looker()
	for _, c := range codecs[1:] {
		batch := batchOf(c, record.Record{Value: bytes.Repeat([]byte("splashdam "), 100)})
		for i := 61; i < len(batch); i++ { // what was compressed
			batch[i] ^= 0x5a
		}
		mustCarry(t, b.inspect(batch, "t", cluster.TopicSettings{}), kerr.InvalidRecord)
	}
}

func TestACompactedTopicBlamesTheRecordsWithoutKeys(t *testing.T) {
	b := looker()
	for _, c := range codecs {
		batch := batchOf(c, record.Record{Key: []byte{}}, record.Record{}, record.Record{Key: []byte("k")}, record.Record{})
		if err := b.inspect(batch, "t", cluster.TopicSettings{}); err != nil {
			t.Errorf("%v: not compacted: %v", c, err)
		}
		err := b.inspect(batch, "t", cluster.TopicSettings{Compacted: true})
		mustCarry(t, err, kerr.InvalidRecord)
		if bad, ok := errors.AsType[*recordErrors](err); !ok || !slices.Equal(blamed(bad), []int32{1, 3}) {
			t.Errorf("%v: %v", c, err)
		}
	}
}

func blamed(e *recordErrors) []int32 {
	var records []int32
	for _, r := range e.records {
		records = append(records, r.Record)
	}
	return records
}

func TestHalfMessagesAreRefusedWhereTheyWouldBeSeen(t *testing.T) {
	b := looker()
	half := record.Record{Headers: []record.Header{{Key: "a"}, {Key: txn.HeaderState, Value: []byte("prepare")}}}
	other := record.Record{Headers: []record.Header{{Key: "sd-id"}}, Value: []byte(txn.HeaderState)}
	for _, c := range codecs {
		err := b.inspect(batchOf(c, other, half), "orders", cluster.TopicSettings{})
		mustCarry(t, err, kerr.InvalidRecord)
		if bad, ok := errors.AsType[*recordErrors](err); !ok || !slices.Equal(blamed(bad), []int32{1}) || !strings.Contains(bad.records[0].Message, `"orders"`) {
			t.Errorf("%v: %v", c, err)
		}
		if err := b.inspect(batchOf(c, other), "orders", cluster.TopicSettings{}); err != nil {
			t.Errorf("%v: %v", c, err)
		}
	}
}

func TestNoMoreThanAThousandRecordsAreBlamed(t *testing.T) {
	b := looker()
	err := b.inspect(batchOf(record.None, make([]record.Record, 2*maxRecordErrors)...), "t", cluster.TopicSettings{Compacted: true})
	if bad, ok := errors.AsType[*recordErrors](err); !ok || len(bad.records) != maxRecordErrors {
		t.Errorf("inspecting: %v", err)
	}
	err = b.takeApart(place{topic: new(cluster.Topic)}, batchOf(record.None, make([]record.Record, 2*maxRecordErrors)...), new(heldItem))
	if bad, ok := errors.AsType[*recordErrors](err); !ok || len(bad.records) != maxRecordErrors {
		t.Errorf("taking apart: %v", err)
	}
}

func TestABatchOfHalfMessagesHasALimit(t *testing.T) {
	err := looker().takeApart(place{topic: new(cluster.Topic)}, batchOf(record.None, make([]record.Record, maxHeldRecords+1)...), new(heldItem))
	mustCarry(t, err, kerr.MessageTooLarge)
}

func TestOnlyPreparedMessagesNeedKeysOnACompactedTopic(t *testing.T) {
	b := looker()
	compacted := place{topic: &cluster.Topic{Configs: map[string]string{"cleanup.policy": "compact"}}, shard: &Shard{halves: txn.NewHalves()}}
	aRecord := func(state string) record.Batch {
		return batchOf(record.None, record.Record{Headers: []record.Header{
			{Key: txn.HeaderID, Value: []byte("1")}, {Key: txn.HeaderState, Value: []byte(state)}, {Key: txn.HeaderGroup, Value: []byte("g")},
		}})
	}
	mustCarry(t, b.takeApart(compacted, aRecord("prepare"), new(heldItem)), kerr.InvalidRecord)
	for _, decision := range []string{"commit", "rollback"} {
		if err := b.takeApart(compacted, aRecord(decision), new(heldItem)); err != nil {
			t.Errorf("%s: %v", decision, err)
		}
	}
}
