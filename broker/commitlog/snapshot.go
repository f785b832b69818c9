package commitlog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"path"
	"strconv"
	"strings"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/invariant"
	"github.com/splashdam/splashdam/internal/vfs"
)

// Snapshot is the state of the shard's machines behind one entry. It is not
// changed once it was given to WriteSnapshot or returned by Snapshot.
type Snapshot struct {
	Index record.Index
	Term  record.Term
	// Level is the version of the state; what it means is the caller's business.
	Level uint32
	// ConfState is the members of the Raft group at Index, in Raft's encoding.
	ConfState []byte
	// Time is the leader's time in the entry at Index, ms.
	Time     int64
	Sections []Section
}

// Section is the state of one part of the shard.
type Section struct {
	Name string
	Data []byte
}

func (s *Snapshot) withoutSections() *Snapshot {
	head := *s
	head.Sections = nil
	return &head
}

// Section returns the data under a name, and whether there is such a section.
func (s *Snapshot) Section(name string) ([]byte, bool) {
	for _, c := range s.Sections {
		if c.Name == name {
			return c.Data, true
		}
	}
	return nil, false
}

// A snapshot file, `<index in 20 digits>.snap`:
//
//	 0  u32  magic "SDSN"
//	 4  u16  version, 1
//	 6  u16  zero
//	 8  u64  index
//	16  u64  term
//	24  i64  time
//	32  u32  level
//	36  u32  sections    without the first, which holds the ConfState and has no name
//	40  u64  length      of the file
//	48  u32  zero
//	52  u32  CRC-32C     over bytes 0 to 51
//	56       1 + sections times:
//	         u32 CRC-32C over the rest of the section, u32 length of the name,
//	         u64 length of the data, name, data
const (
	snapshotMagic      = 0x4e534453 // "SDSN"
	snapshotVersion    = 1
	snapshotHeaderSize = 56
	sectionHeaderSize  = 16
)

// Limits of a snapshot, checked before a length is trusted.
const (
	maxSections    = 1 << 16
	maxSectionName = 1 << 10
	maxSnapshot    = 64 << 30
)

func snapshotName(i record.Index) string { return fmt.Sprintf("%020d%s", uint64(i), snapshotSuffix) }

func parseSnapshotName(name string) (record.Index, bool) {
	i, err := strconv.ParseUint(strings.TrimSuffix(name, snapshotSuffix), 10, 64)
	return record.Index(i), err == nil && snapshotName(record.Index(i)) == name
}

func (s *Snapshot) header() []byte {
	length := uint64(snapshotHeaderSize)
	for _, c := range s.all() {
		length += uint64(sectionHeaderSize + len(c.Name) + len(c.Data))
	}
	b := make([]byte, snapshotHeaderSize)
	binary.LittleEndian.PutUint32(b, snapshotMagic)
	binary.LittleEndian.PutUint16(b[4:], snapshotVersion)
	binary.LittleEndian.PutUint64(b[8:], uint64(s.Index))
	binary.LittleEndian.PutUint64(b[16:], uint64(s.Term))
	binary.LittleEndian.PutUint64(b[24:], uint64(s.Time))
	binary.LittleEndian.PutUint32(b[32:], s.Level)
	binary.LittleEndian.PutUint32(b[36:], uint32(len(s.Sections)))
	binary.LittleEndian.PutUint64(b[40:], length)
	binary.LittleEndian.PutUint32(b[52:], checksumAround(b, 52))
	return b
}

// all is the sections as they are in the file.
func (s *Snapshot) all() []Section {
	return append([]Section{{Data: s.ConfState}}, s.Sections...)
}

func sectionHeader(c Section) []byte {
	b := make([]byte, sectionHeaderSize, sectionHeaderSize+len(c.Name))
	binary.LittleEndian.PutUint32(b[4:], uint32(len(c.Name)))
	binary.LittleEndian.PutUint64(b[8:], uint64(len(c.Data)))
	b = append(b, c.Name...)
	sum := crc32.Update(crc32.Checksum(b[4:], castagnoli), castagnoli, c.Data)
	binary.LittleEndian.PutUint32(b, sum)
	return b
}

func (s *Snapshot) write(f vfs.File) error {
	pos := int64(0)
	put := func(b []byte) error {
		_, err := f.WriteAt(b, pos)
		pos += int64(len(b))
		return err
	}
	if err := put(s.header()); err != nil {
		return err
	}
	for _, c := range s.all() {
		if err := put(sectionHeader(c)); err != nil {
			return err
		}
		if err := put(c.Data); err != nil {
			return err
		}
	}
	return nil
}

// decodeSnapshotHeader also returns the number of sections. It errors with
// ErrFutureVersion or errDamage.
func decodeSnapshotHeader(b []byte, size int64) (*Snapshot, uint32, error) {
	if len(b) < snapshotHeaderSize {
		return nil, 0, damagef("%d bytes are fewer than a snapshot header", len(b))
	}
	if magic := binary.LittleEndian.Uint32(b); magic != snapshotMagic {
		return nil, 0, damagef("no snapshot: it begins with %08x", magic)
	}
	if v := binary.LittleEndian.Uint16(b[4:]); v > snapshotVersion {
		return nil, 0, futureVersion("snapshot", v, snapshotVersion)
	}
	if want, got := binary.LittleEndian.Uint32(b[52:]), checksumAround(b[:snapshotHeaderSize], 52); want != got {
		return nil, 0, damagef("snapshot header: checksum %08x, computed %08x", want, got)
	}
	if length := binary.LittleEndian.Uint64(b[40:]); length != uint64(size) {
		return nil, 0, damagef("snapshot of %d bytes, there are %d", length, size)
	}
	s := &Snapshot{
		Index: record.Index(binary.LittleEndian.Uint64(b[8:])),
		Term:  record.Term(binary.LittleEndian.Uint64(b[16:])),
		Time:  int64(binary.LittleEndian.Uint64(b[24:])),
		Level: binary.LittleEndian.Uint32(b[32:]),
	}
	n := binary.LittleEndian.Uint32(b[36:])
	if n > maxSections {
		return nil, 0, damagef("snapshot of %d sections", n)
	}
	return s, n, nil
}

// sectionSizes reads the header of section i of n: the lengths of its name and of its
// data, of which left bytes are there behind the header.
func sectionSizes(b []byte, left int64, i, n uint32) (name, data int64, err error) {
	un, ud := uint64(binary.LittleEndian.Uint32(b[4:])), binary.LittleEndian.Uint64(b[8:])
	if un > maxSectionName || un > uint64(left) || ud > uint64(left)-un {
		return 0, 0, damagef("section %d of %d claims %d and %d bytes, %d are left", i, n, un, ud, left)
	}
	if i == 0 && un > 0 {
		return 0, 0, damagef("the first section, of the members, has a name of %d bytes, it has none", un)
	}
	return int64(un), int64(ud), nil
}

// decodeSnapshot shares b. It errors with ErrFutureVersion or errDamage.
func decodeSnapshot(b []byte) (*Snapshot, error) {
	s, n, err := decodeSnapshotHeader(b, int64(len(b)))
	if err != nil {
		return nil, err
	}
	rest := b[snapshotHeaderSize:]
	for i := range n + 1 {
		if len(rest) < sectionHeaderSize {
			return nil, damagef("section %d of %d is cut off", i, n)
		}
		name, data, err := sectionSizes(rest, int64(len(rest)-sectionHeaderSize), i, n)
		if err != nil {
			return nil, err
		}
		end := sectionHeaderSize + name + data
		if want, got := binary.LittleEndian.Uint32(rest), checksumAround(rest[:end], 0); want != got {
			return nil, damagef("section %d of %d: checksum %08x, computed %08x", i, n, want, got)
		}
		c := Section{Name: string(rest[sectionHeaderSize:][:name]), Data: rest[sectionHeaderSize+name : end : end]}
		if i == 0 {
			s.ConfState = c.Data
		} else {
			s.Sections = append(s.Sections, c)
		}
		rest = rest[end:]
	}
	if len(rest) > 0 {
		return nil, damagef("%d bytes behind the last section", len(rest))
	}
	return s, nil
}

// readSnapshot errors with ErrFutureVersion or errDamage, or what the disk said.
func readSnapshot(fsys vfs.FS, dir, name string) (*Snapshot, error) {
	f, err := fsys.Open(path.Join(dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := readAll(f, maxSnapshot)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	s, err := decodeSnapshot(b)
	if err != nil {
		return nil, err
	}
	if i, ok := parseSnapshotName(name); !ok || i != s.Index {
		return nil, damagef("snapshot of index %d under the name of another", s.Index)
	}
	return s, nil
}

// Snapshot is the newest good one, nil if there is none. It stays in memory with
// all its sections until the next is written.
func (l *Log) Snapshot() *Snapshot {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.snapshots) == 0 {
		return nil
	}
	return l.snapshots[0]
}

// keptSnapshots is how many stay: the newest, and one to fall back to.
const keptSnapshots = 2

// WriteSnapshot makes s the newest snapshot and returns when it is durable. It
// syncs the log up to s.Index first, so that no snapshot is ever ahead of the log.
// Then snapshots older than the one before are deleted, and the Raft window starts
// behind that one. s must be behind what was committed, above the newest snapshot,
// and have the term of its entry. From any goroutine. After vfs.ErrNoSpace nothing
// has changed; with ErrStale it was not written, since a newer one was installed.
func (l *Log) WriteSnapshot(s *Snapshot) error {
	invariant.That(len(s.Sections) <= maxSections, "a snapshot of %d sections", len(s.Sections))
	l.snapMu.Lock()
	defer l.snapMu.Unlock()
	if err := l.writable(); err != nil { // perhaps since an installation failed
		return err
	}
	if i := l.manifest.installedIndex(); i > 0 && s.Index <= i {
		return fmt.Errorf("writing the snapshot at %d: %w", s.Index, ErrStale)
	}
	l.mu.RLock()
	term, ok := l.win.termOf(s.Index)
	committed := l.committed
	kept := l.snapshots
	l.mu.RUnlock()
	invariant.That(s.Index <= committed, "snapshot at %d, committed is %d", s.Index, committed)
	invariant.That(ok && term == s.Term, "snapshot at %d of term %d, the entry has term %d", s.Index, s.Term, term)
	invariant.That(len(kept) == 0 || s.Index > kept[0].Index, "snapshot at %d is not above the newest", s.Index)
	if l.Durable() < s.Index {
		if err := l.Sync(); err != nil {
			return err
		}
	}
	if err := replaceFile(l.fs, l.dir, snapshotName(s.Index), s.write); err != nil {
		return l.fail(fmt.Sprintf("writing the snapshot at %d", s.Index), err)
	}
	next := []*Snapshot{s}
	if len(kept) > 0 {
		next = append(next, kept[0].withoutSections())
	}
	l.mu.Lock()
	l.snapshots = next
	if len(next) == keptSnapshots {
		l.trimWindow(next[1].Index)
	}
	l.mu.Unlock()
	if err := l.removeOldSnapshots(next); err != nil {
		// The snapshot is written: this must not look like a call to be made again.
		return l.fail("deleting old snapshots", &syncError{err})
	}
	return nil
}

// removeOldSnapshots deletes the files of all but the given ones. A crash may bring
// one back; the next start deletes it again.
func (l *Log) removeOldSnapshots(keep []*Snapshot) error {
	names, err := l.fs.List(l.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		i, ok := parseSnapshotName(name)
		for _, k := range keep {
			ok = ok && i != k.Index
		}
		if !ok {
			continue
		}
		if err := l.fs.Remove(path.Join(l.dir, name)); err != nil {
			return err
		}
	}
	return nil
}
