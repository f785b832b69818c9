package record

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestABatchIsTheSameInEveryCompression(t *testing.T) {
	var records []Record
	for i := range 200 {
		records = append(records, Record{TimestampDelta: int64(i), OffsetDelta: int32(i), Key: []byte{byte(i)}, Value: []byte(strings.Repeat("value ", i%7)), Headers: []Header{{"name", []byte("of")}}})
	}
	levels := map[Codec][]int{None: {0}, Gzip: {0, 1, 6, 9}, Snappy: {0}, LZ4: {0, 1, 5, 9, 17}, Zstd: {0, -131072, -1, 1, 3, 7, 22}}
	for from := range levels {
		b := Build(BuildOptions{Codec: from, BaseOffset: 100, LeaderEpoch: 3, BaseTimestamp: 1000, ProducerID: 7, ProducerEpoch: 1, BaseSequence: 40, Transactional: true}, records)
		sent := bytes.Clone(b)
		for to, levels := range levels {
			for _, level := range levels {
				out, err := b.Compressed(Compression{to, level}, 1<<20)
				if err != nil {
					t.Fatalf("%v to %v at %d: %v", from, to, level, err)
				}
				if err := out.Validate(); err != nil {
					t.Errorf("%v to %v at %d: %v", from, to, level, err)
				}
				if out.Codec() != to || out.BaseOffset() != 100 || out.NextOffset() != 300 || out.LeaderEpoch() != 3 || out.ProducerID() != 7 || out.ProducerEpoch() != 1 ||
					out.BaseSequence() != 40 || !out.IsTransactional() || out.BaseTimestamp() != 1000 || out.MaxTimestamp() != 1199 || out.Records() != 200 {
					t.Errorf("%v to %v at %d: header %x", from, to, level, out[:BatchHeaderSize])
				}
				if got, err := out.Decode(1 << 20); err != nil || !reflect.DeepEqual(got, records) {
					t.Errorf("%v to %v at %d: other records, or %v", from, to, level, err)
				}
			}
		}
		if !bytes.Equal(b, sent) {
			t.Errorf("%v: the batch has changed", from)
		}
		if _, err := b.Compressed(Compression{Codec: LZ4}, 1000); from != None && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%v, beyond the limit: %v", from, err)
		}
	}
}

func TestALevelIsHowHardACodecTries(t *testing.T) {
	var text strings.Builder // which a search further back makes smaller
	for i := range 20_000 {
		text.WriteString([]string{"order", "cart", "anna", "bert", "carl", "tea", "coffee"}[i*i*7%61%7])
		text.WriteByte(byte(i * i % 251))
	}
	b := Build(BuildOptions{}, []Record{{Value: []byte(text.String())}})
	for _, c := range []struct {
		codec     Codec
		low, high int
	}{{Gzip, 1, 9}, {LZ4, 1, 9}, {Zstd, 1, 22}} {
		low, err := b.Compressed(Compression{c.codec, c.low}, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		high, err := b.Compressed(Compression{c.codec, c.high}, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if len(high) >= len(low) {
			t.Errorf("%v makes %d bytes at level %d and %d at %d", c.codec, len(low), c.low, len(high), c.high)
		}
	}
}
