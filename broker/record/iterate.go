package record

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sync"
)

// A Record is one record of a batch.
// https://kafka.apache.org/documentation/#record
//
// A nil Key or Value is null, which is not the same as an empty one: a record
// without a value deletes its key in a compacted topic.
type Record struct {
	Attributes     int8  // no bit of it has a meaning yet
	OffsetDelta    int32 // to the batch's base offset
	TimestampDelta int64 // ms, to the batch's base timestamp
	Key, Value     []byte
	Headers        []Header
}

// A Header is a named value beside the record's own. Names may occur twice; a nil
// value is null.
type Header struct {
	Key   string
	Value []byte
}

// Header returns the value of the last header of that name, which is the one that
// counts, and whether there is one.
func (r Record) Header(name string) (value []byte, ok bool) {
	for _, h := range slices.Backward(r.Headers) {
		if h.Key == name {
			return h.Value, true
		}
	}
	return nil, false
}

// The fewest bytes that a record and a header can take, with which a count is
// checked before memory is taken for it.
const (
	minRecordSize = 7 // length, attributes, timestamp, offset, key, value, headers
	minHeaderSize = 2 // key, value
)

// maxPooled is the largest buffer, in bytes, that is kept for the next batch.
const maxPooled = 4 << 20

var inflated = sync.Pool{New: func() any { return new([]byte) }}

// Iterate calls do for each record, in order, until do returns false. If the
// records are compressed they are inflated first, to no more than limit bytes.
//
// The slices of a record, Headers among them, are valid only until do returns:
// they lie in memory that is used again.
//
// A batch that is not sound errors with ErrBatch, perhaps after do has seen the
// records before the flaw: there must be as many records as the header says, their
// offsets must rise and not pass the last one, and nothing may follow them. (CRC
// and length are Validate's business.) A batch without records is sound here: a
// cleaner leaves such, to keep a producer's last sequence.
func (b Batch) Iterate(limit int, do func(Record) bool) error {
	body, release, err := b.body(limit)
	if err != nil {
		return err
	}
	defer release()
	return b.each(body, true, do)
}

// Decode returns the records, which are the caller's own. As Iterate otherwise.
func (b Batch) Decode(limit int) ([]Record, error) {
	shared, release, err := b.body(limit)
	if err != nil {
		return nil, err
	}
	body := slices.Clone(shared) // of the very size: what is kept may be kept for long
	release()
	// each checks the count only later, so it bounds nothing yet.
	records := make([]Record, 0, max(0, min(int(b.Records()), len(body)/minRecordSize)))
	err = b.each(body, false, func(r Record) bool {
		records = append(records, r)
		return true
	})
	if err != nil {
		return nil, err
	}
	return records, nil
}

// OffsetForTime finds the first record with a timestamp at or behind ts (ms). It
// is for ListOffsets, and inflates as Iterate does. Under LogAppendTime all
// records have the batch's max timestamp, so the first one answers.
//
// A batch whose header names a lower max timestamp is not looked into: what the
// header says is what the log is searched by.
func (b Batch) OffsetForTime(ts int64, limit int) (offset, timestamp int64, ok bool, err error) {
	if len(b) < BatchHeaderSize {
		return 0, 0, false, errShort(b)
	}
	if b.MaxTimestamp() < ts {
		return 0, 0, false, nil
	}
	if b.IsLogAppendTime() {
		return b.BaseOffset(), b.MaxTimestamp(), true, nil
	}
	err = b.Iterate(limit, func(r Record) bool {
		timestamp = b.BaseTimestamp() + r.TimestampDelta
		if ok = timestamp >= ts; ok {
			offset = b.BaseOffset() + int64(r.OffsetDelta)
		}
		return !ok
	})
	if err != nil || !ok {
		return 0, 0, false, err
	}
	return offset, timestamp, true, nil
}

// MaxTimestampOffset finds the first of the records with the highest timestamp
// (KIP-734). There is none, and ok is false, only in a batch without records.
func (b Batch) MaxTimestampOffset(limit int) (offset, timestamp int64, ok bool, err error) {
	if len(b) >= BatchHeaderSize && b.IsLogAppendTime() && b.Records() > 0 {
		return b.BaseOffset(), b.MaxTimestamp(), true, nil
	}
	err = b.Iterate(limit, func(r Record) bool {
		if t := b.BaseTimestamp() + r.TimestampDelta; !ok || t > timestamp {
			offset, timestamp, ok = b.BaseOffset()+int64(r.OffsetDelta), t, true
		}
		return true
	})
	if err != nil {
		return 0, 0, false, err
	}
	return offset, timestamp, ok, nil
}

func errShort(b Batch) error {
	return fmt.Errorf("%w: %d bytes are fewer than a header of %d", ErrBatch, len(b), BatchHeaderSize)
}

// body returns the records as bytes: those in b, or inflated into a buffer that
// belongs to the caller until release.
func (b Batch) body(limit int) (body []byte, release func(), err error) {
	if len(b) < BatchHeaderSize {
		return nil, nil, errShort(b)
	}
	body = b[BatchHeaderSize:]
	if b.Codec() == None || len(body) == 0 {
		return body, func() {}, nil
	}
	buf := inflated.Get().(*[]byte)
	release = func() {
		if cap(*buf) <= maxPooled {
			inflated.Put(buf)
		}
	}
	*buf, err = b.Codec().inflate((*buf)[:0], body, limit)
	if err != nil {
		release()
		return nil, nil, err
	}
	return *buf, release, nil
}

// each cuts body into records, reads each, checks them against the header, and hands
// them to do. With reuse their headers lie where those of the one before did.
func (b Batch) each(body []byte, reuse bool, do func(Record) bool) error {
	n := b.Records()
	if n < 0 || int64(n)*minRecordSize > int64(len(body)) {
		return fmt.Errorf("%w: %d records in %d bytes", ErrBatch, n, len(body))
	}
	all := recordParser{rest: body}
	last := int32(-1)
	var headers []Header
	for i := range n {
		one := recordParser{rest: all.bytes("record", all.varint("record length"))}
		if all.err != nil {
			return fmt.Errorf("%w: record %d of %d: %w", ErrBatch, i, n, all.err)
		}
		r := one.record(headers)
		if reuse {
			headers = r.Headers[:0]
		}
		err := one.err
		if err == nil && (r.OffsetDelta <= last || r.OffsetDelta > b.LastOffsetDelta()) {
			err = fmt.Errorf("offset delta %d follows %d, and the last is %d", r.OffsetDelta, last, b.LastOffsetDelta())
		}
		if err != nil {
			return fmt.Errorf("%w: record %d of %d: %w", ErrBatch, i, n, err)
		}
		last = r.OffsetDelta
		if !do(r) {
			return nil
		}
	}
	if len(all.rest) > 0 {
		return fmt.Errorf("%w: %d bytes behind the last record", ErrBatch, len(all.rest))
	}
	return nil
}

// recordParser reads from rest, until the first error: after it everything reads
// as zero.
type recordParser struct {
	rest []byte
	err  error
}

// record reads the one record that rest must hold, all of it. Its headers are
// appended to headers.
func (p *recordParser) record(headers []Header) Record {
	r := Record{
		Attributes:     p.int8("attributes"),
		TimestampDelta: p.varlong("timestamp delta"),
		OffsetDelta:    p.varint("offset delta"),
		Key:            p.nullable("key"),
		Value:          p.nullable("value"),
	}
	n := p.varint("header count")
	if p.err == nil && (n < 0 || int64(n)*minHeaderSize > int64(len(p.rest))) {
		p.fail("%d headers in %d bytes", n, len(p.rest))
	}
	for i := int32(0); i < n && p.err == nil; i++ {
		key := p.bytes("header key", p.varint("header key length"))
		headers = append(headers, Header{Key: sameKey(headers, key), Value: p.nullable("header value")})
	}
	if p.err == nil && len(p.rest) > 0 {
		p.fail("%d bytes behind the last header", len(p.rest))
	}
	r.Headers = headers
	return r
}

// sameKey is key as a string. Records of a batch mostly have the same headers, and
// behind the end of headers lie those of the record before: what is equal is not
// made anew.
func sameKey(headers []Header, key []byte) string {
	if n := len(headers); n < cap(headers) {
		if before := headers[:n+1][n].Key; before == string(key) {
			return before
		}
	}
	return string(key)
}

func (p *recordParser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
	p.rest = nil
}

func (p *recordParser) int8(what string) int8 {
	if len(p.rest) == 0 {
		p.fail("%s cut off", what)
		return 0
	}
	v := int8(p.rest[0])
	p.rest = p.rest[1:]
	return v
}

func (p *recordParser) varlong(what string) int64 {
	if b := p.rest; len(b) > 0 && b[0] < 0x80 { // most are of one byte
		p.rest = b[1:]
		return int64(b[0]>>1) ^ -int64(b[0]&1)
	}
	v, n := binary.Varint(p.rest) // zigzag, as in Kafka
	if n <= 0 {
		p.fail("%s is not a varint", what)
		return 0
	}
	p.rest = p.rest[n:]
	return v
}

func (p *recordParser) varint(what string) int32 {
	v := p.varlong(what)
	if v < math.MinInt32 || v > math.MaxInt32 {
		p.fail("%s %d exceeds 32 bits", what, v)
		return 0
	}
	return int32(v)
}

// nullable reads a length and as many bytes; nil for a length of -1.
func (p *recordParser) nullable(what string) []byte {
	n := p.varint(what)
	if n == -1 || p.err != nil {
		return nil
	}
	return p.bytes(what, n)
}

func (p *recordParser) bytes(what string, n int32) []byte {
	if p.err != nil {
		return nil
	}
	if n < 0 || int64(n) > int64(len(p.rest)) {
		p.fail("%s of %d bytes, %d are left", what, n, len(p.rest))
		return nil
	}
	b := p.rest[:n:n]
	p.rest = p.rest[n:]
	return b
}
