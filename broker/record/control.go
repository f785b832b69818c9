package record

import (
	"encoding/binary"

	"github.com/splashdam/splashdam/internal/invariant"
)

// maxMarker bounds what a control batch may become when it is looked at, in bytes.
const maxMarker = 64 << 10

// Types of control records that end a transaction (KIP-98).
const (
	MarkerAbort  int16 = 0
	MarkerCommit int16 = 1
)

// Marker is how a control batch ends its producer's transaction.
type Marker struct {
	Commit bool
	// Coordinator is the leader epoch of the coordinator that decided.
	Coordinator int32
}

// BuildMarker makes the control batch that ends a producer's transaction; now is in
// ms. Its one record has Kafka's form:
//
//	key    i16 version 0, i16 type
//	value  i16 version 0, i32 coordinator epoch
func BuildMarker(producer int64, epoch int16, m Marker, now int64) Batch {
	invariant.That(producer >= 0 && epoch >= 0, "a marker of producer %d, epoch %d", producer, epoch)
	kind := MarkerAbort
	if m.Commit {
		kind = MarkerCommit
	}
	return Build(BuildOptions{
		BaseTimestamp: now, ProducerID: producer, ProducerEpoch: epoch, BaseSequence: -1, Transactional: true, Control: true,
	}, []Record{{
		Key:   binary.BigEndian.AppendUint16([]byte{0, 0}, uint16(kind)),
		Value: binary.BigEndian.AppendUint32([]byte{0, 0}, uint32(m.Coordinator)),
	}})
}

// Marker reports whether b ends its producer's transaction, and how. Control batches
// of other kinds, and those that cannot be read, end nothing.
func (b Batch) Marker() (m Marker, ok bool) {
	if !b.IsControl() || !b.IsIdempotent() {
		return Marker{}, false
	}
	kind := int16(-1)
	err := b.Iterate(maxMarker, func(r Record) bool {
		if len(r.Value) >= 6 {
			m.Coordinator = int32(binary.BigEndian.Uint32(r.Value[2:]))
		}
		// i16 version, i16 type
		if len(r.Key) >= 4 {
			kind = int16(binary.BigEndian.Uint16(r.Key[2:]))
		}
		return false
	})
	m.Commit = kind == MarkerCommit
	return m, err == nil && (kind == MarkerCommit || kind == MarkerAbort)
}
