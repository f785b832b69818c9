//go:build darwin || freebsd

package vfs

import "os"

// syncData is a full sync: on darwin os.File.Sync asks the drive to flush too,
// which fdatasync there does not.
func syncData(f *os.File) error { return f.Sync() }

func allocate(f *os.File, _, size int64) error { return f.Truncate(size) }

type readOnce struct{}

func (readOnce) readAt(f *os.File, p []byte, off int64) (int, error) { return f.ReadAt(p, off) }
