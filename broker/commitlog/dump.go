package commitlog

import (
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// FrameInfo describes one frame of a segment file, or bytes that are none: then Err
// says why, and only Address and Size are set.
type FrameInfo struct {
	Address    Address
	Size       int64 // bytes in the file, header and padding included
	Generation uint32
	Durable    record.Index
	Index      record.Index
	Term       record.Term
	Time       int64 // the leader's clock, ms
	Rolls      bool
	Parts      []PartInfo
	Err        error
}

// PartInfo describes one part of an entry. What only batches have is zero for
// others.
type PartInfo struct {
	Kind         record.Kind
	Partition    record.PartitionID
	Size         int // bytes
	BaseOffset   int64
	Records      int32
	MaxTimestamp int64 // ms
	Err          error // a batch that is not sound
}

// Dump calls do for every frame of a segment file, in order. Bytes that are not a
// frame are one call with Err set, and Dump goes on with the next frame behind
// them; what the disk does not read is no frame either. Zeros up to the end of the file
// are room, and no call. It reads the file only and needs no log to be open. It returns
// what do returns, ErrFutureVersion, a *CorruptionError for a file that does not begin
// as a segment, or what the disk said when the file was opened.
func Dump(fsys vfs.FS, name string, do func(FrameInfo) error) error {
	f, err := fsys.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	m, size, err := readSegmentHeader(f, path.Base(name))
	if isDamage(err) {
		return &CorruptionError{path.Base(name), m.base, err}
	}
	if err != nil {
		return err
	}
	s := &segment{segmentMeta: m, file: f}
	s.size = size
	w, err := s.walk(nil, true)
	if err != nil {
		return err
	}
	for {
		f, err := w.next()
		switch {
		case err == nil:
			err = do(describe(f, m.base))
		case err == io.EOF:
			return nil
		case !errors.Is(err, ErrFutureVersion):
			g := w.gap(err, func(gap) bool { return true })
			err = do(FrameInfo{Address: w.at(), Size: g.end - g.pos, Err: err})
			w.resume(g)
		}
		if err != nil {
			return err
		}
	}
}

func describe(f frame, base Address) FrameInfo {
	e := f.entry
	info := FrameInfo{
		Address:    base + Address(f.pos),
		Size:       frameSize(len(e)),
		Generation: f.header.generation,
		Durable:    f.header.durable,
		Index:      e.Index(),
		Term:       e.Term(),
		Time:       e.Time(),
		Rolls:      e.Rolls(),
	}
	e.Each(func(_ int, p record.Part) bool {
		part := PartInfo{Kind: p.Kind, Partition: p.Partition, Size: len(p.Bytes)}
		if p.Kind == record.KindBatch {
			b := record.Batch(p.Bytes)
			if part.Err = b.ValidateStored(); len(b) >= record.BatchHeaderSize {
				part.BaseOffset, part.Records, part.MaxTimestamp = b.BaseOffset(), b.Records(), b.MaxTimestamp()
			}
		}
		info.Parts = append(info.Parts, part)
		return true
	})
	return info
}

// String is the frame on one line.
func (i FrameInfo) String() string {
	if i.Err != nil {
		return fmt.Sprintf("%s %d bytes: %v", i.Address, i.Size, i.Err)
	}
	return fmt.Sprintf("%s entry %d term %d generation %d durable %d, %d parts, %d bytes", i.Address, i.Index, i.Term, i.Generation, i.Durable, len(i.Parts), i.Size)
}
