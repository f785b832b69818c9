package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// readOnce reads past the page cache. Linux 6.14 and later can (RWF_DONTCACHE, on ext4,
// XFS and others): pages that are there already are read and stay, those that have to be
// fetched go when they are read. For others it drops what it has read, whoever brought
// it, and forgoes reading ahead, which would bring more than is asked for.
type readOnce struct {
	unable atomic.Bool // to use RWF_DONTCACHE; then reading ahead is off
}

func (o *readOnce) readAt(f *os.File, p []byte, off int64) (int, error) {
	if len(p) == 0 || off < 0 || o.unable.Load() {
		return dropBehind(f, p, off)
	}
	conn, err := f.SyscallConn()
	if err != nil {
		return 0, &fs.PathError{Op: "read", Path: f.Name(), Err: err}
	}
	n := 0
	var callErr error
	err = conn.Control(func(fd uintptr) {
		for n < len(p) {
			var m int
			m, callErr = unix.Preadv2(int(fd), [][]byte{p[n:]}, off+int64(n), unix.RWF_DONTCACHE)
			if callErr == unix.EINTR {
				continue
			}
			if callErr != nil || m == 0 {
				return
			}
			n += m
		}
	})
	switch {
	case err != nil:
		return 0, &fs.PathError{Op: "read", Path: f.Name(), Err: fs.ErrClosed}
	case errors.Is(callErr, unix.EOPNOTSUPP), errors.Is(callErr, unix.EINVAL), errors.Is(callErr, unix.ENOSYS):
		if !o.unable.Swap(true) {
			advise(f, 0, 0, unix.FADV_RANDOM)
		}
		return dropBehind(f, p, off)
	case callErr != nil:
		return n, &fs.PathError{Op: "read", Path: f.Name(), Err: callErr}
	case n < len(p):
		return n, io.EOF
	}
	return n, nil
}

func dropBehind(f *os.File, p []byte, off int64) (int, error) {
	n, err := f.ReadAt(p, off)
	if n > 0 {
		advise(f, off, int64(n), unix.FADV_DONTNEED)
	}
	return n, err
}

// advise is a hint: where it is not understood nothing is lost but memory.
func advise(f *os.File, off, n int64, advice int) {
	conn, err := f.SyscallConn()
	if err == nil {
		_ = conn.Control(func(fd uintptr) { _ = unix.Fadvise(int(fd), off, n, advice) })
	}
}
