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
	f, err := fsys.Create(tmp)
	if errors.Is(err, vfs.ErrExist) {
		if err := fsys.Remove(tmp); err != nil {
			return err
		}
		f, err = fsys.Create(tmp)
	}
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
