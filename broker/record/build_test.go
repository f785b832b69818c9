package record

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

var codecs = []Codec{None, Gzip, Snappy, LZ4, Zstd}

// plain are the options of a batch that no idempotent producer sent.
func plain(c Codec) BuildOptions {
	return BuildOptions{Codec: c, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}
}

func sameRecord(a, b Record) bool {
	null := func(x, y []byte) bool { return (x == nil) == (y == nil) && bytes.Equal(x, y) }
	if a.Attributes != b.Attributes || a.OffsetDelta != b.OffsetDelta || a.TimestampDelta != b.TimestampDelta ||
		!null(a.Key, b.Key) || !null(a.Value, b.Value) || len(a.Headers) != len(b.Headers) {
		return false
	}
	for i, h := range a.Headers {
		if h.Key != b.Headers[i].Key || !null(h.Value, b.Headers[i].Value) {
			return false
		}
	}
	return true
}

func TestWhatIsBuiltDecodesToTheSameRecords(t *testing.T) {
	nullable := rapid.OneOf(rapid.Just([]byte(nil)), rapid.SliceOfN(rapid.Byte(), 0, 200))
	record := rapid.Custom(func(t *rapid.T) Record {
		r := Record{
			Attributes:     rapid.Int8().Draw(t, "attributes"),
			TimestampDelta: rapid.Int64Range(-1<<40, 1<<40).Draw(t, "delta"),
			Key:            nullable.Draw(t, "key"),
			Value:          nullable.Draw(t, "value"),
		}
		for range rapid.IntRange(0, 3).Draw(t, "headers") {
			r.Headers = append(r.Headers, Header{rapid.String().Draw(t, "name"), nullable.Draw(t, "header")})
		}
		return r
	})
	rapid.Check(t, func(t *rapid.T) {
		records := rapid.SliceOfN(record, 1, 20).Draw(t, "records")
		o := BuildOptions{
			Codec:         rapid.SampledFrom(codecs).Draw(t, "codec"),
			BaseOffset:    rapid.Int64Range(0, 1<<60).Draw(t, "offset"),
			LeaderEpoch:   rapid.Int32().Draw(t, "epoch"),
			BaseTimestamp: rapid.Int64Range(0, 1<<42).Draw(t, "timestamp"),
			ProducerID:    rapid.Int64Range(-1, 1<<60).Draw(t, "producer"),
			ProducerEpoch: rapid.Int16().Draw(t, "producer epoch"),
			BaseSequence:  rapid.Int32().Draw(t, "sequence"),
			Transactional: rapid.Bool().Draw(t, "transactional"),
			Control:       rapid.Bool().Draw(t, "control"),
		}
		b := Build(o, records)
		if err := b.Validate(); err != nil {
			t.Fatal(err)
		}
		got := BuildOptions{
			b.Codec(), 0, b.BaseOffset(), b.LeaderEpoch(), b.BaseTimestamp(), b.ProducerID(),
			b.ProducerEpoch(), b.BaseSequence(), b.IsTransactional(), b.IsControl(),
		}
		if got != o {
			t.Fatalf("the header says %+v, want %+v", got, o)
		}
		newest := records[0].TimestampDelta
		for i := range records {
			newest = max(newest, records[i].TimestampDelta)
			records[i].OffsetDelta = int32(i)
		}
		if b.MaxTimestamp() != o.BaseTimestamp+newest {
			t.Fatalf("max timestamp %d, want %d", b.MaxTimestamp(), o.BaseTimestamp+newest)
		}
		decoded, err := b.Decode(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		if len(decoded) != len(records) {
			t.Fatalf("%d records, want %d", len(decoded), len(records))
		}
		i := 0
		err = b.Iterate(1<<20, func(r Record) bool {
			if !sameRecord(r, records[i]) || !sameRecord(decoded[i], records[i]) {
				t.Fatalf("record %d: iterated %+v, decoded %+v, want %+v", i, r, decoded[i], records[i])
			}
			i++
			return true
		})
		if err != nil || i != len(records) {
			t.Fatalf("%d of %d records, then %v", i, len(records), err)
		}
	})
}

func TestDecodedRecordsOutliveTheBatch(t *testing.T) {
	for _, c := range codecs {
		b := Build(plain(c), []Record{{Key: []byte("key"), Value: []byte("value"), Headers: []Header{{"h", []byte("x")}}}})
		records, err := b.Decode(1 << 10)
		if err != nil {
			t.Fatal(err)
		}
		clear(b)
		other := Build(plain(c), []Record{{Key: bytes.Repeat([]byte("z"), 100)}})
		if err := other.Iterate(1<<10, func(Record) bool { return true }); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%s %s %s", records[0].Key, records[0].Value, records[0].Headers[0].Value); got != "key value x" {
			t.Errorf("%v: %q after the batch's memory was used for something else", c, got)
		}
	}
}

func TestBuildingNoRecordsIsABug(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	Build(plain(None), nil)
}
