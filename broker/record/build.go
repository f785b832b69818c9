package record

import (
	"encoding/binary"
	"hash/crc32"
	"math"

	"github.com/splashdam/splashdam/internal/invariant"
)

// BuildOptions are the header of a batch to build. A batch that no idempotent
// producer sent has -1 as ProducerID, ProducerEpoch and BaseSequence.
type BuildOptions struct {
	Codec         Codec
	Level         int // of Codec, as in Compression
	BaseOffset    int64
	LeaderEpoch   int32
	BaseTimestamp int64 // ms
	ProducerID    int64
	ProducerEpoch int16
	BaseSequence  int32
	Transactional bool
	Control       bool
}

// Build makes a batch of at least one record. It numbers the records from 0, so
// their OffsetDelta is not read; their timestamps are BaseTimestamp plus
// TimestampDelta. The records are copied.
//
// For a batch with the broker's time call StampLogAppendTime on what it returns.
func Build(o BuildOptions, records []Record) Batch {
	invariant.That(len(records) > 0 && len(records) <= math.MaxInt32, "building a batch of %d records", len(records))
	invariant.That(o.Codec >= None && o.Codec <= Zstd, "building a batch with %v", o.Codec)

	maxDelta := records[0].TimestampDelta
	var body []byte
	for i, r := range records {
		r.OffsetDelta = int32(i)
		maxDelta = max(maxDelta, r.TimestampDelta)
		body = r.append(body)
	}
	b := Batch(Compression{o.Codec, o.Level}.deflate(make([]byte, BatchHeaderSize, BatchHeaderSize+len(body)), body))
	invariant.That(len(b)-batchPrefix <= math.MaxInt32, "building a batch of %d bytes", len(b))

	attributes := uint16(o.Codec)
	if o.Transactional {
		attributes |= attrTransactional
	}
	if o.Control {
		attributes |= attrControl
	}
	n := uint32(len(records))
	b.SetBaseOffset(o.BaseOffset)
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-batchPrefix))
	b.SetLeaderEpoch(o.LeaderEpoch)
	b[16] = 2
	binary.BigEndian.PutUint16(b[21:], attributes)
	binary.BigEndian.PutUint32(b[23:], n-1)
	binary.BigEndian.PutUint64(b[27:], uint64(o.BaseTimestamp))
	binary.BigEndian.PutUint64(b[35:], uint64(o.BaseTimestamp+maxDelta))
	binary.BigEndian.PutUint64(b[43:], uint64(o.ProducerID))
	binary.BigEndian.PutUint16(b[51:], uint16(o.ProducerEpoch))
	binary.BigEndian.PutUint32(b[53:], uint32(o.BaseSequence))
	binary.BigEndian.PutUint32(b[57:], n)
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
	return b
}

// append encodes the record, its length before it.
func (r Record) append(dst []byte) []byte {
	size := 1 + varintSize(r.TimestampDelta) + varintSize(int64(r.OffsetDelta)) +
		nullableSize(r.Key) + nullableSize(r.Value) + varintSize(int64(len(r.Headers)))
	for _, h := range r.Headers {
		size += varintSize(int64(len(h.Key))) + len(h.Key) + nullableSize(h.Value)
	}
	invariant.That(size <= math.MaxInt32, "building a record of %d bytes", size)

	dst = binary.AppendVarint(dst, int64(size))
	dst = append(dst, byte(r.Attributes))
	dst = binary.AppendVarint(dst, r.TimestampDelta)
	dst = binary.AppendVarint(dst, int64(r.OffsetDelta))
	dst = appendNullable(dst, r.Key)
	dst = appendNullable(dst, r.Value)
	dst = binary.AppendVarint(dst, int64(len(r.Headers)))
	for _, h := range r.Headers {
		dst = binary.AppendVarint(dst, int64(len(h.Key)))
		dst = append(dst, h.Key...)
		dst = appendNullable(dst, h.Value)
	}
	return dst
}

func appendNullable(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, -1)
	}
	return append(binary.AppendVarint(dst, int64(len(b))), b...)
}

func nullableSize(b []byte) int {
	if b == nil {
		return 1
	}
	return varintSize(int64(len(b))) + len(b)
}

// varintSize is how many bytes AppendVarint takes.
func varintSize(v int64) int {
	zigzag := uint64(v)<<1 ^ uint64(v>>63)
	n := 1
	for ; zigzag >= 0x80; n++ {
		zigzag >>= 7
	}
	return n
}
