package record

import (
	"bytes"
	stdgzip "compress/gzip"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// franz-go is an independent encoder and decoder: what it makes we read, and it
// reads what we make.

var franzCodecs = map[Codec]kgo.CompressionCodec{
	Gzip: kgo.GzipCompression(), Snappy: kgo.SnappyCompression(), LZ4: kgo.Lz4Compression(), Zstd: kgo.ZstdCompression(),
}

func franzCompress(t *testing.T, c Codec, src []byte) []byte {
	t.Helper()
	if c == None {
		return src
	}
	z, err := kgo.DefaultCompressor(franzCodecs[c])
	if err != nil {
		t.Fatal(err)
	}
	out, codec := z.Compress(new(bytes.Buffer), src)
	if Codec(codec) != c {
		t.Fatalf("franz-go compressed with %d, not with %v", codec, c)
	}
	return bytes.Clone(out)
}

func franzBatch(c Codec, body []byte, n int) Batch {
	m := kmsg.RecordBatch{
		FirstOffset:          42,
		Length:               int32(BatchHeaderSize - batchPrefix + len(body)),
		PartitionLeaderEpoch: -1,
		Magic:                2,
		Attributes:           int16(c) | attrTransactional,
		LastOffsetDelta:      int32(n - 1),
		FirstTimestamp:       1_700_000_000_000,
		MaxTimestamp:         1_700_000_000_000 + int64(n-1),
		ProducerID:           9000,
		ProducerEpoch:        3,
		FirstSequence:        17,
		NumRecords:           int32(n),
		Records:              body,
	}
	return seal(m.AppendTo(nil))
}

func TestFranzGosBatchesAreRead(t *testing.T) {
	const n = 1000
	var body []byte
	for i := range int32(n) {
		r := kmsg.Record{
			TimestampDelta64: int64(i), OffsetDelta: i,
			Key: fmt.Appendf(nil, "key %d", i), Value: bytes.Repeat([]byte("v"), int(i)%300),
		}
		if i%3 == 0 {
			r.Key = nil
		}
		if i%7 == 0 {
			r.Value = nil
		}
		if i%2 == 0 {
			r.Headers = []kmsg.Header{{Key: "name", Value: []byte{byte(i)}}, {Key: "", Value: nil}}
		}
		r.Length = int32(len(r.AppendTo(nil)) - 1) // its own length, 0, takes one byte there
		body = r.AppendTo(body)
	}
	packed := map[string]Batch{}
	for _, c := range codecs {
		packed[c.String()] = franzBatch(c, franzCompress(t, c, body), n)
	}
	var std bytes.Buffer
	w := stdgzip.NewWriter(&std)
	w.Write(body)
	w.Close()
	packed["gzip by the standard library"] = franzBatch(Gzip, std.Bytes(), n)
	packed["snappy by Java"] = franzBatch(Snappy, xerial(string(body[:1000]), string(body[1000:])), n)

	for name, b := range packed {
		if err := b.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if b.BaseOffset() != 42 || b.LeaderEpoch() != -1 || b.LastOffsetDelta() != n-1 || b.BaseTimestamp() != 1_700_000_000_000 ||
			b.MaxTimestamp() != 1_700_000_000_999 || b.ProducerID() != 9000 || b.ProducerEpoch() != 3 || b.BaseSequence() != 17 ||
			b.Records() != n || !b.IsTransactional() || b.IsControl() || b.IsLogAppendTime() {
			t.Errorf("%s: the header is read wrong", name)
		}
		records, err := b.Decode(len(body))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for i, r := range records {
			want := Record{OffsetDelta: int32(i), TimestampDelta: int64(i)}
			if i%3 != 0 {
				want.Key = fmt.Appendf(nil, "key %d", i)
			}
			if i%7 != 0 {
				want.Value = append([]byte{}, bytes.Repeat([]byte("v"), i%300)...)
			}
			if i%2 == 0 {
				want.Headers = []Header{{"name", []byte{byte(i)}}, {"", nil}}
			}
			if !sameRecord(r, want) {
				t.Fatalf("%s: record %d is %+v, want %+v", name, i, r, want)
			}
		}
		if len(records) != n {
			t.Errorf("%s: %d records", name, len(records))
		}
	}
}

func TestFranzGoReadsOurBatches(t *testing.T) {
	for _, c := range codecs {
		o := BuildOptions{
			Codec: c, BaseOffset: 7, LeaderEpoch: 2, BaseTimestamp: 1_700_000_000_000,
			ProducerID: 5, ProducerEpoch: 1, BaseSequence: 3,
		}
		var records []Record
		for i := range 500 {
			records = append(records, Record{
				TimestampDelta: int64(-i), Key: binary.AppendVarint(nil, int64(i)), Value: bytes.Repeat([]byte{byte(i)}, 400),
				Headers: []Header{{"h", []byte("v")}},
			})
		}
		records[3].Key, records[4].Value = nil, nil
		fp, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Topic: "t"},
			&kmsg.FetchResponseTopicPartition{RecordBatches: Build(o, records), HighWatermark: 1000},
			kgo.DefaultDecompressor(), nil)
		if fp.Err != nil {
			t.Errorf("%v: %v", c, fp.Err)
		}
		if len(fp.Records) != len(records) {
			t.Errorf("%v: %d records", c, len(fp.Records))
			continue
		}
		for i, r := range fp.Records {
			got := Record{
				OffsetDelta: records[i].OffsetDelta, TimestampDelta: r.Timestamp.UnixMilli() - o.BaseTimestamp,
				Key: r.Key, Value: r.Value, Headers: []Header{{r.Headers[0].Key, r.Headers[0].Value}},
			}
			if r.Offset != int64(7+i) || r.LeaderEpoch != 2 || r.ProducerID != 5 || r.ProducerEpoch != 1 || !sameRecord(got, records[i]) {
				t.Fatalf("%v: record %d is %+v", c, i, r)
			}
		}
	}
}
