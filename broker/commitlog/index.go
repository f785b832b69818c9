package commitlog

import (
	"encoding/binary"
	"math"

	"github.com/splashdam/splashdam/broker/record"
)

// A segment index is a file of blocks of 4096 bytes, each of which begins with:
//
//	 0  u32  magic "SDIX"
//	 4  u16  version, 1
//	 6  u16  kind        1 head, 2 rows, 3 directory
//	 8  u32  number      of the block in the file
//	12  u32  CRC-32C     over the block without this field
//
// Block 0 is the head:
//
//	16  u64  first index of the segment
//	24  u64  last index
//	32  u64  length of the segment's file
//	40  u64  rows
//	48  u64  directory rows
//	56  u32  generation of the segment
//	60  u32  edition of the segment
//	64  u64  entries in it
//	72  u64  length of the entries together, without frames
//	80  u64  CRC-64         of their headers (Digest)
//	88  u32  holes: runs of damaged bytes around which the index was made
//	92       zeros
//
// Then come the blocks of rows, 85 in each, one row for a batch, sorted by
// partition and offset:
//
//	 0  u32  partition
//	 4  u16  attributes     the batch's
//	 6  u16  zero
//	 8  i64  base offset
//	16  u32  count          last offset delta + 1
//	20  u32  size           bytes
//	24  u64  address        of the batch
//	32  i64  max timestamp
//	40  i32  leader epoch
//	44  u32  CRC            the batch's
//
// and the blocks of the directory, 204 rows in each, one for *every* partition of
// the shard as it stands behind the segment's last entry, sorted by partition:
//
//	 0  u32  partition
//	 4  i64  next offset
//	12  i64  max timestamp of all batches so far
//
// Where batches were cleaned away the directory stands at least behind what is left,
// and at most where it stood when the segment was first sealed: it still says where
// to look for an offset or a time, for both rise with it.
//
// A find reads a few blocks; nothing is loaded as a whole. Every block is verified
// when it is read.
const (
	indexMagic       = 0x58494453 // "SDIX"
	indexVersion     = 1
	blockSize        = 4096
	blockHeaderSize  = 16
	rowSize          = 48
	directoryRowSize = 20
	rowsPerBlock     = (blockSize - blockHeaderSize) / rowSize
	dirRowsPerBlock  = (blockSize - blockHeaderSize) / directoryRowSize
)

type blockKind uint16

const (
	headBlock      blockKind = 1
	rowBlock       blockKind = 2
	directoryBlock blockKind = 3
)

func putBlockHeader(b []byte, kind blockKind, number uint32) {
	binary.LittleEndian.PutUint32(b, indexMagic)
	binary.LittleEndian.PutUint16(b[4:], indexVersion)
	binary.LittleEndian.PutUint16(b[6:], uint16(kind))
	binary.LittleEndian.PutUint32(b[8:], number)
	binary.LittleEndian.PutUint32(b[12:], checksumAround(b[:blockSize], 12))
}

func checkBlock(b []byte, kind blockKind, number uint32) error {
	if magic := binary.LittleEndian.Uint32(b); magic != indexMagic {
		return damagef("no index block: it begins with %08x", magic)
	}
	if v := binary.LittleEndian.Uint16(b[4:]); v > indexVersion {
		return futureVersion("segment index", v, indexVersion)
	}
	if want, got := binary.LittleEndian.Uint32(b[12:]), checksumAround(b[:blockSize], 12); want != got {
		return damagef("index block %d: checksum %08x, computed %08x", number, want, got)
	}
	if k, n := blockKind(binary.LittleEndian.Uint16(b[6:])), binary.LittleEndian.Uint32(b[8:]); k != kind || n != number {
		return damagef("index block %d of kind %d, want %d of kind %d", n, k, number, kind)
	}
	return nil
}

func putRow(b []byte, p record.PartitionID, r row) {
	binary.LittleEndian.PutUint32(b, uint32(p))
	binary.LittleEndian.PutUint16(b[4:], r.attrs)
	binary.LittleEndian.PutUint64(b[8:], uint64(r.base))
	binary.LittleEndian.PutUint32(b[16:], r.count)
	binary.LittleEndian.PutUint32(b[20:], r.size)
	binary.LittleEndian.PutUint64(b[24:], uint64(r.at))
	binary.LittleEndian.PutUint64(b[32:], uint64(r.maxTime))
	binary.LittleEndian.PutUint32(b[40:], uint32(r.epoch))
	binary.LittleEndian.PutUint32(b[44:], r.crc)
}

func getRow(b []byte) (record.PartitionID, row) {
	return record.PartitionID(binary.LittleEndian.Uint32(b)), row{
		attrs:   binary.LittleEndian.Uint16(b[4:]),
		base:    int64(binary.LittleEndian.Uint64(b[8:])),
		count:   binary.LittleEndian.Uint32(b[16:]),
		size:    binary.LittleEndian.Uint32(b[20:]),
		at:      Address(binary.LittleEndian.Uint64(b[24:])),
		maxTime: int64(binary.LittleEndian.Uint64(b[32:])),
		epoch:   int32(binary.LittleEndian.Uint32(b[40:])),
		crc:     binary.LittleEndian.Uint32(b[44:]),
	}
}

func putDirectoryRow(b []byte, e directoryRow) {
	binary.LittleEndian.PutUint32(b, uint32(e.partition))
	binary.LittleEndian.PutUint64(b[4:], uint64(e.next))
	binary.LittleEndian.PutUint64(b[12:], uint64(e.maxTime))
}

func getDirectoryRow(b []byte) directoryRow {
	return directoryRow{
		partition: record.PartitionID(binary.LittleEndian.Uint32(b)),
		next:      int64(binary.LittleEndian.Uint64(b[4:])),
		maxTime:   int64(binary.LittleEndian.Uint64(b[12:])),
	}
}

// indexHead is what block 0 says.
type indexHead struct {
	first, last record.Index
	size        int64
	rows, dirs  int64
	generation  uint32
	edition     uint32
	digest      Digest
	holes       uint32
}

func headOf(m segmentMeta, rows, dirs int64, d Digest, holes uint32) indexHead {
	return indexHead{
		first: m.first, last: m.last, size: m.size, rows: rows, dirs: dirs,
		generation: m.generation, edition: m.edition, digest: d, holes: holes,
	}
}

func (h indexHead) rowBlocks() int64 { return (h.rows + rowsPerBlock - 1) / rowsPerBlock }
func (h indexHead) dirBlocks() int64 { return (h.dirs + dirRowsPerBlock - 1) / dirRowsPerBlock }
func (h indexHead) blocks() int64    { return 1 + h.rowBlocks() + h.dirBlocks() }

// kind of the block with a number.
func (h indexHead) kind(number uint32) blockKind {
	switch n := int64(number); {
	case n == 0:
		return headBlock
	case n <= h.rowBlocks():
		return rowBlock
	default:
		return directoryBlock
	}
}

func (h indexHead) encode() []byte {
	b := make([]byte, blockSize)
	binary.LittleEndian.PutUint64(b[16:], uint64(h.first))
	binary.LittleEndian.PutUint64(b[24:], uint64(h.last))
	binary.LittleEndian.PutUint64(b[32:], uint64(h.size))
	binary.LittleEndian.PutUint64(b[40:], uint64(h.rows))
	binary.LittleEndian.PutUint64(b[48:], uint64(h.dirs))
	binary.LittleEndian.PutUint32(b[56:], h.generation)
	binary.LittleEndian.PutUint32(b[60:], h.edition)
	binary.LittleEndian.PutUint64(b[64:], h.digest.Entries)
	binary.LittleEndian.PutUint64(b[72:], h.digest.Bytes)
	binary.LittleEndian.PutUint64(b[80:], h.digest.Sum)
	binary.LittleEndian.PutUint32(b[88:], h.holes)
	putBlockHeader(b, headBlock, 0)
	return b
}

// decodeIndexHead errors with ErrFutureVersion or errDamage.
func decodeIndexHead(b []byte, fileSize int64) (indexHead, error) {
	if len(b) < blockSize {
		return indexHead{}, damagef("%d bytes are fewer than a block", len(b))
	}
	if err := checkBlock(b, headBlock, 0); err != nil {
		return indexHead{}, err
	}
	h := indexHead{
		first:      record.Index(binary.LittleEndian.Uint64(b[16:])),
		last:       record.Index(binary.LittleEndian.Uint64(b[24:])),
		size:       int64(binary.LittleEndian.Uint64(b[32:])),
		rows:       int64(binary.LittleEndian.Uint64(b[40:])),
		dirs:       int64(binary.LittleEndian.Uint64(b[48:])),
		generation: binary.LittleEndian.Uint32(b[56:]),
		edition:    binary.LittleEndian.Uint32(b[60:]),
		digest: Digest{
			Entries: binary.LittleEndian.Uint64(b[64:]),
			Bytes:   binary.LittleEndian.Uint64(b[72:]),
			Sum:     binary.LittleEndian.Uint64(b[80:]),
		},
		holes: binary.LittleEndian.Uint32(b[88:]),
	}
	if h.rows < 0 || h.dirs < 0 || h.rows > fileSize || h.dirs > fileSize || h.blocks() > math.MaxUint32 || h.blocks()*blockSize != fileSize {
		return indexHead{}, damagef("index of %d rows and %d directory rows in %d bytes", h.rows, h.dirs, fileSize)
	}
	return h, nil
}
