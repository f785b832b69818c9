package commitlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"path"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// A segment file begins with:
//
//	 0  u32  magic "SDSG"
//	 4  u16  version, 1
//	 6  u16  zero
//	 8  u64  first index
//	16  u64  base address   of the file's first byte
//	24  u32  generation     of the log when the segment was begun
//	28  u32  CRC-32C        over bytes 0 to 27 and 32 to 63
//	32  u32  edition        0 as it was appended; else rewritten, one more each time
//	36       zeros
//	64       frames
//
// Its name is the first index in 20 digits, the generation in 8 hex digits and,
// unless it is 0, the edition in 8 more. No two segments of a log ever have the
// same name and different content: the same index begins a segment twice only if a
// suffix was cut, which raises the generation, or if the segment was rewritten,
// which raises the edition.
//
// A rewritten segment holds what lives of the entries from its first index to its
// last, and stands for one or several that were neighbours: it has the first one's
// first index, generation and base address, and is no longer than all of them
// together. Its frames hold batches only, in entries that are marked as rewritten,
// all with the index of the range's last entry; they are no Raft entries any more.
const (
	segmentMagic      = 0x47534453 // "SDSG"
	segmentVersion    = 1
	segmentHeaderSize = 64
	segmentSuffix     = ".log"
	indexSuffix       = ".idx"
	snapshotSuffix    = ".snap"
	tmpSuffix         = ".tmp"
)

func segmentName(first record.Index, generation, edition uint32) string {
	if edition == 0 {
		return fmt.Sprintf("%020d-%08x%s", uint64(first), generation, segmentSuffix)
	}
	return fmt.Sprintf("%020d-%08x-%08x%s", uint64(first), generation, edition, segmentSuffix)
}

func indexName(segment string) string {
	return strings.TrimSuffix(segment, segmentSuffix) + indexSuffix
}

// parseSegmentName is segmentName the other way; ok is false for another name.
func parseSegmentName(name string) (m segmentMeta, ok bool) {
	parts := strings.Split(strings.TrimSuffix(name, segmentSuffix), "-")
	if len(parts) < 2 || len(parts) > 3 {
		return segmentMeta{}, false
	}
	first, err := strconv.ParseUint(parts[0], 10, 64)
	var numbers [2]uint64
	for i, p := range parts[1:] {
		var e error
		numbers[i], e = strconv.ParseUint(p, 16, 32)
		err = errors.Join(err, e)
	}
	m = segmentMeta{first: record.Index(first), generation: uint32(numbers[0]), edition: uint32(numbers[1])}
	return m, err == nil && m.name() == name
}

// segmentMeta is what the manifest knows of a segment.
type segmentMeta struct {
	first      record.Index
	generation uint32
	edition    uint32 // 0 as it was appended
	base       Address
	// sealed segments only: the last index and the length of the file.
	sealed bool
	last   record.Index
	size   int64
}

func (m segmentMeta) name() string { return segmentName(m.first, m.generation, m.edition) }

// same reports whether two are the same segment: a name has one content.
func (m segmentMeta) same(o segmentMeta) bool {
	return m.first == o.first && m.generation == o.generation && m.edition == o.edition
}

func (m segmentMeta) header() []byte {
	b := make([]byte, segmentHeaderSize)
	binary.LittleEndian.PutUint32(b, segmentMagic)
	binary.LittleEndian.PutUint16(b[4:], segmentVersion)
	binary.LittleEndian.PutUint64(b[8:], uint64(m.first))
	binary.LittleEndian.PutUint64(b[16:], uint64(m.base))
	binary.LittleEndian.PutUint32(b[24:], m.generation)
	binary.LittleEndian.PutUint32(b[32:], m.edition)
	binary.LittleEndian.PutUint32(b[28:], checksumAround(b, 28))
	return b
}

// checksumAround is the CRC-32C of b without the four bytes at gap.
func checksumAround(b []byte, gap int) uint32 {
	return crc32.Update(crc32.Checksum(b[:gap], castagnoli), castagnoli, b[gap+4:])
}

// readSegmentHeader errors with ErrFutureVersion, or errDamage.
func readSegmentHeader(f vfs.File, name string) (segmentMeta, int64, error) {
	size, err := f.Size()
	if err != nil {
		return segmentMeta{}, 0, fmt.Errorf("%s: %w", name, err)
	}
	if size < segmentHeaderSize {
		return segmentMeta{}, size, damagef("%d bytes are fewer than a segment header", size)
	}
	b := make([]byte, segmentHeaderSize)
	if err := readFull(f, b, 0); err != nil {
		return segmentMeta{}, size, fmt.Errorf("%s: %w", name, err)
	}
	if magic := binary.LittleEndian.Uint32(b); magic != segmentMagic {
		return segmentMeta{}, size, damagef("no segment: it begins with %08x", magic)
	}
	if v := binary.LittleEndian.Uint16(b[4:]); v > segmentVersion {
		return segmentMeta{}, size, futureVersion("segment "+name, v, segmentVersion)
	}
	if want, got := binary.LittleEndian.Uint32(b[28:]), checksumAround(b, 28); want != got {
		return segmentMeta{}, size, damagef("segment header: checksum %08x, computed %08x", want, got)
	}
	return segmentMeta{
		first:      record.Index(binary.LittleEndian.Uint64(b[8:])),
		base:       Address(binary.LittleEndian.Uint64(b[16:])),
		generation: binary.LittleEndian.Uint32(b[24:]),
		edition:    binary.LittleEndian.Uint32(b[32:]),
	}, size, nil
}

// readHeader is readSegmentHeader of the file that has the segment's name; the header of
// another segment is damage too.
func (m segmentMeta) readHeader(f vfs.File) (segmentMeta, int64, error) {
	got, size, err := readSegmentHeader(f, m.name())
	if err == nil && !got.same(m) {
		err = damagef("header of segment %s", got.name())
	}
	return got, size, err
}

// readOwnHeader is readHeader of a segment of which is known where it begins. It returns
// the file's size.
func (m segmentMeta) readOwnHeader(f vfs.File) (int64, error) {
	got, size, err := m.readHeader(f)
	if err == nil && got.base != m.base {
		err = damagef("header of a segment at %s, not %s", got.base, m.base)
	}
	return size, err
}

// segment is one file of the log. What may change is guarded by Log.mu; first,
// generation and base never do.
type segment struct {
	segmentMeta
	segmentDamage
	door *door // of the log that it is part of
	file vfs.File
	refs atomic.Int32 // sets that hold it

	// size is where the next frame goes, or where the last one ends. full is that
	// the last entry in it rolls: nothing is appended any more.
	full bool
	// mem indexes the committed entries until index, the file, takes over.
	mem   *memIndex
	index atomic.Pointer[indexFile]
	// directory is the log's, taken when the last entry was committed: nil before.
	// With it the segment can be sealed.
	directory []directoryRow
	retired   []*indexFile // replaced, and perhaps still in use by readers
}

// name is segmentMeta's, without a copy of what Seal may be changing: readers hold no lock.
func (s *segment) name() string { return segmentName(s.first, s.generation, s.edition) }

// extent is up to where the file holds what belongs to the segment: less than size
// if it was cut off.
func (s *segment) extent() (int64, error) {
	there, err := s.file.Size()
	return max(segmentHeaderSize, min(there, s.size)), err
}

// setIndex gives the segment its index file and returns the one that it had, nil for none.
func (s *segment) setIndex(x *indexFile) (old *indexFile) {
	x.of = s
	return s.index.Swap(x)
}

func (s *segment) release() {
	if s.refs.Add(-1) > 0 {
		return
	}
	// Nothing is lost with these descriptors: what had to be durable was synced.
	_ = s.file.Close()
	if x := s.index.Load(); x != nil {
		_ = x.file.Close()
	}
	for _, x := range s.retired {
		_ = x.file.Close()
	}
}

// segmentSet is the segments of the log at one time, oldest first, never empty
// and never changed. Who uses one holds a reference, so that a segment dropped
// meanwhile stays open until the last reader is done.
type segmentSet struct {
	list []*segment
	refs atomic.Int32
}

func newSegmentSet(list []*segment, d *door) *segmentSet {
	for _, s := range list {
		s.refs.Add(1)
		if s.door == nil { // it becomes part of the log: nobody else has it yet
			s.door = d
		}
	}
	set := &segmentSet{list: list}
	set.refs.Store(1)
	return set
}

func (t *segmentSet) release() {
	if t.refs.Add(-1) > 0 {
		return
	}
	for _, s := range t.list {
		s.release()
	}
}

func (t *segmentSet) open() *segment { return t.list[len(t.list)-1] }

// holding is the segment that holds the byte at an address.
func (t *segmentSet) holding(at Address) *segment {
	return t.list[sort.Search(len(t.list), func(i int) bool { return t.list[i].base > at })-1]
}

// sealedPrefix is how many of the oldest segments have an index file. Log.mu is held.
func (t *segmentSet) sealedPrefix() int {
	n := len(t.list)
	for n > 0 && t.list[n-1].index.Load() == nil {
		n--
	}
	return n
}

// createSegment makes the file; it survives a crash once the directory is synced. A
// file of the same name can only be what an earlier attempt left, with the same header
// and nothing but room behind it.
func createSegment(fsys vfs.FS, dir string, m segmentMeta) (*segment, error) {
	name := path.Join(dir, m.name())
	f, err := fsys.Create(name)
	if errors.Is(err, vfs.ErrExist) {
		f, err = fsys.OpenWrite(name)
	}
	if err != nil {
		return nil, err
	}
	if _, err = f.WriteAt(m.header(), 0); err == nil {
		err = f.Truncate(segmentHeaderSize)
	}
	if err == nil {
		err = syncFile(f)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	m.size = segmentHeaderSize
	return &segment{segmentMeta: m, file: f, mem: newMemIndex()}, nil
}
