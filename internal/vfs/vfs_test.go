package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"reflect"
	"strings"
	"sync"
	"testing"
)

// implementations are held to one suite. Each gives a tree and a directory in it
// that is empty.
func implementations(t *testing.T, test func(t *testing.T, fsys FS, dir string)) {
	t.Run("OS", func(t *testing.T) { test(t, OS(), t.TempDir()) })
	t.Run("Mem", func(t *testing.T) {
		mem := NewMem()
		must(t, mem.MkdirAll("/data"))
		test(t, mem, "/data")
	})
	for seed := range uint64(2) { // what a crash leaves is a file system like any other
		t.Run(fmt.Sprint("Crash", seed), func(t *testing.T) {
			mem := NewMem()
			must(t, mem.MkdirAll("data"))
			must(t, mem.SyncDir("/"))
			create(t, mem, "data/lost", "never synced")
			left := mem.CrashClean()
			if seed > 0 {
				left = mem.Crash(rand.New(rand.NewPCG(seed, 0)))
				if there, err := left.Exists("data/lost"); err == nil && there {
					must(t, left.Remove("data/lost"))
				}
			}
			test(t, left, "data")
		})
	}
	t.Run("Fault", func(t *testing.T) {
		fault := NewFault(NewMem(), nil)
		must(t, fault.MkdirAll("data"))
		test(t, fault, "data")
	})
	t.Run("FaultOnOS", func(t *testing.T) { test(t, NewFault(OS(), nil), t.TempDir()) })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

func create(t *testing.T, fsys FS, name, content string) File {
	t.Helper()
	f, err := fsys.Create(name)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	write(t, f, 0, content)
	return f
}

func write(t *testing.T, f File, at int64, s string) {
	t.Helper()
	n, err := f.WriteAt([]byte(s), at)
	if err != nil || n != len(s) {
		t.Fatalf("wrote %d of %d bytes: %v", n, len(s), err)
	}
}

func read(t *testing.T, fsys FS, name string) string {
	t.Helper()
	f, err := fsys.Open(name)
	must(t, err)
	defer f.Close()
	return content(t, f)
}

func content(t *testing.T, f File) string {
	t.Helper()
	size, err := f.Size()
	must(t, err)
	p := make([]byte, size)
	if n, err := f.ReadAt(p, 0); int64(n) != size || err != nil && err != io.EOF {
		t.Fatalf("read %d of %d bytes: %v", n, size, err)
	}
	return string(p)
}

func wantContent(t *testing.T, fsys FS, name, want string) {
	t.Helper()
	if got := read(t, fsys, name); got != want {
		t.Fatalf("%s holds %q, want %q", name, got, want)
	}
}

func wantList(t *testing.T, fsys FS, dir string, want ...string) {
	t.Helper()
	got, err := fsys.List(dir)
	must(t, err)
	if len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
		t.Fatalf("%s holds %q, want %q", dir, got, want)
	}
}

func wantExists(t *testing.T, fsys FS, name string, want bool) {
	t.Helper()
	got, err := fsys.Exists(name)
	must(t, err)
	if got != want {
		t.Fatalf("Exists(%s) = %v", name, got)
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	implementations(t, func(t *testing.T, fsys FS, dir string) {
		f := create(t, fsys, path.Join(dir, "f"), "hello world")
		write(t, f, 6, "there")
		write(t, f, 13, "!") // leaves a hole of two bytes
		must(t, f.Sync())
		wantContent(t, fsys, path.Join(dir, "f"), "hello there\x00\x00!")

		p := make([]byte, 5)
		if n, err := f.ReadAt(p, 6); n != 5 || err != nil || string(p) != "there" {
			t.Fatalf("ReadAt: %q, %d, %v", p, n, err)
		}
		if n, err := f.ReadAt(p, 12); n != 2 || err != io.EOF {
			t.Fatalf("ReadAt over the end: %d, %v", n, err)
		}
		if n, err := f.ReadAt(p, 100); n != 0 || err != io.EOF {
			t.Fatalf("ReadAt behind the end: %d, %v", n, err)
		}
	})
}

func TestReadOnceReadsWhatReadAtDoes(t *testing.T) {
	implementations(t, func(t *testing.T, fsys FS, dir string) {
		f := create(t, fsys, path.Join(dir, "f"), "abcdef")
		for at := int64(-1); at < 8; at++ {
			for n := range 8 {
				p, q := make([]byte, n), make([]byte, n)
				got, err := f.ReadOnce(p, at)
				want, wantErr := f.ReadAt(q, at)
				if got != want || string(p) != string(q) || (err == nil) != (wantErr == nil) || (err == io.EOF) != (wantErr == io.EOF) {
					t.Errorf("%d bytes at %d: %d %q %v, ReadAt says %d %q %v", n, at, got, p, err, want, q, wantErr)
				}
			}
		}
		must(t, f.Close())
		_, err := f.ReadOnce(make([]byte, 1), 0)
		wantErr(t, err, fs.ErrClosed)
	})
}

func TestTruncateCutsAndExtendsWithZeros(t *testing.T) {
	implementations(t, func(t *testing.T, fsys FS, dir string) {
		f := create(t, fsys, path.Join(dir, "f"), "abcdef")
		must(t, f.Truncate(2))
		must(t, f.Truncate(4))
		must(t, f.Sync())
		wantContent(t, fsys, path.Join(dir, "f"), "ab\x00\x00")
	})
}

func TestAllocateGrowsWithZerosAndNeverShrinks(t *testing.T) {
	implementations(t, func(t *testing.T, fsys FS, dir string) {
		f := create(t, fsys, path.Join(dir, "f"), "abc")
		must(t, f.Allocate(5))
		must(t, f.Allocate(2))
		must(t, f.Allocate(-1))
		must(t, f.Sync())
		wantContent(t, fsys, path.Join(dir, "f"), "abc\x00\x00")
	})
}

func TestCreateNeedsAFreeNameAndADirectory(t *testing.T) {
	implementations(t, func(t *testing.T, fsys FS, dir string) {
		create(t, fsys, path.Join(dir, "f"), "first")
		_, err := fsys.Create(path.Join(dir, "f"))
		wantErr(t, err, ErrExist)
		_, err = fsys.Create(path.Join(dir, "none", "f"))
		wantErr(t, err, ErrNotExist)
		wantContent(t, fsys, path.Join(dir, "f"), "first")
	})
}

func TestOpenFindsOnlyWhatIsThereAndCannotWrite(t *testing.T) {
	implementations(t, func(t *testing.T, fsys FS, dir string) {
		name := path.Join(dir, "f")
		_, err := fsys.Open(name)
		wantErr(t, err, ErrNotExist)
		_, err = fsys.OpenWrite(name)
		wantErr(t, err, ErrNotExist)

		create(t, fsys, name, "content")
		f, err := fsys.Open(name)
		must(t, err)
		defer f.Close()
		if _, err := f.WriteAt([]byte("x"), 0); err == nil {
			t.Fatal("a file opened for reading was written")
		}
		w, err := fsys.OpenWrite(name)
		must(t, err)
		defer w.Close()
		write(t, w, 0, "C")
		if got := content(t, f); got != "Content" {
			t.Fatalf("another handle reads %q", got)
		}
	})
}

func TestAClosedFileIsNotUsed(t *testing.T) {
	implementations(t, func(t *testing.T, fsys FS, dir string) {
		f := create(t, fsys, path.Join(dir, "f"), "x")
		must(t, f.Close())
		_, err := f.ReadAt(make([]byte, 1), 0)
		wantErr(t, err, fs.ErrClosed)
		_, err = f.WriteAt([]byte("x"), 0)
		wantErr(t, err, fs.ErrClosed)
		_, err = f.Size()
		wantErr(t, err, fs.ErrClosed)
		wantErr(t, f.Truncate(0), fs.ErrClosed)
		wantErr(t, f.Allocate(9), fs.ErrClosed)
		wantErr(t, f.Sync(), fs.ErrClosed)
		wantErr(t, f.Close(), fs.ErrClosed)
	})
}

func TestRenameReplacesAndKeepsHandles(t *testing.T) {
	implementations(t, func(t *testing.T, fsys FS, dir string) {
		f := create(t, fsys, path.Join(dir, "new"), "new")
		old := create(t, fsys, path.Join(dir, "old"), "old")
		must(t, fsys.Rename(path.Join(dir, "new"), path.Join(dir, "old")))
		wantList(t, fsys, dir, "old")
		wantContent(t, fsys, path.Join(dir, "old"), "new")
		write(t, f, 3, "er")
		wantContent(t, fsys, path.Join(dir, "old"), "newer")
		if got := content(t, old); got != "old" {
			t.Fatalf("the handle of the replaced file reads %q", got)
		}
		wantErr(t, fsys.Rename(path.Join(dir, "none"), path.Join(dir, "x")), ErrNotExist)
	})
}

func TestLinkClaimsANameOnce(t *testing.T) {
	implementations(t, func(t *testing.T, fsys FS, dir string) {
		create(t, fsys, path.Join(dir, "a"), "content")
		must(t, fsys.Link(path.Join(dir, "a"), path.Join(dir, "b")))
		wantErr(t, fsys.Link(path.Join(dir, "a"), path.Join(dir, "b")), ErrExist)
		wantErr(t, fsys.Link(path.Join(dir, "none"), path.Join(dir, "c")), ErrNotExist)
		must(t, fsys.Rename(path.Join(dir, "a"), path.Join(dir, "b"))) // one file: nothing happens
		wantList(t, fsys, dir, "a", "b")
		must(t, fsys.Remove(path.Join(dir, "a")))
		wantList(t, fsys, dir, "b")
		wantContent(t, fsys, path.Join(dir, "b"), "content")
	})
}

func TestRemoveTakesFilesAndEmptyDirectories(t *testing.T) {
	implementations(t, func(t *testing.T, fsys FS, dir string) {
		sub := path.Join(dir, "a/b")
		must(t, fsys.MkdirAll(sub))
		must(t, fsys.MkdirAll(sub)) // once more is no error
		f := create(t, fsys, path.Join(sub, "f"), "still readable")
		if fsys.Remove(sub) == nil {
			t.Fatal("a directory with a file in it was removed")
		}
		must(t, fsys.Remove(path.Join(sub, "f")))
		wantErr(t, fsys.Remove(path.Join(sub, "f")), ErrNotExist)
		must(t, fsys.Remove(sub))
		wantExists(t, fsys, sub, false)
		wantExists(t, fsys, path.Join(dir, "a"), true)
		if got := content(t, f); got != "still readable" {
			t.Fatalf("the handle of a removed file reads %q", got)
		}
	})
}

func TestListIsSortedAndWithoutPaths(t *testing.T) {
	implementations(t, func(t *testing.T, fsys FS, dir string) {
		wantList(t, fsys, dir)
		create(t, fsys, path.Join(dir, "b"), "")
		create(t, fsys, path.Join(dir, "a"), "")
		must(t, fsys.MkdirAll(path.Join(dir, "c/inner")))
		wantList(t, fsys, dir, "a", "b", "c")
		must(t, fsys.SyncDir(dir))
		_, err := fsys.List(path.Join(dir, "none"))
		wantErr(t, err, ErrNotExist)
		wantErr(t, fsys.SyncDir(path.Join(dir, "none")), ErrNotExist)
	})
}

func TestALockHasOneHolder(t *testing.T) {
	implementations(t, func(t *testing.T, fsys FS, dir string) {
		name := path.Join(dir, "LOCK")
		first, err := fsys.Lock(name)
		must(t, err)
		_, err = fsys.Lock(name)
		wantErr(t, err, ErrLocked)
		if !strings.Contains(err.Error(), name) {
			t.Fatalf("%q does not say which file", err)
		}
		must(t, first.Close())
		again, err := fsys.Lock(name)
		must(t, err)
		must(t, again.Close())
	})
}

func TestFreeSpaceIsToldForAnExistingDirectory(t *testing.T) {
	implementations(t, func(t *testing.T, fsys FS, dir string) {
		n, err := fsys.Free(dir)
		must(t, err)
		if n <= 0 {
			t.Fatalf("%d bytes are free", n)
		}
		_, err = fsys.Free(path.Join(dir, "none"))
		wantErr(t, err, ErrNotExist)
	})
}

func TestReadersRunBesideAWriter(t *testing.T) {
	implementations(t, func(t *testing.T, fsys FS, dir string) {
		f := create(t, fsys, path.Join(dir, "f"), "0000")
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				p := make([]byte, 4)
				for range 100 {
					if n, err := f.ReadAt(p, 0); n != 4 || err != nil {
						t.Errorf("read %d bytes: %v", n, err)
						return
					}
				}
			})
		}
		for i := range 100 {
			write(t, f, 4*int64(i), fmt.Sprintf("%04d", i))
		}
		wg.Wait()
	})
}
