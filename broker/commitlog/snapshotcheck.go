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

// sectionReader goes through the sections of a snapshot file in pieces.
type sectionReader struct {
	file      vfs.File
	pos, size int64
	sections  uint32 // without the first
	buf       []byte
}

// readSections goes through a snapshot file, verifies all of it and calls do for every
// section, in order. The snapshot that it returns has what the header says only. It errors
// with ErrFutureVersion, errDamage, what do returns or what the disk said; with the header
// if that is sound.
func readSections(f vfs.File, do func(SectionInfo) error) (*Snapshot, error) {
	r := sectionReader{file: f}
	s, err := r.header()
	if err != nil {
		return nil, err
	}
	var damaged error
	for i := range r.sections + 1 {
		info, err := r.section(i)
		if err != nil {
			return s, err
		}
		damaged = cmp.Or(damaged, info.Err)
		if err := do(info); err != nil {
			return s, err
		}
	}
	if r.pos < r.size {
		damaged = cmp.Or(damaged, damagef("%d bytes behind the last section", r.size-r.pos))
	}
	return s, damaged
}

func (r *sectionReader) header() (s *Snapshot, err error) {
	if r.size, err = r.file.Size(); err != nil {
		return nil, err
	}
	if r.size > maxSnapshot {
		return nil, damagef("%d bytes, more than the limit of %d", r.size, int64(maxSnapshot))
	}
	r.buf = make([]byte, scanBuffer)
	b, err := r.next(min(r.size, snapshotHeaderSize))
	if err != nil {
		return nil, err
	}
	s, r.sections, err = decodeSnapshotHeader(b, r.size)
	return s, err
}

// next reads n bytes, no more than the buffer holds; they are valid until the call after it.
func (r *sectionReader) next(n int64) ([]byte, error) {
	b := r.buf[:n]
	err := readFull(r.file, b, r.pos)
	r.pos += n
	return b, err
}

// section reads section i. What is wrong with its content is in the info; with an error
// nobody knows where the next one begins.
func (r *sectionReader) section(i uint32) (SectionInfo, error) {
	info := SectionInfo{At: r.pos}
	if r.size-r.pos < sectionHeaderSize {
		return info, damagef("section %d of %d is cut off", i, r.sections)
	}
	head, err := r.next(sectionHeaderSize)
	if err != nil {
		return info, err
	}
	name, data, err := sectionSizes(head, r.size-r.pos, i, r.sections)
	if err != nil {
		return info, err
	}
	info.Size = data
	want, sum := binary.LittleEndian.Uint32(head), crc32.Checksum(head[4:], castagnoli)
	text, err := r.next(name)
	if err != nil {
		return info, err
	}
	info.Name, sum = string(text), crc32.Update(sum, castagnoli, text)
	for data > 0 {
		part, err := r.next(min(data, int64(len(r.buf))))
		if err != nil {
			return info, err
		}
		sum, data = crc32.Update(sum, castagnoli, part), data-int64(len(part))
	}
	if sum != want {
		info.Err = damagef("section %d of %d: checksum %08x, computed %08x", i, r.sections, want, sum)
	}
	return info, nil
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
