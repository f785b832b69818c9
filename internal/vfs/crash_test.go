package vfs

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
	"testing"
)

// dump is the whole tree as text.
func dump(t *testing.T, m *Mem, dir string) string {
	t.Helper()
	names, err := m.List(dir)
	must(t, err)
	var s strings.Builder
	for _, name := range names {
		full := path.Join(dir, name)
		if _, err := m.List(full); err == nil {
			fmt.Fprintf(&s, "%s/\n%s", full, dump(t, m, full))
		} else {
			fmt.Fprintf(&s, "%s %q\n", full, read(t, m, full))
		}
	}
	return s.String()
}

// outcomes are the different trees that crashes leave.
func outcomes(t *testing.T, m *Mem, n int) map[string]bool {
	t.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	seen := map[string]bool{}
	for range n {
		seen[dump(t, m.Crash(rnd), "/")] = true
	}
	return seen
}

func wantOutcomes(t *testing.T, m *Mem, want ...string) {
	t.Helper()
	got := outcomes(t, m, 500)
	for _, w := range want {
		if !got[w] {
			t.Errorf("no crash leaves\n%s", w)
		}
		delete(got, w)
	}
	for g := range got {
		t.Errorf("a crash leaves\n%s", g)
	}
}

func TestACleanCrashKeepsWhatWasSyncedAndNothingElse(t *testing.T) {
	m := NewMem()
	f := create(t, m, "f", "synced")
	must(t, f.Sync())
	create(t, m, "g", "content not synced")
	must(t, m.SyncDir("/"))
	h := create(t, m, "h", "name not synced")
	must(t, h.Sync())
	write(t, f, 0, "S")
	must(t, f.Truncate(100))
	must(t, m.Remove("g"))

	if got, want := dump(t, m.CrashClean(), "/"), "/f \"synced\"\n/g \"\"\n"; got != want {
		t.Errorf("left:\n%s\nwant:\n%s", got, want)
	}
}

func TestSyncedFilesSurviveEveryCrash(t *testing.T) {
	m := NewMem()
	must(t, m.MkdirAll("a/b"))
	must(t, m.SyncDir("/"))
	must(t, m.SyncDir("a"))
	f := create(t, m, "a/b/f", "content")
	must(t, m.Link("a/b/f", "a/g"))
	must(t, f.Sync())
	must(t, m.SyncDir("a/b"))
	must(t, m.SyncDir("a"))
	wantOutcomes(t, m, "/a/\n/a/b/\n/a/b/f \"content\"\n/a/g \"content\"\n")
}

func TestEachDirectoryChangeSurvivesAloneOrNot(t *testing.T) {
	m := NewMem()
	create(t, m, "old", "")
	must(t, m.SyncDir("/"))
	create(t, m, "a", "")
	create(t, m, "b", "")
	must(t, m.Remove("old"))
	var want []string
	for mask := range 8 {
		var s string
		for i, name := range []string{"/a", "/b", "/old"} {
			if mask>>i&1 != 0 {
				s += name + " \"\"\n"
			}
		}
		want = append(want, s)
	}
	wantOutcomes(t, m, want...)
}

func TestARenameIsThereOrNotButNeverHalf(t *testing.T) {
	m := NewMem()
	must(t, create(t, m, "target", "").Sync())
	f := create(t, m, "tmp", "new")
	must(t, f.Sync())
	must(t, m.SyncDir("/"))
	must(t, m.Rename("tmp", "target"))
	wantOutcomes(t, m, "/target \"\"\n/tmp \"new\"\n", "/target \"new\"\n")
}

func TestARenameBetweenDirectoriesIsOneChange(t *testing.T) {
	m := NewMem()
	must(t, m.MkdirAll("a"))
	must(t, m.MkdirAll("b"))
	create(t, m, "a/f", "")
	must(t, m.SyncDir("/"))
	must(t, m.SyncDir("a"))
	must(t, m.Rename("a/f", "b/f"))
	wantOutcomes(t, m, "/a/\n/a/f \"\"\n/b/\n", "/a/\n/b/\n/b/f \"\"\n")

	must(t, m.SyncDir("b"))
	wantOutcomes(t, m, "/a/\n/a/f \"\"\n/b/\n/b/f \"\"\n", "/a/\n/b/\n/b/f \"\"\n")
}

func TestAFileInADirectoryThatIsNotSyncedMayGoWithIt(t *testing.T) {
	m := NewMem()
	must(t, m.MkdirAll("dir"))
	must(t, create(t, m, "dir/f", "x").Sync())
	must(t, m.SyncDir("dir"))
	wantOutcomes(t, m, "", "/dir/\n/dir/f \"x\"\n")
}

func TestUnsyncedWritesAreKeptDroppedOrTorn(t *testing.T) {
	m := NewMem()
	f := create(t, m, "f", "aaaa")
	must(t, f.Sync())
	must(t, m.SyncDir("/"))
	write(t, f, 0, "bb")
	write(t, f, 4, "cc")

	allowed := []string{"ab", "ab", "a", "a", "c\x00", "c\x00"} // of each byte
	seen := outcomes(t, m, 20_000)
	for s := range seen {
		got := read(t, parse(t, s), "f")
		if len(got) < 4 || len(got) > 6 {
			t.Errorf("the length is %d, not between the synced 4 and the written 6", len(got))
		}
		for i := range got {
			if !strings.ContainsRune(allowed[i], rune(got[i])) {
				t.Errorf("%q has byte %d neither as synced nor as written", got, i)
			}
		}
	}
	// Every combination is possible: 4 of the first two bytes, and behind the
	// synced ones nothing, one byte of two values or two bytes of four.
	if want := 4 * (1 + 2 + 4); len(seen) != want {
		t.Errorf("%d outcomes, want %d: %v", len(seen), want, seen)
	}
}

// parse turns what dump gave of a single file back into a tree.
func parse(t *testing.T, s string) *Mem {
	t.Helper()
	var name, content string
	if _, err := fmt.Sscanf(s, "%s %q", &name, &content); err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	m := NewMem()
	create(t, m, name, content)
	return m
}

func TestAnUnsyncedTruncationMayBeUndone(t *testing.T) {
	m := NewMem()
	f := create(t, m, "f", "abcd")
	must(t, f.Sync())
	must(t, m.SyncDir("/"))
	must(t, f.Truncate(1))
	wantOutcomes(t, m, "/f \"abcd\"\n", "/f \"a\"\n")
}

func TestACrashCloneIsIndependent(t *testing.T) {
	m := NewMem()
	f := create(t, m, "f", "before")
	must(t, f.Sync())
	must(t, m.SyncDir("/"))
	held, err := m.Lock("LOCK")
	must(t, err)
	defer held.Close()
	must(t, m.SyncDir("/"))

	clone := m.CrashClean()
	lock, err := clone.Lock("LOCK")
	must(t, err) // the machine has started anew
	must(t, lock.Close())
	write(t, f, 0, "after!")
	must(t, f.Sync())
	must(t, m.Remove("f"))
	must(t, m.SyncDir("/"))
	wantContent(t, clone, "f", "before")

	g, err := clone.OpenWrite("f")
	must(t, err)
	defer g.Close()
	write(t, g, 0, "clone ")
	wantContent(t, clone.CrashClean(), "f", "before")
	if got := content(t, f); got != "after!" {
		t.Errorf("the original reads %q", got)
	}
}

func TestTheSameSeedGivesTheSameCrash(t *testing.T) {
	m := NewMem()
	for i := range 10 {
		f := create(t, m, fmt.Sprint(i), "")
		write(t, f, 0, string(bytes.Repeat([]byte{'x'}, 100)))
	}
	first := dump(t, m.Crash(rand.New(rand.NewPCG(7, 7))), "/")
	for range 5 {
		if again := dump(t, m.Crash(rand.New(rand.NewPCG(7, 7))), "/"); again != first {
			t.Fatalf("first\n%s\nthen\n%s", first, again)
		}
	}
}

func TestACloneCountsItsSpaceAnew(t *testing.T) {
	m := NewMem()
	m.SetCapacity(100)
	f := create(t, m, "f", "0123456789")
	must(t, f.Sync())
	must(t, m.Link("f", "g"))
	must(t, m.SyncDir("/"))
	create(t, m, "h", "not synced")
	wantFree(t, m, 80)
	wantFree(t, m.CrashClean(), 90)
}
