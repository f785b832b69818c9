package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// ErrTooLarge is a batch whose records inflate beyond the caller's limit. It is
// an ErrBatch as well.
var ErrTooLarge = fmt.Errorf("%w: its records inflate beyond the limit", ErrBatch)

func (c Codec) String() string {
	switch c {
	case None:
		return "none"
	case Gzip:
		return "gzip"
	case Snappy:
		return "snappy"
	case LZ4:
		return "lz4"
	case Zstd:
		return "zstd"
	default:
		return fmt.Sprintf("codec %d", int8(c))
	}
}

// inflate appends what src holds to dst and returns the longer slice. No more
// than limit bytes are appended, and memory grows with what is really there, not
// with what a header claims. Errors wrap ErrBatch; ErrTooLarge if limit is passed.
func (c Codec) inflate(dst, src []byte, limit int) ([]byte, error) {
	var err error
	switch c {
	case None:
		if len(src) > limit {
			err = ErrTooLarge
		} else {
			dst = append(dst, src...)
		}
	case Gzip:
		dst, err = inflateGzip(dst, src, limit)
	case Snappy:
		dst, err = inflateSnappy(dst, src, limit)
	case LZ4:
		dst, err = inflateLZ4(dst, src, limit)
	case Zstd:
		dst, err = inflateZstd(dst, src, limit)
	default:
		err = errors.New("no such codec")
	}
	switch {
	case err == nil:
		return dst, nil
	case errors.Is(err, ErrBatch):
		return dst, fmt.Errorf("inflating %v to at most %d bytes: %w", c, limit, err)
	default:
		return dst, fmt.Errorf("%w: inflating %v: %w", ErrBatch, c, err)
	}
}

// firstGuess is how much room a block gets before any of it is inflated. Records
// of one batch rarely compress better than four to one.
func firstGuess(src []byte, limit int) int { return min(4*len(src)+512, limit) }

// readAll is io.ReadAll with a limit and a destination.
func readAll(dst []byte, r io.Reader, limit, guess int) ([]byte, error) {
	end := len(dst) + limit
	dst = slices.Grow(dst, guess)
	for {
		room := dst[len(dst):min(cap(dst), end)]
		if len(room) == 0 && len(dst) == end {
			var probe [1]byte
			room = probe[:] // to tell a source that ends here from one that does not
		}
		n, err := r.Read(room)
		if len(dst)+n > end {
			return dst, ErrTooLarge
		}
		dst = dst[:len(dst)+n]
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
		if len(dst) == cap(dst) && len(dst) < end {
			dst = slices.Grow(dst, min(len(dst), end-len(dst)))
		}
	}
}

type gzipReader struct {
	src bytes.Reader
	gz  gzip.Reader
}

var gzipReaders = sync.Pool{New: func() any { return new(gzipReader) }}

func inflateGzip(dst, src []byte, limit int) ([]byte, error) {
	r := gzipReaders.Get().(*gzipReader)
	defer gzipReaders.Put(r)
	defer r.src.Reset(nil)
	r.src.Reset(src)
	if err := r.gz.Reset(&r.src); err != nil {
		return dst, err
	}
	return readAll(dst, &r.gz, limit, firstGuess(src, limit))
}

// Java's client does not send a snappy block but the stream of the xerial
// library: a header of 16 bytes (magic, version, lowest compatible version), then
// blocks, each behind its length. No plain block can begin with the magic.
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const xerialHeaderSize = 16

func inflateSnappy(dst, src []byte, limit int) ([]byte, error) {
	if !bytes.HasPrefix(src, xerialMagic) {
		return inflateSnappyBlock(dst, src, limit)
	}
	if len(src) < xerialHeaderSize {
		return dst, fmt.Errorf("a xerial header of %d bytes", len(src))
	}
	end := len(dst) + limit
	for src = src[xerialHeaderSize:]; len(src) > 0; {
		if len(src) < 4 {
			return dst, fmt.Errorf("a xerial block length of %d bytes", len(src))
		}
		size := int64(binary.BigEndian.Uint32(src))
		src = src[4:]
		if size > int64(len(src)) {
			return dst, fmt.Errorf("a xerial block claims %d bytes, %d are left", size, len(src))
		}
		var err error
		if dst, err = inflateSnappyBlock(dst, src[:size], end-len(dst)); err != nil {
			return dst, err
		}
		src = src[size:]
	}
	return dst, nil
}

// maxSnappyRatio bounds what a block can inflate to: its densest element makes 64
// bytes out of 3.
const maxSnappyRatio = 64/3 + 1

func inflateSnappyBlock(dst, src []byte, limit int) ([]byte, error) {
	n, err := s2.DecodedLen(src)
	if err != nil {
		return dst, err
	}
	if n > maxSnappyRatio*len(src) {
		return dst, fmt.Errorf("a block of %d bytes claims to hold %d", len(src), n)
	}
	if n > limit {
		return dst, ErrTooLarge
	}
	dst = slices.Grow(dst, n)
	at := len(dst)
	out, err := s2.Decode(dst[at:at+n], src)
	if err != nil {
		return dst, err
	}
	return dst[:at+len(out)], nil
}

type lz4Reader struct {
	src bytes.Reader
	lz  *lz4.Reader
}

var lz4Readers = sync.Pool{New: func() any { return &lz4Reader{lz: lz4.NewReader(nil)} }}

// lz4Magic begins a frame. The legacy format, which the library reads as well, is
// not Kafka's.
var lz4Magic = []byte{0x04, 0x22, 0x4d, 0x18}

func inflateLZ4(dst, src []byte, limit int) ([]byte, error) {
	if !bytes.HasPrefix(src, lz4Magic) {
		return dst, errors.New("not an lz4 frame")
	}
	r := lz4Readers.Get().(*lz4Reader)
	defer lz4Readers.Put(r)
	defer r.src.Reset(nil)
	r.src.Reset(src)
	r.lz.Reset(&r.src)
	return readAll(dst, r.lz, limit, firstGuess(src, limit))
}

// maxZstdWindow is what the reference decoder accepts, and the largest that the
// highest level of a client asks for. The window itself takes no memory here,
// since a whole batch is decoded into one slice.
const maxZstdWindow = 128 << 20

// maxZstdRatio bounds what a frame can inflate to: its densest block makes 128 KiB
// out of 4 bytes.
const maxZstdRatio = 128 << 10 / 4

// maxZstdBlock is the most that one block makes, with what the decoder may write
// behind it.
const maxZstdBlock = 128<<10 + 16

var zstdDecoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxWindow(maxZstdWindow),
		zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic(err) // the options are constants
	}
	return d
})

// inflateZstd gives the decoder room that it cannot outgrow, and more where that
// was not enough. (The decoder's own limit on memory would not do: it refuses
// every frame with a larger window, and Java's client names 2 MiB for a batch of a
// few bytes.)
func inflateZstd(dst, src []byte, limit int) ([]byte, error) {
	var h zstd.Header
	if err := h.Decode(src); err != nil {
		return dst, err
	}
	room := firstGuess(src, limit)
	if h.HasFCS {
		switch size := h.FrameContentSize; {
		case size > maxZstdRatio*uint64(len(src)):
			return dst, fmt.Errorf("a frame of %d bytes claims to hold %d", len(src), size)
		case size > uint64(limit):
			return dst, ErrTooLarge
		default:
			room = int(size)
		}
	}
	for ; ; room = min(max(4*room, maxZstdBlock), limit) {
		// One block more than room: a block that does not fit is then always one
		// behind room, and is not taken for a damaged one, which the decoder does
		// not tell apart.
		dst = slices.Grow(dst, room+maxZstdBlock)
		out, err := zstdDecoder().DecodeAll(src, dst[:len(dst):len(dst)+room+maxZstdBlock])
		n := len(out) - len(dst)
		switch full := n > room || errors.Is(err, zstd.ErrDecoderSizeExceeded); {
		case n > limit || full && room == limit:
			return dst, ErrTooLarge
		case err == nil:
			return out, nil
		case !full:
			return dst, err
		}
	}
}
