package commitlog

import (
	"errors"
	"fmt"
	"slices"

	"github.com/splashdam/splashdam/internal/invariant"
	"github.com/splashdam/splashdam/internal/vfs"
)

// Stage takes in a shipment, beside the log, which goes on meanwhile: segments with
// frames, addresses and indexes of this log's own, and the snapshot. They become the
// log by Install, all at once, or never. Sealed segments of the log that the shipment
// has too, entry for entry, are kept and not received again, up to the first
// difference. While there is a Stage the log is not cleaned, and what is under way of a
// cleaning ends, so that what is kept stays.
//
// The files have the generation that the manifest has reserved for them and lie in
// the log's directory under their final names. What a crash or Close leaves of them
// is taken up by the next Stage as far as it belongs to that one's shipment too: whole
// segments by their digest, the last one, if it is not whole, frame by frame.
//
// Not safe for concurrent use. After an error it can only be closed; a failed sync of
// one of its files deletes that file, a failed sync of the directory fences the log.
type Stage struct {
	log        *Log
	list       *ShipList
	generation uint32
	kept       []segmentMeta // of the log, in front of what is received
	received   []segmentMeta // whole
	base       Address       // of the segment that comes next
	directory  directory     // behind the last whole segment
	part       *stagedSegment
	snapshot   vfs.File
	head       *Snapshot // what the snapshot says, when it is whole
	next       Cursor
}

// stageGap is how far behind the log's end, in bytes of address, received segments
// begin. The log goes on while a shipment arrives, and must not come so far; no
// address is used twice.
const stageGap = 1 << 40

// stageSync is how many bytes of a staged file may wait for the disk, so that no
// sync has to bring a whole segment.
const stageSync = 32 << 20

// Stage begins to take in the shipment of a list, or goes on with it: Next says from
// where. It errors with ErrStale if the log is committed up to the list's snapshot, also
// if only the hard state says so.
// One Stage at a time; that of another shipment is closed before.
func (l *Log) Stage(list *ShipList) (*Stage, error) {
	if err := l.writable(); err != nil {
		return nil, err
	}
	commit := l.hard.get().Commit
	// A change of the cleaner comes before, or not while there is the Stage.
	l.snapMu.Lock()
	defer l.snapMu.Unlock()
	l.mu.Lock()
	if committed := max(l.committed, commit); list.Index <= committed {
		l.mu.Unlock()
		return nil, fmt.Errorf("receiving the snapshot at %d, the log is committed up to %d: %w", list.Index, committed, ErrStale)
	}
	invariant.That(l.stage == nil, "two shipments are received at once")
	s := &Stage{log: l, list: list, directory: newDirectory(), base: l.endLocked() + stageGap}
	l.stage = s
	own := l.sealedLocked()
	l.mu.Unlock()
	if err := s.begin(own); err != nil {
		s.Close()
		return nil, fmt.Errorf("receiving the snapshot at %d: %w", list.Index, err)
	}
	return s, nil
}

// receiving reports whether there is a Stage.
func (l *Log) receiving() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.stage != nil
}

// held is a sealed segment and its index.
type held struct {
	segmentMeta
	index *indexFile
}

// sealedLocked lists the sealed segments. l.mu is held.
func (l *Log) sealedLocked() []held {
	var list []held
	for _, s := range l.set.list {
		if !s.sealed {
			break
		}
		list = append(list, held{s.segmentMeta, s.index.Load()})
	}
	return list
}

// equal reports whether a segment here is the one of the list.
func (h held) equal(d ShippedSegment) bool {
	return d.Sealed && h.first == d.First && h.last == d.Last && h.index.digest == d.Digest
}

func (s *Stage) begin(own []held) error {
	var err error
	if s.generation, err = s.log.manifest.reserve(); err != nil {
		return s.log.fail("beginning a receipt", err)
	}
	from := s.keep(own)
	if n := len(s.kept); n > 0 {
		i := slices.IndexFunc(own, func(h held) bool { return h.segmentMeta == s.kept[n-1] })
		if s.directory, err = own[i].index.directory(); err != nil {
			return err
		}
	}
	s.next = Cursor{Object: uint32(from) + 1}
	if err := s.adopt(); err != nil {
		return err
	}
	return s.settle()
}

// settle makes the segments of which nothing is left to come: in one that was
// rewritten there may be no entries.
func (s *Stage) settle() error {
	for s.part == nil && s.next.Object < s.list.snapshotObject() {
		if d := s.needed(); !d.Sealed || d.Digest.Bytes+d.directoryBytes() > 0 {
			return nil
		}
		if err := s.createSegment(); err != nil {
			return err
		}
		if err := s.finishSegment(); err != nil {
			return err
		}
	}
	return nil
}

// keep finds what the log and the list have in common, and returns the number of the
// first segment of the list that is needed. What the log has and the list has not, in
// front of all, the sender has removed since nothing in it was alive; what the list
// has and the log has not, the log.
func (s *Stage) keep(own []held) int {
	list := s.list.Segments
	for len(own) > 0 && own[0].last < list[0].First {
		own = own[1:]
	}
	if len(own) == 0 {
		return 0
	}
	from := slices.IndexFunc(list, func(d ShippedSegment) bool { return d.Last >= own[0].first })
	if from < 0 {
		return 0
	}
	n := 0
	for n < len(own) && from+n < len(list) && own[n].equal(list[from+n]) {
		s.kept = append(s.kept, own[n].segmentMeta)
		n++
	}
	if n == 0 {
		return 0
	}
	return from + n
}

// needed is the segment of the list that is received next.
func (s *Stage) needed() ShippedSegment { return s.list.Segments[s.next.Object-1] }

// took counts a whole segment in.
func (s *Stage) took(m segmentMeta) {
	s.received = append(s.received, m)
	s.base = m.base + Address(m.size)
	s.part, s.next = nil, Cursor{Object: s.next.Object + 1}
}

// Next is the place in the shipment from which on the bytes are needed.
func (s *Stage) Next() Cursor { return s.next }

// End is the place behind the whole shipment.
func (s *Stage) End() Cursor { return s.list.End() }

// Complete reports whether all is there, and durable: Install may be called.
func (s *Stage) Complete() bool { return s.next == s.list.End() }

// Snapshot is what a complete Stage has received, without its sections.
func (s *Stage) Snapshot() *Snapshot { return s.head }

// Write takes in what comes at Next; it goes no further than to the end of the
// object, and last says that the sender has no more of that. It errors with ErrShipment for what a log cannot hold; everything is
// verified: each entry and its place among the others, the digest of a segment that
// is sealed, the snapshot. When a segment that was taken up from an earlier receipt
// turns out not to be the one of the list, Next goes back to its beginning.
func (s *Stage) Write(b []byte, last bool) error {
	invariant.That(!s.Complete() && s.next.Object > 0, "writing to a receipt at %v", s.next)
	at := s.next
	var err error
	if at.Object == s.list.snapshotObject() {
		err = s.writeSnapshot(b)
	} else {
		err = s.writeSegment(b)
	}
	if err == nil && last && s.next.Object == at.Object && s.next.Offset > 0 {
		err = fmt.Errorf("%w: there should be more", ErrShipment)
	}
	if err != nil {
		return fmt.Errorf("receiving the snapshot at %d, at %v: %w", s.list.Index, s.next, err)
	}
	return nil
}

func (s *Stage) writeSegment(b []byte) error {
	if s.part == nil {
		if err := s.createSegment(); err != nil {
			return err
		}
	}
	p := s.part
	if err := p.write(b); err != nil {
		return err
	}
	if p.frames.pos-p.synced >= stageSync {
		if err := s.sync(); err != nil {
			return err
		}
	}
	s.next.Offset += uint64(len(b))
	if err := s.finishSegment(); err != nil {
		return err
	}
	return s.settle()
}

func (s *Stage) createSegment() error {
	d := s.needed()
	m := segmentMeta{first: d.First, generation: s.generation, edition: d.Edition, base: s.base}
	seg, err := createSegment(s.log.fs, s.log.dir, m)
	if err != nil {
		return errors.Join(fmt.Errorf("creating segment %s: %w", m.name(), err), s.log.discard(m))
	}
	s.part = s.newSegment(d, seg)
	s.part.fresh = true
	return nil
}

// sync makes durable what is written of the segment under way. If that fails its file
// is deleted: the kernel may go on showing what it has dropped, and the next Stage would
// take that up, and believe its own sync.
func (s *Stage) sync() error {
	p := s.part
	err := syncFile(p.file)
	if err == nil {
		p.synced = p.frames.pos
		return nil
	}
	s.part = nil
	_ = p.file.Close()
	return errors.Join(fmt.Errorf("segment %s: %w", p.name(), err), s.log.discard(p.segmentMeta))
}

// finishSegment makes a segment that has arrived as a whole durable, and indexes it
// if the sender had.
func (s *Stage) finishSegment() error {
	p := s.part
	if !p.full() || uint64(len(p.rows)) < p.want.directoryBytes() {
		return nil
	}
	if p.want.Sealed && p.digest != p.want.Digest {
		if p.fresh {
			return fmt.Errorf("%w: entries %d to %d add up to %+v, the list says %+v", ErrShipment, p.want.First, p.want.Last, p.digest, p.want.Digest)
		}
		// It was begun from another shipment, of a log that was cleaned otherwise.
		s.next.Offset = 0
		s.part = nil
		return p.file.Close()
	}
	if err := p.flush(); err != nil {
		return err
	}
	if err := s.sync(); err != nil {
		return err
	}
	m := p.segmentMeta
	if p.want.Sealed {
		dirs, err := p.decodeDirectory()
		if err != nil {
			return err
		}
		m.sealed, m.last = true, p.want.Last
		if err := writeIndex(s.log.fs, s.log.dir, m, p.mem, dirs); err != nil {
			doing := "indexing segment " + p.name()
			if _, ok := errors.AsType[*syncError](err); ok { // of the directory, on which others rely
				return s.log.fail(doing, err)
			}
			return fmt.Errorf("%s: %w", doing, err)
		}
		s.directory = directoryOf(dirs)
	}
	if err := p.file.Close(); err != nil {
		return err
	}
	s.took(m)
	return nil
}

// open sees to it that the log will have a segment to append to.
func (s *Stage) open() error {
	n := len(s.received)
	if n > 0 && !s.received[n-1].sealed {
		return nil
	}
	m := segmentMeta{first: s.list.Index + 1, generation: s.generation, base: s.base}
	seg, err := createSegment(s.log.fs, s.log.dir, m)
	if err != nil {
		return fmt.Errorf("creating segment %s: %w", m.name(), err)
	}
	s.received = append(s.received, m)
	return seg.file.Close()
}

// Close lets go of the files, and leaves them for the next Stage.
func (s *Stage) Close() {
	l := s.log
	l.mu.Lock()
	if l.stage == s {
		l.stage = nil
	}
	l.mu.Unlock()
	if s.part != nil {
		_ = s.part.flush()
		_ = s.part.file.Close()
		s.part = nil
	}
	if s.snapshot != nil {
		_ = s.snapshot.Close()
		s.snapshot = nil
	}
}

// DiscardStage deletes what an earlier receipt has left that nobody goes on with.
// There must be no Stage.
func (l *Log) DiscardStage() error {
	l.mu.RLock()
	busy, closed := l.stage != nil, l.closed
	l.mu.RUnlock()
	if closed {
		return ErrClosed
	}
	invariant.That(!busy, "discarding a receipt that is under way")
	names, err := l.fs.List(l.dir)
	if err != nil {
		return err
	}
	for _, name := range stagedFiles(names, l.manifest.stagedGeneration()) {
		if err := l.fs.Remove(l.path(name)); err != nil {
			return fmt.Errorf("deleting what was received: %w", err)
		}
	}
	return nil
}
