package record

import (
	"fmt"
	"reflect"
	"testing"
)

// retainable is a batch of five records with the given codec, from 1000 ms on.
func retainable(codec Codec) Batch {
	var records []Record
	for i := range 5 {
		records = append(records, Record{TimestampDelta: int64(10 * i), Key: []byte{byte(i)}, Value: []byte("value"), Headers: []Header{{"name", []byte("of")}}})
	}
	return Build(BuildOptions{Codec: codec, BaseOffset: 100, LeaderEpoch: 3, BaseTimestamp: 1000, ProducerID: 7, ProducerEpoch: 1, BaseSequence: 40, Transactional: true}, records)
}

func TestWhatIsRetainedKeepsItsOffsetsTimesAndSequences(t *testing.T) {
	for _, codec := range []Codec{None, Gzip, Snappy, LZ4, Zstd} {
		for _, horizon := range []int64{-1, 99_000} {
			b := retainable(codec)
			all, err := b.Decode(1 << 20)
			if err != nil {
				t.Fatal(err)
			}
			out, kept, err := b.Retain(1<<20, horizon, func(r Record) bool { return r.OffsetDelta%2 == 1 })
			if err != nil || kept != 2 {
				t.Fatalf("%v: %d records, %v", codec, kept, err)
			}
			if err := out.ValidateStored(); err != nil {
				t.Errorf("%v: %v", codec, err)
			}
			if err := out.Validate(); err == nil {
				t.Errorf("%v: a producer might send it", codec)
			}
			if out.BaseOffset() != 100 || out.NextOffset() != 105 || out.LeaderEpoch() != 3 || out.ProducerID() != 7 || out.ProducerEpoch() != 1 ||
				out.BaseSequence() != 40 || out.Codec() != codec || !out.IsTransactional() || out.MaxTimestamp() != 1030 || out.Records() != 2 {
				t.Errorf("%v: header %x", codec, out[:BatchHeaderSize])
			}
			if h, set := out.DeleteHorizon(); set != (horizon >= 0) || set && h != horizon {
				t.Errorf("%v: horizon %d, %v", codec, h, set)
			}
			got, err := out.Decode(1 << 20)
			if err != nil {
				t.Fatal(err)
			}
			for i, r := range got {
				if ts := out.BaseTimestamp() + r.TimestampDelta; ts != 1010+int64(20*i) {
					t.Errorf("%v: record %d is of %d", codec, i, ts)
				}
				r.TimestampDelta = all[2*i+1].TimestampDelta
				if !reflect.DeepEqual(r, all[2*i+1]) {
					t.Errorf("%v: record %d is %+v, was %+v", codec, i, r, all[2*i+1])
				}
			}
			// Once more: the horizon stays.
			again, kept, err := out.Retain(1<<20, -1, func(r Record) bool { return r.OffsetDelta == 3 })
			if err != nil || kept != 1 || again.MaxTimestamp() != 1030 || again.NextOffset() != 105 {
				t.Errorf("%v, again: %d records, %v", codec, kept, err)
			}
			if h, set := again.DeleteHorizon(); set != (horizon >= 0) || set && h != horizon {
				t.Errorf("%v, again: horizon %d, %v", codec, h, set)
			}
		}
	}
}

func TestOfNothingNoBatchIsMade(t *testing.T) {
	out, kept, err := retainable(Zstd).Retain(1<<20, -1, func(Record) bool { return false })
	if out != nil || kept != 0 || err != nil {
		t.Errorf("%d bytes, %d records, %v", len(out), kept, err)
	}
}

func TestABatchUnderLogAppendTimeKeepsItsTime(t *testing.T) {
	b := retainable(None)
	b.StampLogAppendTime(5000)
	out, _, err := b.Retain(1<<20, 9000, func(r Record) bool { return r.OffsetDelta == 0 })
	if err != nil || out.MaxTimestamp() != 5000 || !out.IsLogAppendTime() {
		t.Errorf("%x, %v", out, err)
	}
}

func TestAnEmptiedBatchHoldsThePlaceOfItsOffsets(t *testing.T) {
	b := retainable(Zstd)
	out := b.Emptied()
	if err := out.ValidateStored(); err != nil {
		t.Fatal(err)
	}
	records, err := out.Decode(1 << 20)
	if err != nil || len(records) != 0 || out.BaseOffset() != 100 || out.NextOffset() != 105 || out.MaxTimestamp() != -1 || out.ProducerID() != 7 {
		t.Errorf("%v, %x, %v", records, out, err)
	}
	if fmt.Sprintf("%x", b) != fmt.Sprintf("%x", retainable(Zstd)) {
		t.Error("the batch itself has changed")
	}
}
