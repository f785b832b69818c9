package commitlog

import (
	"errors"
	"math"
	"slices"

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
		if errors.Is(err, errNoRoom) {
			c.NoRoom = true
			return nil
		}
		if err != nil {
			return err
		}
		for _, p := range done {
			c.compacted[p.partition] = compactedTo{p.end, p.horizon, p.keepDeletes}
		}
		if err := c.noteCompacted(); err != nil {
			return err
		}
		// The last one may not be through, for want of room for its keys.
		n := len(done)
		if end := done[n-1].end; end < due[n-1].end {
			n--
			due[n].from = end
		}
		due = due[n:]
	}
	return nil
}

// duePartition is one that is to be compacted, from where it is clean to where it may be.
type duePartition struct {
	partition record.PartitionID
	Compaction
	start, from, end int64
	records          int64 // between from and end, at most
	transactional    bool
}

// due finds the partitions that are to be compacted.
func (c *cleaning) due() (list []duePartition, err error) {
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

func (c *cleaning) isDue(set *segmentSet, segments []*segment, p record.PartitionID, v Verdict) (duePartition, bool, error) {
	known, seen := c.compacted[p]
	if !seen {
		known.horizon = math.MaxInt64
	}
	d := duePartition{partition: p, Compaction: *v.Compaction, start: v.Start, from: max(v.Start, known.end)}
	d.end = d.from
	var clean, dirty int64
	oldest := int64(-1) // of the first dirty batch that has a time
	err := walkIn(set, segments, p, v.Start, func(r row) bool {
		if r.next() > d.Stable || d.MinLag > 0 && r.maxTime > c.Now-d.MinLag {
			return false
		}
		d.transactional = d.transactional || record.OfTransaction(r.attrs)
		if r.base < d.from {
			clean += int64(r.size)
			return true
		}
		if oldest < 0 {
			oldest = r.maxTime
		}
		dirty += int64(r.size)
		d.records += int64(r.count)
		d.end = r.next()
		return true
	})
	due := dirty > 0 && (float64(dirty) > d.MinDirtyRatio*float64(clean+dirty) || oldest >= 0 && oldest < c.Now-d.MaxLag)
	return d, due || clean > 0 && c.Now >= known.horizon, err
}

// walkIn calls do with the rows of a partition in some of the oldest segments, from
// an offset on, until it returns false.
func walkIn(set *segmentSet, segments []*segment, p record.PartitionID, from int64, do func(row) bool) error {
	v := view{set: set, partition: p, sealed: segments}
	return v.walk(from, do)
}

// pass compacts as many of the due partitions as have room in one map of keys. It
// returns how far it came with each.
func (c *cleaning) pass(due []duePartition) ([]*compacting, error) {
	var records int64
	for _, d := range due {
		records += d.records
	}
	keys := newKeyMap(records, c.KeyMapBytes)
	var parts []*compacting
	err := c.pinned(func(set *segmentSet) error {
		segments := c.cleanable(set)
		for i := range due {
			d := &due[i]
			p := &compacting{Compaction: d.Compaction, partition: d.partition, keys: keys, end: d.end, now: c.Now, horizon: math.MaxInt64, keepDeletes: c.compacted[d.partition].partial}
			if d.transactional {
				if err := c.readTransactions(set, segments, d, p); err != nil {
					return err
				}
				d.end = p.end // no further in a next pass either
			}
			whole, err := c.readKeys(set, segments, d, p, len(parts) == 0)
			if err != nil {
				return err
			}
			if p.end > d.from || whole {
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

// readTransactions reads what the markers say up to p.end, and moves that in front of the
// first transaction of which it is not known how it ended.
func (c *cleaning) readTransactions(set *segmentSet, segments []*segment, d *duePartition, p *compacting) error {
	p.txns = newTransactions()
	var failed error
	var buf []byte
	err := walkIn(set, segments, d.partition, d.start, func(r row) bool {
		if r.next() > p.end {
			return false
		}
		if !record.OfTransaction(r.attrs) {
			return true
		}
		var more bool
		if buf, failed = c.load(set, r, buf); failed == nil {
			more = p.txns.add(buf)
		}
		if !more {
			p.end = min(p.end, r.base)
		}
		return more
	})
	if isCorrupt(failed) {
		failed = nil // it ends in front of that batch
		p.keepDeletes = true
	}
	p.end = min(p.end, p.txns.end())
	return errors.Join(err, failed)
}

// readKeys puts the keys of the records between d.from and p.end into the map. If it is
// full before, it reports false and moves p.end to where it came; first is that the map was
// empty: then it comes behind one batch at least, of whose keys those count that fit, and
// the partition's delete markers stay, for they may be of the others.
func (c *cleaning) readKeys(set *segmentSet, segments []*segment, d *duePartition, p *compacting, first bool) (whole bool, err error) {
	whole = true
	var failed error
	var buf []byte
	err = walkIn(set, segments, d.partition, d.from, func(r row) bool {
		if r.next() > p.end {
			return false
		}
		if buf, failed = c.load(set, r, buf); failed != nil {
			if isCorrupt(failed) {
				failed = nil // nobody can read it any more: its keys have no say
				p.keepDeletes = true
				return true
			}
			return false
		}
		b := record.Batch(buf)
		if b.IsControl() || b.IsTransactional() && p.txns.aborted(b.ProducerID(), r.base) {
			return true
		}
		err := b.Iterate(maxInflated, func(rec record.Record) bool {
			whole = rec.Key == nil || p.keys.put(d.partition, rec.Key, r.base+int64(rec.OffsetDelta))
			return whole
		})
		if err != nil {
			p.keepDeletes = true // it stays as it is, and its keys have no say
		}
		if !whole {
			p.end = r.base
			if first && r.base <= d.from {
				p.end, p.keepDeletes = r.next(), true
			}
		}
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
