package commitlog

import (
	"fmt"
	"hash/crc32"
	"slices"
	"sync"

	"github.com/splashdam/splashdam/broker/record"
)

// door is what all go through who read the segments of an open log: so each read is
// counted, each batch is verified, and all damage is told, in one way.
type door struct {
	knownDamage
	cold *coldReads
}

// readKind says how bytes come from the disk.
type readKind int

const (
	// readNear is for what is near the log's end: through the page cache.
	readNear readKind = iota
	// readFar is for what is far behind it (coldReads): few at a time, past the page cache.
	readFar
	// readThrough is for whole segments: past the page cache.
	readThrough
)

// read reads len(b) bytes at pos. What the disk does not give is damage: the error is a
// *CorruptionError, of which nobody was told yet.
func (s *segment) read(b []byte, pos int64, kind readKind) error {
	var err error
	switch kind {
	case readNear:
		err = readFull(s.file, b, pos)
	case readFar:
		err = s.door.cold.read(s.file, b, pos)
	case readThrough:
		err = readOnce(s.file, b, pos)
	}
	if err != nil { // only then is a name worth its making
		return unread(s.name(), s.base+Address(pos), len(b), err)
	}
	return nil
}

// readBatch reads a whole batch, as long as b is, and verifies it against its row.
func (s *segment) readBatch(b []byte, r row, kind readKind) error {
	err := s.read(b, int64(r.at-s.base), kind)
	if err == nil {
		err = s.verify(b, r)
	}
	if err != nil {
		s.report(err, int64(r.size))
	}
	return err
}

var spans = sync.Pool{New: func() any { return new([]byte) }}

// appendBatches reads neighbours at once and appends them to dst, up to the first that is
// not what was appended.
func (s *segment) appendBatches(dst []byte, grow func([]byte, int) []byte, rows []row, kind readKind) ([]byte, error) {
	first, last := rows[0], rows[len(rows)-1]
	if len(rows) == 1 {
		n := len(dst)
		dst = withRoom(dst, grow, int(first.size))[:n+int(first.size)]
		if err := s.readBatch(dst[n:], first, kind); err != nil {
			return dst[:n], err
		}
		return dst, nil
	}
	pooled := spans.Get().(*[]byte)
	defer spans.Put(pooled)
	span := int(last.at - first.at + Address(last.size))
	*pooled = slices.Grow((*pooled)[:0], span)[:span]
	if s.read(*pooled, int64(first.at-s.base), kind) != nil {
		// One bad sector must not cost its neighbours.
		var err error
		for i := 0; i < len(rows) && err == nil; i++ {
			dst, err = s.appendBatches(dst, grow, rows[i:i+1], kind)
		}
		return dst, err
	}
	total := 0
	for _, r := range rows {
		total += int(r.size)
	}
	dst = withRoom(dst, grow, total)
	for _, r := range rows {
		b := (*pooled)[r.at-first.at:][:r.size]
		if err := s.verify(b, r); err != nil {
			s.report(err, int64(r.size))
			return dst, err
		}
		dst = append(dst, b...)
	}
	return dst, nil
}

// withRoom is dst with room for n bytes more.
func withRoom(dst []byte, grow func([]byte, int) []byte, n int) []byte {
	if cap(dst)-len(dst) >= n {
		return dst
	}
	if grow == nil {
		return slices.Grow(dst, n)
	}
	return grow(dst, n)
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

// readEntry reads an entry of the Raft window and verifies it. Of its error nobody was told:
// the entry may have been cut meanwhile.
func (s *segment) readEntry(i record.Index, p placed) (record.Entry, error) {
	e := make(record.Entry, p.length())
	if err := s.read(e, int64(p.at-s.base)+FrameHeaderSize, readNear); err != nil {
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

// report tells of damage in a segment of the log, size bytes.
func (s *segment) report(err error, size int64) { s.door.noteDamage(err, size) }

// reportAt makes damage of what is wrong with the bytes between two positions, and tells of
// it.
func (s *segment) reportAt(from, to int64, err error) error {
	c := &CorruptionError{s.name(), s.base + Address(from), err}
	s.report(c, to-from)
	return c
}
