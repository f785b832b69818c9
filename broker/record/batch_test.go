package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
)

// seal gives a spoiled batch a right CRC again, so that it is the spoiled field
// that is found.
func seal(b Batch) Batch {
	if len(b) >= BatchHeaderSize {
		binary.BigEndian.PutUint32(b[17:], b.computedCRC())
	}
	return b
}

func sampleBatch(c Codec) Batch {
	o := plain(c)
	o.BaseTimestamp = 1000
	return Build(o, []Record{
		{Key: []byte("a"), Value: []byte("1")},
		{TimestampDelta: 20, Key: []byte("b"), Headers: []Header{{"h", nil}}},
		{TimestampDelta: 10, Value: []byte("3")},
	})
}

func TestUnsoundBatchesAreRefused(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(b Batch) Batch
		want  error
	}{
		{"nothing", func(Batch) Batch { return nil }, ErrBatch},
		{"half a header", func(b Batch) Batch { return b[:BatchHeaderSize-1] }, ErrBatch},
		{"magic 0", func(b Batch) Batch { b[16] = 0; return seal(b) }, ErrMagic},
		{"magic 1", func(b Batch) Batch { b[16] = 1; return seal(b) }, ErrMagic},
		{"magic 3", func(b Batch) Batch { b[16] = 3; return seal(b) }, ErrMagic},
		{"length one short", func(b Batch) Batch { b[11]--; return seal(b) }, ErrBatch},
		{"length one long", func(b Batch) Batch { b[11]++; return seal(b) }, ErrBatch},
		{"negative length", func(b Batch) Batch { b[8] = 0xff; return seal(b) }, ErrBatch},
		{"a byte behind it", func(b Batch) Batch { return seal(append(b, 0)) }, ErrBatch},
		{"no records", func(b Batch) Batch { b[60], b[26] = 0, 0xff; return seal(b) }, ErrContent},
		{"negative records", func(b Batch) Batch { b[57] = 0x80; return seal(b) }, ErrContent},
		{"more records than offsets", func(b Batch) Batch { b[60]++; return seal(b) }, ErrContent},
		{"more offsets than records", func(b Batch) Batch { b[26]++; return seal(b) }, ErrContent},
		{"codec 5", func(b Batch) Batch { b[22] = 5; return seal(b) }, ErrContent},
		{"codec 7", func(b Batch) Batch { b[22] = 7; return seal(b) }, ErrContent},
	} {
		b := test.spoil(slices.Clone(sampleBatch(None)))
		if err := b.Validate(); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		} else if errors.Is(err, ErrContent) != (test.want == ErrContent) {
			t.Errorf("%s: %v blames the wrong side", test.name, err)
		}
	}
	if err := sampleBatch(None).Validate(); err != nil {
		t.Error(err)
	}
}

func TestEveryBitUnderTheCRCCounts(t *testing.T) {
	b := sampleBatch(None)
	for bit := 8 * 17; bit < 8*len(b); bit++ {
		damaged := slices.Clone(b)
		damaged[bit/8] ^= 1 << (bit % 8)
		if err := damaged.Validate(); !errors.Is(err, ErrBatch) {
			t.Errorf("bit %d of byte %d: %v", bit%8, bit/8, err)
		}
	}
}

func TestTheLeaderPatchesWithoutTouchingTheCRC(t *testing.T) {
	b := sampleBatch(Zstd)
	b.SetBaseOffset(1 << 40)
	b.SetLeaderEpoch(77)
	if err := b.Validate(); err != nil {
		t.Fatal(err)
	}
	if b.BaseOffset() != 1<<40 || b.NextOffset() != 1<<40+3 || b.LeaderEpoch() != 77 {
		t.Errorf("base %d, next %d, epoch %d", b.BaseOffset(), b.NextOffset(), b.LeaderEpoch())
	}
}

func TestTheBrokersTimeIsUnderTheCRC(t *testing.T) {
	b := sampleBatch(Gzip)
	b.StampLogAppendTime(5000)
	if err := b.Validate(); err != nil {
		t.Fatal(err)
	}
	if !b.IsLogAppendTime() || b.MaxTimestamp() != 5000 || b.Codec() != Gzip || b.BaseTimestamp() != 1000 {
		t.Errorf("log append time %v, max %d, codec %v, base %d", b.IsLogAppendTime(), b.MaxTimestamp(), b.Codec(), b.BaseTimestamp())
	}
}

func TestSplitBatchWalksASetOfBatches(t *testing.T) {
	first, second := sampleBatch(None), sampleBatch(Snappy)
	data := slices.Concat(first, second)
	got, rest, err := SplitBatch(data)
	if err != nil || !bytes.Equal(got, first) || !bytes.Equal(rest, second) {
		t.Fatalf("first: %d bytes, %d left, %v", len(got), len(rest), err)
	}
	if cap(got) != len(got) {
		t.Error("appending to the first batch would overwrite the second")
	}
	got, rest, err = SplitBatch(rest)
	if err != nil || !bytes.Equal(got, second) || len(rest) != 0 {
		t.Fatalf("second: %d bytes, %d left, %v", len(got), len(rest), err)
	}
	for n := range first {
		if _, _, err := SplitBatch(first[:n]); !errors.Is(err, ErrBatch) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	for _, length := range []uint32{0, 48, 1 << 31, 1<<32 - 1, 1<<31 - 1} {
		b := slices.Clone(first)
		binary.BigEndian.PutUint32(b[8:], length)
		if _, _, err := SplitBatch(b); !errors.Is(err, ErrBatch) {
			t.Errorf("length field %d: %v", length, err)
		}
	}
	old := slices.Clone(first)
	old[16] = 1
	if _, _, err := SplitBatch(old); !errors.Is(err, ErrMagic) {
		t.Errorf("magic 1: %v", err)
	}
}

func TestSequencesWrapToZero(t *testing.T) {
	const top = 1<<31 - 1
	for _, test := range []struct{ seq, n, want int32 }{
		{0, 0, 0}, {0, 5, 5}, {top, 0, top}, {top, 1, 0}, {top - 1, 3, 1}, {top, top, top - 1},
	} {
		if got := AddSequence(test.seq, test.n); got != test.want {
			t.Errorf("AddSequence(%d, %d) = %d, want %d", test.seq, test.n, got, test.want)
		}
	}
	o := plain(None)
	o.ProducerID, o.BaseSequence = 1, top
	if got := Build(o, make([]Record, 3)).LastSequence(); got != 1 {
		t.Errorf("the last sequence is %d, want 1", got)
	}
}
