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
	cold      Address // what lies in front of it is far behind the end
	partition record.PartitionID
	sealed    []*segment
	open      []memRows // of the other segments that have rows of the partition
	standing  directoryRow
	// holed is that some index was made around damage, openHoled that one in memory was.
	holed, openHoled bool
}

func (l *Log) view(p record.PartitionID) (view, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return view{}, ErrClosed
	}
	l.set.refs.Add(1)
	n := l.set.sealedPrefix()
	standing, _ := l.directory.get(p)
	v := view{set: l.set, partition: p, sealed: l.set.list[:n], standing: standing, holed: l.holed.Load()}
	if end := l.set.open().base + Address(l.set.open().size); end > l.coldDistance {
		v.cold = end - l.coldDistance
	}
	for _, s := range l.set.list[n:] {
		v.openHoled = v.openHoled || s.mem.holes > 0
		if rows := s.mem.of(p); !rows.empty() {
			v.open = append(v.open, rows)
		}
	}
	return v, nil
}

func (v *view) release() { v.set.release() }

// lost errors with a *CorruptionError if the offsets from next on up to base, which
// no row has, may be those of batches in damaged bytes. at is where the batch at
// base is, or any address behind all that it may be.
func (v *view) lost(next, base int64, at Address) error {
	_, before, err := v.firstSealed(func(e directoryRow) bool { return e.next > next })
	if err != nil {
		return err
	}
	// Where the partition came to stand as it did before the gap.
	from, _, err := v.firstSealed(func(e directoryRow) bool { return e.next >= before.next })
	if err != nil {
		return err
	}
	for i := from; i < len(v.set.list) && v.set.list[i].base <= at; i++ {
		s := v.set.list[i]
		if i < len(v.sealed) && s.holes() > 0 || i >= len(v.sealed) && v.openHoled {
			err := &CorruptionError{s.name(), s.base, damagef("offsets %d to %d of %v may have been in bytes that are damaged", next, base-1, v.partition)}
			if !s.door.knowsDamage(s.name()) { // the index was made before the start, and nobody knows where they are
				s.report(err, 1)
			}
			return err
		}
	}
	return nil
}

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
	return v.sealed[i].index.Load().standing(v.partition)
}

// walk calls do with the rows that hold offset or come behind it, in order, until
// it returns false.
func (v *view) walk(offset int64, do func(row) bool) error {
	offset = max(offset, 0)
	for !v.inOpen(offset) {
		i, _, err := v.firstSealed(func(e directoryRow) bool { return e.next > offset })
		if err != nil {
			return err
		}
		if i == len(v.sealed) {
			break
		}
		more, err := v.walkSealed(v.sealed[i], offset, do)
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
		for r := range rows.from(offset) {
			if !do(r) {
				return nil
			}
		}
	}
	return nil
}

// inOpen reports whether what holds offset, or comes behind it, is in segments whose
// index is in memory: so it is for all who read near the end.
func (v *view) inOpen(offset int64) bool { return len(v.open) > 0 && v.open[0].first().base <= offset }

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

// maxInflated bounds what a compressed batch may become when its timestamps are
// looked at, in bytes.
const maxInflated = 256 << 20

// OffsetForTime finds the first record at or behind start, in a batch that ends at
// or before end, whose time is ts or later (ms): its offset and its time, as
// ListOffsets wants them. ok is false if there is none. Where records cannot be
// read, since a client compressed something else, the batch's base offset and
// highest timestamp answer for them.
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
	var failed error
	err = v.walk(max(start, before.next), func(r row) bool {
		if r.next() > end {
			return false
		}
		if r.maxTime >= ts {
			offset, timestamp, ok, failed = v.firstRecord(r, start, ts)
		}
		return !ok && failed == nil
	})
	if err == nil {
		err = failed
	}
	if err != nil || !ok {
		return 0, 0, false, err
	}
	return offset, timestamp, true, nil
}

// firstRecord finds the first record of a batch that is at or behind start and of
// time ts or later.
func (v *view) firstRecord(r row, start, ts int64) (offset, timestamp int64, ok bool, err error) {
	reader := v.reader(nil, nil)
	reader.add(r)
	if reader.flush(); reader.err != nil {
		return 0, 0, false, reader.err
	}
	b := record.Batch(reader.dst)
	if b.IsLogAppendTime() {
		return max(start, r.base), r.maxTime, true, nil
	}
	err = b.Iterate(maxInflated, func(rec record.Record) bool {
		offset, timestamp = r.base+int64(rec.OffsetDelta), b.BaseTimestamp()+rec.TimestampDelta
		ok = offset >= start && timestamp >= ts
		return !ok
	})
	if err != nil {
		return max(start, r.base), r.maxTime, true, nil
	}
	return offset, timestamp, ok, nil
}

// MaxTimestamp finds the first record with the highest time (KIP-734) among the
// batches from the one that holds start on that end at or before end: its offset,
// or start if it lies before that, and its time.
// ok is false if there is none. As in OffsetForTime, a batch answers for records
// that cannot be read.
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
	var best row
	for _, begin := range []int64{max(start, before.next), start} {
		best, ok = row{maxTime: math.MinInt64}, false
		err = v.walk(begin, func(r row) bool {
			if r.next() > end {
				return false
			}
			if r.maxTime > best.maxTime {
				best, ok = r, true
			}
			return best.maxTime < highest
		})
		if err != nil {
			return 0, 0, false, err
		}
		if ok && best.maxTime == highest || begin == start {
			break
		}
	}
	if !ok {
		return 0, 0, false, nil
	}
	offset, timestamp, ok, err = v.firstRecord(best, best.base, best.maxTime)
	return max(start, offset), timestamp, ok, err
}
