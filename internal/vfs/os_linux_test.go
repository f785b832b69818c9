package vfs

import (
	"bytes"
	"os"
	"path"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
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

// cached is how many bytes of a file are in the page cache.
func cached(t *testing.T, f *os.File) int {
	t.Helper()
	var st unix.Cachestat_t
	if err := unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{}, &st, 0); err != nil {
		t.Skipf("the system does not tell what is in its cache: %v", err)
	}
	return int(st.Cache) * os.Getpagesize()
}

// cold is a file of which nothing is in the page cache.
func cold(t *testing.T, content []byte) *osFile {
	t.Helper()
	f := create(t, OS(), path.Join(t.TempDir(), "f"), string(content)).(*osFile)
	must(t, f.Sync())
	advise(f.f, 0, 0, unix.FADV_DONTNEED)
	if n := cached(t, f.f); n > 0 {
		t.Skipf("%d bytes stay in the cache: the file system keeps them nowhere else", n)
	}
	return f
}

func TestWhatIsReadOnceDoesNotStayInTheCache(t *testing.T) {
	const size, piece = 16 << 20, 1 << 20
	content := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	for name, unable := range map[string]bool{"uncached": false, "dropped behind": true} {
		t.Run(name, func(t *testing.T) {
			f := cold(t, content)
			f.once.unable.Store(unable)
			if unable {
				advise(f.f, 0, 0, unix.FADV_RANDOM)
			}
			buf := make([]byte, piece)
			for at := 0; at < size; at += piece {
				if n, err := f.ReadOnce(buf, int64(at)); err != nil || !bytes.Equal(buf, content[at:at+n]) {
					t.Fatalf("%d bytes at %d: %v", n, at, err)
				}
			}
			if n := cached(t, f.f); n > size/8 {
				t.Errorf("%d bytes of %d are in the cache", n, size)
			}
			if f.once.unable.Load() && !unable {
				t.Log("the file system cannot read past the cache")
			}
		})
	}
}

func TestWhatWasInTheCacheStaysThereWhenItIsReadOnce(t *testing.T) {
	const size = 4 << 20
	f := cold(t, make([]byte, size))
	buf := make([]byte, size)
	_, err := f.ReadAt(buf, 0)
	must(t, err)
	_, err = f.ReadOnce(buf, 0)
	must(t, err)
	if f.once.unable.Load() {
		t.Skip("the file system cannot read past the cache")
	}
	if n := cached(t, f.f); n < size {
		t.Errorf("%d bytes of %d are in the cache", n, size)
	}
}
