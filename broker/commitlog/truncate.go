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
	if err := l.fenced(); err != nil {
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

	l.mu.Lock()
	p, _ := l.win.at(last + 1)
	n := len(l.set.list)
	for l.set.list[n-1].first > last+1 {
		n--
	}
	kept, dropped := l.set.list[:n:n], l.set.list[n:]
	s := kept[n-1]
	s.size, s.full = int64(p.at-s.base), false
	l.win.cut(last)
	if len(dropped) > 0 {
		l.setSegments(kept)
	}
	l.mu.Unlock()

	err := s.file.Truncate(s.size)
	if err == nil {
		err = syncFile(s.file)
	}
	for _, d := range dropped {
		if err == nil {
			err = l.fs.Remove(l.path(d.name()))
		}
	}
	if err == nil && len(dropped) > 0 {
		err = syncDir(l.fs, l.dir)
	}
	if err != nil {
		// Even a full disk: the cut is decided and cannot be tried again as a whole.
		return l.fail(fmt.Sprintf("cutting at %d", last), &syncError{err})
	}
	return nil
}
