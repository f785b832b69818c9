package record

import "encoding/binary"

// maxMarker bounds what a control batch may become when it is looked at, in bytes.
const maxMarker = 64 << 10

// Types of control records that end a transaction (KIP-98).
const (
	MarkerAbort  int16 = 0
	MarkerCommit int16 = 1
)

// Marker reports whether b ends its producer's transaction, and whether it commits
// it. Control batches of other kinds, and those that cannot be read, end nothing.
func (b Batch) Marker() (commit, ok bool) {
	if !b.IsControl() || !b.IsIdempotent() {
		return false, false
	}
	kind := int16(-1)
	err := b.Iterate(maxMarker, func(r Record) bool {
		// i16 version, i16 type
		if len(r.Key) >= 4 {
			kind = int16(binary.BigEndian.Uint16(r.Key[2:]))
		}
		return false
	})
	return kind == MarkerCommit, err == nil && (kind == MarkerCommit || kind == MarkerAbort)
}
