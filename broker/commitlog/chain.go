package commitlog

import (
	"errors"

	"github.com/splashdam/splashdam/broker/record"
)

// chain is what the next frame must fit to.
type chain struct {
	*layout
	maxTerm record.Term // the hard state's

	index record.Index
	term  record.Term
	frame uint32 // generation of the last frame
	gaps  bool   // something was cleaned away on the way
}

// skip passes over entries in front of a segment that were cleaned away, and over
// those of a segment that was rewritten: they are no links of the chain any more.
// Generations begin anew with each segment, which has no frame of a lower one than its
// own: behind an installation the received ones may have a lower one than those that
// were kept, since the log was cut and went on between the reservation and the receipt.
func (c *chain) skip(m segmentMeta) {
	if m.first > c.index+1 || m.edition > 0 {
		c.gaps = true
	}
	c.index = m.first - 1
	if m.edition > 0 {
		c.index = m.last
	}
	c.frame = m.generation
}

// admitRewritten takes a frame of a rewritten segment. It errors with errDamage for
// one that does not belong there.
func (s *segment) admitRewritten(f frame) error {
	e := f.entry
	if !e.Rewritten() || e.Index() != s.last || f.header.generation != s.generation || f.header.durable != 0 {
		return damagef("entry %d of generation %d in what was rewritten of entries %d to %d", e.Index(), f.header.generation, s.first, s.last)
	}
	return nil
}

// stale reports whether a frame is older than a cut that it lies behind.
func (c *chain) stale(f frame) bool {
	return f.header.generation < c.frame || f.entry.Index() > c.cutLast && f.header.generation < c.generation
}

// errLost is a frame that proves that another file has lost something.
var errLost = errors.New("lost record")

// admit takes a frame that follows. It errors with errDamage for one that does not,
// and with a *CorruptionError for one that cannot be.
func (c *chain) admit(f frame) error {
	e := f.entry
	switch {
	case e.Rewritten():
		return damagef("entry %d is a rewritten one", e.Index())
	case f.header.generation > c.generation:
		return &CorruptionError{manifestName, 0, damagef("generation %d, but entry %d was written in %d: %w", c.generation, e.Index(), f.header.generation, errLost)}
	case e.Index() != c.index+1:
		return damagef("entry %d behind entry %d", e.Index(), c.index)
	case c.stale(f):
		return damagef("entry %d of generation %d was cut", e.Index(), f.header.generation)
	case e.Term() < c.term:
		return damagef("entry %d of term %d behind term %d", e.Index(), e.Term(), c.term)
	case f.header.durable >= e.Index():
		return damagef("entry %d says it was durable up to %d before it was written", e.Index(), f.header.durable)
	case e.Term() > c.maxTerm:
		return &CorruptionError{hardStateName, 0, damagef("term %d, but entry %d has term %d: %w", c.maxTerm, e.Index(), e.Term(), errLost)}
	}
	c.index, c.term, c.frame = e.Index(), e.Term(), f.header.generation
	return nil
}
