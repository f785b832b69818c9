package commitlog

import (
	"errors"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// Step 4.
func (r *recovery) openSegments() error {
	for i, m := range r.manifest.segments {
		size, last := r.manifest.bounds(i)
		s, err := r.openSegment(m, size)
		if s != nil {
			r.segments = append(r.segments, s)
		}
		if r.torn && errors.Is(err, vfs.ErrNotExist) {
			// Files of the log are deleted only once the record that takes them out is durable.
			return &CorruptionError{manifestName, Address(r.manifest.records+1) * manifestRecord, damagef("the last record is not whole, and %s is gone", m.name())}
		}
		if damage, ok := errors.AsType[*CorruptionError](err); ok && size > 0 {
			err = r.lose(last, damage)
		}
		if err != nil {
			return err
		}
	}
	reach := record.Index(0)
	if s := r.older(); s != nil {
		reach = s.Index
	}
	if gone := r.manifest.cleaned(); gone > reach {
		first := r.segments[0]
		return &CorruptionError{first.name(), first.base, damagef("entries up to %d were cleaned away, but there is no good snapshot from which to go on", gone)}
	}
	r.directory = newDirectory()
	for i, s := range r.segments {
		if !s.sealed {
			break
		}
		x, err := openIndex(r.fs, r.dir, s.segmentMeta, r.cache)
		if err == nil {
			s.setIndex(x)
			if x.holes > 0 {
				r.holed.Store(true)
			}
			continue
		}
		if !isDamage(err) && !errors.Is(err, vfs.ErrNotExist) {
			return err
		}
		r.warn("the index of %s is made anew: %v", s.name(), err)
		if err := r.reindex(r.segments, i, s.last <= r.index); err != nil {
			return err
		}
	}
	return r.readDirectory()
}

// cleaned is the highest index up to which entries are not there any more as they
// were appended, 0 if all are.
func (l *layout) cleaned() record.Index {
	gone := l.segments[0].first - 1
	for i, m := range l.segments {
		if m.edition > 0 {
			gone = m.last
		}
		if m.sealed && i+1 < len(l.segments) && l.segments[i+1].first > m.last+1 {
			gone = l.segments[i+1].first - 1
		}
	}
	return gone
}

// readDirectory takes the directory of the last sealed segment.
func (r *recovery) readDirectory() error {
	n := len(r.segments)
	for n > 0 && !r.segments[n-1].sealed {
		n--
	}
	if n == 0 {
		return nil
	}
	d, err := r.segments[n-1].index.Load().directory()
	if isCorrupt(err) {
		r.warn("the index of %s is made anew: %v", r.segments[n-1].name(), err)
		if err = r.reindex(r.segments[:n], n-1, r.segments[n-1].last <= r.index); err == nil {
			d, err = r.segments[n-1].index.Load().directory()
		}
	}
	r.directory = d
	return err
}

// openSegment checks that the file is the one that the manifest names, and has the
// size that follows from it, 0 where none does. With a *CorruptionError it still
// returns the segment, whose frames and batches are verified where they are read.
func (r *recovery) openSegment(m segmentMeta, size int64) (*segment, error) {
	s := &segment{segmentMeta: m}
	s.size = size
	if !m.sealed {
		s.mem = newMemIndex()
	}
	f, err := r.fs.OpenWrite(r.path(m.name()))
	if errors.Is(err, vfs.ErrNotExist) {
		s.file = absentFile{}
		return s, &CorruptionError{m.name(), m.base, err}
	}
	if err != nil {
		return nil, err
	}
	s.file = f
	there, err := m.readOwnHeader(f)
	switch {
	case err == nil && size == 0:
		s.size = there
	case err == nil && size < there:
		r.warn("%s has %d bytes, not %d: those behind are not read", m.name(), there, size)
	case err == nil && size > there:
		return s, &CorruptionError{m.name(), m.base + Address(min(size, there)), damagef("%d bytes, not %d", there, size)}
	}
	if err != nil && !errors.Is(err, ErrFutureVersion) {
		err = &CorruptionError{m.name(), m.base, err}
	}
	return s, err
}
