package vfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// OS returns the file system of the machine. Relative names are relative to the
// process's working directory. Only the user that runs the process reads what is made.
func OS() FS { return osFS{file: 0o600, dir: 0o700} }

// SharedOS is OS for what others are to read: the umask says who.
func SharedOS() FS { return osFS{file: 0o666, dir: 0o777} }

// osFS has the modes of what it makes, before the umask.
type osFS struct{ file, dir fs.FileMode }

func (o osFS) Create(name string) (File, error) {
	return o.open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (o osFS) Open(name string) (File, error) { return o.open(name, os.O_RDONLY) }

func (o osFS) OpenWrite(name string) (File, error) { return o.open(name, os.O_RDWR) }

func (osFS) Remove(name string) error { return os.Remove(filepath.FromSlash(name)) }

func (osFS) Rename(oldName, newName string) error {
	return mapNoSpace(os.Rename(filepath.FromSlash(oldName), filepath.FromSlash(newName)))
}

func (osFS) Link(oldName, newName string) error {
	return mapNoSpace(os.Link(filepath.FromSlash(oldName), filepath.FromSlash(newName)))
}

func (o osFS) MkdirAll(name string) error {
	return mapNoSpace(os.MkdirAll(filepath.FromSlash(name), o.dir))
}

func (osFS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.FromSlash(dir)) // sorted by name
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (osFS) Exists(name string) (bool, error) {
	_, err := os.Stat(filepath.FromSlash(name))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(filepath.FromSlash(dir))
	if err != nil {
		return err
	}
	err = mapNoSpace(d.Sync())
	return errors.Join(err, d.Close())
}

func (o osFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(filepath.FromSlash(name), os.O_RDWR|os.O_CREATE, o.file)
	if err != nil {
		return nil, mapNoSpace(err)
	}
	if err := lockFile(f); err != nil {
		f.Close() // nothing was written to it
		return nil, &fs.PathError{Op: "lock", Path: name, Err: err}
	}
	return f, nil
}

func (osFS) Free(dir string) (int64, error) {
	n, err := freeBytes(filepath.FromSlash(dir))
	if err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return n, nil
}

func (o osFS) open(name string, flag int) (File, error) {
	f, err := os.OpenFile(filepath.FromSlash(name), flag, o.file)
	if err != nil {
		return nil, mapNoSpace(err)
	}
	return &osFile{f: f}, nil
}

type osFile struct {
	f    *os.File
	once readOnce
}

func (f *osFile) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }

func (f *osFile) ReadOnce(p []byte, off int64) (int, error) { return f.once.readAt(f.f, p, off) }

func (f *osFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.f.WriteAt(p, off)
	return n, mapNoSpace(err)
}

func (f *osFile) Close() error { return mapNoSpace(f.f.Close()) }

func (f *osFile) Size() (int64, error) {
	info, err := f.f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f *osFile) Truncate(size int64) error { return mapNoSpace(f.f.Truncate(size)) }

func (f *osFile) Allocate(size int64) error {
	old, err := f.Size()
	if err != nil || size <= old {
		return err
	}
	return mapNoSpace(allocate(f.f, old, size))
}

func (f *osFile) Sync() error { return mapNoSpace(syncData(f.f)) }

// noSpaceError is ErrNoSpace that keeps what the system said, path and all.
type noSpaceError struct{ err error }

func (e *noSpaceError) Error() string   { return e.err.Error() }
func (e *noSpaceError) Unwrap() []error { return []error{ErrNoSpace, e.err} }

func mapNoSpace(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, errQuota) {
		return &noSpaceError{err}
	}
	return err
}
