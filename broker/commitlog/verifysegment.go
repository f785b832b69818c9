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
	size, end := v.layout.bounds(i)
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
	there, err := s.readOwnHeader(s.file)
	v.Bytes += there
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
	m := v.layout.segments[i]
	proof := errors.Is(what, errLost) && !m.sealed // a start reads all of these
	if last == 0 || last > v.snapshot || v.snapshot == 0 || proof {
		do = doRepair
		if !errors.Is(what, ErrFutureVersion) {
			v.beginCut(i, pos)
		}
	}
	v.problem(m.name(), place, do, what)
}

// verifyFrames reads the frames of segment i, which ends with entry end, 0 in the
// last one.
func (v *verifier) verifyFrames(i int, s *segment, end record.Index) error {
	w, err := s.walk(&v.chain, end == 0)
	if err != nil {
		return err
	}
	for {
		bad := v.readFrames(s, w)
		if bad == nil {
			break
		}
		if errors.Is(bad, ErrFutureVersion) {
			v.problem(s.name(), w.at().String(), doUpgrade, bad)
			v.ended = true
			return nil
		}
		inside := end > 0 || v.cut != nil // else this may be the end of the log
		g := w.gap(bad, func(g gap) bool { return inside || g.index-1 <= v.snapshot })
		lost := end
		if g.followed && s.edition == 0 {
			lost = g.index - 1
		}
		if !inside && (!g.followed || lost > v.snapshot) {
			torn := g.torn(v.chain.index, v.evidence)
			v.evidence = max(v.evidence, g.durable)
			if torn == nil {
				v.problem(s.name(), w.at().String(), doNothing, bad)
				v.end, v.ended = w.pos, true
				return nil
			}
		}
		before := v.rowsIn(s, g)
		v.lose(i, w.pos, lost, w.at().String(), bad)
		v.Problems[len(v.Problems)-1].Offsets = before
		if !g.followed {
			v.chain.index = max(v.chain.index, end)
			return nil
		}
		if s.edition == 0 {
			v.chain.index = lost
		}
		v.chain.gaps = true
		w.resume(g)
	}
	v.end = w.pos
	if end > 0 && v.chain.index != end && s.edition == 0 {
		if _, absent := s.file.(absentFile); !absent {
			v.lose(i, w.pos, end, "the end", damagef("it ends at entry %d, not %d", v.chain.index, end))
		}
		v.chain.index = end
	}
	return nil
}

// readFrames takes in frames up to one that is none: then it returns why, nil at the end of
// the segment.
func (v *verifier) readFrames(s *segment, w *frameWalk) error {
	for {
		f, err := w.next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = v.take(s, f)
		}
		if err != nil {
			return err
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

// rowsIn is what the index of a sealed segment says lies in a gap, if the index is good.
func (v *verifier) rowsIn(s *segment, g gap) []OffsetRange {
	if !s.sealed {
		return nil
	}
	x, err := openIndex(v.fs, v.dir, s.segmentMeta, newBlockCache(1))
	if err != nil {
		return nil
	}
	defer x.file.Close()
	to := g.end
	if !g.followed {
		to = s.size // perhaps more than there is
	}
	var list []OffsetRange
	for i := range x.rows {
		p, r, err := x.row(i)
		if err != nil {
			return nil
		}
		if r.at+Address(r.size) <= s.base+Address(g.pos) || r.at >= s.base+Address(to) {
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
