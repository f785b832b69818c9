package commitlog

import (
	"math"
	"sort"

	"github.com/splashdam/splashdam/broker/record"
)

// view is one partition as a reader sees it at one moment. It holds the segments
// until it is released.
type view struct {
	set       *segmentSet
	partition record.PartitionID
	sealed    []*segment
	open      [][]row // of the other segments that have rows of the partition
	standing  directoryRow
}

func (l *Log) view(p record.PartitionID) (view, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return view{}, ErrClosed
	}
	l.set.refs.Add(1)
	n := l.set.sealedPrefix()
	v := view{set: l.set, partition: p, sealed: l.set.list[:n], standing: l.directory[p]}
	for _, s := range l.set.list[n:] {
		if rows := s.mem.rows[p]; len(rows) > 0 {
			v.open = append(v.open, rows)
		}
	}
	return v, nil
}

func (v *view) release() { v.set.release() }

// firstSealed is the number of the first sealed segment behind which the partition
// stands so that ok is true; ok must stay true from there on. It is len(v.sealed)
// if there is none. before is where the partition stands in front of that segment.
func (v *view) firstSealed(ok func(directoryRow) bool) (n int, before directoryRow, err error) {
	n = sort.Search(len(v.sealed), func(i int) bool {
		e, e1 := v.standingBehind(i)
		if e1 != nil {
			err = e1
			return true
		}
		return ok(e)
	})
	if err == nil && n > 0 {
		before, err = v.standingBehind(n - 1)
	}
	return n, before, err
}

func (v *view) standingBehind(i int) (directoryRow, error) {
	e, err := v.sealed[i].index.Load().standing(v.partition)
	if err != nil {
		suspectIndex(v.sealed[i], err)
	}
	return e, err
}

// walk calls do with the rows that hold offset or come behind it, in order, until
// it returns false.
func (v *view) walk(offset int64, do func(row) bool) error {
	offset = max(offset, 0)
	for {
		i, _, err := v.firstSealed(func(e directoryRow) bool { return e.next > offset })
		if err != nil {
			return err
		}
		if i == len(v.sealed) {
			break
		}
		more, err := v.walkSealed(v.sealed[i], offset, do)
		if err != nil {
			suspectIndex(v.sealed[i], err)
		}
		if err != nil || !more {
			return err
		}
		e, err := v.standingBehind(i)
		if err != nil {
			return err
		}
		offset = e.next
	}
	for _, rows := range v.open {
		for _, r := range from(rows, offset) {
			if !do(r) {
				return nil
			}
		}
	}
	return nil
}

// walkSealed is walk inside one segment; more is that do never returned false.
func (v *view) walkSealed(s *segment, offset int64, do func(row) bool) (more bool, err error) {
	x := s.index.Load()
	i, err := x.find(v.partition, offset)
	if err != nil {
		return false, err
	}
	for ; i < x.rows; i++ {
		p, r, err := x.row(i)
		if err != nil {
			return false, err
		}
		if p != v.partition {
			break
		}
		if !do(r) {
			return false, nil
		}
	}
	return true, nil
}

// OffsetForTime finds, among the batches at or behind start that end at or before
// end, the first one with a record of time ts or later (ms): its base offset, or
// start if that lies inside it, and its highest timestamp. Which record of the
// batch it is, only the batch itself tells. ok is false if there is none.
func (l *Log) OffsetForTime(p record.PartitionID, ts, start, end int64) (offset, timestamp int64, ok bool, err error) {
	v, err := l.view(p)
	if err != nil {
		return 0, 0, false, err
	}
	defer v.release()
	// The highest timestamp so far never falls from segment to segment.
	_, before, err := v.firstSealed(func(e directoryRow) bool { return e.maxTime >= ts })
	if err != nil {
		return 0, 0, false, err
	}
	err = v.walk(max(start, before.next), func(r row) bool {
		if r.next() > end {
			return false
		}
		if r.maxTime >= ts {
			offset, timestamp, ok = max(start, r.base), r.maxTime, true
		}
		return !ok
	})
	if err != nil {
		return 0, 0, false, err
	}
	return offset, timestamp, ok, nil
}

// MaxTimestamp finds, among the batches at or behind start that end at or before
// end, the first one with the highest timestamp (KIP-734): its base offset, or
// start if that lies inside it, and the timestamp. ok is false if there is none.
func (l *Log) MaxTimestamp(p record.PartitionID, start, end int64) (offset, timestamp int64, ok bool, err error) {
	v, err := l.view(p)
	if err != nil {
		return 0, 0, false, err
	}
	defer v.release()
	highest := v.standing.maxTime
	_, before, err := v.firstSealed(func(e directoryRow) bool { return e.maxTime >= highest })
	if err != nil {
		return 0, 0, false, err
	}
	// Mostly the highest of all lies between start and end. Else all are looked at.
	for _, begin := range []int64{max(start, before.next), start} {
		timestamp = math.MinInt64
		err = v.walk(begin, func(r row) bool {
			if r.next() > end {
				return false
			}
			if r.maxTime > timestamp {
				offset, timestamp, ok = max(start, r.base), r.maxTime, true
			}
			return timestamp < highest
		})
		if err != nil {
			return 0, 0, false, err
		}
		if ok && timestamp == highest || begin == start {
			break
		}
	}
	if !ok {
		return 0, 0, false, nil
	}
	return offset, timestamp, true, nil
}
