package commitlog

import (
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// indexWriter writes an index block by block: all rows, then the directory, each in
// their order, and last the head. It holds indexWriteBuffer bytes, however long the
// index is.
type indexWriter struct {
	file       vfs.File
	buf        []byte // whole blocks; the last one is being filled
	pos        int64  // of buf in the file
	number     uint32 // of the last block
	kind       blockKind
	filled     int // rows in the last block
	rows, dirs int64
	digest     Digest // of the segment's entries, the caller's
	holes      uint32 // the caller's
}

const indexWriteBuffer = 64 * blockSize

func newIndexWriter(f vfs.File) *indexWriter {
	return &indexWriter{file: f, buf: make([]byte, blockSize, indexWriteBuffer), kind: headBlock}
}

func (w *indexWriter) addRow(p record.PartitionID, r row) error {
	b, err := w.slot(rowBlock, rowSize, rowsPerBlock)
	if err == nil {
		putRow(b, p, r)
		w.rows++
	}
	return err
}

func (w *indexWriter) addDirectoryRow(e directoryRow) error {
	b, err := w.slot(directoryBlock, directoryRowSize, dirRowsPerBlock)
	if err == nil {
		putDirectoryRow(b, e)
		w.dirs++
	}
	return err
}

// slot is where the next row goes, in a new block if the last one is full or of
// another kind.
func (w *indexWriter) slot(kind blockKind, size, most int) ([]byte, error) {
	if w.kind != kind || w.filled == most {
		w.closeBlock()
		if len(w.buf) == indexWriteBuffer {
			if err := w.flush(); err != nil {
				return nil, err
			}
		}
		w.buf = w.buf[:len(w.buf)+blockSize]
		clear(w.buf[len(w.buf)-blockSize:])
		w.kind, w.filled, w.number = kind, 0, w.number+1
	}
	b := w.buf[len(w.buf)-blockSize+blockHeaderSize+w.filled*size:]
	w.filled++
	return b, nil
}

func (w *indexWriter) closeBlock() {
	if w.kind != headBlock {
		putBlockHeader(w.buf[len(w.buf)-blockSize:], w.kind, w.number)
	}
}

func (w *indexWriter) flush() error {
	_, err := w.file.WriteAt(w.buf, w.pos)
	w.pos += int64(len(w.buf))
	w.buf = w.buf[:0]
	return err
}

// finish writes the head, and all that is not written yet. The caller syncs.
func (w *indexWriter) finish(m segmentMeta) error {
	w.closeBlock()
	head := headOf(m, w.rows, w.dirs, w.digest, w.holes).encode()
	if w.pos == 0 {
		copy(w.buf, head)
		return w.flush()
	}
	if err := w.flush(); err != nil {
		return err
	}
	_, err := w.file.WriteAt(head, 0)
	return err
}

// writeIndex writes the index file of a full segment and returns when a crash
// cannot take it away.
func writeIndex(fsys vfs.FS, dir string, m segmentMeta, mem *memIndex, dirs []directoryRow) error {
	return replaceFile(fsys, dir, indexName(m.name()), func(f vfs.File) error {
		w := newIndexWriter(f)
		for _, p := range mem.partitions() {
			for r := range mem.of(p).all() {
				if err := w.addRow(p, r); err != nil {
					return err
				}
			}
		}
		for _, e := range sortRows(dirs) {
			if err := w.addDirectoryRow(e); err != nil {
				return err
			}
		}
		w.digest, w.holes = mem.digest, mem.holes
		return w.finish(m)
	})
}
