package commitlog

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/splashdam/splashdam/broker/record"
)

// A frame is an entry in a segment, behind a header that each node writes anew:
//
//	 0  u32  magic "SDFR"
//	 4  u16  version, 1
//	 6  u16  zero
//	 8  u32  length      of the body, which is a record.Entry
//	12  u32  generation  of the log when the frame was written
//	16  u64  durable     the log was known to be durable up to this index
//	24  u32  CRC-32C     over the frame's address (u64) and bytes 0 to 23
//	28  u32  zero
//	32       body, then zeros up to a multiple of 8
//
// Numbers are little-endian. Since the address is under the checksum, a frame is
// valid in its place only: neither a misdirected write nor a message whose payload
// is a copy of a segment can be taken for one. Magic, version and checksum keep
// their places in all versions: behind a crash there may be anything, and only a
// header whose checksum is right can say that it is of the future.

// FrameHeaderSize is the length of a frame's header in bytes.
const FrameHeaderSize = 32

const (
	frameMagic   = 0x52464453 // "SDFR"
	frameVersion = 1
	frameAlign   = 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type frameHeader struct {
	length     uint32
	generation uint32
	durable    record.Index
}

// frameSize is how many bytes a body of n bytes takes in a segment.
func frameSize(n int) int64 {
	return (FrameHeaderSize + int64(n) + frameAlign - 1) &^ (frameAlign - 1)
}

func frameChecksum(b []byte, at Address) uint32 {
	var a [8]byte
	binary.LittleEndian.PutUint64(a[:], uint64(at))
	return crc32.Update(crc32.Checksum(a[:], castagnoli), castagnoli, b[:24])
}

// appendFrame appends the frame of an entry that will stand at address at.
func appendFrame(dst []byte, at Address, generation uint32, durable record.Index, e record.Entry) []byte {
	dst = appendFrameHeader(dst, at, generation, durable, e)
	dst = append(dst, e...)
	return append(dst, framePadding(e)...)
}

func appendFrameHeader(dst []byte, at Address, generation uint32, durable record.Index, e record.Entry) []byte {
	n := len(dst)
	dst = append(dst, make([]byte, FrameHeaderSize)...)
	h := dst[n:]
	binary.LittleEndian.PutUint32(h[0:], frameMagic)
	binary.LittleEndian.PutUint16(h[4:], frameVersion)
	binary.LittleEndian.PutUint32(h[8:], uint32(len(e)))
	binary.LittleEndian.PutUint32(h[12:], generation)
	binary.LittleEndian.PutUint64(h[16:], uint64(durable))
	// The address is not part of the frame: it only passes through, so that nothing is
	// allocated for it.
	binary.LittleEndian.PutUint64(h[24:], uint64(at))
	sum := crc32.Update(crc32.Checksum(h[24:32], castagnoli), castagnoli, h[:24])
	binary.LittleEndian.PutUint32(h[24:], sum)
	binary.LittleEndian.PutUint32(h[28:], 0)
	return dst
}

var zeros [frameAlign]byte

// framePadding is the zeros behind an entry in its frame.
func framePadding(e record.Entry) []byte {
	return zeros[:frameSize(len(e))-FrameHeaderSize-int64(len(e))]
}

// parseFrameHeader errors with ErrFutureVersion or errDamage.
func parseFrameHeader(b []byte, at Address) (frameHeader, error) {
	if magic := binary.LittleEndian.Uint32(b); magic != frameMagic {
		return frameHeader{}, damagef("no frame: it begins with %08x", magic)
	}
	if want, got := binary.LittleEndian.Uint32(b[24:]), frameChecksum(b, at); want != got {
		return frameHeader{}, damagef("frame header: checksum %08x, computed %08x", want, got)
	}
	if v := binary.LittleEndian.Uint16(b[4:]); v > frameVersion {
		return frameHeader{}, futureVersion("frame at "+at.String(), v, frameVersion)
	}
	h := frameHeader{
		length:     binary.LittleEndian.Uint32(b[8:]),
		generation: binary.LittleEndian.Uint32(b[12:]),
		durable:    record.Index(binary.LittleEndian.Uint64(b[16:])),
	}
	if v := binary.LittleEndian.Uint16(b[4:]); v == 0 || binary.LittleEndian.Uint16(b[6:]) != 0 || binary.LittleEndian.Uint32(b[28:]) != 0 {
		return frameHeader{}, damagef("frame header of version %d, or reserved bytes are not zero", v)
	}
	if h.length < record.EntryHeaderSize || h.length > record.MaxEntrySize {
		return frameHeader{}, damagef("frame header claims a body of %d bytes", h.length)
	}
	return h, nil
}

// A frame as it was read. The entry has passed Check.
type frame struct {
	pos    int64 // in the file
	header frameHeader
	entry  record.Entry
}

func (f frame) end() int64 { return f.pos + frameSize(len(f.entry)) }

// scanner reads the frames of a segment one behind the other.
type scanner struct {
	file      io.ReaderAt
	r         *bufio.Reader
	base      Address
	pos, size int64
	buf       []byte
	// open says that the segment is the open one, which may end in room for frames to come:
	// nothing but zeros, which are no frame, up to its end.
	open bool
}

const (
	scanBuffer = 256 << 10
	// sector is what a disk fails to read at once, in bytes.
	sector = 4096
	// maxBadSectors bounds how many a search for a frame passes over: behind more of
	// them it finds nothing.
	maxBadSectors = 1024
)

// sectors reads a file. Where that fails it reads on sector by sector, so that a bad
// one costs nothing that lies in front of it.
type sectors struct{ file io.ReaderAt }

// ReadAt returns the bytes in front of the first sector that cannot be read, and the
// error.
func (s sectors) ReadAt(b []byte, pos int64) (int, error) {
	n, err := s.file.ReadAt(b, pos)
	if err == nil || err == io.EOF {
		return n, err
	}
	for n < len(b) {
		left := sector - int((pos+int64(n))%sector)
		m, err := s.file.ReadAt(b[n:min(len(b), n+left)], pos+int64(n))
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

// newScanner begins at a position where a frame begins; size is the file's.
func newScanner(file io.ReaderAt, base Address, pos, size int64) *scanner {
	file = sectors{file}
	r := bufio.NewReaderSize(io.NewSectionReader(file, pos, size-pos), int(max(16, min(scanBuffer, size-pos))))
	return &scanner{file: file, r: r, base: base, pos: pos, size: size}
}

// next returns the next frame, valid until the call after it; io.EOF where the
// file, or what is not room, ends behind a whole frame. Bytes that are not a frame are errDamage, and
// the scanner stays in front of them. Any other error, but for ErrFutureVersion, is
// that the disk does not read the next frame.
func (s *scanner) next() (frame, error) {
	if s.pos == s.size {
		return frame{}, io.EOF
	}
	if s.open {
		if end, err := s.atRoom(); err != nil || end {
			return frame{}, cmp.Or(err, io.EOF)
		}
	}
	if s.size-s.pos < FrameHeaderSize {
		return frame{}, damagef("%d bytes are fewer than a frame header", s.size-s.pos)
	}
	b, err := s.r.Peek(FrameHeaderSize)
	if err != nil {
		return frame{}, fmt.Errorf("reading at %s: %w", s.base+Address(s.pos), noEOF(err))
	}
	h, err := parseFrameHeader(b, s.base+Address(s.pos))
	if err != nil {
		return frame{}, err
	}
	total := frameSize(int(h.length))
	if total > s.size-s.pos {
		return frame{}, damagef("frame of %d bytes, %d are left", total, s.size-s.pos)
	}
	if int64(cap(s.buf)) < total {
		s.buf = make([]byte, total+total/4)
	}
	s.buf = s.buf[:total]
	if _, err := io.ReadFull(s.r, s.buf); err != nil {
		return frame{}, fmt.Errorf("reading at %s: %w", s.base+Address(s.pos), noEOF(err))
	}
	body := FrameHeaderSize + int(h.length)
	f := frame{pos: s.pos, header: h, entry: record.Entry(s.buf[FrameHeaderSize:body:body])}
	if err := f.entry.Check(); err != nil {
		return frame{}, fmt.Errorf("%w: %w", errDamage, err)
	}
	for _, z := range s.buf[body:] {
		if z != 0 {
			return frame{}, damagef("padding behind entry %d is not zero", f.entry.Index())
		}
	}
	s.pos += total
	return f, nil
}

// atRoom reports whether there are only zeros from here on.
func (s *scanner) atRoom() (bool, error) {
	b, err := s.r.Peek(int(min(FrameHeaderSize, s.size-s.pos)))
	if err == nil && !isZero(b) {
		return false, nil
	}
	empty := false
	if err == nil {
		empty, err = zeroFrom(s.file, s.pos, s.size)
	}
	if err != nil {
		return false, fmt.Errorf("reading at %s: %w", s.base+Address(s.pos), noEOF(err))
	}
	return empty, nil
}

// noEOF is for reads inside the known size of a file, where the end is no end but
// a file that shrank.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// findFrame looks for the first valid frame at or behind pos, which is a multiple
// of the frame alignment. It passes over sectors that the disk does not read, where
// there may be others; the error, with a frame or without, is the first of those.
func findFrame(file io.ReaderAt, base Address, pos, size int64) (frame, bool, error) {
	return searchFrame(file, base, pos, size, size)
}

// searchFrame is findFrame for a frame that begins in front of limit.
func searchFrame(file io.ReaderAt, base Address, pos, limit, size int64) (f frame, ok bool, unread error) {
	chunk := make([]byte, scanBuffer)
	for bad := 0; pos < limit && size-pos >= FrameHeaderSize && bad < maxBadSectors; {
		part := chunk[:min(int64(len(chunk)), size-pos)]
		n, err := sectors{file}.ReadAt(part, pos)
		if n == len(part) {
			err = nil
		}
		part = part[:n]
		i := 0
		for ; i+FrameHeaderSize <= len(part); i += frameAlign {
			if binary.LittleEndian.Uint32(part[i:]) != frameMagic {
				continue
			}
			at := pos + int64(i)
			if _, err := parseFrameHeader(part[i:], base+Address(at)); err != nil {
				continue
			}
			if f, err := newScanner(file, base, at, size).next(); err == nil {
				return f, true, unread
			}
		}
		if err == nil {
			pos += int64(i)
			continue
		}
		end := pos + int64(n)
		unread = cmp.Or(unread, fmt.Errorf("reading at %s: %w", base+Address(end), noEOF(err)))
		pos = (end + sector) &^ (sector - 1)
		bad++
	}
	return frame{}, false, unread
}
