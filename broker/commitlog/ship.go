package commitlog

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/invariant"
	"github.com/splashdam/splashdam/internal/vfs"
)

var (
	// ErrNoSnapshot is a log without a snapshot that could be shipped.
	ErrNoSnapshot = errors.New("no snapshot to ship")
	// ErrExpired is a shipment that took so long that the log went on without it.
	ErrExpired = errors.New("shipment has expired")
)

// While a shipment is under way the Raft window does not pass its snapshot: when it
// has arrived the follower goes on from there. If the window has grown by that many
// entries or bytes of log the shipment expires instead, so that a slow follower can
// pin neither memory (24 bytes for an entry) nor disk for ever.
const (
	maxHeldEntries = 4 << 20
	maxHeldBytes   = 16 << 30
)

// Shipment is the log up to its newest snapshot, and that snapshot, for another
// replica: fixed at one moment, readable from any place on, and as long as it is
// open whatever is cleaned, cut or deleted meanwhile. Not safe for concurrent use.
type Shipment struct {
	log      *Log
	set      *segmentSet
	list     *ShipList
	encoded  []byte
	indexes  []*indexFile // of the sealed segments
	segments []*segment
	sizes    []int64 // of the segments, when the shipment was made
	snapshot vfs.File
	end      Address // of the log, when the shipment was made
	expired  atomic.Bool

	// at is the entry that was read last, and scan what reads the next one.
	object uint32
	scan   *scanner
	start  uint64 // of the entry, in the object
	entry  record.Entry
}

// Ship makes a shipment of the newest snapshot. It errors with ErrNoSnapshot if
// there is none, or none with entries. The caller closes it.
func (l *Log) Ship() (*Shipment, error) {
	s := &Shipment{log: l}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil, ErrClosed
	}
	if len(l.snapshots) == 0 || l.snapshots[0].Index == 0 {
		l.mu.Unlock()
		return nil, ErrNoSnapshot
	}
	snap := l.snapshots[0]
	s.list = &ShipList{Index: snap.Index, Term: snap.Term}
	s.set = l.set
	s.set.refs.Add(1)
	s.end = l.endLocked()
	for i, seg := range l.set.list {
		if seg.first > snap.Index {
			break
		}
		d := ShippedSegment{First: seg.first, Last: snap.Index, Edition: seg.edition}
		if x := seg.index.Load(); x != nil && seg.sealed && seg.last <= snap.Index {
			d.Last, d.Sealed, d.Digest, d.Partitions = seg.last, true, x.digest, uint32(x.dirs)
			s.indexes = append(s.indexes, x)
		} else if i+1 < len(l.set.list) {
			d.Last = min(snap.Index, l.set.list[i+1].first-1)
		}
		s.list.Segments = append(s.list.Segments, d)
		s.segments, s.sizes = append(s.segments, seg), append(s.sizes, seg.size)
	}
	l.shipments[s] = struct{}{}
	l.mu.Unlock()

	var err error
	if s.snapshot, err = l.fs.Open(l.path(snapshotName(snap.Index))); err == nil {
		s.list.Snapshot, err = s.snapshot.Size()
	}
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("shipping the snapshot at %d: %w", snap.Index, err)
	}
	s.encoded = s.list.Encode()
	return s, nil
}

// endLocked is the address behind the last frame. l.mu is held.
func (l *Log) endLocked() Address {
	open := l.set.open()
	return open.base + Address(open.size)
}

// trimWindow lets the Raft window begin behind an index, or as early as a shipment
// needs it. l.mu is held.
func (l *Log) trimWindow(to record.Index) {
	for s := range l.shipments {
		// The log may end in front of where it did: it was cut.
		if l.win.last() > s.list.Index+maxHeldEntries || l.endLocked() > s.end+maxHeldBytes {
			s.expired.Store(true)
			delete(l.shipments, s)
			continue
		}
		to = min(to, s.list.Index)
	}
	l.win.trim(to)
}

// List is what the shipment consists of.
func (s *Shipment) List() *ShipList { return s.list }

// Close lets go of what the shipment has held.
func (s *Shipment) Close() {
	l := s.log
	l.mu.Lock()
	delete(l.shipments, s)
	if n := len(l.snapshots); n == keptSnapshots {
		l.trimWindow(l.snapshots[n-1].Index)
	}
	l.mu.Unlock()
	if s.snapshot != nil {
		_ = s.snapshot.Close()
	}
	s.set.release()
}

// Read appends up to max bytes from a place on, of one object, to dst, and returns
// the place behind them; at the end it appends nothing. Reading on from where the
// last call ended is cheap; from elsewhere, the segment is read from its beginning
// up to there.
//
// What is read is verified. It errors with ErrExpired, and with a *CorruptionError
// for bytes that are not what was written.
func (s *Shipment) Read(dst []byte, at Cursor, max int) ([]byte, Cursor, error) {
	invariant.That(max > 0, "reading %d bytes of a shipment", max)
	if s.expired.Load() {
		return dst, at, ErrExpired
	}
	n := len(dst)
	var end bool
	var err error
	switch {
	case at.Object == 0:
		dst, end = readSlice(dst, s.encoded, at.Offset, max)
	case int(at.Object) <= len(s.segments):
		dst, end, err = s.readSegment(dst, at, max)
	case at.Object == s.list.snapshotObject():
		dst, end, err = s.readSnapshot(dst, at.Offset, max)
	default:
		return dst, s.list.End(), nil
	}
	if err != nil {
		return dst[:n], at, fmt.Errorf("shipping from %v: %w", at, err)
	}
	if end {
		return dst, Cursor{Object: at.Object + 1}, nil
	}
	return dst, Cursor{at.Object, at.Offset + uint64(len(dst)-n)}, nil
}

// readSlice appends from a place in b; end is that nothing is behind it.
func readSlice(dst, b []byte, offset uint64, max int) ([]byte, bool) {
	b = b[min(offset, uint64(len(b))):]
	n := min(max, len(b))
	return append(dst, b[:n]...), n == len(b)
}

func (s *Shipment) readSnapshot(dst []byte, offset uint64, max int) ([]byte, bool, error) {
	n := int(min(uint64(max), uint64(s.list.Snapshot)-min(offset, uint64(s.list.Snapshot))))
	at := len(dst)
	dst = append(dst, make([]byte, n)...)
	err := readOnce(s.snapshot, dst[at:], int64(offset))
	return dst, offset+uint64(n) >= uint64(s.list.Snapshot), err
}

// readSegment reads entries and, behind them, directory rows.
func (s *Shipment) readSegment(dst []byte, at Cursor, max int) ([]byte, bool, error) {
	i, d := at.Object-1, s.list.Segments[at.Object-1]
	if s.scan == nil || s.object != at.Object || at.Offset < s.start {
		s.object, s.start, s.entry = at.Object, 0, nil
		s.scan = newScanner(once{s.segments[i].file}, s.segments[i].base, segmentHeaderSize, s.sizes[i])
	}
	full := len(dst) + max
	for offset := at.Offset; len(dst) < full; {
		if left := s.entry[min(offset-s.start, uint64(len(s.entry))):]; len(left) > 0 {
			n := min(len(left), full-len(dst))
			dst = append(dst, left[:n]...)
			offset += uint64(n)
			continue
		}
		end := s.start + uint64(len(s.entry))
		if d.Sealed && end == d.Digest.Bytes {
			return s.readDirectory(dst, i, offset-end, full-len(dst))
		}
		if !d.Sealed && len(s.entry) > 0 && s.entry.Index() == d.Last {
			return dst, true, nil
		}
		f, err := s.scan.next()
		if err != nil {
			if err == io.EOF {
				err = damagef("the entries end at byte %d, before %d", end, d.Last)
			}
			if !errors.Is(err, ErrFutureVersion) {
				err = s.segments[i].reportAt(s.scan.pos, s.scan.pos+1, err)
			}
			return dst, false, err
		}
		s.start, s.entry = end, f.entry
	}
	// Whether this was the end, the next call finds out; it may read nothing.
	return dst, false, nil
}

func (s *Shipment) readDirectory(dst []byte, i uint32, offset uint64, max int) ([]byte, bool, error) {
	x, rows := s.indexes[i], int64(s.list.Segments[i].Partitions)
	var row [directoryRowSize]byte
	for n := int64(offset / directoryRowSize); n < rows && max > 0; n++ {
		e, err := x.directoryRow(n)
		if err != nil {
			return dst, false, err
		}
		putDirectoryRow(row[:], e)
		part := row[offset%directoryRowSize:]
		part = part[:min(max, len(part))]
		dst, max, offset = append(dst, part...), max-len(part), offset+uint64(len(part))
	}
	return dst, offset >= uint64(rows)*directoryRowSize, nil
}
