package commitlog

import (
	"fmt"
	"path"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/invariant"
	"github.com/splashdam/splashdam/internal/vfs"
)

// Options of a log. The zero value is the default.
type Options struct {
	// IndexCache is how many bytes of segment indexes stay in memory; 0 means
	// 16 MiB. Too few cost a few more reads for each find in old segments.
	IndexCache int
	// Damaged, if set, is told of every place where damage is found, once: by Open, by
	// whoever reads, by Scrub. It may be called concurrently, and must not call the log.
	Damaged func(*CorruptionError)

	// Of the constants' names, in tests; 0 means the constant.
	roomPiece    int64
	coldDistance Address
}

// Log is the log of one shard. See the package comment for who may call what.
type Log struct {
	fs       vfs.FS
	dir      string
	cache    *blockCache
	manifest *manifest
	hard     *hardState
	// The appender's: the generation of the log, as the manifest has it, and
	// what the next write is gathered in.
	generation uint32
	buf        []byte
	added      []placed

	room room

	// The cleaner's: how far each compacted partition is, of the segments since an
	// installation. nil until it is asked for.
	compacted   map[record.PartitionID]compactedTo
	compactedIn record.Index

	*door
	coldDistance Address

	// fatal is the first error that left the disk in doubt.
	fatal atomic.Pointer[error]
	// durable never falls but by TruncateSuffix. Written under syncMu.
	durable atomic.Uint64

	// sealMu is held while a segment is sealed, or an index made anew: no installation
	// comes between.
	sealMu sync.Mutex
	// syncMu is held over every sync of a segment, and over what changes which
	// segment is open or where it ends.
	syncMu sync.Mutex
	// snapMu is held while a snapshot is written or installed, the cleaner changes the
	// segments, or a Stage begins.
	snapMu sync.Mutex

	mu       sync.RWMutex
	closed   bool
	warnings []string
	set      *segmentSet
	win      window
	// committed is the last index that was passed to Committed or that the newest
	// snapshot covered when the log was opened; directory is as it stands there.
	committed record.Index
	directory directory
	snapshots []*Snapshot // newest first; of the older one no sections
	shipments map[*Shipment]struct{}
	stage     *Stage // the receipt under way, nil if there is none
}

// SegmentInfo describes a segment.
type SegmentInfo struct {
	Name       string
	First      record.Index
	Last       record.Index // First-1 while it is empty
	Base       Address
	Size       int64 // bytes
	Generation uint32
	Edition    uint32 // 0 as it was appended; else rewritten
	Sealed     bool
	// Digest of a sealed segment's entries. Sealed segments of two replicas that
	// cover the same indexes and were not rewritten have the same.
	Digest Digest
}

// Warnings is what Open, or Install, repaired or did without, a sentence each.
func (l *Log) Warnings() []string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.Clone(l.warnings)
}

// Durable is the highest index that a power loss cannot take.
func (l *Log) Durable() record.Index { return record.Index(l.durable.Load()) }

// Segments lists the live segments, oldest first.
func (l *Log) Segments() []SegmentInfo {
	l.mu.RLock()
	defer l.mu.RUnlock()
	list := make([]SegmentInfo, 0, len(l.set.list))
	for i, s := range l.set.list {
		info := SegmentInfo{Name: s.name(), First: s.first, Base: s.base, Size: s.size, Generation: s.generation, Edition: s.edition, Sealed: s.sealed}
		switch {
		case s.sealed:
			info.Last, info.Digest = s.last, s.index.Load().digest
		case i+1 < len(l.set.list):
			info.Last = l.set.list[i+1].first - 1
		default:
			info.Last = l.win.last()
		}
		list = append(list, info)
	}
	return list
}

// Size is the bytes of all segments.
func (l *Log) Size() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var size int64
	for _, s := range l.set.list {
		size += s.size
	}
	return size
}

// OpenSegmentSize is the bytes of the segment that is appended to, from which the
// leader decides when to roll.
func (l *Log) OpenSegmentSize() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.set.open().size
}

// HardState is what was set last. After Open its commit is never past Last.
func (l *Log) HardState() HardState { return l.hard.get() }

// SetHardState writes the state: durable when it returns if term or vote changed,
// sooner or later if only commit did. An error fences the log, but for
// vfs.ErrNoSpace, after which the old state stands and it may be tried again.
func (l *Log) SetHardState(hs HardState) error {
	if err := l.writable(); err != nil {
		return err
	}
	old := l.hard.get()
	invariant.That(hs.Term >= old.Term, "term falls from %d to %d", old.Term, hs.Term)
	if hs == old {
		return nil
	}
	sync := hs.Term != old.Term || hs.Vote != old.Vote
	if err := l.hard.set(hs, sync, l.Durable(), l.generation); err != nil {
		return l.fail("writing the hard state", err)
	}
	return nil
}

// Committed makes the batches of an entry visible to readers. It is called with
// every entry of the log above the newest snapshot, in order, those before a
// restart again.
func (l *Log) Committed(e record.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := e.Index()
	invariant.That(i == l.committed+1, "entry %d committed behind %d", i, l.committed)
	p, ok := l.win.at(i)
	invariant.That(ok, "entry %d committed, the log ends at %d", i, l.win.last())
	invariant.That(p.term == e.Term() && p.checksum == e.Checksum(), "entry %d committed is another than the one in the log", i)
	l.committed = i
	s := l.set.holding(p.at)
	if s.index.Load() != nil {
		return // sealed before the restart: its index and the directory have it
	}
	err := s.indexEntry(e, p.at, l.directory)
	invariant.That(err == nil, "%v", err)
	if e.Rolls() {
		s.directory = l.directory.rows()
	}
}

// Forget drops a partition that was closed from the directory, in its turn among
// the calls of Committed.
func (l *Log) Forget(p record.PartitionID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.directory.delete(p)
}

// writable is nil as long as the log may be written.
func (l *Log) writable() error {
	l.mu.RLock()
	closed := l.closed
	l.mu.RUnlock()
	if closed {
		return ErrClosed
	}
	return l.Fenced()
}

// Fenced is the error of each write that the log refuses since one left the disk in
// doubt, nil while there was none. Whoever met that error told its own caller only, so
// who must know looks here. It errors with ErrFenced, and may be called at any time.
func (l *Log) Fenced() error {
	if first := l.fatal.Load(); first != nil {
		return fmt.Errorf("%w since: %w", ErrFenced, *first)
	}
	return nil
}

// fail returns err with what was being done; unless it is a write that may be
// tried again, it fences the log.
func (l *Log) fail(doing string, err error) error {
	err = fmt.Errorf("%s: %w", doing, err)
	if retryable(err) {
		l.giveUpRoom()
		return err
	}
	l.fatal.CompareAndSwap(nil, &err)
	return l.Fenced()
}

// Close makes durable what was appended, notes that in the hard state, and closes
// the files; those that readers still use when the last is done. It returns the
// error that fenced the log, if one did.
func (l *Log) Close() error {
	if err := l.writable(); err == ErrClosed {
		return err
	}
	err := l.Fenced()
	if err == nil {
		err = l.Sync()
	}
	if err == nil {
		if err = l.hard.set(l.hard.get(), true, l.Durable(), l.generation); err != nil {
			err = l.fail("writing the hard state", err)
		}
	}
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.closeFiles()
	l.giveUpRoom()
	return err
}

func (l *Log) closeFiles() {
	if l.set != nil {
		l.set.release()
	}
	if l.manifest != nil {
		_ = l.manifest.file.Close()
	}
	if l.hard != nil {
		_ = l.hard.file.Close()
	}
}

// pin returns the segments of this moment; the caller releases them.
func (l *Log) pin() (*segmentSet, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return nil, ErrClosed
	}
	l.set.refs.Add(1)
	return l.set, nil
}

// setSegments replaces the list. l.mu is held.
func (l *Log) setSegments(list []*segment) {
	old := l.set
	l.set = newSegmentSet(list, l.door)
	if old != nil {
		old.release()
	}
}

func (l *Log) path(name string) string { return path.Join(l.dir, name) }
