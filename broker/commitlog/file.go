package commitlog

import (
	"errors"
	"path"

	"github.com/splashdam/splashdam/internal/vfs"
)

// replaceFile writes a file so that a crash leaves the old content or the new and
// nothing between: a temporary name, sync, rename, sync of the directory.
func replaceFile(fsys vfs.FS, dir, name string, write func(vfs.File) error) error {
	tmp := path.Join(dir, name+tmpSuffix)
	f, err := createOver(fsys, tmp)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		// Open deletes it if this does not.
		_ = fsys.Remove(tmp)
		return err
	}
	if err := fsys.Rename(tmp, path.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(fsys, dir)
}

// createOver makes an empty file in the place of one that an earlier attempt left.
func createOver(fsys vfs.FS, name string) (vfs.File, error) {
	f, err := fsys.Create(name)
	if errors.Is(err, vfs.ErrExist) {
		if err := fsys.Remove(name); err != nil {
			return nil, err
		}
		f, err = fsys.Create(name)
	}
	return f, err
}

// readFull reads len(b) bytes at pos, or errors.
func readFull(f vfs.File, b []byte, pos int64) error {
	n, err := f.ReadAt(b, pos)
	if n == len(b) {
		return nil
	}
	return noEOF(err)
}

// readAll reads a whole file of at most limit bytes.
func readAll(f vfs.File, limit int64) ([]byte, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, damagef("%d bytes, more than the limit of %d", size, limit)
	}
	b := make([]byte, size)
	return b, readFull(f, b, 0)
}
