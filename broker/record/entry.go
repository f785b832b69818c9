package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
)

// An Entry is the body of one frame: the unit of the commit log, of replication
// and of Raft. It is the same, byte for byte, on every replica.
//
//	 0  u64  index
//	 8  u64  term
//	16  i64  time       the leader's clock, ms; never falls from entry to entry
//	24  u32  length     of the whole entry, this header included
//	28  u32  parts
//	32  u32  flags      bit 0: the segment ends behind this entry
//	                    bit 1: rewritten
//	36  u32  CRC-32C    over the whole entry with this field zero
//	40       parts x { u8 kind, u8[3] zero, u32 partition, u32 length, bytes }
//
// A rewritten entry is what one node's cleaner has kept of a range of entries, and no
// part of Raft's log: its index is the last one of the range, its term and time are 0.
//
// All numbers are little-endian. An Entry that came from a disk or a peer is
// trusted only after Check.
type Entry []byte

// Sizes of the fixed parts of an entry, in bytes.
const (
	EntryHeaderSize = 40
	PartHeaderSize  = 12
)

// MaxEntrySize bounds an entry: what a length field may claim before it is
// called damage. It leaves room for the largest batch that message.max.bytes may
// allow.
const MaxEntrySize = 1 << 30

const (
	flagRoll      = 1
	flagRewritten = 2
)

// Kind says what the bytes of a part are.
type Kind uint8

const (
	// KindBatch is a Kafka RecordBatch v2, verbatim, appended to the partition.
	KindBatch Kind = 1
	// KindCommand is a command to the shard's state machine, about the partition
	// or, where that is 0, about none.
	KindCommand Kind = 2
	// KindConfChange is a change of the Raft group's members, in Raft's encoding.
	KindConfChange Kind = 3
)

// Part is one element of an entry. Bytes is shared with the entry.
type Part struct {
	Kind      Kind
	Partition PartitionID
	Bytes     []byte
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrEntry is a body that is not an entry: a length, a count or the checksum is
// wrong.
var ErrEntry = errors.New("malformed entry")

func (e Entry) Index() Index { return Index(binary.LittleEndian.Uint64(e)) }
func (e Entry) Term() Term   { return Term(binary.LittleEndian.Uint64(e[8:])) }

// Time is the leader's clock when it decided the entry, in ms.
func (e Entry) Time() int64      { return int64(binary.LittleEndian.Uint64(e[16:])) }
func (e Entry) length() uint32   { return binary.LittleEndian.Uint32(e[24:]) }
func (e Entry) Parts() int       { return int(binary.LittleEndian.Uint32(e[28:])) }
func (e Entry) flags() uint32    { return binary.LittleEndian.Uint32(e[32:]) }
func (e Entry) Checksum() uint32 { return binary.LittleEndian.Uint32(e[36:]) }

// Rolls reports whether the leader ends the segment behind this entry. Since it
// says so in the log, the segments of all replicas cover the same indexes.
func (e Entry) Rolls() bool { return e.flags()&flagRoll != 0 }

// Rewritten reports whether this is what lives of a range of entries, made by
// FinishRewritten.
func (e Entry) Rewritten() bool { return e.flags()&flagRewritten != 0 }

// IsConfChange reports whether the entry is a change of the Raft group's members,
// which is an entry of its own.
func (e Entry) IsConfChange() bool {
	return e.Parts() == 1 && Kind(e[EntryHeaderSize]) == KindConfChange
}

func (e Entry) checksum() uint32 {
	var zero [4]byte
	sum := crc32.Update(0, castagnoli, e[:36])
	sum = crc32.Update(sum, castagnoli, zero[:])
	return crc32.Update(sum, castagnoli, e[EntryHeaderSize:])
}

// Check says whether e is one whole, undamaged entry. It reads every byte.
func (e Entry) Check() error {
	if len(e) < EntryHeaderSize {
		return fmt.Errorf("%w: %d bytes are fewer than a header", ErrEntry, len(e))
	}
	if int64(e.length()) != int64(len(e)) {
		return fmt.Errorf("%w: its length field says %d bytes, there are %d", ErrEntry, e.length(), len(e))
	}
	if sum := e.checksum(); sum != e.Checksum() {
		return fmt.Errorf("%w: checksum %08x, computed %08x", ErrEntry, e.Checksum(), sum)
	}
	rest, n := e[EntryHeaderSize:], e.Parts()
	for i := range n {
		if len(rest) < PartHeaderSize {
			return fmt.Errorf("%w: part %d of %d is cut off", ErrEntry, i, n)
		}
		size := int64(binary.LittleEndian.Uint32(rest[8:]))
		if size > int64(len(rest)-PartHeaderSize) {
			return fmt.Errorf("%w: part %d of %d claims %d bytes, %d are left", ErrEntry, i, n, size, len(rest)-PartHeaderSize)
		}
		rest = rest[PartHeaderSize+size:]
	}
	if len(rest) != 0 {
		return fmt.Errorf("%w: %d bytes behind the last part", ErrEntry, len(rest))
	}
	return nil
}

// Each calls do for every part, with the part's place in the entry in bytes (of
// its content, not of its header), until do returns false. The entry must be one
// that Check has passed, or that this process built.
func (e Entry) Each(do func(at int, p Part) bool) {
	at := EntryHeaderSize
	for range e.Parts() {
		h := e[at:]
		p := Part{Kind: Kind(h[0]), Partition: PartitionID(binary.LittleEndian.Uint32(h[4:]))}
		size := int(binary.LittleEndian.Uint32(h[8:]))
		at += PartHeaderSize
		p.Bytes = e[at : at+size : at+size]
		if !do(at, p) {
			return
		}
		at += size
	}
}

// EntryBuilder collects parts into one entry. The zero value is ready; Reset
// makes it ready again and keeps its memory. Not safe for concurrent use.
type EntryBuilder struct {
	buf   []byte
	parts uint32
	rolls bool
}

// Reset forgets the parts. The bytes of an entry that Finish returned are reused.
func (b *EntryBuilder) Reset() { b.buf, b.parts, b.rolls = b.buf[:0], 0, false }

// Reserve makes room for n bytes of parts, their headers included, which Add would
// otherwise make as it needs it.
func (b *EntryBuilder) Reserve(n int) {
	b.buf = slices.Grow(b.buf, max(0, EntryHeaderSize-len(b.buf))+n)
}

// Roll makes the entry end its segment, whatever Finish is told.
func (b *EntryBuilder) Roll() { b.rolls = true }

// Rolls reports whether Roll was called.
func (b *EntryBuilder) Rolls() bool { return b.rolls }

// Size is the length in bytes of the entry as it stands.
func (b *EntryBuilder) Size() int { return max(len(b.buf), EntryHeaderSize) }

// Parts is how many parts there are.
func (b *EntryBuilder) Parts() int { return int(b.parts) }

// Add appends a part and returns its bytes inside the entry, for patching before
// Finish. The slice is valid until the next Add.
func (b *EntryBuilder) Add(kind Kind, p PartitionID, data []byte) []byte {
	if len(b.buf) == 0 {
		b.buf = append(b.buf, make([]byte, EntryHeaderSize)...)
	}
	var h [PartHeaderSize]byte
	h[0] = byte(kind)
	binary.LittleEndian.PutUint32(h[4:], uint32(p))
	binary.LittleEndian.PutUint32(h[8:], uint32(len(data)))
	b.buf = append(b.buf, h[:]...)
	at := len(b.buf)
	b.buf = append(b.buf, data...)
	b.parts++
	return b.buf[at:len(b.buf):len(b.buf)]
}

// Truncate drops all parts behind the first n; size is what Size returned when
// there were n.
func (b *EntryBuilder) Truncate(n, size int) {
	b.parts = uint32(n)
	if n == 0 {
		b.buf = b.buf[:0]
		return
	}
	b.buf = b.buf[:size]
}

// Finish seals the entry. It shares the builder's memory until Reset.
func (b *EntryBuilder) Finish(index Index, term Term, now int64, roll bool) Entry {
	var flags uint32
	if roll || b.rolls {
		flags |= flagRoll
	}
	return b.finish(index, term, now, flags)
}

// FinishRewritten seals the entry as what lives of a range of entries that ends with
// last. It shares the builder's memory until Reset.
func (b *EntryBuilder) FinishRewritten(last Index) Entry { return b.finish(last, 0, 0, flagRewritten) }

func (b *EntryBuilder) finish(index Index, term Term, now int64, flags uint32) Entry {
	if len(b.buf) == 0 {
		b.buf = append(b.buf, make([]byte, EntryHeaderSize)...)
	}
	e := Entry(b.buf)
	binary.LittleEndian.PutUint64(e, uint64(index))
	binary.LittleEndian.PutUint64(e[8:], uint64(term))
	binary.LittleEndian.PutUint64(e[16:], uint64(now))
	binary.LittleEndian.PutUint32(e[24:], uint32(len(e)))
	binary.LittleEndian.PutUint32(e[28:], b.parts)
	binary.LittleEndian.PutUint32(e[32:], flags)
	binary.LittleEndian.PutUint32(e[36:], e.checksum())
	return e
}
