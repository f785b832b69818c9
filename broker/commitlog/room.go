package commitlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"sync"
	"sync/atomic"

	"github.com/splashdam/splashdam/internal/vfs"
)

// A sync of bytes that were written before, and are overwritten, is done a third
// sooner than one of a file that grows: the disk writes the bytes, and the file
// system's journal has nothing to add. Extents that are allocated and not written
// gain nothing. So the file of the next segment is made ahead of time, under a
// temporary name, and filled with zeros; a roll gives it its header and its name.
//
// How far: as far as the open segment is filled, a piece at a time. So room takes
// about as much of the disk as the segment beside it, at most twice as much where it
// has just taken place for more; a shard that is seldom written has little of it; and
// nothing has to be set. How fast is up to who calls Prepare.
const (
	roomName = "next" + segmentSuffix + tmpSuffix
	// roomPiece is how much one call of Prepare writes and syncs: little enough that a
	// sync of the open segment, which the disk does at the same time, is not kept.
	roomPiece = 1 << 20
	// roomExtent is how much place is taken at a time at most, so that it lies in one
	// piece on the disk.
	roomExtent = 64 << 20
	// maxRoom bounds what is made for a segment, however long the open one becomes.
	maxRoom = 1 << 30
	// roomShare is the part of what is free on the disk that room may take.
	roomShare = 8
)

// zeroPiece is never written, so that the system need not keep it in memory.
var zeroPiece [roomPiece]byte

// room is the file of the next segment.
type room struct {
	// size is how much of it is zero, written and synced; noRoom if no more is made
	// for this segment.
	size atomic.Int64
	// piece is roomPiece, but in tests.
	piece int64

	mu        sync.Mutex // held over I/O
	file      vfs.File   // nil until there is some
	allocated int64
}

const noRoom = math.MaxInt64

// PreparePending reports whether Prepare has something to do.
func (l *Log) PreparePending() bool {
	return min(l.OpenSegmentSize(), maxRoom)-l.room.piece >= l.room.size.Load()
}

// Prepare makes a piece of room for the next segment. It may be called by anyone, also
// beside the appender, and need not be called at all: a segment for which there is no
// room grows as it is written. A disk that is full, or nearly, is no error: then no
// more is made before the next roll. Nor is anything lost by any other error, which
// ends it too; it is returned for somebody to be told.
func (l *Log) Prepare() error {
	r := &l.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := l.writable(); err != nil {
		return err
	}
	if !l.PreparePending() {
		return nil
	}
	enough, err := l.extendRoom()
	if err == nil && enough {
		return nil
	}
	l.dropRoom()
	r.size.Store(noRoom)
	if err == nil || errors.Is(err, vfs.ErrNoSpace) {
		return nil
	}
	return fmt.Errorf("making room for the next segment: %w", err)
}

// extendRoom adds a piece; enough is false if the disk should keep what it has left.
func (l *Log) extendRoom() (enough bool, err error) {
	r := &l.room
	size := r.size.Load()
	end, place := size+r.piece, r.allocated
	if end > place {
		place = size + max(r.piece, min(roomExtent, size))
	}
	free, err := l.fs.Free(l.dir)
	if err != nil || free/roomShare < place {
		return false, err
	}
	if r.file == nil {
		if r.file, err = createOver(l.fs, l.path(roomName)); err != nil {
			return false, err
		}
	}
	if err := r.file.Allocate(place); err != nil {
		return false, err
	}
	r.allocated = place
	if _, err := r.file.WriteAt(zeroPiece[:r.piece], size); err != nil {
		return false, err
	}
	if err := r.file.Sync(); err != nil {
		return false, err
	}
	r.size.Store(end)
	return true, nil
}

// dropRoom gives the room back. r.mu is held.
func (l *Log) dropRoom() {
	if l.room.file == nil {
		return
	}
	// Nothing relies on the file, and Open deletes it if this does not.
	_ = l.room.file.Close()
	_ = l.fs.Remove(l.path(roomName))
	l.room.file, l.room.allocated = nil, 0
}

// giveUpRoom is for the moment when a write finds the disk full: what was meant for
// later is used now.
func (l *Log) giveUpRoom() {
	l.room.mu.Lock()
	defer l.room.mu.Unlock()
	l.dropRoom()
	l.room.size.Store(noRoom)
}

// takeRoom makes the room, if there is any, the file of a segment: it has its header
// and its name, but the directory is not yet synced. It returns nil if there is none,
// or if that failed: nothing relied on it.
func (l *Log) takeRoom(m segmentMeta) *segment {
	l.room.mu.Lock()
	defer l.room.mu.Unlock()
	l.room.size.Store(0)
	f := l.room.file
	if f == nil {
		return nil
	}
	_, err := f.WriteAt(m.header(), 0)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = l.fs.Rename(l.path(roomName), l.path(m.name()))
	}
	if err != nil {
		l.dropRoom()
		return nil
	}
	// Opened anew, so that errors tell the name that it has now.
	_ = f.Close()
	l.room.file, l.room.allocated = nil, 0
	if f, err = l.fs.OpenWrite(l.path(m.name())); err != nil {
		return nil
	}
	m.size = segmentHeaderSize
	return &segment{segmentMeta: m, file: f, mem: newMemIndex()}
}

// holdsFrames reports whether there is anything but room behind a segment's header.
func holdsFrames(fsys vfs.FS, name string) (bool, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil || size <= segmentHeaderSize {
		return false, err
	}
	empty, err := zeroFrom(f, segmentHeaderSize, size)
	if err != nil {
		return false, fmt.Errorf("%s: %w", path.Base(name), err)
	}
	return !empty, nil
}

// zeroFrom reports whether a file holds nothing but zeros from pos up to size.
func zeroFrom(file io.ReaderAt, pos, size int64) (bool, error) {
	buf := make([]byte, min(scanBuffer, size-pos))
	for pos < size {
		part := buf[:min(int64(len(buf)), size-pos)]
		if n, err := file.ReadAt(part, pos); n < len(part) {
			return false, noEOF(err)
		}
		if !isZero(part) {
			return false, nil
		}
		pos += int64(len(part))
	}
	return true, nil
}

var zeroBlock [4096]byte

func isZero(b []byte) bool {
	for len(b) > len(zeroBlock) {
		if !bytes.Equal(b[:len(zeroBlock)], zeroBlock[:]) {
			return false
		}
		b = b[len(zeroBlock):]
	}
	return bytes.Equal(b, zeroBlock[:len(b)])
}
