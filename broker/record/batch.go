package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A Batch is one Kafka RecordBatch v2 as bytes, of exactly its own length.
// https://kafka.apache.org/documentation/#recordbatch
//
//	 0  i64  base offset             patched by the leader
//	 8  i32  length                  of what follows this field
//	12  i32  partition leader epoch  patched by the leader
//	16  i8   magic, 2
//	17  u32  CRC-32C                 over all that follows
//	21  i16  attributes              codec 0..2, timestamp type 3, transactional 4, control 5,
//	                                 base timestamp is the delete horizon 6
//	23  i32  last offset delta
//	27  i64  base timestamp
//	35  i64  max timestamp
//	43  i64  producer id
//	51  i16  producer epoch
//	53  i32  base sequence
//	57  i32  records
//	61       the records, compressed as one block where the codec says so
//
// Numbers are big-endian. The methods that read the header may be called on any
// Batch of at least BatchHeaderSize bytes; Validate says whether it is sound.
type Batch []byte

// BatchHeaderSize is the length of a batch without records, in bytes.
const BatchHeaderSize = 61

// batchPrefix is what the length field does not count.
const batchPrefix = 12

// ErrBatch is bytes that are not a sound record batch: Kafka's CORRUPT_MESSAGE.
var ErrBatch = errors.New("corrupt record batch")

// ErrContent is a batch that came as it was sent, by its CRC, and that no client
// should send. It is an ErrBatch as well.
var ErrContent = fmt.Errorf("%w, whose CRC is right", ErrBatch)

// ErrCut is a batch that ends before its end. It is an ErrBatch as well.
var ErrCut = fmt.Errorf("%w, cut short", ErrBatch)

// ErrMagic is a message format other than v2.
var ErrMagic = errors.New("unsupported message format")

const (
	attrCodec         = 0x07
	attrLogAppendTime = 1 << 3
	attrTransactional = 1 << 4
	attrControl       = 1 << 5
	attrDeleteHorizon = 1 << 6
)

func (b Batch) BaseOffset() int64      { return int64(binary.BigEndian.Uint64(b)) }
func (b Batch) SetBaseOffset(o int64)  { binary.BigEndian.PutUint64(b, uint64(o)) }
func (b Batch) length() int32          { return int32(binary.BigEndian.Uint32(b[8:])) }
func (b Batch) LeaderEpoch() int32     { return int32(binary.BigEndian.Uint32(b[12:])) }
func (b Batch) SetLeaderEpoch(e int32) { binary.BigEndian.PutUint32(b[12:], uint32(e)) }
func (b Batch) Magic() int8            { return int8(b[16]) }
func (b Batch) CRC() uint32            { return binary.BigEndian.Uint32(b[17:]) }
func (b Batch) Attributes() int16      { return int16(binary.BigEndian.Uint16(b[21:])) }
func (b Batch) LastOffsetDelta() int32 { return int32(binary.BigEndian.Uint32(b[23:])) }
func (b Batch) BaseTimestamp() int64   { return int64(binary.BigEndian.Uint64(b[27:])) }
func (b Batch) MaxTimestamp() int64    { return int64(binary.BigEndian.Uint64(b[35:])) }
func (b Batch) ProducerID() int64      { return int64(binary.BigEndian.Uint64(b[43:])) }
func (b Batch) ProducerEpoch() int16   { return int16(binary.BigEndian.Uint16(b[51:])) }
func (b Batch) BaseSequence() int32    { return int32(binary.BigEndian.Uint32(b[53:])) }
func (b Batch) Records() int32         { return int32(binary.BigEndian.Uint32(b[57:])) }
func (b Batch) Codec() Codec           { return Codec(b.Attributes() & attrCodec) }
func (b Batch) IsLogAppendTime() bool  { return b.Attributes()&attrLogAppendTime != 0 }
func (b Batch) IsTransactional() bool  { return b.Attributes()&attrTransactional != 0 }
func (b Batch) IsControl() bool        { return b.Attributes()&attrControl != 0 }
func (b Batch) IsIdempotent() bool     { return b.ProducerID() >= 0 }
func (b Batch) NextOffset() int64      { return b.BaseOffset() + int64(b.LastOffsetDelta()) + 1 }
func (b Batch) computedCRC() uint32    { return crc32.Checksum(b[21:], castagnoli) }

// LastSequence is the sequence number of the last record. Sequences wrap at 2^31.
func (b Batch) LastSequence() int32 { return AddSequence(b.BaseSequence(), b.LastOffsetDelta()) }

// AddSequence advances a producer's sequence number, which wraps to 0 behind
// 2^31-1 (KIP-98).
func AddSequence(seq, n int32) int32 {
	return int32((int64(seq) + int64(n)) & 0x7fffffff)
}

// Validate checks what can be checked without decompressing: length, format,
// CRC, codec and counts. It errors with ErrMagic or ErrBatch; with ErrContent where
// the CRC is right and codec or counts are not.
func (b Batch) Validate() error {
	if err := b.validateBytes(); err != nil {
		return err
	}
	if n := b.Records(); n <= 0 || b.LastOffsetDelta() != n-1 {
		return fmt.Errorf("%w: %d records with last offset delta %d", ErrContent, b.Records(), b.LastOffsetDelta())
	}
	return b.validateCodec()
}

func (b Batch) validateBytes() error {
	if len(b) < BatchHeaderSize {
		return fmt.Errorf("%w: %d bytes are fewer than a header of %d", ErrBatch, len(b), BatchHeaderSize)
	}
	if b.Magic() != 2 {
		return fmt.Errorf("%w: magic %d, only 2 is supported", ErrMagic, b.Magic())
	}
	if int64(b.length())+batchPrefix != int64(len(b)) {
		return fmt.Errorf("%w: its length field says %d bytes, there are %d", ErrBatch, int64(b.length())+batchPrefix, len(b))
	}
	if sum := b.computedCRC(); sum != b.CRC() {
		return fmt.Errorf("%w: CRC %08x, computed %08x", ErrBatch, b.CRC(), sum)
	}
	return nil
}

func (b Batch) validateCodec() error {
	if b.Codec() > Zstd {
		return fmt.Errorf("%w: unknown compression codec %d", ErrContent, b.Codec())
	}
	return nil
}

// StampLogAppendTime gives the batch the broker's time, as topics with
// message.timestamp.type=LogAppendTime want it. Bit and time lie under the CRC,
// which is computed anew.
func (b Batch) StampLogAppendTime(ms int64) {
	binary.BigEndian.PutUint16(b[21:], uint16(b.Attributes())|attrLogAppendTime)
	binary.BigEndian.PutUint64(b[35:], uint64(ms))
	binary.BigEndian.PutUint32(b[17:], b.computedCRC())
}

// SplitBatch cuts the first batch off data. It errors with ErrBatch or ErrMagic
// where the bytes do not hold one; nothing but lengths and magic is checked.
func SplitBatch(data []byte) (first Batch, rest []byte, err error) {
	if len(data) < BatchHeaderSize {
		return nil, data, fmt.Errorf("%w: %d bytes are fewer than a header of %d", ErrCut, len(data), BatchHeaderSize)
	}
	b := Batch(data)
	if b.Magic() != 2 {
		return nil, data, fmt.Errorf("%w: magic %d, only 2 is supported", ErrMagic, b.Magic())
	}
	size := int64(b.length()) + batchPrefix
	switch {
	case size < BatchHeaderSize:
		return nil, data, fmt.Errorf("%w: its length field says %d bytes, fewer than a header", ErrBatch, size)
	case size > int64(len(data)):
		return nil, data, fmt.Errorf("%w: its length field says %d bytes, %d are left", ErrCut, size, len(data))
	}
	return b[:size:size], data[size:], nil
}

// Codec is a compression codec, numbered as in a batch's attributes.
type Codec int8

const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)
