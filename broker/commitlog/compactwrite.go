package commitlog

import (
	"errors"

	"github.com/splashdam/splashdam/broker/compaction"
	"github.com/splashdam/splashdam/broker/record"
)

// rewriteCompacted rewrites the segments in which something changes, neighbours as one,
// the oldest first: a delete marker must not go before what it hides.
func (c *cleaning) rewriteCompacted(parts []*compaction.Pass) error {
	c.filters = make(map[record.PartitionID]*compaction.Pass, len(parts))
	for _, p := range parts {
		c.filters[p.Partition()] = p
	}
	defer func() { c.filters = nil }()
	return c.pinned(func(set *segmentSet) error {
		var group []surveyed
		var live int64
		flush := func() error {
			defer func() { group, live = nil, 0 }()
			if len(group) == 0 {
				return nil
			}
			return c.rewriteFiltered(group, parts)
		}
		for _, s := range c.cleanable(set) {
			changes := false
			var err error
			if s.badBatch.Load() || s.holes() > 0 {
				keepDeletes(parts)
			} else if changes, err = c.changes(set, s, parts); isCorrupt(err) {
				keepDeletes(parts)
				changes, err = false, nil
			}
			if err != nil {
				return err
			}
			if !changes || live+s.size > c.SegmentSize {
				if err := flush(); err != nil {
					return err
				}
			}
			if changes {
				group, live = append(group, surveyed{segment: s, live: s.size, usable: true}), live+s.size
			}
		}
		return flush()
	})
}

func keepDeletes(parts []*compaction.Pass) {
	for _, p := range parts {
		p.KeepDeletes()
	}
}

// rewriteFiltered rewrites neighbours. If nothing is gained that way it tries without
// what makes batches longer.
func (c *cleaning) rewriteFiltered(group []surveyed, parts []*compaction.Pass) error {
	err := c.rewrite(group)
	if errors.Is(err, errNoGain) {
		for _, p := range parts {
			p.MayGrow(false)
		}
		err = c.rewrite(group)
		for _, p := range parts {
			p.MayGrow(true)
		}
	}
	if errors.Is(err, errNoGain) || isCorrupt(err) {
		keepDeletes(parts)
		return nil
	}
	return err
}

// changes reports whether the filters change anything in a segment.
func (c *cleaning) changes(set *segmentSet, s *segment, parts []*compaction.Pass) (changes bool, err error) {
	var buf []byte
	for _, p := range parts {
		var failed error
		err := walkIn(set, []*segment{s}, p.Partition(), c.judge.Judge(p.Partition()).Start, func(r row) bool {
			if r.next() > p.End() {
				return false
			}
			var out record.Batch
			if buf, failed = c.load(set, r, buf); failed == nil {
				out, failed = p.Filter(buf)
			}
			changes = failed == nil && !sameBytes(out, buf)
			return failed == nil && !changes
		})
		if err := errors.Join(err, failed); err != nil || changes {
			return changes, err
		}
	}
	return false, nil
}

// sameBytes reports whether two slices are one.
func sameBytes(a, b []byte) bool { return len(a) == len(b) && len(a) > 0 && &a[0] == &b[0] }
