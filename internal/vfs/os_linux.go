package vfs

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// syncData is fdatasync: content and length, but no journal commit for a new
// modification time alone.
func syncData(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return &fs.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	// Control keeps the descriptor from being closed, and given to another file,
	// while the call runs.
	var syncErr error
	err = conn.Control(func(fd uintptr) {
		for {
			if syncErr = unix.Fdatasync(int(fd)); syncErr != unix.EINTR {
				return
			}
		}
	})
	if err != nil {
		syncErr = fs.ErrClosed // the one reason why Control refuses, under another name
	}
	if syncErr != nil {
		return &fs.PathError{Op: "fdatasync", Path: f.Name(), Err: syncErr}
	}
	return nil
}

// allocate grows a file by extents that are not yet written, or by a hole where the
// file system has no such thing.
func allocate(f *os.File, old, size int64) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return &fs.PathError{Op: "fallocate", Path: f.Name(), Err: err}
	}
	var callErr error
	err = conn.Control(func(fd uintptr) {
		for {
			if callErr = unix.Fallocate(int(fd), 0, old, size-old); callErr != unix.EINTR {
				return
			}
		}
	})
	if err != nil {
		callErr = fs.ErrClosed
	}
	if errors.Is(callErr, unix.EOPNOTSUPP) {
		return f.Truncate(size)
	}
	if callErr != nil {
		return &fs.PathError{Op: "fallocate", Path: f.Name(), Err: callErr}
	}
	return nil
}
