package commitlog

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// SectionInfo describes a section of a snapshot file; that of the ConfState has no
// name.
type SectionInfo struct {
	Name string
	At   int64 // position in the file
	Size int64 // bytes of data
	Err  error // damage in it
}

// readSections goes through a snapshot file in pieces, verifies all of it and calls
// do for every section, in order. The snapshot that it returns has what the header says
// only. It errors with ErrFutureVersion, errDamage, what do returns or what the disk
// said; with the header if that is sound.
func readSections(f vfs.File, do func(SectionInfo) error) (*Snapshot, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > maxSnapshot {
		return nil, damagef("%d bytes, more than the limit of %d", size, int64(maxSnapshot))
	}
	head := make([]byte, min(size, snapshotHeaderSize))
	if err := readFull(f, head, 0); err != nil {
		return nil, err
	}
	s, n, err := decodeSnapshotHeader(head, size)
	if err != nil {
		return nil, err
	}
	var failed error
	pos := int64(snapshotHeaderSize)
	buf := make([]byte, scanBuffer)
	for i := range n + 1 {
		if size-pos < sectionHeaderSize {
			return s, damagef("section %d of %d is cut off", i, n)
		}
		at, h := pos, buf[:sectionHeaderSize]
		if err := readFull(f, h, pos); err != nil {
			return s, err
		}
		name, data, err := sectionSizes(h, size-pos-sectionHeaderSize, i, n)
		if err != nil {
			return s, err
		}
		want, sum := binary.LittleEndian.Uint32(h), crc32.Checksum(h[4:], castagnoli)
		pos += sectionHeaderSize
		text := make([]byte, name)
		if err := readFull(f, text, pos); err != nil {
			return s, err
		}
		sum = crc32.Update(sum, castagnoli, text)
		pos += name
		for end := pos + data; pos < end; {
			part := buf[:min(int64(len(buf)), end-pos)]
			if err := readFull(f, part, pos); err != nil {
				return s, err
			}
			sum = crc32.Update(sum, castagnoli, part)
			pos += int64(len(part))
		}
		info := SectionInfo{Name: string(text), At: at, Size: data}
		if sum != want {
			info.Err = damagef("section %d of %d: checksum %08x, computed %08x", i, n, want, sum)
			failed = cmp.Or(failed, info.Err)
		}
		if err := do(info); err != nil {
			return s, err
		}
	}
	if pos < size {
		failed = cmp.Or(failed, damagef("%d bytes behind the last section", size-pos))
	}
	return s, failed
}

// checkSnapshot verifies a snapshot file and returns how long it is.
func checkSnapshot(fsys vfs.FS, name string, i record.Index) (size int64, err error) {
	f, err := fsys.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if size, err = f.Size(); err != nil {
		return 0, err
	}
	s, err := readSections(f, func(SectionInfo) error { return nil })
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = damagef("it became shorter: %w", err)
	}
	if err == nil && s.Index != i {
		err = damagef("snapshot of index %d under the name of another", s.Index)
	}
	if err != nil {
		err = fmt.Errorf("snapshot %d: %w", i, err)
	}
	return size, err
}
