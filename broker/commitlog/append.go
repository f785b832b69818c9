package commitlog

import (
	"fmt"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/invariant"
)

// maxAppendBuffer is how much memory the appender keeps between calls, in bytes.
const maxAppendBuffer = 8 << 20

// Append writes entries behind the last one. They are durable after Sync. The
// first index is Last()+1, and no term is above the hard state's.
//
// After vfs.ErrNoSpace the log holds whole entries up to Last(), none in part, and
// the caller calls again with the same entries: those that are there already are
// skipped. Any other error fences the log.
//
// The entries are copied; one write for those that go to one segment. An entry
// that rolls ends its segment: the segment is synced and the next one is made, so
// that such a call is slower than others and leaves the log durable up to that
// entry.
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

	buf := l.buf[:0]
	added := make([]placed, 0, len(entries))
	for _, e := range entries {
		invariant.That(e.Index() == last+1, "append of entry %d, the log ends at %d", e.Index(), last)
		invariant.That(e.Term() >= term && e.Term() <= maxTerm, "append of entry %d of term %d behind term %d, the hard state has %d", e.Index(), e.Term(), term, maxTerm)
		last, term = e.Index(), e.Term()
		at := s.base + Address(pos) + Address(len(buf))
		added = append(added, place(e, at))
		buf = appendFrame(buf, at, generation, durable, e)
	}
	_, err := s.file.WriteAt(buf, pos)
	if l.buf = buf; cap(buf) > maxAppendBuffer {
		l.buf = nil
	}
	if err != nil {
		// What was written lies behind the end, where the next append overwrites it.
		return l.fail(fmt.Sprintf("appending entries %d to %d to %s", entries[0].Index(), last, s.name()), err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.win.entries = append(l.win.entries, added...)
	s.size = pos + int64(len(buf))
	s.full = entries[len(entries)-1].Rolls()
	return nil
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
	if err := l.trimFile(s); err != nil {
		return l.fail("trimming "+s.name(), err)
	}
	if err := l.syncLocked(); err != nil {
		return err
	}
	m := segmentMeta{first: last + 1, generation: l.generation, base: s.base + Address(s.size)}
	next, err := createSegment(l.fs, l.dir, m)
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

// trimFile cuts what a failed append may have left behind the last frame.
func (l *Log) trimFile(s *segment) error {
	size, err := s.file.Size()
	if err != nil || size == s.size {
		return err
	}
	return s.file.Truncate(s.size)
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
	return l.syncLocked()
}

// syncLocked syncs the open segment; all others are durable since they were full.
func (l *Log) syncLocked() error {
	if err := l.fenced(); err != nil {
		return err
	}
	l.mu.RLock()
	s, last, closed := l.set.open(), l.win.last(), l.closed
	l.mu.RUnlock()
	if closed {
		return ErrClosed
	}
	if l.Durable() >= last {
		return nil
	}
	if err := syncFile(s.file); err != nil {
		return l.fail(s.name(), err)
	}
	l.durable.Store(uint64(last))
	return nil
}
