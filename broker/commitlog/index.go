package commitlog

import (
	"container/list"
	"encoding/binary"
	"fmt"
	"math"
	"path"
	"sort"
	"sync"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
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

// indexWriter writes an index block by block: all rows, then the directory, each in
// their order, and last the head. It holds indexWriteBuffer bytes, however long the
// index is.
type indexWriter struct {
	file       vfs.File
	buf        []byte // whole blocks; the last one is being filled
	pos        int64  // of buf in the file
	number     uint32 // of the last block
	kind       blockKind
	filled     int // rows in the last block
	rows, dirs int64
	digest     Digest // of the segment's entries, the caller's
	holes      uint32 // the caller's
}

const indexWriteBuffer = 64 * blockSize

func newIndexWriter(f vfs.File) *indexWriter {
	return &indexWriter{file: f, buf: make([]byte, blockSize, indexWriteBuffer), kind: headBlock}
}

func (w *indexWriter) addRow(p record.PartitionID, r row) error {
	b, err := w.slot(rowBlock, rowSize, rowsPerBlock)
	if err == nil {
		putRow(b, p, r)
		w.rows++
	}
	return err
}

func (w *indexWriter) addDirectoryRow(e directoryRow) error {
	b, err := w.slot(directoryBlock, directoryRowSize, dirRowsPerBlock)
	if err == nil {
		putDirectoryRow(b, e)
		w.dirs++
	}
	return err
}

// slot is where the next row goes, in a new block if the last one is full or of
// another kind.
func (w *indexWriter) slot(kind blockKind, size, most int) ([]byte, error) {
	if w.kind != kind || w.filled == most {
		w.closeBlock()
		if len(w.buf) == indexWriteBuffer {
			if err := w.flush(); err != nil {
				return nil, err
			}
		}
		w.buf = w.buf[:len(w.buf)+blockSize]
		clear(w.buf[len(w.buf)-blockSize:])
		w.kind, w.filled, w.number = kind, 0, w.number+1
	}
	b := w.buf[len(w.buf)-blockSize+blockHeaderSize+w.filled*size:]
	w.filled++
	return b, nil
}

func (w *indexWriter) closeBlock() {
	if w.kind != headBlock {
		putBlockHeader(w.buf[len(w.buf)-blockSize:], w.kind, w.number)
	}
}

func (w *indexWriter) flush() error {
	_, err := w.file.WriteAt(w.buf, w.pos)
	w.pos += int64(len(w.buf))
	w.buf = w.buf[:0]
	return err
}

// finish writes the head, and all that is not written yet. The caller syncs.
func (w *indexWriter) finish(m segmentMeta) error {
	w.closeBlock()
	head := headOf(m, w.rows, w.dirs, w.digest, w.holes).encode()
	if w.pos == 0 {
		copy(w.buf, head)
		return w.flush()
	}
	if err := w.flush(); err != nil {
		return err
	}
	_, err := w.file.WriteAt(head, 0)
	return err
}

// writeIndex writes the index file of a full segment and returns when a crash
// cannot take it away.
func writeIndex(fsys vfs.FS, dir string, m segmentMeta, mem *memIndex, dirs []directoryRow) error {
	return replaceFile(fsys, dir, indexName(m.name()), func(f vfs.File) error {
		w := newIndexWriter(f)
		for _, p := range mem.partitions() {
			for r := range mem.of(p).all() {
				if err := w.addRow(p, r); err != nil {
					return err
				}
			}
		}
		for _, e := range sortRows(dirs) {
			if err := w.addDirectoryRow(e); err != nil {
				return err
			}
		}
		w.digest, w.holes = mem.digest, mem.holes
		return w.finish(m)
	})
}

// indexScan reads the rows of an index one behind the other, with a buffer of its own: what
// is read once must not drive out of the cache what is read often.
type indexScan struct {
	x    *indexFile
	kind blockKind
	rows int64 // left
	size int   // of a row
	most int   // in a block
	buf  []byte
	rest []byte // of the block that is being read
	next uint32 // block to read
	at   int    // in buf
	pace func(bytes int) error
}

// indexScanBuffer is what a scan holds, in bytes.
const indexScanBuffer = 16 * blockSize

// scanRows begins at the first row.
func (x *indexFile) scanRows(pace func(int) error) *indexScan {
	return &indexScan{x: x, kind: rowBlock, rows: x.rows, size: rowSize, most: rowsPerBlock, next: 1, pace: pace}
}

// scanDirectory begins at the first row of the directory.
func (x *indexFile) scanDirectory(pace func(int) error) *indexScan {
	return &indexScan{x: x, kind: directoryBlock, rows: x.dirs, size: directoryRowSize, most: dirRowsPerBlock, next: uint32(1 + x.rowBlocks()), pace: pace}
}

// read returns the bytes of the next row, valid until the call after it; nil behind the
// last one.
func (s *indexScan) read() ([]byte, error) {
	if s.rows == 0 {
		return nil, nil
	}
	if len(s.rest) < s.size {
		if s.at == len(s.buf) {
			left := (s.rows + int64(s.most) - 1) / int64(s.most) * blockSize
			if s.buf == nil {
				s.buf = make([]byte, min(left, indexScanBuffer))
			}
			s.buf = s.buf[:min(left, int64(len(s.buf)))]
			if err := s.pace(len(s.buf)); err != nil {
				return nil, err
			}
			if err := s.x.read(s.buf, s.next); err != nil {
				return nil, err
			}
			s.at = 0
		}
		b := s.buf[s.at:][:blockSize]
		if err := checkBlock(b, s.kind, s.next); err != nil {
			return nil, s.x.bad(s.next, err)
		}
		s.at += blockSize
		s.next++
		s.rest = b[blockHeaderSize:][:s.most*s.size]
	}
	b := s.rest[:s.size]
	s.rest = s.rest[s.size:]
	s.rows--
	return b, nil
}

// indexFile is the index of a sealed segment, read block by block.
type indexFile struct {
	indexHead
	name  string
	file  vfs.File
	cache *blockCache
	of    *segment // of an open log; else nil
}

// openIndex verifies the head and that it belongs to the segment. It errors with
// ErrFutureVersion, with errDamage, also for a head that the disk does not read, or if
// the file cannot be opened.
func openIndex(fsys vfs.FS, dir string, m segmentMeta, cache *blockCache) (*indexFile, error) {
	name := indexName(m.name())
	f, err := fsys.Open(path.Join(dir, name))
	if err != nil {
		return nil, err
	}
	x := &indexFile{name: name, file: f, cache: cache}
	if err := x.readHead(m); err != nil {
		_ = f.Close()
		return nil, err
	}
	return x, nil
}

func (x *indexFile) readHead(m segmentMeta) error {
	size, err := x.file.Size()
	if err != nil {
		return err
	}
	b := make([]byte, min(size, blockSize))
	if err := readFull(x.file, b, 0); err != nil {
		return damagef("reading the head: %w", err)
	}
	if x.indexHead, err = decodeIndexHead(b, size); err != nil {
		return err
	}
	if want := headOf(m, x.rows, x.dirs, x.digest, x.holes); x.indexHead != want {
		return damagef("index of another segment: %+v, want %+v", x.indexHead, want)
	}
	return nil
}

// read reads len(b) bytes from the beginning of a block on. The error is a
// *CorruptionError: an index that the disk does not read is as good as damaged.
func (x *indexFile) read(b []byte, number uint32) error {
	if err := readFull(x.file, b, int64(number)*blockSize); err != nil {
		return x.bad(number, fmt.Errorf("reading %d bytes: %w", len(b), err))
	}
	return nil
}

// bad makes damage of what is wrong with a block. In a log that is open it is told, and the
// index is made anew by the next Seal.
func (x *indexFile) bad(number uint32, err error) error {
	c := &CorruptionError{x.name, Address(number) * blockSize, err}
	if x.of != nil && x.of.door != nil {
		x.of.condemnIndex()
		x.of.report(c, blockSize)
	}
	return c
}

// block returns a verified block, which must not be changed.
func (x *indexFile) block(number uint32) ([]byte, error) {
	return x.cache.get(blockKey{x, number}, func() ([]byte, error) {
		b := make([]byte, blockSize)
		if err := x.read(b, number); err != nil {
			return nil, err
		}
		if err := checkBlock(b, x.kind(number), number); err != nil {
			return nil, x.bad(number, err)
		}
		return b, nil
	})
}

func (x *indexFile) row(i int64) (record.PartitionID, row, error) {
	b, err := x.block(uint32(1 + i/rowsPerBlock))
	if err != nil {
		return 0, row{}, err
	}
	p, r := getRow(b[blockHeaderSize+i%rowsPerBlock*rowSize:])
	return p, r, nil
}

func (x *indexFile) directoryRow(i int64) (directoryRow, error) {
	b, err := x.block(uint32(1 + x.rowBlocks() + i/dirRowsPerBlock))
	if err != nil {
		return directoryRow{}, err
	}
	return getDirectoryRow(b[blockHeaderSize+i%dirRowsPerBlock*directoryRowSize:]), nil
}

// find is the number of the first row of a partition that holds offset or comes
// behind it; what is there may also be a row of another partition, or none.
func (x *indexFile) find(p record.PartitionID, offset int64) (int64, error) {
	var failed error
	i := sort.Search(int(x.rows), func(i int) bool {
		q, r, err := x.row(int64(i))
		if err != nil {
			failed = err
			return true
		}
		return q > p || q == p && r.next() > offset
	})
	return int64(i), failed
}

// standing is where a partition stands behind this segment. A partition that is
// not in the directory had no batch yet.
func (x *indexFile) standing(p record.PartitionID) (directoryRow, error) {
	none := directoryRow{partition: p, maxTime: math.MinInt64}
	var failed error
	i := sort.Search(int(x.dirs), func(i int) bool {
		e, err := x.directoryRow(int64(i))
		if err != nil {
			failed = err
			return true
		}
		return e.partition >= p
	})
	if failed != nil || int64(i) == x.dirs {
		return none, failed
	}
	e, err := x.directoryRow(int64(i))
	if err != nil || e.partition != p {
		return none, err
	}
	return e, nil
}

// directory reads all of it.
func (x *indexFile) directory() (directory, error) {
	d := make(directory, x.dirs)
	for i := range x.dirs {
		e, err := x.directoryRow(i)
		if err != nil {
			return nil, err
		}
		d[e.partition] = e
	}
	return d, nil
}

// blockCache keeps the index blocks used last.
type blockCache struct {
	mu    sync.Mutex
	limit int
	used  *list.List // of cachedBlock, the latest in front
	at    map[blockKey]*list.Element
}

type blockKey struct {
	index  *indexFile
	number uint32
}

type cachedBlock struct {
	key blockKey
	b   []byte
}

// indexCacheBlocks is 16 MiB of index blocks for a log.
const indexCacheBlocks = 4096

func newBlockCache(limit int) *blockCache {
	return &blockCache{limit: limit, used: list.New(), at: make(map[blockKey]*list.Element)}
}

// get returns the cached block or reads it. Two readers may read the same block at
// the same time.
func (c *blockCache) get(k blockKey, read func() ([]byte, error)) ([]byte, error) {
	c.mu.Lock()
	if e, ok := c.at[k]; ok {
		c.used.MoveToFront(e)
		b := e.Value.(cachedBlock).b
		c.mu.Unlock()
		return b, nil
	}
	c.mu.Unlock()
	b, err := read()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.at[k]; !ok {
		c.at[k] = c.used.PushFront(cachedBlock{k, b})
	}
	for c.used.Len() > c.limit {
		oldest := c.used.Back()
		delete(c.at, oldest.Value.(cachedBlock).key)
		c.used.Remove(oldest)
	}
	return b, nil
}

// drop forgets the blocks of an index that was replaced.
func (c *blockCache) drop(x *indexFile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, e := range c.at {
		if k.index == x {
			c.used.Remove(e)
			delete(c.at, k)
		}
	}
}
