package record

import (
	"encoding/binary"
	"fmt"
)

// DeleteHorizon is the time, in ms, from which on a cleaner may take the delete
// markers of the batch away; false if no cleaner has set one yet (KIP-534).
func (b Batch) DeleteHorizon() (int64, bool) {
	return b.BaseTimestamp(), b.Attributes()&attrDeleteHorizon != 0
}

// ValidateStored is Validate for a batch in the log, from which a cleaner may have
// taken records: there may be fewer than offsets.
func (b Batch) ValidateStored() error {
	if err := b.validateBytes(); err != nil {
		return err
	}
	if n, last := b.Records(), b.LastOffsetDelta(); last < 0 || n < 0 || int64(n) > int64(last)+1 {
		return fmt.Errorf("%w: %d records with last offset delta %d", ErrContent, n, last)
	}
	return b.validateCodec()
}

// Retain makes a batch of those records for which keep returns true, which is asked
// once for each, in order. Offsets, times, sequences and codec stay as they are, also
// the last offset: a gap has the place of what is gone. Where horizon is not negative
// it becomes the delete horizon, in ms: the base timestamp, from which all others then
// count. kept is how many records there are; of none no batch is made. It errors as
// Iterate.
func (b Batch) Retain(limit int, horizon int64, keep func(Record) bool) (out Batch, kept int, err error) {
	var body []byte
	base, most := b.BaseTimestamp(), int64(0)
	if horizon >= 0 {
		base = horizon
	}
	err = b.Iterate(limit, func(r Record) bool {
		if !keep(r) {
			return true
		}
		ts := b.BaseTimestamp() + r.TimestampDelta
		if kept == 0 || ts > most {
			most = ts
		}
		r.TimestampDelta = ts - base
		body = r.append(body)
		kept++
		return true
	})
	if err != nil || kept == 0 {
		return nil, 0, err
	}
	if b.IsLogAppendTime() {
		most = b.MaxTimestamp()
	}
	out = append(make(Batch, 0, BatchHeaderSize+len(body)), b[:BatchHeaderSize]...)
	out = Compression{Codec: b.Codec()}.deflate(out, body)
	binary.BigEndian.PutUint32(out[8:], uint32(len(out)-batchPrefix))
	attributes := uint16(b.Attributes())
	if horizon >= 0 {
		attributes |= attrDeleteHorizon
	}
	binary.BigEndian.PutUint16(out[21:], attributes)
	binary.BigEndian.PutUint64(out[27:], uint64(base))
	binary.BigEndian.PutUint64(out[35:], uint64(most))
	binary.BigEndian.PutUint32(out[57:], uint32(kept))
	binary.BigEndian.PutUint32(out[17:], out.computedCRC())
	return out, kept, nil
}

// Emptied is the batch without its records: the place of its offsets, over which a
// reader moves on. It has no time.
func (b Batch) Emptied() Batch {
	out := append(Batch(nil), b[:BatchHeaderSize]...)
	binary.BigEndian.PutUint32(out[8:], uint32(len(out)-batchPrefix))
	binary.BigEndian.PutUint16(out[21:], uint16(b.Attributes())&^(attrCodec|attrDeleteHorizon))
	binary.BigEndian.PutUint64(out[27:], ^uint64(0))
	binary.BigEndian.PutUint64(out[35:], ^uint64(0))
	binary.BigEndian.PutUint32(out[57:], 0)
	binary.BigEndian.PutUint32(out[17:], out.computedCRC())
	return out
}

// OfTransaction reports by a batch's attributes whether it is part of a transaction: its
// records, or the marker that ends it.
func OfTransaction(attributes uint16) bool { return attributes&(attrTransactional|attrControl) != 0 }
