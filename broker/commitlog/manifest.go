package commitlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/invariant"
	"github.com/splashdam/splashdam/internal/vfs"
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

// manifest is the open file. The appender and the cleaner write records; whoever
// does holds mu, also over the sync. Nothing else is locked inside of it.
type manifest struct {
	mu sync.Mutex
	layout
	fs      vfs.FS
	dir     string
	file    vfs.File
	records uint64
	// failed is the first error after which nobody knows what is in the file.
	failed error
}

func createManifest(fsys vfs.FS, dir string, l layout) error {
	return replaceFile(fsys, dir, manifestName, func(f vfs.File) error {
		_, err := f.WriteAt(l.encode(), 0)
		return err
	})
}

// openManifest reads the manifest and makes it durable. torn is that a record at
// its end was not whole; it is still there.
func openManifest(fsys vfs.FS, dir string) (m *manifest, torn bool, err error) {
	f, err := fsys.OpenWrite(path.Join(dir, manifestName))
	if err != nil {
		return nil, false, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	b, err := readAll(f, maxManifestSize)
	if isDamage(err) {
		return nil, false, &CorruptionError{manifestName, 0, err}
	}
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", manifestName, err)
	}
	l, n, err := decodeManifest(b)
	if err != nil {
		return nil, false, err
	}
	if err := syncFile(f); err != nil {
		return nil, false, fmt.Errorf("%s: %w", manifestName, err)
	}
	return &manifest{layout: l, fs: fsys, dir: dir, file: f, records: n}, int64(len(b)) > int64(n+1)*manifestRecord, nil
}

// dropTorn makes durable that a record at the end, which was not whole when the
// manifest was opened, does not count.
func (m *manifest) dropTorn() error {
	err := m.file.Truncate(int64(m.records+1) * manifestRecord)
	if err == nil {
		err = syncFile(m.file)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", manifestName, err)
	}
	return nil
}

// maxManifestSize bounds what is read: half a million segments.
const maxManifestSize = 64 << 20

// readAll reads a whole file of at most limit bytes.
func readAll(f vfs.File, limit int64) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, damagef("%d bytes, more than the limit of %d", size, limit)
	}
	b := make([]byte, size)
	return b, readFull(f, b, 0)
}

// record makes a change durable. If the disk is full nothing has changed, and it
// may be tried again; after any other error the log must be fenced.
func (m *manifest) record(c change) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failed != nil {
		return m.failed
	}
	err := m.write(c)
	if err != nil && !retryable(err) {
		m.failed = err
	}
	return err
}

func (m *manifest) write(c change) error {
	next := m.layout
	next.segments = append([]segmentMeta(nil), m.segments...)
	if err := next.apply(c); err != nil {
		invariant.That(false, "%v", err)
	}
	if m.records >= uint64(4*len(m.segments)+64) {
		if err := m.rewrite(next); err != nil {
			return fmt.Errorf("rewriting the manifest: %w", err)
		}
		return nil
	}
	_, err := m.file.WriteAt(c.encode(m.records+1), int64(m.records+1)*manifestRecord)
	if err == nil {
		err = syncFile(m.file)
	}
	if err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	m.layout, m.records = next, m.records+1
	return nil
}

// next is nextGeneration of the manifest as it stands.
func (m *manifest) next() uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.nextGeneration()
}

// installedIndex is that of the snapshot that was installed last, 0 if none was.
func (m *manifest) installedIndex() record.Index {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.installed
}

// now is the log's generation.
func (m *manifest) now() uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.generation
}

// stagedGeneration is that of the files of a receipt, 0 if there are none.
func (m *manifest) stagedGeneration() uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.staged
}

// reserve returns the generation of the files of a receipt, which is the same until
// one is installed.
func (m *manifest) reserve() (uint32, error) {
	m.mu.Lock()
	staged, next := m.staged, m.nextGeneration()
	m.mu.Unlock()
	if staged > 0 {
		return staged, nil
	}
	return next, m.record(change{kind: receiptBegun, generation: next})
}

// install makes the log one of the given segments: those that it has, and those of the
// receipt. In the same step the snapshot up to which they go becomes the oldest that
// counts, and the generation rises. Errors as record.
func (m *manifest) install(kept, received []segmentMeta, index record.Index) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failed != nil {
		return m.failed
	}
	for _, k := range kept {
		invariant.That(slices.Contains(m.segments, k), "segment %s has gone while a shipment was received", k.name())
	}
	err := m.rewrite(layout{
		generation: m.nextGeneration(), cutLast: index,
		installed: index, installedGeneration: m.staged,
		segments: slices.Concat(kept, received),
	})
	if err != nil && !retryable(err) {
		m.failed = err
	}
	return err
}

// rewrite replaces the file by the shortest one that says the same.
func (m *manifest) rewrite(next layout) error {
	if err := createManifest(m.fs, m.dir, next); err != nil {
		return err
	}
	f, err := m.fs.OpenWrite(path.Join(m.dir, manifestName))
	if err != nil {
		// The old descriptor belongs to a file without a name.
		return &syncError{err}
	}
	err = m.file.Close()
	m.file, m.layout, m.records = f, next, uint64(len(next.changes()))
	if err != nil && !errors.Is(err, vfs.ErrNoSpace) {
		return err
	}
	return nil
}

// check verifies the file on the disk and returns how much was read.
func (m *manifest) check() (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := readAll(m.file, maxManifestSize)
	if err != nil {
		return 0, err
	}
	_, n, err := decodeManifest(b)
	if err == nil && n != m.records {
		err = &CorruptionError{manifestName, Address(n+1) * manifestRecord, damagef("it ends behind record %d, not %d", n, m.records)}
	}
	return int64(len(b)), err
}
