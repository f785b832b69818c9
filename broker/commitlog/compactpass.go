package commitlog

import (
	"errors"
	"math"
	"slices"

	"github.com/splashdam/splashdam/broker/compaction"
	"github.com/splashdam/splashdam/broker/record"
)

// compact does what the partitions that are due need, in as many passes as the keys take
// memory.
func (c *cleaning) compact() error {
	if len(c.judge.Compacted()) == 0 {
		return nil
	}
	if err := c.recallCompacted(); err != nil {
		return err
	}
	due, err := c.due()
	if err != nil {
		return err
	}
	for len(due) > 0 {
		done, err := c.pass(due)
		if errors.Is(err, errNoSpace) {
			c.NoSpace = true
			return nil
		}
		if err != nil {
			return err
		}
		for _, p := range done {
			c.compacted[p.Partition()] = compactedTo{p.End(), p.Horizon(), p.Partial()}
		}
		if err := c.noteCompacted(); err != nil {
			return err
		}
		// The last one may not be through, for want of room for its keys.
		n := len(done)
		if end := done[n-1].End(); end < due[n-1].End {
			n--
			due[n].From = end
		}
		due = due[n:]
	}
	return nil
}

// due finds the partitions that are to be compacted.
func (c *cleaning) due() (list []compaction.Dirt, err error) {
	partitions := c.judge.Compacted()
	for p := range c.compacted {
		if !slices.Contains(partitions, p) {
			delete(c.compacted, p)
		}
	}
	err = c.pinned(func(set *segmentSet) error {
		segments := c.cleanable(set)
		for _, p := range partitions {
			v := c.judge.Judge(p)
			if v.Compaction == nil || v.Closed {
				continue
			}
			d, ok, err := c.isDue(set, segments, p, v)
			if err != nil {
				return err
			}
			if ok {
				list = append(list, d)
			}
		}
		return nil
	})
	return list, err
}

func (c *cleaning) isDue(set *segmentSet, segments []*segment, p record.PartitionID, v Verdict) (compaction.Dirt, bool, error) {
	known, seen := c.compacted[p]
	if !seen {
		known.horizon = math.MaxInt64
	}
	d := compaction.NewDirt(p, *v.Compaction, v.Start, known.end, c.Now)
	err := walkIn(set, segments, p, v.Start, func(r row) bool {
		return d.Add(compaction.Extent{Base: r.base, Next: r.next(), Size: int64(r.size), MaxTime: r.maxTime, Transactional: record.OfTransaction(r.attrs)})
	})
	return d, d.Due(known.horizon), err
}

// walkIn calls do with the rows of a partition in some of the oldest segments, from
// an offset on, until it returns false.
func walkIn(set *segmentSet, segments []*segment, p record.PartitionID, from int64, do func(row) bool) error {
	v := view{set: set, partition: p, sealed: segments}
	return v.walk(from, do)
}

// pass compacts as many of the due partitions as have room in one map of keys. It
// returns how far it came with each.
func (c *cleaning) pass(due []compaction.Dirt) ([]*compaction.Pass, error) {
	var records int64
	for _, d := range due {
		records += d.Records
	}
	keys := compaction.NewKeys(records, c.KeyMapBytes)
	var parts []*compaction.Pass
	err := c.pinned(func(set *segmentSet) error {
		segments := c.cleanable(set)
		for i := range due {
			d := &due[i]
			p := compaction.NewPass(d, keys, c.compacted[d.Partition].partial)
			if d.Transactional {
				if err := c.readTransactions(set, segments, d, p); err != nil {
					return err
				}
				d.End = p.End() // no further in a next pass either
			}
			whole, err := c.readKeys(set, segments, d, p, len(parts) == 0)
			if err != nil {
				return err
			}
			if p.End() > d.From || whole {
				parts = append(parts, p)
			}
			if !whole {
				return nil
			}
		}
		return nil
	})
	if err == nil {
		err = c.rewriteCompacted(parts)
	}
	return parts, err
}

// readTransactions reads what the markers say up to p.End, and moves that in front of the
// first transaction of which it is not known how it ended.
func (c *cleaning) readTransactions(set *segmentSet, segments []*segment, d *compaction.Dirt, p *compaction.Pass) error {
	var failed error
	var buf []byte
	err := walkIn(set, segments, d.Partition, d.Start, func(r row) bool {
		if r.next() > p.End() {
			return false
		}
		if !record.OfTransaction(r.attrs) {
			return true
		}
		if buf, failed = c.load(set, r, buf); failed != nil {
			p.StopAt(r.base)
			return false
		}
		return p.AddTransactional(buf)
	})
	if isCorrupt(failed) {
		failed = nil // it ends in front of that batch
		p.KeepDeletes()
	}
	p.EndTransactions()
	return errors.Join(err, failed)
}

// readKeys tells the pass of the keys between d.From and its end. It reports false if there
// was no room for all of them; first is that there were none of another partition: then it
// comes behind one batch at least.
func (c *cleaning) readKeys(set *segmentSet, segments []*segment, d *compaction.Dirt, p *compaction.Pass, first bool) (whole bool, err error) {
	whole = true
	var failed error
	var buf []byte
	err = walkIn(set, segments, d.Partition, d.From, func(r row) bool {
		if r.next() > p.End() {
			return false
		}
		if buf, failed = c.load(set, r, buf); isCorrupt(failed) {
			failed = nil // nobody can read it any more: its keys have no say
			p.KeepDeletes()
			return true
		}
		if failed != nil {
			return false
		}
		whole = p.AddKeys(buf, first && r.base <= d.From)
		return whole
	})
	return whole, errors.Join(err, failed)
}

// load reads a batch into buf, or into a larger one.
func (c *cleaning) load(set *segmentSet, r row, buf []byte) ([]byte, error) {
	if err := c.Pace(int(r.size)); err != nil {
		return buf, err
	}
	return readLiving(set.holding(r.at), r, buf)
}
