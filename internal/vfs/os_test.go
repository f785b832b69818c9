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

func TestFilesAndDirectoriesAreTheirOwnersOnly(t *testing.T) {
	dir := t.TempDir()
	sub := path.Join(dir, "sub")
	must(t, OS().MkdirAll(sub))
	create(t, OS(), path.Join(sub, "f"), "")
	for name, want := range map[string]fs.FileMode{sub: dirMode, path.Join(sub, "f"): fileMode} {
		info, err := os.Stat(name)
		must(t, err)
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %v, want %v", name, got, want)
		}
	}
}
