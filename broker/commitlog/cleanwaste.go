package commitlog

import (
	"math"

	"github.com/splashdam/splashdam/broker/record"
)

// waste counts what could be cleaned if it were sealed and behind two snapshots. What
// waits for something else, a shipment, is not counted.
func (c *cleaning) waste(set *segmentSet) error {
	c.mu.RLock()
	old := len(c.coveredTo(set, math.MaxInt64))
	c.mu.RUnlock()
	for i, s := range set.list[old:] {
		var t tally
		var err error
		if s.index.Load() != nil {
			err = c.tallySealed(s, &t)
		} else {
			c.tallyInMemory(s, &t)
		}
		if err != nil {
			return err
		}
		c.mu.RLock()
		waste := s.size - segmentHeaderSize - t.live
		c.mu.RUnlock()
		if old+i == len(set.list)-1 {
			c.OpenWaste, c.OpenOverdue = waste, t.overdue
		} else {
			c.SealedWaste += waste
			c.SealedOverdue = c.SealedOverdue || t.overdue
		}
	}
	return nil
}

// tally is what a segment holds that stays, in bytes, and whether something in it is to
// be compacted at once.
type tally struct {
	live    int64
	overdue bool
}

func (t *tally) add(v *Verdict, r row, now int64) {
	switch k := v.Compaction; {
	case !v.lives(r):
	case k == nil || k.Fresh(r.maxTime, now):
		t.live += record.PartHeaderSize + int64(r.size)
	default:
		t.overdue = t.overdue || k.Overdue(r.maxTime, now)
	}
}

func (c *cleaning) tallySealed(s *segment, t *tally) error {
	rows := c.living([]*segment{s})
	for {
		_, ok, err := rows.next()
		if err != nil || !ok {
			return err
		}
		t.add(&rows.verdict, rows.row, c.Now)
	}
}

// tallyInMemory is about a segment that is not sealed. What is not yet committed has not
// been judged, and counts as dead for a moment.
func (c *cleaning) tallyInMemory(s *segment, t *tally) {
	c.mu.RLock()
	var rows rowList
	var numbers byPartition[rowNumbers]
	if s.mem != nil {
		rows, numbers = s.mem.rows, s.mem.numbers.clone()
	}
	c.mu.RUnlock()
	for p, n := range numbers.all() {
		v := c.judge.Judge(p)
		for r := range n.in(rows).all() {
			t.add(&v, r, c.Now)
		}
	}
}
