package commitlog

import (
	"encoding/binary"
	"fmt"

	"github.com/splashdam/splashdam/broker/record"
)

// stagedSegment is a segment that is being received: what came, verified and framed,
// with its index, and what is not yet a whole entry.
type stagedSegment struct {
	*segment
	want       ShippedSegment
	generation uint32
	maxTerm    record.Term // the snapshot's
	standing   directory   // where the partitions stand behind what has come
	digest     Digest
	lastIndex  record.Index // of the entry that came last
	lastTerm   record.Term
	fresh      bool // begun for this very list

	pending []byte // of an entry that is not whole
	frames  frameWriter
	synced  int64  // how far the file is durable
	rows    []byte // of the directory
}

func (s *Stage) newSegment(d ShippedSegment, seg *segment) *stagedSegment {
	p := &stagedSegment{
		segment: seg, want: d, generation: s.generation, maxTerm: s.list.Term,
		standing: directory{s.directory.clone()}, lastIndex: d.First - 1,
		frames: frameWriter{file: seg.file, pos: segmentHeaderSize}, synced: segmentHeaderSize,
	}
	seg.size = segmentHeaderSize
	return p
}

// full reports whether all entries have come; of a segment that is sealed the
// directory follows.
func (p *stagedSegment) full() bool {
	if p.want.Sealed {
		return p.digest.Bytes >= p.want.Digest.Bytes
	}
	return p.lastIndex == p.want.Last
}

// admit errors with ErrShipment for an entry that does not follow the one before. It
// has passed Check.
func (p *stagedSegment) admit(e record.Entry) error {
	w := p.want
	var ok bool
	switch {
	case w.Edition > 0:
		ok = e.Rewritten() && e.Index() == w.Last
	default:
		ok = !e.Rewritten() && e.Index() == p.lastIndex+1 && e.Index() <= w.Last &&
			e.Term() > 0 && e.Term() >= p.lastTerm && e.Term() <= p.maxTerm &&
			(!e.Rolls() || e.Index() == w.Last)
	}
	if !ok {
		return fmt.Errorf("%w: entry %d of term %d behind entry %d of term %d in segment %d to %d of edition %d",
			ErrShipment, e.Index(), e.Term(), p.lastIndex, p.lastTerm, w.First, w.Last, w.Edition)
	}
	return nil
}

// index takes an entry that was admitted into the index, as the frame at the end.
func (p *stagedSegment) index(e record.Entry) error {
	if err := p.indexEntry(e, p.base+Address(p.size), p.standing); err != nil {
		return fmt.Errorf("%w: %w", ErrShipment, err)
	}
	p.digest = p.mem.digest
	p.lastIndex, p.lastTerm = e.Index(), e.Term()
	return nil
}

// write takes in the bytes that come next.
func (p *stagedSegment) write(b []byte) error {
	for len(b) > 0 {
		if p.full() {
			if uint64(len(p.rows)+len(b)) > p.want.directoryBytes() {
				return fmt.Errorf("%w: %d bytes behind segment %d to %d", ErrShipment, len(b), p.want.First, p.want.Last)
			}
			p.rows = append(p.rows, b...)
			break
		}
		e, rest, err := p.entry(b)
		if err != nil {
			return err
		}
		b = rest
		if e == nil {
			break
		}
		if err := e.Check(); err != nil {
			return fmt.Errorf("%w: %w", ErrShipment, err)
		}
		if err := p.admit(e); err != nil {
			return err
		}
		if err := p.append(e); err != nil {
			return err
		}
	}
	return p.flush()
}

// entry cuts the next entry off, nil if it is not whole yet. It holds no more memory
// than bytes have come.
func (p *stagedSegment) entry(b []byte) (e record.Entry, rest []byte, err error) {
	for {
		head := b
		if len(p.pending) > 0 {
			head = p.pending
		}
		need := record.EntryHeaderSize
		if len(head) >= need {
			need = int(binary.LittleEndian.Uint32(head[24:]))
			if left := p.want.Digest.Bytes - p.digest.Bytes; need < record.EntryHeaderSize || need > record.MaxEntrySize || p.want.Sealed && uint64(need) > left {
				return nil, nil, fmt.Errorf("%w: an entry of %d bytes behind entry %d", ErrShipment, need, p.lastIndex)
			}
			if len(p.pending) == 0 && len(b) >= need {
				return record.Entry(b[:need:need]), b[need:], nil
			}
			if len(p.pending) == need {
				e, p.pending = record.Entry(p.pending), nil
				return e, b, nil
			}
		}
		if len(b) == 0 {
			return nil, nil, nil
		}
		n := min(len(b), need-len(p.pending))
		p.pending = append(p.pending, b[:n]...)
		b = b[n:]
	}
}

// append frames an entry at the end of the segment.
func (p *stagedSegment) append(e record.Entry) error {
	if err := p.index(e); err != nil {
		return err
	}
	// Of what is received nothing counts before all of it is durable.
	durable := p.want.First - 1
	if p.want.Edition > 0 {
		durable = 0
	}
	p.frames.add(e, p.base+Address(p.size), p.generation, durable)
	p.size += frameSize(len(e))
	return nil
}

// flush writes the frames that wait.
func (p *stagedSegment) flush() error {
	p.frames.flush()
	if p.frames.err != nil {
		return fmt.Errorf("writing segment %s: %w", p.name(), p.frames.err)
	}
	return nil
}

// decodeDirectory reads the rows that came behind the entries. A partition that was
// closed may be missing; none stands in front of what the segment holds of it.
func (p *stagedSegment) decodeDirectory() ([]directoryRow, error) {
	rows := make([]directoryRow, 0, len(p.rows)/directoryRowSize)
	for b := p.rows; len(b) > 0; b = b[directoryRowSize:] {
		e := getDirectoryRow(b)
		if n := len(rows); n > 0 && e.partition <= rows[n-1].partition {
			return nil, fmt.Errorf("%w: directory of segment %d to %d: %v behind %v", ErrShipment, p.want.First, p.want.Last, e.partition, rows[n-1].partition)
		}
		if got, _ := p.standing.get(e.partition); e.next < got.next {
			return nil, fmt.Errorf("%w: directory of segment %d to %d: %v stands at %d, its last batch ends at %d", ErrShipment, p.want.First, p.want.Last, e.partition, e.next, got.next)
		}
		rows = append(rows, e)
	}
	return rows, nil
}
