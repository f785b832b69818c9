package commitlog

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/splashdam/splashdam/broker/record"
)

// frameWalk goes through the frames of a segment, one behind the other, and around bytes
// that are none. A start, Verify and Dump go through the log by it, so that what one of
// them takes for damage the others do too.
type frameWalk struct {
	seg *segment
	// chain is what the frames must follow; nil where every frame counts. Those of a
	// rewritten segment are no links of it.
	chain  *chain
	extent int64 // up to where there are frames
	scan   *scanner
	pos    int64 // in front of what next has returned last
}

// walk begins with the first frame of a segment. open says that the log ends in it: then it
// may end in room.
func (s *segment) walk(c *chain, open bool) (*frameWalk, error) {
	extent, err := s.extent()
	if err != nil {
		return nil, err
	}
	w := &frameWalk{seg: s, chain: c, extent: extent}
	w.begin(segmentHeaderSize, open)
	return w, nil
}

func (w *frameWalk) begin(pos int64, open bool) {
	w.scan = newScanner(w.seg.file, w.seg.base, pos, w.extent)
	w.scan.open, w.pos = open, pos
}

// next returns the next frame, valid until the call after it; io.EOF where the segment ends
// behind the last one. Any other error is that the bytes at pos are no frame that follows,
// or are not read: ErrFutureVersion, an errDamage, of which errLost is one, or what the disk
// said. Then gap tells what is behind them.
func (w *frameWalk) next() (frame, error) {
	w.pos = w.scan.pos
	f, err := w.scan.next()
	switch {
	case err != nil || w.chain == nil:
		return f, err
	case w.seg.edition > 0:
		return f, w.seg.admitRewritten(f)
	}
	return f, w.chain.admit(f)
}

// at is the address of pos.
func (w *frameWalk) at() Address { return w.seg.base + Address(w.pos) }

// gap is bytes that are no frame of the log, and what is behind them.
type gap struct {
	pos   int64
	cause error
	// followed is that there is a frame behind them that may come later in the log: where,
	// and the index of its entry. Else end is where the segment's frames end.
	followed bool
	end      int64
	index    record.Index
	// durable is up to where the log was durable as the frames know that are behind pos, and
	// unread what the disk said of bytes in which there may be others: both as far as was
	// looked.
	durable record.Index
	unread  error
}

// gap looks for what is behind the bytes at pos, which are no frame for a reason. It goes
// on to the end of the segment, unless enough is true for a frame that follows.
func (w *frameWalk) gap(cause error, enough func(gap) bool) gap {
	g := gap{pos: w.pos, cause: cause, end: w.extent}
	for pos := w.pos; ; {
		f, ok, err := findFrame(w.seg.file, w.seg.base, pos, w.extent)
		g.unread = cmp.Or(g.unread, err)
		if !ok {
			return g
		}
		pos = f.end()
		follows := true
		if w.chain != nil && w.seg.edition == 0 {
			if w.chain.stale(f) {
				continue
			}
			g.durable = max(g.durable, f.header.durable)
			follows = f.entry.Index() > w.chain.index
		}
		if follows && !g.followed && f.pos > w.pos {
			g.followed, g.end, g.index = true, f.pos, f.entry.Index()
		}
		if g.followed && enough(g) {
			return g
		}
	}
}

// resume goes on with the frame behind a gap, or comes to the end.
func (w *frameWalk) resume(g gap) { w.begin(g.end, w.scan.open) }

// torn reports whether a gap at the end of the log is what a crash leaves of appends that
// nobody was told of, or of a cut. last is the last entry in front of it, evidence that
// up to which the log was durable as far as is known elsewhere. The error is why it is not:
// then it is damage, and must not be cut.
func (g gap) torn(last, evidence record.Index) error {
	switch {
	case !isDamage(g.cause) || errors.Is(g.cause, errLost):
		return g.cause // nobody knows what the disk does not read; and another file is at fault
	case g.unread != nil: // a frame that knows more may be there
		return fmt.Errorf("%w; behind it: %w", g.cause, g.unread)
	case last < max(evidence, g.durable):
		return fmt.Errorf("entry %d, and the log was durable up to %d: %w", last+1, max(evidence, g.durable), g.cause)
	}
	return nil
}
