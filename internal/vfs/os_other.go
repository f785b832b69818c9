//go:build !linux && !darwin && !freebsd

package vfs

import (
	"errors"
	"os"
	"syscall"
)

// The command line builds and runs here; a broker does not start, since Lock is
// refused.

const errQuota = syscall.ENOSPC // there is no errno of its own

func syncData(f *os.File) error { return f.Sync() }

func allocate(f *os.File, _, size int64) error { return f.Truncate(size) }

func lockFile(*os.File) error { return errors.ErrUnsupported }

func freeBytes(string) (int64, error) { return 0, errors.ErrUnsupported }

type readOnce struct{}

func (readOnce) readAt(f *os.File, p []byte, off int64) (int, error) { return f.ReadAt(p, off) }
