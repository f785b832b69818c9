package commitlog

import (
	"fmt"
	"time"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/invariant"
	"github.com/splashdam/splashdam/internal/vfs"
)

const (
	// appendBuffer is how many bytes of frames are gathered for one write, but for the
	// last of them: few enough to be in the processor's cache when the disk's is given
	// them.
	appendBuffer = 256 << 10
	// directBody is the size of an entry from which it is cheaper to write it from where
	// it lies than to copy it to the others.
	directBody = 32 << 10
)

// Append writes entries behind the last one. They are durable after Sync. The
// first index is Last()+1, and no term is above the hard state's.
//
// After vfs.ErrNoSpace the log holds whole entries up to Last(), none in part, and
// the caller calls again with the same entries: those that are there already are
// skipped. Any other error fences the log.
//
// Append keeps none of the entries. An entry that rolls ends its segment: the segment
// is synced and the next one is made, so that such a call is slower than others and
// leaves the log durable up to that entry.
func (l *Log) Append(entries []record.Entry) error {
	if err := l.writable(); err != nil {
		return err
	}
	entries = l.skipHeld(entries)
	for {
		if err := l.rollIfFull(); err != nil {
			return err
		}
		if len(entries) == 0 {
			return nil
		}
		n := 1
		for n < len(entries) && !entries[n-1].Rolls() {
			n++
		}
		if err := l.write(entries[:n]); err != nil {
			return err
		}
		entries = entries[n:]
	}
}

// skipHeld drops the entries that an earlier call, which failed, has appended.
func (l *Log) skipHeld(entries []record.Entry) []record.Entry {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for len(entries) > 0 {
		e := entries[0]
		p, ok := l.win.at(e.Index())
		if !ok || p.term != e.Term() || p.checksum != e.Checksum() || p.length() != len(e) {
			return entries
		}
		entries = entries[1:]
	}
	return entries
}

// write appends entries to the open segment.
func (l *Log) write(entries []record.Entry) error {
	l.mu.RLock()
	s, pos := l.set.open(), l.set.open().size
	last := l.win.last()
	term, _ := l.win.termOf(last)
	l.mu.RUnlock()
	maxTerm := l.hard.get().Term
	durable, generation := l.Durable(), l.generation

	w := frameWriter{file: s.file, pos: pos, buf: l.buf[:0]}
	added := l.added[:0]
	for _, e := range entries {
		if e.Index() != last+1 || e.Term() < term || e.Term() > maxTerm { // the arguments would be allocated for every entry
			invariant.That(false, "append of entry %d of term %d behind %d of term %d, the hard state has term %d", e.Index(), e.Term(), last, term, maxTerm)
		}
		last, term = e.Index(), e.Term()
		at := s.base + Address(w.end())
		added = append(added, place(e, at))
		w.add(e, at, generation, durable)
	}
	w.flush()
	l.buf, l.added = w.buf[:0], added[:0]
	if w.err != nil {
		// What was written lies behind the end, where the next append overwrites it.
		return l.fail(fmt.Sprintf("appending entries %d to %d to %s", entries[0].Index(), last, s.name()), w.err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.win.entries = append(l.win.entries, added...)
	s.size = w.pos
	s.full = entries[len(entries)-1].Rolls()
	return nil
}

// frameWriter writes frames one behind the other.
type frameWriter struct {
	file vfs.File
	pos  int64 // of buf in the file
	buf  []byte
	err  error // the first; nothing is written any more
}

func (w *frameWriter) end() int64 { return w.pos + int64(len(w.buf)) }

func (w *frameWriter) add(e record.Entry, at Address, generation uint32, durable record.Index) {
	w.buf = appendFrameHeader(w.buf, at, generation, durable, e)
	if len(e) >= directBody {
		w.flush()
		w.write(e)
	} else {
		w.buf = append(w.buf, e...)
	}
	w.buf = append(w.buf, framePadding(e)...)
	if len(w.buf) >= appendBuffer {
		w.flush()
	}
}

func (w *frameWriter) flush() {
	w.write(w.buf)
	w.buf = w.buf[:0]
}

func (w *frameWriter) write(b []byte) {
	if w.err == nil && len(b) > 0 {
		_, w.err = w.file.WriteAt(b, w.pos)
	}
	w.pos += int64(len(b))
}

// rollIfFull begins a new segment if the last entry of the open one says so. In
// this order: the full segment is synced; the new file and its name are durable;
// the manifest names it; it is used (rule F5).
func (l *Log) rollIfFull() error {
	l.mu.RLock()
	s, last := l.set.open(), l.win.last()
	full := s.full
	l.mu.RUnlock()
	if !full {
		return nil
	}
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	trimmed, err := l.trimFile(s)
	if err != nil {
		return l.fail("trimming "+s.name(), err)
	}
	if err := l.syncLocked(trimmed); err != nil {
		return err
	}
	m := segmentMeta{first: last + 1, generation: l.generation, base: s.base + Address(s.size)}
	next, err := l.nextSegment(m)
	if err != nil {
		return l.fail("creating segment "+m.name(), err)
	}
	if err := l.manifest.record(change{kind: segmentAdded, generation: m.generation, first: m.first, base: m.base}); err != nil {
		_ = next.file.Close()
		return l.fail("adding segment "+m.name(), err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.setSegments(append(l.set.list[:len(l.set.list):len(l.set.list)], next))
	return nil
}

// nextSegment makes the file of a segment, of the room if there is some, and returns
// when it would survive a crash.
func (l *Log) nextSegment(m segmentMeta) (*segment, error) {
	s := l.takeRoom(m)
	if s == nil {
		var err error
		if s, err = createSegment(l.fs, l.dir, m); err != nil {
			return nil, err
		}
	}
	if err := syncDir(l.fs, l.dir); err != nil {
		_ = s.file.Close()
		return nil, err
	}
	return s, nil
}

// trimFile cuts what is behind the last frame: room, or what a failed append left.
// It reports whether there was something, which a crash may bring back until the next sync.
func (l *Log) trimFile(s *segment) (trimmed bool, err error) {
	size, err := s.file.Size()
	if err != nil || size == s.size {
		return false, err
	}
	return true, s.file.Truncate(s.size)
}

// Sync makes durable what was appended before the call; Durable says so then. One
// sync serves all that waits. A failure is final, whatever its cause: the log is
// fenced and the descriptor is never synced again.
func (l *Log) Sync() error {
	if err := l.writable(); err != nil {
		return err
	}
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	return l.syncLocked(false)
}

// syncLocked syncs the open segment; all others are durable since they were full. It does
// so too if all entries are durable already, but something else of the file is not.
func (l *Log) syncLocked(something bool) error {
	if err := l.Fenced(); err != nil {
		return err
	}
	l.mu.RLock()
	s, last, closed := l.set.open(), l.win.last(), l.closed
	l.mu.RUnlock()
	if closed {
		return ErrClosed
	}
	if l.Durable() >= last && !something {
		return nil
	}
	if err := syncFile(s.file); err != nil {
		return l.fail(s.name(), err)
	}
	l.durable.Store(uint64(last))
	l.cold.synced.Store(time.Now().UnixNano())
	return nil
}
