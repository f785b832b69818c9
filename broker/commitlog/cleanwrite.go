package commitlog

import (
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// errNoGain is a rewritten segment that would be longer than what it replaces.
var errNoGain = errors.New("it would be no shorter")

// errNoSpace is a rewritten segment that might fill the disk, which others need more.
var errNoSpace = errors.New("there is too little space on the disk for it")

// rewrittenEntry is the size at which an entry of a rewritten segment ends, in bytes.
const rewrittenEntry = 1 << 20

// rewrite replaces neighbours by one segment with what lives. In this order: the new
// file and its index are durable, and so are their names; the manifest names it; it
// is used; the old files are deleted.
func (c *cleaning) rewrite(old []surveyed) error {
	if err := c.tryRewrite(old); err != nil {
		return fmt.Errorf("rewriting segments %s to %s: %w", old[0].name(), old[len(old)-1].name(), err)
	}
	c.Rewritten += len(old)
	return nil
}

func (c *cleaning) tryRewrite(old []surveyed) error {
	m := old[0].segmentMeta
	m.edition++
	m.last = old[len(old)-1].last
	free, err := c.fs.Free(c.dir)
	if err != nil {
		return err
	}
	if free-c.MinFree < liveOf(old) {
		return errNoSpace
	}
	s, err := c.write(m, old)
	if err != nil {
		var syncing *syncError
		if errors.As(err, &syncing) { // of the directory, on which others rely
			return c.fail("writing "+m.name(), err)
		}
		return errors.Join(err, c.discard(m))
	}
	err = c.replace(change{kind: replaced, generation: s.generation, edition: s.edition, first: s.first, last: s.last, size: s.size}, old, s)
	if err != nil && s.refs.Load() == 0 { // not in use
		s.refs.Store(1)
		s.release()
		if c.Fenced() == nil { // else the manifest may name it
			err = errors.Join(err, c.discard(m))
		}
	}
	return err
}

// write makes the files of a segment with what lives of old ones, and opens it.
func (c *cleaning) write(m segmentMeta, old []surveyed) (_ *segment, err error) {
	name := path.Join(c.dir, m.name())
	if err := removeIfThere(c.fs, name); err != nil {
		return nil, err
	}
	f, err := c.fs.Create(name)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	var segments []*segment
	for _, s := range old {
		segments = append(segments, s.segment)
	}
	w := &segmentWriter{file: f, pace: c.Pace, meta: m, limit: int64(c.behind(m.last) - m.base)}
	err = replaceFile(c.fs, c.dir, indexName(m.name()), func(index vfs.File) error {
		w.index = newIndexWriter(index)
		if err := c.copyLiving(w, segments); err != nil {
			return err
		}
		return w.finish()
	})
	if err != nil {
		return nil, err
	}
	x, err := openIndex(c.fs, c.dir, w.meta, c.cache)
	if err != nil {
		return nil, err
	}
	s := &segment{segmentMeta: w.meta, file: f}
	s.setIndex(x)
	return s, nil
}

// behind is the base address of the segment behind a sealed one.
func (l *Log) behind(last record.Index) Address {
	l.mu.RLock()
	defer l.mu.RUnlock()
	i := slices.IndexFunc(l.set.list, func(s *segment) bool { return s.first > last })
	return l.set.list[i].base
}

// copyLiving writes what lives of neighbouring segments, and where every partition stands
// behind them.
func (c *cleaning) copyLiving(w *segmentWriter, segments []*segment) error {
	if err := c.copyBatches(w, segments); err != nil {
		return err
	}
	return c.copyDirectory(w, segments[len(segments)-1])
}

// copyBatches writes the living batches by partition and offset, so that reading a
// partition later is reading on.
func (c *cleaning) copyBatches(w *segmentWriter, segments []*segment) error {
	rows := c.living(segments)
	var buf []byte
	for {
		s, ok, err := rows.next()
		if err != nil {
			return err
		}
		if !ok {
			return w.flush()
		}
		if err := c.Pace(2 * int(rows.row.size)); err != nil {
			return err
		}
		if buf, err = readLiving(s, rows.row, buf); err != nil {
			return err
		}
		b, err := c.filter(rows.partition, buf)
		if err != nil {
			return err
		}
		if b == nil {
			continue
		}
		if err := w.add(rows.partition, b); err != nil {
			return err
		}
	}
}

// filter is what stays of a batch by the compaction that is going on.
func (c *cleaning) filter(p record.PartitionID, b record.Batch) (record.Batch, error) {
	if f := c.filters[p]; f != nil {
		return f.Filter(b)
	}
	return b, nil
}

func (c *cleaning) copyDirectory(w *segmentWriter, from *segment) error {
	scan := from.index.Load().scanDirectory(c.Pace)
	for {
		b, err := scan.read()
		if err != nil || b == nil {
			return err
		}
		e := getDirectoryRow(b)
		if v := c.judge.Judge(e.partition); v.Closed {
			continue // its id is never given to another
		}
		if err := w.index.addDirectoryRow(e); err != nil {
			return err
		}
	}
}

// readLiving reads a batch for the cleaner, into buf or into a larger one.
func readLiving(s *segment, r row, buf []byte) ([]byte, error) {
	buf = slices.Grow(buf[:0], int(r.size))[:r.size]
	err := s.readBatch(buf, r, readThrough)
	if isCorrupt(err) {
		s.badBatch.Store(true)
	}
	return buf, err
}

// segmentWriter writes a rewritten segment and its index.
type segmentWriter struct {
	file    vfs.File
	index   *indexWriter
	pace    func(int) error
	meta    segmentMeta
	limit   int64 // of the file, in bytes
	pos     int64 // written so far
	builder record.EntryBuilder
	frame   []byte
}

// add takes one more batch, whose bytes are copied.
func (w *segmentWriter) add(p record.PartitionID, b record.Batch) error {
	if w.builder.Parts() > 0 && w.builder.Size()+record.PartHeaderSize+len(b) > rewrittenEntry {
		if err := w.flush(); err != nil {
			return err
		}
	}
	at := max(w.pos, segmentHeaderSize) + FrameHeaderSize + int64(w.builder.Size()) + record.PartHeaderSize
	w.builder.Add(record.KindBatch, p, b)
	return w.index.addRow(p, rowOf(b, w.meta.base+Address(at)))
}

// flush writes the entry that was begun.
func (w *segmentWriter) flush() error {
	if w.pos == 0 {
		if _, err := w.file.WriteAt(w.meta.header(), 0); err != nil {
			return err
		}
		w.pos = segmentHeaderSize
	}
	if w.builder.Parts() == 0 {
		return nil
	}
	e := w.builder.FinishRewritten(w.meta.last)
	w.frame = appendFrame(w.frame[:0], w.meta.base+Address(w.pos), w.meta.generation, 0, e)
	if w.pos+int64(len(w.frame)) > w.limit {
		return errNoGain
	}
	if _, err := w.file.WriteAt(w.frame, w.pos); err != nil {
		return err
	}
	w.pos += int64(len(w.frame))
	w.index.digest.add(e)
	w.builder.Reset()
	return nil
}

// finish makes the segment's file durable and ends the index, which its caller does.
func (w *segmentWriter) finish() error {
	w.meta.size = w.pos
	if err := w.file.Sync(); err != nil {
		return err
	}
	return w.index.finish(w.meta)
}

// removeIfThere deletes a file, which may be gone already.
func removeIfThere(fsys vfs.FS, name string) error {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, vfs.ErrNotExist) {
		return err
	}
	return nil
}
