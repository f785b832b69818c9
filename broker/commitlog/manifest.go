package commitlog

import (
	"encoding/binary"
	"errors"

	"github.com/splashdam/splashdam/broker/record"
)

// The manifest names the live segments. It is a file of records of 64 bytes, each
// durable before what it tells of is relied upon:
//
//	 0  u32  CRC-32C     over bytes 4 to 63
//	 4  u16  kind        1 segment added, 2 segment sealed, 3 suffix cut,
//	                     4 segments replaced by one, 5 segments removed,
//	                     6 receipt begun, 7 shipment installed
//	 6  u16  zero
//	 8  u64  sequence    the record's number in the file, from 1
//	16  u32  generation  1, 2, 4: of the segment; 3: of the log from now on;
//	                     6, 7: of the files that were received
//	20  u32  edition     1, 2, 4: of the segment
//	24  u64  first       1, 2: the segment's first index; 4, 5: of the first of them
//	32  u64  last        2: the segment's last index; 3: the last index that stays;
//	                     4, 5: the last index of the last of them; 7: the snapshot's
//	40  u64  base        1: the segment's base address
//	48  u64  size        2, 4: the length of the segment's file
//	56  u64  zero
//
// behind a header of the same size: magic u32 "SDMF", version u16, zeros, and at
// 60 a CRC-32C over bytes 0 to 59. A cut drops the segments that begin behind the
// index after the last one that stays. Only sealed segments are replaced or
// removed. The new one takes the place, the base address and the generation of the
// first that it replaces, and is sealed. A receipt reserves a generation for files
// that are no part of the log yet; the installation of what was received replaces the
// manifest by one that names them, and says from which snapshot on the log counts.
//
// Records are as long as each other so that what follows a bad one can still be
// read: a bad record with another behind it is damage. A bad one at the end is
// taken for a write that a crash interrupted. Were it damage, then either nothing
// had followed from the record, and nothing is lost with it, or frames tell:
// those of a segment that is not in the manifest though it lies behind all that are
// and its name has the manifest's generation, and those of a generation above the
// manifest's. A lost replacement or removal is made again; if the old files were
// deleted already, they are missed.
const (
	manifestName    = "manifest"
	manifestMagic   = 0x464d4453 // "SDMF"
	manifestVersion = 1
	manifestRecord  = 64
)

// maxManifestSize bounds what is read: half a million segments.
const maxManifestSize = 64 << 20

type changeKind uint16

const (
	segmentAdded  changeKind = 1
	segmentSealed changeKind = 2
	suffixCut     changeKind = 3
	replaced      changeKind = 4
	removed       changeKind = 5
	receiptBegun  changeKind = 6
	installed     changeKind = 7
)

// change is one record of the manifest.
type change struct {
	kind       changeKind
	generation uint32
	edition    uint32
	first      record.Index
	last       record.Index
	base       Address
	size       int64
}

func (c change) encode(sequence uint64) []byte {
	b := make([]byte, manifestRecord)
	binary.LittleEndian.PutUint16(b[4:], uint16(c.kind))
	binary.LittleEndian.PutUint64(b[8:], sequence)
	binary.LittleEndian.PutUint32(b[16:], c.generation)
	binary.LittleEndian.PutUint32(b[20:], c.edition)
	binary.LittleEndian.PutUint64(b[24:], uint64(c.first))
	binary.LittleEndian.PutUint64(b[32:], uint64(c.last))
	binary.LittleEndian.PutUint64(b[40:], uint64(c.base))
	binary.LittleEndian.PutUint64(b[48:], uint64(c.size))
	binary.LittleEndian.PutUint32(b, checksumAround(b, 0))
	return b
}

func decodeChange(b []byte, sequence uint64) (change, error) {
	if want, got := binary.LittleEndian.Uint32(b), checksumAround(b, 0); want != got {
		return change{}, damagef("manifest record %d: checksum %08x, computed %08x", sequence, want, got)
	}
	if got := binary.LittleEndian.Uint64(b[8:]); got != sequence {
		return change{}, damagef("manifest record %d says it is number %d", sequence, got)
	}
	return change{
		kind:       changeKind(binary.LittleEndian.Uint16(b[4:])),
		generation: binary.LittleEndian.Uint32(b[16:]),
		edition:    binary.LittleEndian.Uint32(b[20:]),
		first:      record.Index(binary.LittleEndian.Uint64(b[24:])),
		last:       record.Index(binary.LittleEndian.Uint64(b[32:])),
		base:       Address(binary.LittleEndian.Uint64(b[40:])),
		size:       int64(binary.LittleEndian.Uint64(b[48:])),
	}, nil
}

func (l *layout) encode() []byte {
	b := make([]byte, manifestRecord)
	binary.LittleEndian.PutUint32(b, manifestMagic)
	binary.LittleEndian.PutUint16(b[4:], manifestVersion)
	binary.LittleEndian.PutUint32(b[60:], checksumAround(b, 60))
	for i, c := range l.changes() {
		b = append(b, c.encode(uint64(i+1))...)
	}
	return b
}

// checkManifestHeader errors with ErrFutureVersion or errDamage.
func checkManifestHeader(b []byte) error {
	if magic := binary.LittleEndian.Uint32(b); magic != manifestMagic {
		return damagef("no manifest: it begins with %08x", magic)
	}
	if v := binary.LittleEndian.Uint16(b[4:]); v > manifestVersion {
		return futureVersion(manifestName, v, manifestVersion)
	}
	if want, got := binary.LittleEndian.Uint32(b[60:]), checksumAround(b[:manifestRecord], 60); want != got {
		return damagef("manifest header: checksum %08x, computed %08x", want, got)
	}
	return nil
}

// decodeManifest also returns how many records it took; fewer than the bytes hold
// if the last was torn. It errors with ErrFutureVersion or a *CorruptionError.
func decodeManifest(b []byte) (layout, uint64, error) {
	l := layout{generation: 1}
	corrupt := func(pos int, err error) (layout, uint64, error) {
		return layout{}, 0, &CorruptionError{manifestName, Address(pos), err}
	}
	if len(b) < manifestRecord {
		return corrupt(0, damagef("%d bytes are fewer than a header", len(b)))
	}
	if err := checkManifestHeader(b); errors.Is(err, ErrFutureVersion) {
		return layout{}, 0, err
	} else if err != nil {
		return corrupt(0, err)
	}
	n := uint64(0)
	for pos := manifestRecord; pos < len(b); pos += manifestRecord {
		if len(b)-pos < manifestRecord {
			break
		}
		c, err := decodeChange(b[pos:pos+manifestRecord], n+1)
		if err != nil {
			if pos+manifestRecord < len(b) {
				return corrupt(pos, err)
			}
			break
		}
		if err := l.apply(c); err != nil {
			return corrupt(pos, err)
		}
		n++
	}
	if len(l.segments) == 0 {
		return corrupt(len(b), damagef("it names no segment"))
	}
	return l, n, nil
}
