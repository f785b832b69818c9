package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"
	"testing"
)

func TestAFullDiskIsToldApartAndKeepsItsPath(t *testing.T) {
	cause := &fs.PathError{Op: "write", Path: "/data/segment", Err: syscall.ENOSPC}
	err := fmt.Errorf("appending: %w", mapNoSpace(cause))
	wantErr(t, err, ErrNoSpace)
	var pathErr *fs.PathError
	if !errors.As(err, &pathErr) || pathErr.Path != "/data/segment" {
		t.Errorf("%v has lost its path", err)
	}
	if err.Error() != "appending: write /data/segment: no space left on device" {
		t.Errorf("it reads %q", err)
	}
	if err := mapNoSpace(os.ErrPermission); errors.Is(err, ErrNoSpace) {
		t.Error("another error became ErrNoSpace")
	}
	if mapNoSpace(nil) != nil {
		t.Error("success became an error")
	}
}

func TestADeviceThatIsFullRefusesWrites(t *testing.T) {
	f, err := OS().OpenWrite("/dev/full")
	if err != nil {
		t.Skip("the system has no /dev/full")
	}
	defer f.Close()
	_, err = f.WriteAt([]byte("x"), 0)
	wantErr(t, err, ErrNoSpace)
}

func TestFilesAndDirectoriesAreTheirOwnersOnlyUnlessShared(t *testing.T) {
	dir := t.TempDir()
	// What the umask leaves of modes, by what the system makes.
	left, leftDir := path.Join(dir, "left"), path.Join(dir, "leftdir")
	must(t, os.WriteFile(left, nil, 0o666))
	must(t, os.Mkdir(leftDir, 0o777))
	for name, c := range map[string]struct {
		fs        FS
		file, dir fs.FileMode
	}{
		"private": {OS(), 0o600, 0o700},
		"shared":  {SharedOS(), mode(t, left), mode(t, leftDir)},
	} {
		sub := path.Join(dir, name)
		must(t, c.fs.MkdirAll(sub))
		create(t, c.fs, path.Join(sub, "f"), "")
		if file, dir := mode(t, path.Join(sub, "f")), mode(t, sub); file != c.file || dir != c.dir {
			t.Errorf("%s: a file has mode %v and a directory %v, want %v and %v", name, file, dir, c.file, c.dir)
		}
	}
}

func mode(t *testing.T, name string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(name)
	must(t, err)
	return info.Mode().Perm()
}
