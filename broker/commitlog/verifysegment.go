package commitlog

import (
	"errors"
	"io"
	"path"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// verifySegment reads a segment and its index, around damage and what the disk does not
// read. It errors if the file cannot be opened, or its length is not known.
func (v *verifier) verifySegment(i int, m segmentMeta) error {
	size, end := m.size, m.last
	if last := i == len(v.layout.segments)-1; !m.sealed && !last {
		next := v.layout.segments[i+1]
		size, end = int64(next.base-m.base), next.first-1
	}
	v.chain.skip(m)
	sound := len(v.Problems)
	s := &segment{segmentMeta: m, mem: newMemIndex()}
	s.size = size
	f, err := v.fs.Open(path.Join(v.dir, m.name()))
	switch {
	case errors.Is(err, vfs.ErrNotExist):
		s.file = absentFile{}
		v.lose(i, segmentHeaderSize, end, "the file", err)
	case err != nil:
		return err
	default:
		defer f.Close()
		s.file = f
		v.verifyHeader(i, s, end)
	}
	if err := v.verifyFrames(i, s, end); err != nil {
		return err
	}
	if m.sealed {
		v.verifyIndex(s, len(v.Problems) > sound || v.cut != nil)
	}
	return nil
}

// verifyHeader also finds out how long the open segment is, whose size is 0 before.
func (v *verifier) verifyHeader(i int, s *segment, end record.Index) {
	head, there, err := readSegmentHeader(s.file, s.name())
	v.Bytes += there
	if err == nil && (head.base != s.base || head.name() != s.name()) {
		err = damagef("it is not the segment that the manifest names")
	}
	switch {
	case err != nil && (end == 0 || end > v.snapshot):
		v.problem(s.name(), "the header", doRepair, err)
		if !errors.Is(err, ErrFutureVersion) {
			v.beginCut(i, segmentHeaderSize)
		}
	case err != nil:
		v.problem(s.name(), "the header", doLost, err)
	case s.size > 0 && s.size < there:
		v.problem(s.name(), "the end", doIgnore, damagef("%d bytes, not %d", there, s.size))
	}
	if s.size == 0 {
		s.size = there
	}
}

// lose reports damage to entries behind the last that was read, up to last, 0 where
// that is not known.
func (v *verifier) lose(i int, pos int64, last record.Index, place string, what error) {
	do := doLost
	if last == 0 || last > v.snapshot || v.snapshot == 0 {
		do = doRepair
		if !errors.Is(what, ErrFutureVersion) {
			v.beginCut(i, pos)
		}
	}
	v.problem(v.layout.segments[i].name(), place, do, what)
}

// verifyFrames reads the frames of segment i, which ends with entry end, 0 in the
// last one.
func (v *verifier) verifyFrames(i int, s *segment, end record.Index) error {
	extent, err := s.extent()
	if err != nil {
		return err
	}
	pos := int64(segmentHeaderSize)
	for {
		var bad error
		if pos, bad = v.readFrames(s, pos, extent, end == 0); bad == nil {
			break
		}
		if errors.Is(bad, ErrFutureVersion) {
			v.problem(s.name(), (s.base + Address(pos)).String(), doUpgrade, bad)
			v.ended = true
			return nil
		}
		next, ok := v.follower(s, pos+frameAlign, extent)
		place := (s.base + Address(pos)).String()
		lost := end
		if ok && s.edition == 0 {
			lost = next.entry.Index() - 1
		}
		if end == 0 && v.cut == nil && (!ok || lost > v.snapshot) && v.tornTail(s, pos) {
			v.problem(s.name(), place, doNothing, bad)
			v.end, v.ended = pos, true
			return nil
		}
		before := v.rowsIn(s, pos, next.pos, ok)
		v.lose(i, pos, lost, place, bad)
		v.Problems[len(v.Problems)-1].Offsets = before
		if !ok {
			v.chain.index = max(v.chain.index, end)
			return nil
		}
		if s.edition == 0 {
			v.chain.index = lost
		}
		v.chain.gaps = true
		pos = next.pos
	}
	v.end = pos
	if end > 0 && v.chain.index != end && s.edition == 0 {
		if _, absent := s.file.(absentFile); !absent {
			v.lose(i, pos, end, "the end", damagef("it ends at entry %d, not %d", v.chain.index, end))
		}
		v.chain.index = end
	}
	return nil
}

// readFrames takes in frames from pos on, and returns where it stops and why: nil at
// the end of the segment.
func (v *verifier) readFrames(s *segment, pos, extent int64, open bool) (int64, error) {
	scan := newScanner(s.file, s.base, pos, extent)
	scan.room = open
	for {
		pos := scan.pos
		f, err := scan.next()
		if err == io.EOF {
			return pos, nil
		}
		if err == nil && s.edition > 0 {
			err = s.admitRewritten(f)
		} else if err == nil {
			err = v.chain.admit(f)
		}
		if err == nil {
			err = v.take(s, f)
		}
		if err != nil {
			return pos, err
		}
	}
}

// take takes in a frame.
func (v *verifier) take(s *segment, f frame) error {
	if v.cut != nil && f.entry.Index() > v.cut.Last {
		v.cut.Readable++
	}
	if err := s.indexEntry(f.entry, s.base+Address(f.pos), v.directory); err != nil {
		return err
	}
	v.Frames++
	v.evidence, v.maxTerm = max(v.evidence, f.header.durable), max(v.maxTerm, f.entry.Term())
	for _, p := range describe(f, s.base).Parts {
		if p.Kind != record.KindBatch {
			continue
		}
		v.Batches++
		if p.Err != nil {
			v.problem(s.name(), (s.base + Address(f.pos)).String(), "It was appended as it is: see who produced it.",
				damagef("entry %d, batch of %v at offset %d: %w", f.entry.Index(), p.Partition, p.BaseOffset, p.Err))
		}
	}
	return nil
}

// follower looks for the next frame that may come later in the log, also behind what the
// disk does not read.
func (v *verifier) follower(s *segment, pos, extent int64) (frame, bool) {
	for {
		f, ok, _ := findFrame(s.file, s.base, pos, extent)
		if !ok || s.edition > 0 || !v.chain.stale(f) && f.entry.Index() > v.chain.index {
			return f, ok
		}
		pos = f.end()
	}
}

// tornTail reports whether bad bytes at the end of the log are what a crash leaves.
func (v *verifier) tornTail(s *segment, pos int64) bool {
	for {
		f, ok, err := findFrame(s.file, s.base, pos, s.size)
		if err != nil || !ok {
			return err == nil && v.chain.index >= v.evidence
		}
		if !v.chain.stale(f) {
			v.evidence = max(v.evidence, f.header.durable)
		}
		pos = f.end()
	}
}

// rowsIn is what the index of a sealed segment says lies between two positions, or
// behind the first, if the index is good.
func (v *verifier) rowsIn(s *segment, from, to int64, bounded bool) []OffsetRange {
	if !s.sealed {
		return nil
	}
	x, err := openIndex(v.fs, v.dir, s.segmentMeta, newBlockCache(1))
	if err != nil {
		return nil
	}
	defer x.file.Close()
	if !bounded {
		to = s.size
	}
	var list []OffsetRange
	for i := range x.rows {
		p, r, err := x.row(i)
		if err != nil {
			return nil
		}
		if r.at+Address(r.size) <= s.base+Address(from) || r.at >= s.base+Address(to) {
			continue
		}
		if n := len(list); n > 0 && list[n-1].Partition == p && list[n-1].To == r.base {
			list[n-1].To = r.next()
		} else {
			list = append(list, OffsetRange{p, r.base, r.next()})
		}
	}
	return list
}
