package commitlog

import (
	"fmt"

	"github.com/splashdam/splashdam/broker/record"
)

// Batches of a partition that lie near each other are read with one call: up to
// readSpan bytes, with up to readGap of other partitions' between two of them.
const (
	readSpan = 1 << 20
	readGap  = 8 << 10
)

// Read appends whole batches of a partition to dst, for which grow makes room
// (slices.Grow does if it is nil), verbatim: the one that holds
// offset, or the first behind it, and those that follow, while they end at or
// before end and are maxBytes together or less. With atLeastOne the first one comes
// whatever its size (KIP-74). Nothing to read is no error.
//
// Every batch is verified, all its bytes. The error is a *CorruptionError for one
// that is not what was appended, or where one may have been in bytes that are
// damaged; batches in front of it are returned without error first, and those
// behind it can be read from their own offsets. The partition holds offsets up to
// end. On error dst is returned as it was.
func (l *Log) Read(dst []byte, grow func(dst []byte, n int) []byte, p record.PartitionID, offset, end int64, maxBytes int, atLeastOne bool) ([]byte, error) {
	v, err := l.view(p)
	if err != nil {
		return dst, err
	}
	defer v.release()
	reader := v.reader(dst, grow)
	total, next := 0, max(offset, 0)
	full := false
	var lost error
	err = v.walk(offset, func(r row) bool {
		if r.base > next && v.holed {
			if lost = v.lost(next, r.base, r.at); lost != nil {
				return false
			}
		}
		if full = r.next() > end || total+int(r.size) > maxBytes && (total > 0 || !atLeastOne); full {
			return false
		}
		total, next = total+int(r.size), r.next()
		return reader.add(r) && total < maxBytes
	})
	reader.flush()
	switch {
	case reader.err != nil:
		err = reader.err
	case err == nil && lost == nil && v.holed && total == 0 && !full && next < end:
		err = v.lost(next, end, v.set.open().base)
	case err == nil:
		err = lost
	}
	if len(reader.dst) > len(dst) {
		return reader.dst, nil
	}
	return dst, err
}

// batchReader collects neighbouring rows, then reads them at once.
type batchReader struct {
	set  *segmentSet
	cold Address // reads in front of it are
	dst  []byte
	grow func(dst []byte, n int) []byte
	err  error // the first; nothing is read any more
	seg  *segment
	rows []row
}

func (v *view) reader(dst []byte, grow func([]byte, int) []byte) batchReader {
	return batchReader{set: v.set, cold: v.cold, dst: dst, grow: grow}
}

// add takes one more row. It reports false once reading has failed.
func (u *batchReader) add(r row) bool {
	if n := len(u.rows); n > 0 {
		end := u.rows[n-1].at + Address(u.rows[n-1].size)
		near := r.at >= end && r.at-end <= readGap && r.at+Address(r.size)-u.rows[0].at <= readSpan
		if !near || u.set.holding(r.at) != u.seg {
			u.flush()
		}
	}
	if u.err != nil {
		return false
	}
	if len(u.rows) == 0 {
		u.seg = u.set.holding(r.at)
	}
	u.rows = append(u.rows, r)
	return true
}

// flush reads what was collected and appends the batches.
func (u *batchReader) flush() {
	if u.err != nil || len(u.rows) == 0 {
		return
	}
	kind := readNear
	if u.rows[0].at < u.cold {
		kind = readFar
	}
	u.dst, u.err = u.seg.appendBatches(u.dst, u.grow, u.rows, kind)
	u.rows = u.rows[:0]
}

// Entry reads an entry of the Raft window, whole and verified. It errors with
// ErrNoEntry if the index is not in the window, or is cut meanwhile, and with a
// *CorruptionError if it is not what was appended.
func (l *Log) Entry(i record.Index) (record.Entry, error) {
	l.mu.RLock()
	p, ok := l.win.at(i)
	set, closed := l.set, l.closed
	if ok && !closed {
		set.refs.Add(1)
	}
	l.mu.RUnlock()
	if closed {
		return nil, ErrClosed
	}
	if !ok {
		return nil, fmt.Errorf("%w: %d", ErrNoEntry, i)
	}
	defer set.release()
	s := set.holding(p.at)
	e, err := s.readEntry(i, p)
	if err == nil {
		return e, nil
	}
	l.mu.RLock()
	now, still := l.win.at(i)
	l.mu.RUnlock()
	if !still || now != p {
		return nil, fmt.Errorf("%w: %d was cut", ErrNoEntry, i)
	}
	s.report(err, frameSize(p.length()))
	return nil, err
}
