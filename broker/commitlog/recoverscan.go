package commitlog

import (
	"errors"
	"fmt"
	"io"

	"github.com/splashdam/splashdam/broker/record"
)

// Step 5.
func (r *recovery) scan() error {
	r.win.first = 1
	from := record.Index(1) // the first index to be scanned
	if s := r.older(); s != nil {
		r.win.first, r.win.prevTerm = s.Index+1, s.Term
		from = s.Index // itself: its term is checked
	}
	last := len(r.segments) - 1
	r.chain = chain{layout: &r.manifest.layout, maxTerm: r.hard.now.Term}
	begun := false
	for i, s := range r.segments {
		if s.sealed && (s.last < from || s.edition > 0) {
			continue // all of it is behind a snapshot
		}
		if !begun {
			r.chain.index, begun = s.first-1, true
		}
		end := record.Index(0)
		if i < last {
			end = r.segments[i+1].first - 1
		}
		if err := r.scanSegment(s, end); err != nil {
			return err
		}
		if i == last {
			break
		}
		if r.chain.index != end {
			c := &CorruptionError{s.name(), s.base + Address(s.size), damagef("it ends at entry %d, the next segment begins behind %d", r.chain.index, end)}
			if err := r.loseEntries(s, end, c); err != nil {
				return err
			}
		}
		if s.full = true; !s.sealed && s.directory == nil && end <= r.index {
			s.directory = r.directory.rows() // the entry that rolls is lost
		}
	}
	if r.chain.index < r.evidence {
		open := r.segments[last]
		return &CorruptionError{open.name(), open.base + Address(open.size), damagef("the log ends at entry %d, it was durable up to %d", r.chain.index, r.evidence)}
	}
	open := r.segments[last]
	if err := syncFile(open.file); err != nil {
		return fmt.Errorf("%s: %w", open.name(), err)
	}
	r.committed = r.index
	r.durable.Store(uint64(r.chain.index))
	r.set = newSegmentSet(r.segments, r.door)
	r.hard.limitCommit(r.chain.index)
	return nil
}

// scanSegment takes in the frames of a segment, which ends with entry end. In the
// last one, where end is 0, it finds the end of the log and cuts what is behind.
func (r *recovery) scanSegment(s *segment, end record.Index) error {
	w, err := s.walk(&r.chain, end == 0)
	if err != nil {
		return fmt.Errorf("%s: %w", s.name(), err)
	}
	for {
		f, err := w.next()
		switch {
		case err == nil:
			if err := r.take(s, f); err != nil {
				return err
			}
			continue
		case err == io.EOF:
			if end == 0 {
				s.size = w.pos // what is behind is room
			}
			return nil
		case errors.Is(err, errLost), errors.Is(err, ErrFutureVersion):
			return err
		}
		g := w.gap(err, func(g gap) bool { return end > 0 || g.index-1 <= r.index })
		lost := end
		if g.followed {
			lost = g.index - 1
		}
		if end == 0 && (!g.followed || lost > r.index) {
			return r.cutTail(s, g)
		}
		if err := r.loseEntries(s, lost, &CorruptionError{s.name(), w.at(), err}); err != nil {
			return err
		}
		w.resume(g)
	}
}

// lose passes over damage to entries up to last, if the state does not need them:
// the newest snapshot covers them. Else it returns the damage.
func (r *recovery) lose(last record.Index, damage *CorruptionError) error {
	if last > r.index || r.index == 0 {
		return damage
	}
	r.warn("%v; readers of that place get an error, all the rest can be read", damage)
	r.noteDamage(damage, 1)
	return nil
}

// loseEntries is lose for the entries behind the last that was read, up to last. The
// Raft window then begins behind the newest snapshot.
func (r *recovery) loseEntries(s *segment, last record.Index, damage *CorruptionError) error {
	if err := r.lose(last, damage); err != nil {
		return err
	}
	if !s.sealed {
		s.mem.holes++
		r.holed.Store(true)
	}
	r.chain.index = last
	r.win = window{first: r.index + 1, prevTerm: r.snapshots[0].Term}
	return nil
}

// take puts an entry into the window, and into the index as far as the snapshot
// covers it.
func (r *recovery) take(s *segment, f frame) error {
	e, at := f.entry, s.base+Address(f.pos)
	r.evidence = max(r.evidence, f.header.durable)
	for _, snap := range r.snapshots {
		if e.Index() == snap.Index && e.Term() != snap.Term {
			return &CorruptionError{s.name(), at, damagef("entry %d of term %d, the snapshot says %d", e.Index(), e.Term(), snap.Term)}
		}
	}
	if e.Index() >= r.win.first {
		r.win.entries = append(r.win.entries, place(e, at))
	}
	s.full = e.Rolls()
	if s.sealed || e.Index() > r.index {
		return nil
	}
	if err := s.indexEntry(e, at, r.directory); err != nil {
		return &CorruptionError{s.name(), at, err}
	}
	if e.Rolls() {
		s.directory = r.directory.rows()
	}
	return nil
}

// cutTail decides about bytes at the end of the log that are not its next frame: what a
// crash left goes, damage stays as it is.
func (r *recovery) cutTail(s *segment, g gap) error {
	last := r.chain.index
	if err := g.torn(last, r.evidence); err != nil {
		return &CorruptionError{s.name(), s.base + Address(g.pos), err}
	}
	cut := change{kind: suffixCut, generation: r.manifest.nextGeneration(), last: last}
	if err := r.manifest.record(cut); err != nil {
		return err
	}
	r.generation = cut.generation
	if err := s.file.Truncate(g.pos); err != nil {
		return err
	}
	r.warn("%s: cut %d bytes behind entry %d that were not durable: %v", s.name(), s.size-g.pos, last, g.cause)
	s.size = g.pos
	return nil
}
