package vfs

import (
	"path"
	"syscall"
	"testing"
)

func TestAllocatedBytesHaveTheirPlaceOnTheDisk(t *testing.T) {
	const size = 1 << 20
	f := create(t, OS(), path.Join(t.TempDir(), "f"), "x")
	must(t, f.Allocate(size))
	info, err := f.(*osFile).f.Stat()
	must(t, err)
	if info.Sys().(*syscall.Stat_t).Blocks*512 < size {
		t.Skip("the file system has no extents that are not written")
	}
	if info.Size() != size {
		t.Errorf("the file is %d bytes long, want %d", info.Size(), size)
	}
}
