// Package vfs is the only way the product reaches a disk.
//
// Everything durable goes through FS, so a test can stop the world at every
// single I/O: Mem keeps files in memory and can be cloned as a crash would leave
// them (what was not synced is gone or torn), Fault makes the n-th call fail.
// OS is the real thing. The promise of each call is the weakest that a Linux
// file system gives, and one suite holds all implementations to it.
package vfs

import (
	"errors"
	"io"
	"io/fs"
)

// Errors that callers decide on. ErrNotExist and ErrExist are those of io/fs.
var (
	ErrNotExist = fs.ErrNotExist
	ErrExist    = fs.ErrExist
	// ErrNoSpace is a write that found the disk full (ENOSPC, EDQUOT). The bytes
	// of the failed call may be there in part. Trying again later is allowed.
	ErrNoSpace = errors.New("no space left on device")
	// ErrLocked says that another process (or another opener in this one) holds
	// the lock file.
	ErrLocked = errors.New("locked by another process")
)

// FS is a directory tree. Names are slash-separated paths; all methods may be
// called concurrently.
//
// Creating, removing, renaming and linking change a directory, and such a change
// survives a power loss only after SyncDir of that directory. Until then each
// change may or may not be there, independently of the others.
type FS interface {
	// Create makes an empty file for reading and writing. It fails with ErrExist
	// if the name is taken.
	Create(name string) (File, error)
	// Open opens an existing file for reading only.
	Open(name string) (File, error)
	// OpenWrite opens an existing file for reading and writing, its content kept.
	OpenWrite(name string) (File, error)
	// Remove deletes a file or an empty directory.
	Remove(name string) error
	// Rename moves a file, replacing what newName was, in one step.
	Rename(oldName, newName string) error
	// Link makes a second name for a file. It fails with ErrExist if the name is
	// taken: an atomic claim.
	Link(oldName, newName string) error
	// MkdirAll makes a directory and its parents. The caller syncs each parent.
	MkdirAll(name string) error
	// List returns the names in a directory, sorted, without the path.
	List(dir string) ([]string, error)
	// Exists reports whether a file or a directory of that name is there.
	Exists(name string) (bool, error)
	// SyncDir makes the entries of a directory durable.
	SyncDir(dir string) error
	// Lock takes an exclusive lock on a file, which is made if needed, until the
	// returned Closer is closed or the process ends. ErrLocked if it is held.
	Lock(name string) (io.Closer, error)
	// Free returns how many bytes an ordinary user may still write to the file
	// system that holds dir.
	Free(dir string) (int64, error)
}

// File is an open file. Reads may run concurrently with each other and with one
// writer; two writers are not allowed.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// ReadOnce is ReadAt for bytes that nobody will want again soon. What the call
	// brings into the system's cache goes out of it again, where the system can do that.
	ReadOnce(p []byte, off int64) (int, error)
	// Size returns the current length in bytes.
	Size() (int64, error)
	// Truncate sets the length; new bytes are zero.
	Truncate(size int64) error
	// Allocate makes the file at least size bytes long; new bytes are zero and, where
	// the file system can, have their place on the disk, in one piece as far as
	// possible. If there is no room for all it fails with ErrNoSpace, and the length
	// is anything between the old and the new.
	Allocate(size int64) error
	// Sync makes content and length durable (fdatasync: enough metadata to read
	// the content back). After an error nothing may be assumed of any write since
	// the last good Sync, and the file must not be synced again.
	Sync() error
}
