package record

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"
)

// withBody is a batch that claims n records, whatever body holds.
func withBody(n int, c Codec, body []byte) Batch {
	b := append(slices.Clone(sampleBatch(None)[:BatchHeaderSize]), body...)
	b[22] = byte(c)
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-batchPrefix))
	binary.BigEndian.PutUint32(b[23:], uint32(n-1))
	binary.BigEndian.PutUint32(b[57:], uint32(n))
	return seal(b)
}

// rec is a record as on the wire, its length before it.
func rec(fields ...byte) []byte { return append([]byte{byte(len(fields)) << 1}, fields...) }

func TestHostileRecordsAreRefused(t *testing.T) {
	const (
		null = 0x01 // zigzag of -1
		one  = 0x02 // of 1
	)
	good := rec(0, 0, 0, null, null, 0)
	second := rec(0, 0, one, null, null, 0)
	huge := []byte{0xfe, 0xff, 0xff, 0xff, 0x0f} // 2^31-1
	for _, test := range []struct {
		name string
		n    int
		body []byte
	}{
		{"fewer records than claimed", 2, good},
		{"fewer records than claimed, and bytes enough", 2, slices.Concat(rec(0, 0, 0, null, 0x10, 1, 2, 3, 4, 5, 6, 7, 8, 0))},
		{"more records than claimed", 1, slices.Concat(good, second)},
		{"two billion records", 1<<31 - 1, good},
		{"a negative number of records", -1, good},
		{"a record of negative length", 1, []byte{null, 0, 0, 0, 0, 0, 0, 0}},
		{"a record longer than the batch", 1, append([]byte{0x7e}, good[1:]...)},
		{"a record of two gigabytes", 1, slices.Concat(huge, good)},
		{"a length of eleven bytes", 1, slices.Repeat([]byte{0xff}, 11)},
		{"a length over 32 bits", 1, slices.Concat([]byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0x0f}, good)},
		{"an empty record", 1, []byte{0, 0, 0, 0, 0, 0, 0}},
		{"a record that ends in its header count", 1, append(rec(0, 0, 0, null, null), 0)},
		{"bytes behind the headers", 1, rec(0, 0, 0, null, null, 0, 0)},
		{"a key longer than the record", 1, rec(0, 0, 0, 0x7e, null, 0)},
		{"a key of two gigabytes", 1, rec(slices.Concat([]byte{0, 0, 0}, huge, []byte{null, 0})...)},
		{"a key of length -2", 1, rec(0, 0, 0, 0x03, null, 0)},
		{"a value of length -2", 1, rec(0, 0, 0, null, 0x03, 0)},
		{"more headers than bytes", 1, rec(0, 0, 0, null, null, 0x7e)},
		{"two billion headers", 1, rec(slices.Concat([]byte{0, 0, 0, null, null}, huge)...)},
		{"a negative number of headers", 1, rec(0, 0, 0, null, null, null)},
		{"a header without a name", 1, rec(0, 0, 0, null, null, one, null, null)},
		{"a header value longer than the record", 1, rec(0, 0, 0, null, null, one, 0, 0x7e)},
		{"an offset behind the last", 1, rec(0, 0, one, null, null, 0)},
		{"a negative offset", 1, rec(0, 0, null, null, null, 0)},
		{"the same offset twice", 2, slices.Concat(good, good)},
		{"falling offsets", 2, slices.Concat(second, good)},
	} {
		for _, c := range codecs {
			b := withBody(test.n, c, Compression{Codec: c}.deflate(nil, test.body))
			if err := b.Iterate(1<<20, func(Record) bool { return true }); !errors.Is(err, ErrBatch) {
				t.Errorf("%s, %v: Iterate gave %v", test.name, c, err)
			}
			if records, err := b.Decode(1 << 20); !errors.Is(err, ErrBatch) || records != nil {
				t.Errorf("%s, %v: Decode gave %v, %v", test.name, c, records, err)
			}
		}
	}
	if err := withBody(2, None, slices.Concat(good, second)).Iterate(0, func(Record) bool { return true }); err != nil {
		t.Error(err)
	}
	for n := range BatchHeaderSize {
		if err := sampleBatch(None)[:n].Iterate(0, nil); !errors.Is(err, ErrBatch) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestOffsetsMayHaveGaps(t *testing.T) {
	b := withBody(2, None, slices.Concat(rec(0, 0, 2, 1, 1, 0), rec(0, 0, 8, 1, 1, 0)))
	binary.BigEndian.PutUint32(b[23:], 4) // as a cleaner leaves it
	var got []int32
	if err := b.Iterate(0, func(r Record) bool { got = append(got, r.OffsetDelta); return true }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, []int32{1, 4}) {
		t.Errorf("offsets %v", got)
	}
}

func TestABatchMayHaveLostAllItsRecords(t *testing.T) {
	for _, c := range codecs {
		b := withBody(0, c, nil)
		if records, err := b.Decode(10); err != nil || len(records) != 0 {
			t.Errorf("%v: %d records, %v", c, len(records), err)
		}
		if _, _, ok, err := b.MaxTimestampOffset(10); ok || err != nil {
			t.Errorf("%v: it has a newest record: %v, %v", c, ok, err)
		}
	}
}

func TestIterateStopsWhenToldTo(t *testing.T) {
	for _, c := range codecs {
		n := 0
		if err := sampleBatch(c).Iterate(1<<10, func(Record) bool { n++; return n < 2 }); err != nil || n != 2 {
			t.Errorf("%v: %d records, %v", c, n, err)
		}
	}
}

func TestIterateMakesNothingPerRecord(t *testing.T) {
	records := make([]Record, 1000)
	for i := range records {
		records[i] = Record{OffsetDelta: int32(i), Headers: []Header{{Key: "trace"}, {Key: "origin", Value: []byte{byte(i)}}}}
	}
	b := Build(BuildOptions{ProducerID: -1}, records)
	seen := 0
	allocations := testing.AllocsPerRun(10, func() {
		seen = 0
		err := b.Iterate(0, func(r Record) bool {
			if r.Headers[0].Key != "trace" || r.Headers[1].Key != "origin" {
				t.Fatalf("headers %v", r.Headers)
			}
			seen++
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	if seen != len(records) || allocations > 10 {
		t.Errorf("%v allocations for %d records", allocations, seen)
	}
}

func TestHeadersMayDifferFromRecordToRecord(t *testing.T) {
	b := Build(BuildOptions{ProducerID: -1}, []Record{
		{Headers: []Header{{Key: "a"}, {Key: "b"}}},
		{OffsetDelta: 1, Headers: []Header{{Key: "b"}}},
		{OffsetDelta: 2},
		{OffsetDelta: 3, Headers: []Header{{Key: "b"}, {Key: "bb"}, {Key: ""}}},
	})
	var got []string
	if err := b.Iterate(0, func(r Record) bool {
		for _, h := range r.Headers {
			got = append(got, h.Key)
		}
		got = append(got, "|")
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "b", "|", "b", "|", "|", "b", "bb", "", "|"}; !slices.Equal(got, want) {
		t.Errorf("headers %q, want %q", got, want)
	}
}

func TestBatchesMayBeReadInsideOneAnother(t *testing.T) {
	b := sampleBatch(LZ4)
	var pairs []string
	err := b.Iterate(1<<10, func(outer Record) bool {
		err := b.Iterate(1<<10, func(inner Record) bool {
			pairs = append(pairs, string(outer.Key)+string(inner.Key))
			return true
		})
		if err != nil {
			t.Error(err)
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"aa", "ab", "a", "ba", "bb", "b", "a", "b", ""}; !slices.Equal(pairs, want) {
		t.Errorf("%q, want %q", pairs, want)
	}
}

func TestTheLastHeaderOfANameCounts(t *testing.T) {
	r := Record{Headers: []Header{{"a", []byte("1")}, {"b", nil}, {"a", []byte("2")}}}
	if v, ok := r.Header("a"); !ok || string(v) != "2" {
		t.Errorf("a is %q, %v", v, ok)
	}
	if v, ok := r.Header("b"); !ok || v != nil {
		t.Errorf("b is %q, %v", v, ok)
	}
	if _, ok := r.Header("c"); ok {
		t.Error("there is a c")
	}
}

func TestTheFirstRecordAtOrBehindATimeIsFound(t *testing.T) {
	for _, c := range codecs {
		b := sampleBatch(c) // at 1000, 1020, 1010
		b.SetBaseOffset(100)
		for _, test := range []struct {
			ts, offset, timestamp int64
			ok                    bool
		}{
			{-5, 100, 1000, true},
			{1000, 100, 1000, true},
			{1001, 101, 1020, true},
			{1010, 101, 1020, true},
			{1020, 101, 1020, true},
			{1021, 0, 0, false},
		} {
			offset, timestamp, ok, err := b.OffsetForTime(test.ts, 1<<10)
			if err != nil || offset != test.offset || timestamp != test.timestamp || ok != test.ok {
				t.Errorf("%v, at %d: %d %d %v %v", c, test.ts, offset, timestamp, ok, err)
			}
		}
		if offset, timestamp, ok, err := b.MaxTimestampOffset(1 << 10); offset != 101 || timestamp != 1020 || !ok || err != nil {
			t.Errorf("%v, newest: %d %d %v %v", c, offset, timestamp, ok, err)
		}

		b.StampLogAppendTime(5000)
		if offset, timestamp, ok, err := b.OffsetForTime(1021, 0); offset != 100 || timestamp != 5000 || !ok || err != nil {
			t.Errorf("%v, the broker's time: %d %d %v %v", c, offset, timestamp, ok, err)
		}
		if _, _, ok, err := b.OffsetForTime(5001, 0); ok || err != nil {
			t.Errorf("%v, behind the broker's time: %v %v", c, ok, err)
		}
		if offset, timestamp, ok, err := b.MaxTimestampOffset(0); offset != 100 || timestamp != 5000 || !ok || err != nil {
			t.Errorf("%v, newest by the broker's time: %d %d %v %v", c, offset, timestamp, ok, err)
		}
	}
}

func TestOfEquallyNewRecordsTheFirstIsTheNewest(t *testing.T) {
	b := Build(plain(None), []Record{{TimestampDelta: 1}, {TimestampDelta: 5}, {TimestampDelta: 5}})
	if offset, _, _, _ := b.MaxTimestampOffset(0); offset != 1 {
		t.Errorf("offset %d", offset)
	}
}

func TestATimeInADamagedBatchIsAnError(t *testing.T) {
	b := withBody(1, Gzip, []byte("not gzip"))
	if _, _, _, err := b.OffsetForTime(0, 1<<10); !errors.Is(err, ErrBatch) {
		t.Errorf("OffsetForTime: %v", err)
	}
	if _, _, _, err := b.MaxTimestampOffset(1 << 10); !errors.Is(err, ErrBatch) {
		t.Errorf("MaxTimestampOffset: %v", err)
	}
	if _, _, _, err := Batch("short").OffsetForTime(0, 1<<10); !errors.Is(err, ErrBatch) {
		t.Errorf("of a short one: %v", err)
	}
}

func FuzzBatchIterate(f *testing.F) {
	for _, c := range codecs {
		f.Add([]byte(sampleBatch(c)))
		f.Add([]byte(withBody(3, c, []byte{0, 1, 2, 3})))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 1 << 16
		b := Batch(data)
		n, size := 0, 0
		err := b.Iterate(limit, func(r Record) bool {
			n++
			size += len(r.Key) + len(r.Value)
			for _, h := range r.Headers {
				size += len(h.Key) + len(h.Value)
			}
			return true
		})
		if size > max(limit, len(data)) {
			t.Fatalf("%d bytes of records from a batch of %d", size, len(data))
		}
		records, decodeErr := b.Decode(limit)
		if (err == nil) != (decodeErr == nil) {
			t.Fatalf("Iterate says %v, Decode says %v", err, decodeErr)
		}
		if err != nil {
			if !errors.Is(err, ErrBatch) {
				t.Fatalf("%v is not ErrBatch", err)
			}
			return
		}
		if len(records) != n || n != int(b.Records()) {
			t.Fatalf("iterated over %d, decoded %d, the header says %d", n, len(records), b.Records())
		}
		if n == 0 {
			return
		}
		again, err := Build(plain(b.Codec()), records).Decode(1 << 30)
		if err != nil {
			t.Fatal(err)
		}
		for i := range records {
			records[i].OffsetDelta = int32(i)
			if !sameRecord(again[i], records[i]) {
				t.Fatalf("record %d: %+v became %+v", i, records[i], again[i])
			}
		}
	})
}
