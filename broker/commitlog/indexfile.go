package commitlog

import (
	"fmt"
	"math"
	"path"
	"sort"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// indexFile is the index of a sealed segment, read block by block.
type indexFile struct {
	indexHead
	name  string
	file  vfs.File
	cache *blockCache
	of    *segment // of an open log; else nil
}

// openIndex verifies the head and that it belongs to the segment. It errors with
// ErrFutureVersion, with errDamage, also for a head that the disk does not read, or if
// the file cannot be opened.
func openIndex(fsys vfs.FS, dir string, m segmentMeta, cache *blockCache) (*indexFile, error) {
	name := indexName(m.name())
	f, err := fsys.Open(path.Join(dir, name))
	if err != nil {
		return nil, err
	}
	x := &indexFile{name: name, file: f, cache: cache}
	if err := x.readHead(m); err != nil {
		_ = f.Close()
		return nil, err
	}
	return x, nil
}

func (x *indexFile) readHead(m segmentMeta) error {
	size, err := x.file.Size()
	if err != nil {
		return err
	}
	b := make([]byte, min(size, blockSize))
	if err := readFull(x.file, b, 0); err != nil {
		return damagef("reading the head: %w", err)
	}
	if x.indexHead, err = decodeIndexHead(b, size); err != nil {
		return err
	}
	if want := headOf(m, x.rows, x.dirs, x.digest, x.holes); x.indexHead != want {
		return damagef("index of another segment: %+v, want %+v", x.indexHead, want)
	}
	return nil
}

// read reads len(b) bytes from the beginning of a block on. The error is a
// *CorruptionError: an index that the disk does not read is as good as damaged.
func (x *indexFile) read(b []byte, number uint32) error {
	if err := readFull(x.file, b, int64(number)*blockSize); err != nil {
		return x.bad(number, fmt.Errorf("reading %d bytes: %w", len(b), err))
	}
	return nil
}

// bad makes damage of what is wrong with a block. In a log that is open it is told, and the
// index is made anew by the next Seal.
func (x *indexFile) bad(number uint32, err error) error {
	c := &CorruptionError{x.name, Address(number) * blockSize, err}
	if x.of != nil && x.of.door != nil {
		x.of.condemnIndex()
		x.of.report(c, blockSize)
	}
	return c
}

// block returns a verified block, which must not be changed.
func (x *indexFile) block(number uint32) ([]byte, error) {
	return x.cache.get(blockKey{x, number}, func() ([]byte, error) {
		b := make([]byte, blockSize)
		if err := x.read(b, number); err != nil {
			return nil, err
		}
		if err := checkBlock(b, x.kind(number), number); err != nil {
			return nil, x.bad(number, err)
		}
		return b, nil
	})
}

func (x *indexFile) row(i int64) (record.PartitionID, row, error) {
	b, err := x.block(uint32(1 + i/rowsPerBlock))
	if err != nil {
		return 0, row{}, err
	}
	p, r := getRow(b[blockHeaderSize+i%rowsPerBlock*rowSize:])
	return p, r, nil
}

func (x *indexFile) directoryRow(i int64) (directoryRow, error) {
	b, err := x.block(uint32(1 + x.rowBlocks() + i/dirRowsPerBlock))
	if err != nil {
		return directoryRow{}, err
	}
	return getDirectoryRow(b[blockHeaderSize+i%dirRowsPerBlock*directoryRowSize:]), nil
}

// find is the number of the first row of a partition that holds offset or comes
// behind it; what is there may also be a row of another partition, or none.
func (x *indexFile) find(p record.PartitionID, offset int64) (int64, error) {
	var failed error
	i := sort.Search(int(x.rows), func(i int) bool {
		q, r, err := x.row(int64(i))
		if err != nil {
			failed = err
			return true
		}
		return q > p || q == p && r.next() > offset
	})
	return int64(i), failed
}

// standing is where a partition stands behind this segment. A partition that is
// not in the directory had no batch yet.
func (x *indexFile) standing(p record.PartitionID) (directoryRow, error) {
	none := directoryRow{partition: p, maxTime: math.MinInt64}
	var failed error
	i := sort.Search(int(x.dirs), func(i int) bool {
		e, err := x.directoryRow(int64(i))
		if err != nil {
			failed = err
			return true
		}
		return e.partition >= p
	})
	if failed != nil || int64(i) == x.dirs {
		return none, failed
	}
	e, err := x.directoryRow(int64(i))
	if err != nil || e.partition != p {
		return none, err
	}
	return e, nil
}

// directory reads all of it.
func (x *indexFile) directory() (directory, error) {
	d := newDirectory()
	for i := range x.dirs {
		e, err := x.directoryRow(i)
		if err != nil {
			return directory{}, err
		}
		d.put(e)
	}
	return d, nil
}
