package commitlog

import (
	"fmt"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/invariant"
)

// TruncateSuffix cuts what is behind last: entries that a new leader overwrites.
// Nothing committed may be cut. When it returns the cut is durable. After
// vfs.ErrNoSpace nothing has changed; any other error fences the log.
//
// The manifest has the cut, and with it a higher generation, before a byte is
// touched (rule F3): from then on the frames behind last belong to the log no
// more, wherever a crash interrupts the rest.
func (l *Log) TruncateSuffix(last record.Index) error {
	if err := l.writable(); err != nil {
		return err
	}
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if err := l.Fenced(); err != nil {
		return err
	}
	l.mu.RLock()
	end, first, committed := l.win.last(), l.win.first, l.committed
	l.mu.RUnlock()
	invariant.That(last >= committed, "cut at %d, committed is %d", last, committed)
	invariant.That(last+1 >= first && last <= end, "cut at %d, the window is %d to %d", last, first, end)
	if last == end {
		return nil
	}
	cut := change{kind: suffixCut, generation: l.manifest.next(), last: last}
	if err := l.manifest.record(cut); err != nil {
		return l.fail(fmt.Sprintf("cutting at %d", last), err)
	}
	l.generation = cut.generation
	if last < l.Durable() {
		l.durable.Store(uint64(last))
	}

	s, dropped := l.cutSegments(last)
	if err := l.cutFiles(s, dropped); err != nil {
		// Even a full disk: the cut is decided and cannot be tried again as a whole.
		return l.fail(fmt.Sprintf("cutting at %d", last), &syncError{err})
	}
	return nil
}

// cutSegments takes what is behind last out of the window and the list of segments. It
// returns the segment that is now the open one, and those that are none any more.
func (l *Log) cutSegments(last record.Index) (open *segment, dropped []*segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, _ := l.win.at(last + 1)
	n := len(l.set.list)
	for l.set.list[n-1].first > last+1 {
		n--
	}
	kept, dropped := l.set.list[:n:n], l.set.list[n:]
	open = kept[n-1]
	open.size, open.full = int64(p.at-open.base), false
	l.win.cut(last)
	if len(dropped) > 0 {
		l.setSegments(kept)
	}
	return open, dropped
}

// cutFiles makes the files what the segments are.
func (l *Log) cutFiles(open *segment, dropped []*segment) error {
	if err := open.file.Truncate(open.size); err != nil {
		return err
	}
	if err := syncFile(open.file); err != nil {
		return err
	}
	for _, d := range dropped {
		if err := l.fs.Remove(l.path(d.name())); err != nil {
			return err
		}
	}
	if len(dropped) == 0 {
		return nil
	}
	return syncDir(l.fs, l.dir)
}
