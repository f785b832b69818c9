package arrow

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/internal/vfs"
)

// outlet keeps what an encoder writes until the file gets it: so the encoders of
// Arrow's library, some of which panic on an error, never see one. The buffer is
// shared by all files, since it is empty between two calls of an encoder.
type outlet struct {
	buffer  *bytes.Buffer
	drained int64
}

func (o *outlet) Write(b []byte) (int, error) { return o.buffer.Write(b) }

// Seek tells the place, which is all that is asked of it.
func (o *outlet) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence != io.SeekCurrent {
		return 0, errors.New("a file is written from its beginning to its end")
	}
	return o.drained + int64(o.buffer.Len()), nil
}

// dataFile is a file that is being written, under its pending name.
type dataFile struct {
	fs       vfs.FS
	name     string
	file     vfs.File
	out      outlet
	encoder  encoder
	rows     int64
	checksum uint32
}

func createDataFile(fsys vfs.FS, name string, buffer *bytes.Buffer) (*dataFile, error) {
	f, err := fsys.Create(name)
	if err != nil {
		return nil, fmt.Errorf("creating data file %s: %w", name, err)
	}
	return &dataFile{fs: fsys, name: name, file: f, out: outlet{buffer: buffer}}, nil
}

func (d *dataFile) bytes() int64 { return d.out.drained }

func (d *dataFile) chunk(columns []connect.Column) error {
	if err := d.encoder.chunk(columns); err != nil {
		return fmt.Errorf("encoding %s: %w", d.name, err)
	}
	d.rows += int64(columns[0].Rows())
	return d.drain()
}

// finish makes the file complete and durable, but for its name, and closes it.
func (d *dataFile) finish() error {
	err := d.encoder.finish()
	if err != nil {
		return fmt.Errorf("encoding the end of %s: %w", d.name, err)
	}
	if err := d.drain(); err != nil {
		return err
	}
	if err := d.file.Sync(); err != nil {
		return fmt.Errorf("syncing data file %s: %w", d.name, err)
	}
	return d.file.Close()
}

func (d *dataFile) drain() error {
	b := d.out.buffer.Bytes()
	if _, err := d.file.WriteAt(b, d.out.drained); err != nil {
		return fmt.Errorf("writing data file %s: %w", d.name, err)
	}
	d.checksum = crc32.Update(d.checksum, castagnoli, b)
	d.out.drained += int64(len(b))
	d.out.buffer.Reset()
	return nil
}

// discard removes a file that will not be finished. A new owner of the partition
// may have done so before.
func (d *dataFile) discard() error {
	d.out.buffer.Reset()
	err := d.file.Close()
	if gone := d.fs.Remove(d.name); !errors.Is(gone, vfs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	return err
}
