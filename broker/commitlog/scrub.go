package commitlog

import (
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// Scrubber reads what nobody reads, before it is needed: the sealed segments with
// their indexes, one after the other, then the hard state, the manifest and the
// snapshots. What it finds is told as all damage is (Options.Damaged), and an index
// that is not right is made anew by the next Seal.
//
// It reads in steps, whose pace the caller sets. One goroutine at a time may step;
// the log may be used and closed meanwhile.
type Scrubber struct {
	log   *Log
	place scrubPlace
	file  vfs.File // where the place is kept; nil until it was written
	cache *blockCache
	now   scrubbed
	buf   []byte
}

// scrubbed is the segment that is being read.
type scrubbed struct {
	seg   *segment
	orig  *indexFile // the segment's index, when this began
	index indexFile  // the same with a cache of its own
	pos   int64
	last  record.Index
	rows  int64
	block int64 // of the index, once all frames are read
	lost  bool  // something is damaged; it will not add up

	digest Digest
}

// scrubCache is how many index blocks a scrub keeps: those on a few paths of a
// search.
const scrubCache = 256

// Scrub makes a Scrubber that goes on where the last one of this log was.
func (l *Log) Scrub() (*Scrubber, error) {
	s := &Scrubber{log: l, cache: newBlockCache(scrubCache), buf: make([]byte, blockSize)}
	f, err := l.fs.OpenWrite(l.path(scrubName))
	if errors.Is(err, vfs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	b, err := readAll(f, scrubSize)
	if err == nil {
		s.place, err = decodeScrubPlace(b)
	}
	if err != nil && !isDamage(err) && !errors.Is(err, ErrFutureVersion) {
		return nil, errors.Join(err, f.Close())
	}
	s.file = f
	return s, nil
}

// Close gives back what the Scrubber holds.
func (s *Scrubber) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// Due reports whether a pass is under way, or the last one began at least period
// before now. All are ms.
func (s *Scrubber) Due(now, period int64) bool { return s.place.at > 0 || now-s.place.begun >= period }

// Step reads about budget bytes and returns how many it was; done is that with them
// a pass has ended, and the next Step begins another. now is the time in ms. It
// errors with ErrClosed, or if it cannot note where it is; what the disk cannot read
// is damage and told as such.
func (s *Scrubber) Step(now int64, budget int64) (n int64, done bool, err error) {
	set, err := s.log.pin()
	if err != nil {
		return 0, false, err
	}
	defer set.release()
	if s.place.at == 0 {
		s.place = scrubPlace{at: 1, begun: now} // nothing ends there
	}
	for n < budget {
		seg := s.next(set)
		if seg == nil {
			read, err := s.smallFiles()
			if n += read; err != nil {
				return n, false, err
			}
			s.place.at = 0
			return n, true, s.note()
		}
		if s.now.seg != seg || s.now.orig != seg.index.Load() {
			s.begin(seg)
		}
		read, ended := s.read(budget - n)
		if n += read; ended {
			s.place.at = seg.base + Address(seg.size)
			s.now = scrubbed{}
			if err := s.note(); err != nil {
				return n, false, err
			}
		}
	}
	return n, false, nil
}

// next is the sealed segment that is to be read, nil if all are done.
func (s *Scrubber) next(set *segmentSet) *segment {
	s.log.mu.RLock()
	defer s.log.mu.RUnlock()
	for _, seg := range set.list {
		if !seg.sealed || seg.index.Load() == nil {
			return nil
		}
		if seg.base+Address(seg.size) > s.place.at {
			return seg
		}
	}
	return nil
}

func (s *Scrubber) begin(seg *segment) {
	x := seg.index.Load()
	s.now = scrubbed{seg: seg, orig: x, index: *x, pos: segmentHeaderSize, last: seg.first - 1}
	s.cache = newBlockCache(scrubCache)
	s.now.index.cache = s.cache
	size, err := seg.readOwnHeader(seg.file)
	if err == nil && size != seg.size {
		err = damagef("%d bytes, not %d", size, seg.size)
	}
	if err != nil {
		s.damaged(0, segmentHeaderSize, err)
	}
}

// damaged tells of damage in the segment between two places.
func (s *Scrubber) damaged(from, to int64, err error) {
	s.now.lost = true
	_ = s.now.seg.reportAt(from, to, err) // a step goes around it
}

// read goes on in the segment for about budget bytes; ended is that it is done.
func (s *Scrubber) read(budget int64) (n int64, ended bool) {
	c := &s.now
	extent, err := c.seg.extent()
	if err != nil {
		s.damaged(c.pos, c.seg.size, err)
		extent = c.pos
	}
	if c.pos < extent {
		begin := c.pos
		s.readFrames(extent, begin+budget)
		return c.pos - begin, false
	}
	if c.block == 0 {
		s.sum()
	}
	for ; c.block < c.index.blocks() && n < budget; c.block++ {
		s.readBlock(uint32(c.block))
		n += blockSize
	}
	return n, c.block == c.index.blocks()
}

// readFrames verifies frames from c.pos on, until limit is reached or something is
// wrong.
func (s *Scrubber) readFrames(extent, limit int64) {
	c := &s.now
	scan := newScanner(once{c.seg.file}, c.seg.base, c.pos, extent)
	for c.pos < limit {
		f, err := scan.next()
		if err == io.EOF {
			return
		}
		if err == nil {
			err = s.verify(f)
		}
		if err != nil {
			from := c.pos
			s.skip(extent, limit)
			s.damaged(from, c.pos, err)
			return
		}
		c.pos, c.last = f.end(), f.entry.Index()
		c.digest.add(f.entry)
	}
}

// verify holds a frame against the one before and against the index.
func (s *Scrubber) verify(f frame) error {
	c := &s.now
	if c.seg.edition > 0 {
		if err := c.seg.admitRewritten(f); err != nil {
			return err
		}
	} else if i := f.entry.Index(); i != c.last+1 && !c.lost {
		return damagef("entry %d behind entry %d", i, c.last)
	}
	f.entry.Each(func(pos int, p record.Part) bool {
		if p.Kind != record.KindBatch {
			return true
		}
		c.rows++
		if len(p.Bytes) < record.BatchHeaderSize {
			s.damaged(f.pos, f.end(), damagef("entry %d: a batch of %d bytes", f.entry.Index(), len(p.Bytes)))
			return true
		}
		s.compare(p.Partition, rowOf(p.Bytes, c.seg.base+Address(f.pos)+FrameHeaderSize+Address(pos)))
		return true
	})
	return nil
}

// compare looks a batch up in the index.
func (s *Scrubber) compare(p record.PartitionID, want row) {
	x := &s.now.index
	i, err := x.find(p, want.base)
	if err == nil && i == x.rows {
		err = damagef("it ends in front of the batch of %v at offset %d", p, want.base)
	}
	if err == nil {
		var q record.PartitionID
		var got row
		if q, got, err = x.row(i); err == nil && (q != p || got != want) {
			err = damagef("row %d is %v %+v, not %v %+v", i, q, got, p, want)
		}
	}
	if err != nil {
		s.wrongIndex(err)
	}
}

// wrongIndex tells of an index that is not right, and has it made anew.
func (s *Scrubber) wrongIndex(err error) {
	c, ok := errors.AsType[*CorruptionError](err)
	if !ok {
		c = &CorruptionError{s.now.index.name, 0, err}
	}
	s.now.seg.condemnIndex()
	s.now.seg.report(c, blockSize)
}

// skip looks for the next frame behind bytes that are none, up to limit; c.pos is
// then in front of it, or where it has looked.
func (s *Scrubber) skip(extent, limit int64) {
	c := &s.now
	c.pos = min(c.pos+frameAlign, extent)
	// Sectors that cannot be read are damage as the rest of it is.
	f, ok, _ := searchFrame(c.seg.file, c.seg.base, c.pos, min(limit, extent), extent)
	if ok {
		c.pos = f.pos
	} else {
		c.pos = max(c.pos, min((limit+frameAlign-1)&^(frameAlign-1), extent))
	}
}

// sum compares what was counted, when all frames are read.
func (s *Scrubber) sum() {
	c := &s.now
	switch {
	case c.lost:
	case c.seg.edition == 0 && c.last != c.seg.last:
		s.damaged(c.seg.size-1, c.seg.size, damagef("it ends at entry %d, not %d", c.last, c.seg.last))
	case c.rows != c.index.rows || c.digest != c.index.digest:
		s.wrongIndex(damagef("%d rows and %+v for %d batches and %+v", c.index.rows, c.index.digest, c.rows, c.digest))
	}
}

// readBlock verifies a block of the index on the disk, whatever is cached.
func (s *Scrubber) readBlock(number uint32) {
	x := &s.now.index
	err := readFull(x.file, s.buf, int64(number)*blockSize)
	if err == nil {
		err = checkBlock(s.buf, x.kind(number), number)
	}
	if err != nil {
		s.wrongIndex(&CorruptionError{x.name, Address(number) * blockSize, err})
	}
}

// smallFiles verifies what stands beside the segments and returns how much that was. It
// errors with ErrClosed if files could not be read since the log was closed.
func (s *Scrubber) smallFiles() (n int64, closed error) {
	l := s.log
	check := func(name string, read func() (int64, error)) {
		size, err := read()
		if n += size; err == nil || closed != nil {
			return
		}
		if l.writable() == ErrClosed {
			closed = ErrClosed
			return
		}
		c, ok := errors.AsType[*CorruptionError](err)
		if !ok {
			c = &CorruptionError{name, 0, err}
		}
		l.noteDamage(c, 1)
	}
	check(manifestName, l.manifest.check)
	check(hardStateName, l.hard.check)
	l.mu.RLock()
	snapshots := l.snapshots
	l.mu.RUnlock()
	for _, snap := range snapshots {
		name := snapshotName(snap.Index)
		check(name, func() (int64, error) {
			size, err := checkSnapshot(l.fs, path.Join(l.dir, name), snap.Index)
			if errors.Is(err, vfs.ErrNotExist) && !l.keeps(snap) {
				err = nil // deleted meanwhile
			}
			return size, err
		})
	}
	return n, closed
}

// keeps reports whether a snapshot is one of those that stay.
func (l *Log) keeps(s *Snapshot) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, k := range l.snapshots {
		if k.Index == s.Index {
			return true
		}
	}
	return false
}

// note writes down where the scrub is.
func (s *Scrubber) note() (err error) {
	if s.file == nil {
		if s.file, err = s.log.fs.Create(s.log.path(scrubName)); err != nil {
			return fmt.Errorf("noting how far the scrub is: %w", err)
		}
	}
	if _, err := s.file.WriteAt(s.place.encode(), 0); err != nil {
		return fmt.Errorf("noting how far the scrub is: %w", err)
	}
	return nil
}
