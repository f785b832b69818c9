package commitlog

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// maxUnsealed is how many full segments may wait to be sealed, with the one that is at it:
// their indexes are in memory, some 60 bytes for each batch. An appender that is not
// faster than the disk is never that far ahead.
const maxUnsealed = 3

// SealPending reports whether Seal has something to do.
func (l *Log) SealPending() bool { return l.suspect.Load() || l.unsealed() > 0 }

// SealBehind reports whether so many full segments wait to be sealed that the appender
// should wait for Seal, unless that fails: on a full disk it does, where what is appended
// may be what frees some.
func (l *Log) SealBehind() bool { return l.unsealed() >= maxUnsealed }

// unsealed is how many segments can be sealed.
func (l *Log) unsealed() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	n := 0
	for _, s := range l.set.list[l.set.sealedPrefix() : len(l.set.list)-1] {
		if s.sealable() {
			n++
		}
	}
	return n
}

// sealable is a full segment, all committed, without an index file. Log.mu is held.
func (s *segment) sealable() bool { return s.directory != nil && s.index.Load() == nil }

// Seal seals a segment: the oldest one that is full, whose entries have all been
// committed, gets its index file, is named sealed in the manifest, and its index in memory
// is dropped. Where there is none, an index in which a reader found damage is made anew from
// its segment.
//
// One call at a time, from any goroutine, not beside Close. Nothing but Install waits for
// it: what can be sealed is changed by nobody else, as a suffix is cut behind what was
// committed, and only what is sealed is cleaned.
//
// After vfs.ErrNoSpace it may be called again; any other error fences the log, but for
// damage in a segment, which is a *CorruptionError.
func (l *Log) Seal() error {
	l.sealMu.Lock()
	defer l.sealMu.Unlock()
	if err := l.writable(); err != nil {
		return err
	}
	set, err := l.pin()
	if err != nil {
		return err
	}
	defer set.release()
	l.mu.RLock()
	i := set.sealedPrefix()
	next := i < len(set.list)-1 && set.list[i].sealable() // in order: it is committed before the others
	l.mu.RUnlock()
	if next {
		return l.seal(set.list[i], set.list[i+1].first-1)
	}
	defer l.reviewSuspects(set)
	for i, s := range set.list[:i] {
		if s.badIndex.Load() {
			err := l.reindex(set.list, i, true)
			l.noteDamage(err, 1)
			return err
		}
	}
	return nil
}

// reviewSuspects notes whether an index is left that must be made anew.
func (l *Log) reviewSuspects(set *segmentSet) {
	l.suspect.Store(false)
	for _, s := range set.list {
		if s.badIndex.Load() {
			l.suspect.Store(true)
		}
	}
}

// seal writes the index of a segment that was synced when it was full.
func (l *Log) seal(s *segment, last record.Index) error {
	m := s.segmentMeta
	m.last, m.sealed = last, true
	if err := writeIndex(l.fs, l.dir, m, s.mem, s.directory); err != nil {
		return l.fail("writing the index of "+s.name(), err)
	}
	x, err := openIndex(l.fs, l.dir, m, l.cache)
	if err != nil {
		return l.fail("opening the index of "+s.name(), err)
	}
	c := change{kind: segmentSealed, generation: m.generation, first: m.first, last: m.last, size: m.size}
	if err := l.manifest.record(c); err != nil {
		_ = x.file.Close()
		return l.fail("sealing "+s.name(), err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.sealed, s.last = true, last
	s.setIndex(x)
	s.mem, s.directory = nil, nil
	return nil
}

// reindex makes the index file of the sealed segment i anew; if around is true,
// around damage in the segment.
func (l *Log) reindex(list []*segment, i int, around bool) error {
	s := list[i]
	d := newDirectory()
	if i > 0 {
		var err error
		d, err = list[i-1].index.Load().directory()
		if isCorrupt(err) {
			if err = l.reindex(list, i-1, around); err == nil {
				d, err = list[i-1].index.Load().directory()
			}
		}
		if err != nil {
			return fmt.Errorf("making the index of %s anew: %w", s.name(), err)
		}
	}
	var damaged func(*CorruptionError)
	if around {
		damaged = func(c *CorruptionError) { l.noteDamage(c, 1) }
	}
	mem, err := s.scanIndex(d, damaged)
	if err != nil {
		return fmt.Errorf("making the index of %s anew: %w", s.name(), err)
	}
	s.badIndex.Store(false)
	if err := writeIndex(l.fs, l.dir, s.segmentMeta, mem, d.rows()); err != nil {
		s.badIndex.Store(true)
		return l.fail("writing the index of "+s.name(), err)
	}
	x, err := openIndex(l.fs, l.dir, s.segmentMeta, l.cache)
	gone := l.hasDropped(s)
	if gone && errors.Is(err, vfs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return l.fail("opening the index of "+s.name(), err)
	}
	if gone { // perhaps before there was the new index to be deleted
		if err := l.discard(s.segmentMeta); err != nil {
			_ = x.file.Close()
			return l.fail("deleting the index of "+s.name(), err)
		}
	}
	if mem.holes > 0 {
		l.holed.Store(true)
	}
	if old := s.setIndex(x); old != nil {
		s.retired = append(s.retired, old)
		l.cache.drop(old)
	}
	return nil
}

// hasDropped reports whether a segment is not part of the log any more. Before there are
// segments, at the start, none is.
func (l *Log) hasDropped(s *segment) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.set != nil && !slices.Contains(l.set.list, s)
}

// scanIndex indexes all entries of a sealed segment from its frames, and brings the
// directory from where the segment begins to where it ends. It tells damaged of
// damage, which is also what the disk does not read, and goes around it; if that is nil
// it errors with the first. Any other error is ErrFutureVersion.
func (s *segment) scanIndex(d directory, damaged func(*CorruptionError)) (*memIndex, error) {
	scratch := &segment{segmentMeta: s.segmentMeta, file: once{s.file}, mem: newMemIndex()}
	w, err := scratch.walk(nil, false)
	if err != nil {
		return nil, unread(s.name(), s.base, int(s.size), err)
	}
	last := s.first - 1
	for {
		f, err := w.next()
		if err == io.EOF && (last == s.last || s.edition > 0 && w.extent == s.size) {
			return scratch.mem, nil
		}
		if err == io.EOF {
			err = damagef("it ends at entry %d, not %d", last, s.last)
		}
		if err == nil && s.edition > 0 {
			err = s.admitRewritten(f)
		}
		if err == nil {
			err = scratch.indexEntry(f.entry, w.at(), d)
		}
		if err == nil {
			last = f.entry.Index()
			continue
		}
		if errors.Is(err, ErrFutureVersion) {
			return nil, err
		}
		c := &CorruptionError{s.name(), w.at(), err}
		if damaged == nil {
			return nil, c
		}
		scratch.mem.holes++
		damaged(c)
		g := w.gap(err, func(gap) bool { return true }) // what is not read is in the hole
		if !g.followed {
			return scratch.mem, nil
		}
		w.resume(g)
	}
}

// indexEntry adds an entry, whose frame is at an address, to the index in memory,
// and its batches to the directory. It errors with errDamage.
func (s *segment) indexEntry(e record.Entry, at Address, d directory) error {
	var err error
	s.mem.digest.add(e)
	e.Each(func(pos int, p record.Part) bool {
		if p.Kind != record.KindBatch {
			return true
		}
		if len(p.Bytes) < record.BatchHeaderSize {
			err = damagef("entry %d: a batch of %d bytes", e.Index(), len(p.Bytes))
			return false
		}
		r := rowOf(record.Batch(p.Bytes), at+FrameHeaderSize+Address(pos))
		if !d.note(p.Partition, r) {
			err = damagef("entry %d: batch of %v at offset %d, the partition ends at %d", e.Index(), p.Partition, r.base, d.next(p.Partition))
			return false
		}
		s.mem.add(p.Partition, r)
		return true
	})
	return err
}
