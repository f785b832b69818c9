package mysql

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zlib"

	"github.com/splashdam/splashdam/connect"
)

// errInflated is compressed data that does not become what it says.
var errInflated = errors.New("what is compressed is damaged")

// maxInflation is how many times longer than its compressed form anything can be
// in zlib's format. What claims more is damaged, and gets no memory.
const maxInflation = 1032

// inflater undoes MariaDB's two uses of zlib, one value after another.
type inflater struct {
	source bytes.Reader
	zlib   io.ReadCloser
	raw    io.ReadCloser
	buffer []byte
}

// inflate is the size bytes that src holds. They are good until the next call.
func (f *inflater) inflate(src []byte, size int, wrapped bool) ([]byte, error) {
	if size > maxInflation*len(src) {
		return nil, errInflated
	}
	f.source.Reset(src)
	r, err := f.reader(wrapped)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errInflated, err)
	}
	f.buffer = slices.Grow(f.buffer[:0], size)[:size]
	if _, err := io.ReadFull(r, f.buffer); err != nil {
		return nil, fmt.Errorf("%w: %w", errInflated, err)
	}
	// The end comes next, and only there is the checksum looked at.
	var more [1]byte
	if n, err := r.Read(more[:]); n > 0 || err != io.EOF {
		return nil, errInflated
	}
	return f.buffer, nil
}

// reader reads the source, with zlib's header around or without.
func (f *inflater) reader(wrapped bool) (io.Reader, error) {
	var err error
	switch {
	case wrapped && f.zlib == nil:
		f.zlib, err = zlib.NewReader(&f.source)
		return f.zlib, err
	case wrapped:
		return f.zlib, f.zlib.(zlib.Resetter).Reset(&f.source, nil)
	case f.raw == nil:
		f.raw = flate.NewReader(&f.source)
		return f.raw, nil
	}
	return f.raw, f.raw.(flate.Resetter).Reset(&f.source, nil)
}

// rows undoes log_bin_compress: a byte with the format and the length of the
// length, the length, and zlib.
func (f *inflater) rows(b []byte) ([]byte, error) {
	c := cursor{rest: b}
	head := c.uint(1)
	size := bigUint(c.bytes(int(head & 7)))
	if c.err == nil && head&0xf0 != 0x80 {
		return nil, fmt.Errorf("rows compressed in an unknown way (%#x)", head)
	}
	if c.err != nil || head&7 > 4 {
		return nil, errInflated
	}
	return f.inflate(c.rest, int(size), true)
}

// unzipReader is for columns that are COMPRESSED: behind the length a byte, with 0
// for bytes as they are, else the length of the length, a bit for deflate without
// zlib's header, the length, and the compressed bytes. Nothing at all is empty.
func unzipReader(lengthBytes int, cs charset) reader {
	var f inflater
	return func(b []byte, to *connect.Column) (int, error) {
		value, n, err := counted(b, lengthBytes)
		if err != nil {
			return 0, err
		}
		if len(value) > 0 {
			if value, err = f.value(value); err != nil {
				return 0, err
			}
		}
		to.Data = cs.appendUTF8(to.Data, value)
		return n, endText(to)
	}
}

func (f *inflater) value(b []byte) ([]byte, error) {
	head, rest := b[0], b[1:]
	if head == 0 {
		return rest, nil
	}
	sizeBytes := int(head & 7)
	if head&0xf0 != 0x80 || sizeBytes > 4 || sizeBytes > len(rest) {
		return nil, errInflated
	}
	return f.inflate(rest[sizeBytes:], int(bigUint(rest[:sizeBytes])), head&8 == 0)
}
