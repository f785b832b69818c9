package commitlog

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/splashdam/splashdam/broker/record"
)

// ErrShipment is a shipment that cannot be used: what came is not what a log can
// hold, or not what its list says. The sender, not this disk, is at fault.
var ErrShipment = errors.New("unusable shipment")

// A ship list says what a shipment is: the log up to the entry of a snapshot, cut
// into segments as the sender has them, and the snapshot.
//
//	 0  u32  magic "SDSL"
//	 4  u16  version, 1
//	 6  u16  zero
//	 8  u64  index           of the snapshot
//	16  u64  term            of the entry there
//	24  u64  length          of the snapshot's file
//	32  u32  segments
//	36  u32  CRC-32C         over the whole list without this field
//	40       segments x:
//	          0  u64  first index
//	          8  u64  last index
//	         16  u64  entries     these three: of the sender's index (Digest);
//	         24  u64  bytes       zero if it is not sealed
//	         32  u64  CRC-64
//	         40  u32  edition
//	         44  u32  partitions  rows of the directory
//	         48  u32  flags       bit 0: sealed
//	         52  u32  zero
//
// The segments that are sealed come before the others. The last one ends with the
// snapshot's entry, wherever it ends in the sender's log.
type ShipList struct {
	Index    record.Index
	Term     record.Term
	Snapshot int64 // bytes of the snapshot's file
	Segments []ShippedSegment
}

// ShippedSegment is a segment as the sender has it.
type ShippedSegment struct {
	First, Last record.Index
	Edition     uint32
	// Sealed, and then: what sums up its entries, and how many rows its directory has.
	Sealed     bool
	Digest     Digest
	Partitions uint32
}

const (
	shipListMagic      = 0x4c534453 // "SDSL"
	shipListVersion    = 1
	shipListHeader     = 40
	shippedSegmentSize = 56
	// MaxShipList bounds a list in bytes: 150,000 segments.
	MaxShipList = 8 << 20
	// maxShippedPartitions bounds a directory: 80 MB.
	maxShippedPartitions = 4 << 20
)

// Encode is the list as it is sent.
func (l *ShipList) Encode() []byte {
	b := make([]byte, shipListHeader+len(l.Segments)*shippedSegmentSize)
	binary.LittleEndian.PutUint32(b, shipListMagic)
	binary.LittleEndian.PutUint16(b[4:], shipListVersion)
	binary.LittleEndian.PutUint64(b[8:], uint64(l.Index))
	binary.LittleEndian.PutUint64(b[16:], uint64(l.Term))
	binary.LittleEndian.PutUint64(b[24:], uint64(l.Snapshot))
	binary.LittleEndian.PutUint32(b[32:], uint32(len(l.Segments)))
	for i, s := range l.Segments {
		r := b[shipListHeader+i*shippedSegmentSize:]
		binary.LittleEndian.PutUint64(r, uint64(s.First))
		binary.LittleEndian.PutUint64(r[8:], uint64(s.Last))
		binary.LittleEndian.PutUint64(r[16:], s.Digest.Entries)
		binary.LittleEndian.PutUint64(r[24:], s.Digest.Bytes)
		binary.LittleEndian.PutUint64(r[32:], s.Digest.Sum)
		binary.LittleEndian.PutUint32(r[40:], s.Edition)
		binary.LittleEndian.PutUint32(r[44:], s.Partitions)
		if s.Sealed {
			r[48] = 1
		}
	}
	binary.LittleEndian.PutUint32(b[36:], checksumAround(b, 36))
	return b
}

// DecodeShipList reads what Encode wrote. It errors with ErrFutureVersion or
// ErrShipment.
func DecodeShipList(b []byte) (*ShipList, error) {
	if len(b) < shipListHeader || len(b) > MaxShipList {
		return nil, fmt.Errorf("%w: a list of %d bytes", ErrShipment, len(b))
	}
	if magic := binary.LittleEndian.Uint32(b); magic != shipListMagic {
		return nil, fmt.Errorf("%w: no list: it begins with %08x", ErrShipment, magic)
	}
	if v := binary.LittleEndian.Uint16(b[4:]); v > shipListVersion {
		return nil, futureVersion("list of a shipment", v, shipListVersion)
	}
	if want, got := binary.LittleEndian.Uint32(b[36:]), checksumAround(b, 36); want != got {
		return nil, fmt.Errorf("%w: list: checksum %08x, computed %08x", ErrShipment, want, got)
	}
	n := int64(binary.LittleEndian.Uint32(b[32:]))
	if n*shippedSegmentSize != int64(len(b)-shipListHeader) {
		return nil, fmt.Errorf("%w: a list of %d segments in %d bytes", ErrShipment, n, len(b))
	}
	l := &ShipList{
		Index:    record.Index(binary.LittleEndian.Uint64(b[8:])),
		Term:     record.Term(binary.LittleEndian.Uint64(b[16:])),
		Snapshot: int64(binary.LittleEndian.Uint64(b[24:])),
		Segments: make([]ShippedSegment, 0, n),
	}
	for r := b[shipListHeader:]; len(r) > 0; r = r[shippedSegmentSize:] {
		l.Segments = append(l.Segments, ShippedSegment{
			First: record.Index(binary.LittleEndian.Uint64(r)),
			Last:  record.Index(binary.LittleEndian.Uint64(r[8:])),
			Digest: Digest{
				Entries: binary.LittleEndian.Uint64(r[16:]),
				Bytes:   binary.LittleEndian.Uint64(r[24:]),
				Sum:     binary.LittleEndian.Uint64(r[32:]),
			},
			Edition:    binary.LittleEndian.Uint32(r[40:]),
			Partitions: binary.LittleEndian.Uint32(r[44:]),
			Sealed:     binary.LittleEndian.Uint32(r[48:]) == 1,
		})
	}
	if err := l.check(); err != nil {
		return nil, fmt.Errorf("%w: list: %w", ErrShipment, err)
	}
	return l, nil
}

// check is whether a log can be laid out like this.
func (l *ShipList) check() error {
	if l.Snapshot < snapshotHeaderSize || l.Snapshot > maxSnapshot {
		return fmt.Errorf("a snapshot of %d bytes", l.Snapshot)
	}
	if l.Index == 0 || l.Term == 0 || len(l.Segments) == 0 {
		return fmt.Errorf("%d segments up to index %d of term %d", len(l.Segments), l.Index, l.Term)
	}
	prev := ShippedSegment{Sealed: true}
	for _, s := range l.Segments {
		follows := s.First > prev.Last && (prev.Sealed || s.First == prev.Last+1 && !s.Sealed)
		sound := !s.Sealed && s.Edition == 0 && s.Digest == Digest{} && s.Partitions == 0 ||
			s.Sealed && s.Partitions <= maxShippedPartitions && s.Digest.Entries <= s.Digest.Bytes/record.EntryHeaderSize
		if s.First > s.Last || !follows || !sound {
			return fmt.Errorf("segment %+v behind %+v", s, prev)
		}
		prev = s
	}
	if prev.Last != l.Index {
		return fmt.Errorf("the segments end at %d, the snapshot is at %d", prev.Last, l.Index)
	}
	return nil
}

// Cursor is a place in a shipment, which is one object behind the other: the list
// (0), the content of each of its segments (1 to n), the snapshot's file (n+1). The
// content of a segment is its entries, as they are, and, if it is sealed, the
// directory rows of its index.
type Cursor struct {
	Object uint32
	Offset uint64 // in the object, bytes
}

// Before reports whether c is in front of d.
func (c Cursor) Before(d Cursor) bool {
	return c.Object < d.Object || c.Object == d.Object && c.Offset < d.Offset
}

// String is object and offset with a colon between.
func (c Cursor) String() string { return fmt.Sprintf("%d:%d", c.Object, c.Offset) }

// snapshotObject is the number of the snapshot's file.
func (l *ShipList) snapshotObject() uint32 { return uint32(len(l.Segments)) + 1 }

// End is the place behind everything.
func (l *ShipList) End() Cursor { return Cursor{Object: l.snapshotObject() + 1} }

// directoryBytes is how many bytes of directory follow the entries.
func (s ShippedSegment) directoryBytes() uint64 { return uint64(s.Partitions) * directoryRowSize }
