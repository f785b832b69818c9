package commitlog

import (
	"fmt"
	"hash/crc32"
	"slices"
	"sync"

	"github.com/splashdam/splashdam/broker/record"
)

// Batches of a partition that lie near each other are read with one call: up to
// readSpan bytes, with up to readGap of other partitions' between two of them.
const (
	readSpan = 1 << 20
	readGap  = 8 << 10
)

var spans = sync.Pool{New: func() any { return new([]byte) }}

// Read appends whole batches of a partition to dst, verbatim: the one that holds
// offset, or the first behind it, and those that follow, while they end at or
// before end and are maxBytes together or less. With atLeastOne the first one comes
// whatever its size (KIP-74). Nothing to read is no error.
//
// Every batch is verified, all its bytes. The error is a *CorruptionError for one
// that is not what was appended, or where one may have been in bytes that are
// damaged; batches in front of it are returned without error first, and those
// behind it can be read from their own offsets. The partition holds offsets up to
// end. On error dst is returned as it was.
func (l *Log) Read(dst []byte, p record.PartitionID, offset, end int64, maxBytes int, atLeastOne bool) ([]byte, error) {
	v, err := l.view(p)
	if err != nil {
		return dst, err
	}
	defer v.release()
	run := v.run(dst)
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
		return run.add(r) && total < maxBytes
	})
	run.flush()
	switch {
	case run.err != nil:
		err = run.err
	case err == nil && lost == nil && v.holed && total == 0 && !full && next < end:
		err = v.lost(next, end, v.set.open().base)
	case err == nil:
		err = lost
	}
	if err != nil {
		l.noteDamage(err, 1)
	}
	if len(run.dst) > len(dst) {
		return run.dst, nil
	}
	return dst, err
}

// run collects neighbouring rows, then reads them at once.
type run struct {
	set  *segmentSet
	log  *Log
	cold Address // reads in front of it are
	dst  []byte
	err  error // the first; nothing is read any more
	seg  *segment
	rows []row
}

func (v *view) run(dst []byte) run { return run{set: v.set, log: v.log, cold: v.cold, dst: dst} }

// add takes one more row. It reports false once reading has failed.
func (u *run) add(r row) bool {
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
func (u *run) flush() {
	if u.err != nil || len(u.rows) == 0 {
		return
	}
	defer func() { u.rows = u.rows[:0] }()
	first, last := u.rows[0], u.rows[len(u.rows)-1]
	pos := int64(first.at - u.seg.base)
	if len(u.rows) == 1 {
		n := len(u.dst)
		u.dst = slices.Grow(u.dst, int(first.size))[:n+int(first.size)]
		if u.err = u.read(u.dst[n:], pos); u.err == nil {
			u.err = u.seg.verify(u.dst[n:], first)
		}
		if u.err != nil {
			u.dst = u.dst[:n]
		}
		return
	}
	pooled := spans.Get().(*[]byte)
	defer spans.Put(pooled)
	span := int(last.at - first.at + Address(last.size))
	*pooled = slices.Grow((*pooled)[:0], span)[:span]
	if u.read(*pooled, pos) != nil {
		// One bad sector must not cost its neighbours.
		for i := 0; i < len(u.rows) && u.err == nil; i++ {
			one := run{set: u.set, dst: u.dst, seg: u.seg, rows: u.rows[i : i+1]}
			one.flush()
			u.dst, u.err = one.dst, one.err
		}
		return
	}
	for _, r := range u.rows {
		b := (*pooled)[r.at-first.at:][:r.size]
		if u.err = u.seg.verify(b, r); u.err != nil {
			return
		}
		u.dst = append(u.dst, b...)
	}
}

func (u *run) read(b []byte, pos int64) error {
	if u.seg.base+Address(pos) < u.cold {
		return u.seg.readBy(u.log.cold.read, b, pos)
	}
	return u.seg.readBy(readFull, b, pos)
}

// verify checks a batch against its row. The batch's checksum covers the bytes from
// 21 on; the row has what lies before.
func (s *segment) verify(b record.Batch, r row) error {
	var err error
	first, rest, serr := record.SplitBatch(b)
	switch {
	case serr != nil:
		err = serr
	case len(rest) > 0:
		err = damagef("batch of %d bytes, the index says %d", len(first), r.size)
	case b.BaseOffset() != r.base || b.LeaderEpoch() != r.epoch || b.CRC() != r.crc:
		err = damagef("batch at offset %d of epoch %d with CRC %08x, the index says %d, %d, %08x", b.BaseOffset(), b.LeaderEpoch(), b.CRC(), r.base, r.epoch, r.crc)
	case crc32.Checksum(b[21:], castagnoli) != r.crc:
		err = damagef("batch at offset %d: CRC %08x, computed %08x", r.base, r.crc, crc32.Checksum(b[21:], castagnoli))
	default:
		return nil
	}
	return &CorruptionError{s.name(), r.at, err}
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
	e, err := set.holding(p.at).readEntry(i, p)
	if err == nil {
		return e, nil
	}
	l.mu.RLock()
	now, still := l.win.at(i)
	l.mu.RUnlock()
	if !still || now != p {
		return nil, fmt.Errorf("%w: %d was cut", ErrNoEntry, i)
	}
	l.noteDamage(err, int64(p.length()))
	return nil, err
}

func (s *segment) readEntry(i record.Index, p placed) (record.Entry, error) {
	e := make(record.Entry, p.length())
	if err := s.readBy(readFull, e, int64(p.at-s.base)+FrameHeaderSize); err != nil {
		return nil, fmt.Errorf("reading entry %d: %w", i, err)
	}
	err := e.Check()
	if err == nil && (e.Index() != i || e.Term() != p.term || e.Checksum() != p.checksum) {
		err = damagef("entry %d of term %d with checksum %08x, not %d, %d, %08x", e.Index(), e.Term(), e.Checksum(), i, p.term, p.checksum)
	}
	if err != nil {
		return nil, &CorruptionError{s.name(), p.at, err}
	}
	return e, nil
}
