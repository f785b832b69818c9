package arrow

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path"
	"slices"

	"github.com/splashdam/splashdam/internal/vfs"
)

// Directory is the files of one topic, as they were when it was opened. Nothing is
// ever taken out of files, so it may be read while a sink writes more of them.
type Directory struct {
	fs    vfs.FS
	Files []File // by partition, then by offset
}

// File is one data file.
type File struct {
	Path       string
	Partition  int32
	Base, Next int64 // the offsets that it covers: from Base up to and without Next
	name       fileName
}

// OpenDirectory lists the files of a topic: dir is what the sink was given, and
// below it the topic's name.
func OpenDirectory(fsys vfs.FS, dir string) (*Directory, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return nil, err
	}
	d := &Directory{fs: fsys}
	var partitions []int32
	for _, name := range names {
		n, ok := parsePartitionDir(name)
		if !ok {
			return nil, fmt.Errorf("%s is no directory of a topic's files: it has %s in it, and should have p=0 and so on", dir, name)
		}
		partitions = append(partitions, n)
	}
	slices.Sort(partitions)
	for _, n := range partitions {
		if err := d.list(dir, n); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (d *Directory) list(dir string, partition int32) error {
	dir = path.Join(dir, partitionDir(partition))
	names, err := d.fs.List(dir)
	if err != nil {
		return err
	}
	var next int64
	for _, name := range names {
		n, ok := parseFileName(name)
		if !ok {
			return fmt.Errorf("%s is no file of the sink's", path.Join(dir, name))
		}
		if n.base < next {
			return fmt.Errorf("%s has offsets that the file before it has too: the directory holds files of two sinks", path.Join(dir, name))
		}
		next = n.next
		d.Files = append(d.Files, File{Path: path.Join(dir, name), Partition: partition, Base: n.base, Next: n.next, name: n})
	}
	return nil
}

// open opens a file and holds its bytes against the checksum in its name: the
// libraries that read it are not made for damage.
func (d *Directory) open(f File) (vfs.File, int64, error) {
	file, err := d.fs.Open(f.Path)
	if err != nil {
		return nil, 0, err
	}
	size, err := file.Size()
	if err == nil {
		err = verify(f, file, size)
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, size, nil
}

func verify(f File, file vfs.File, size int64) error {
	hash := crc32.New(castagnoli)
	if _, err := io.Copy(hash, io.NewSectionReader(file, 0, size)); err != nil {
		return fmt.Errorf("reading %s: %w", f.Path, err)
	}
	if sum := hash.Sum32(); sum != f.name.checksum {
		return fmt.Errorf("%s is damaged: the checksum of its %d bytes is %08x, and its name says %08x", f.Path, size, sum, f.name.checksum)
	}
	return nil
}
