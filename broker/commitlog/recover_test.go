package commitlog

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// copyFS copies the log's directory as a process that was killed leaves it: synced
// or not, what was written is there.
func copyFS(t testing.TB, from vfs.FS) *vfs.Mem {
	t.Helper()
	to := vfs.NewMem()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(to.MkdirAll(dir))
	names, err := from.List(dir)
	check(err)
	for _, name := range names {
		f, err := to.Create(dir + "/" + name)
		check(err)
		_, err = f.WriteAt(content(t, from, name), 0)
		check(err)
		check(f.Sync())
		check(f.Close())
	}
	check(to.SyncDir(dir))
	check(to.SyncDir("."))
	return to
}

func content(t testing.TB, fsys vfs.FS, name string) []byte {
	t.Helper()
	f, err := fsys.Open(dir + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := readAll(f, 1<<30)
	if err != nil && err != io.EOF {
		t.Fatal(err)
	}
	return b
}

// edit rewrites a file by what do makes of its content.
func edit(t testing.TB, fsys vfs.FS, name string, do func([]byte) []byte) {
	t.Helper()
	b := do(content(t, fsys, name))
	f, err := fsys.OpenWrite(dir + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

func lastSegment(l *Log) SegmentInfo {
	s := l.Segments()
	return s[len(s)-1]
}

func TestATornTailIsCutAtAFrame(t *testing.T) {
	mem := vfs.NewMem()
	h := start(t, mem)
	must(t, h.append(false, true, false))
	must(t, h.sync())
	var ends []int64
	for range 4 {
		ends = append(ends, lastSegment(h.log).Size)
		must(t, h.append(false))
	}
	ends = ends[1:] // the first of the four stays whole
	s := lastSegment(h.log)
	ends = append(ends, s.Size)
	tears := map[string]func(b []byte, at int64) []byte{
		"cut off": func(b []byte, at int64) []byte { return b[:at] },
		"zeros":   func(b []byte, at int64) []byte { clear(b[at:]); return b },
		"noise": func(b []byte, at int64) []byte {
			for i := range b[at:] {
				b[int(at)+i] ^= 0x5a
			}
			return b
		},
	}
	for what, tear := range tears {
		for at := ends[0]; at <= s.Size; at++ {
			torn := copyFS(t, mem)
			edit(t, torn, s.Name, func(b []byte) []byte { return tear(b, at) })
			left, was := content(t, torn, s.Name), content(t, mem, s.Name)
			l, err := Open(torn, dir, Options{})
			if err != nil {
				t.Fatalf("%s at %d: %v", what, at, err)
			}
			whole := 4 // entries in front of the last three
			for i, end := range ends[1:] {
				if int64(len(left)) < end || !bytes.Equal(left[ends[i]:end], was[ends[i]:end]) {
					break
				}
				whole++
			}
			got := int(l.Last())
			if got != whole {
				t.Fatalf("%s at %d: %d entries, want %d", what, at, got, whole)
			}
			if cut := !isZero(left[min(int64(len(left)), ends[whole-4]):]); cut != (l.manifest.generation == 2) {
				t.Fatalf("%s at %d: generation %d", what, at, l.manifest.generation)
			}
			for i := l.First(); i <= l.Last(); i++ {
				if e, err := l.Entry(i); err != nil || !bytes.Equal(e, h.entries[i-1]) {
					t.Fatalf("%s at %d: entry %d: %v", what, at, i, err)
				}
			}
			must(t, l.Append([]record.Entry{rebuilt(h.entries[0], l.Last()+1)}))
			must(t, l.Close())
		}
	}
}

// rebuilt is an entry with the content of e under another index.
func rebuilt(e record.Entry, i record.Index) record.Entry {
	var b record.EntryBuilder
	e.Each(func(_ int, p record.Part) bool {
		b.Add(record.KindCommand, p.Partition, p.Bytes)
		return true
	})
	return b.Finish(i, e.Term(), e.Time(), false)
}

func TestDamageBelowTheDurableIndexIsNotCut(t *testing.T) {
	// Three frames, synced, and one more that says so. A flip in any of the three is
	// damage although all of it lies in the open segment.
	mem := vfs.NewMem()
	h := start(t, mem)
	must(t, h.append(false, false, false))
	must(t, h.sync())
	end := lastSegment(h.log).Size
	must(t, h.append(false))
	name := lastSegment(h.log).Name
	for at := int64(segmentHeaderSize); at < end; at++ {
		bad := copyFS(t, mem)
		edit(t, bad, name, func(b []byte) []byte { b[at] ^= 1 << (at % 8); return b })
		before := content(t, bad, name)
		_, err := Open(bad, dir, Options{})
		var corrupt *CorruptionError
		if !errors.As(err, &corrupt) && !errors.Is(err, ErrFutureVersion) {
			t.Fatalf("flip at %d: %v", at, err)
		}
		if corrupt != nil && (corrupt.Segment != name || corrupt.Address > Address(at)) {
			t.Fatalf("flip at %d is reported as %v", at, err)
		}
		if !bytes.Equal(content(t, bad, name), before) {
			t.Fatalf("flip at %d: the damaged segment was changed", at)
		}
	}
}

func TestALogThatWasClosedKnowsItsEnd(t *testing.T) {
	mem := vfs.NewMem()
	h := start(t, mem)
	must(t, h.append(false, false, false))
	name, size := lastSegment(h.log).Name, lastSegment(h.log).Size
	must(t, h.close())
	for at := int64(segmentHeaderSize); at < size; at += 3 {
		short := copyFS(t, mem)
		edit(t, short, name, func(b []byte) []byte { return b[:at] })
		var corrupt *CorruptionError
		if _, err := Open(short, dir, Options{}); !errors.As(err, &corrupt) {
			t.Fatalf("cut at %d: %v", at, err)
		}
	}
}

func TestAManifestThatLostARecordIsNotBelieved(t *testing.T) {
	mem := vfs.NewMem()
	h := start(t, mem)
	must(t, h.append(false, true, false, false))
	must(t, h.sync())
	// refused holds Open and Verify to the same.
	refused := func(t *testing.T, bad vfs.FS, file string) {
		t.Helper()
		var corrupt *CorruptionError
		if _, err := Open(copyFS(t, bad), dir, Options{}); !errors.As(err, &corrupt) || corrupt.Segment != file {
			t.Errorf("Open: %v", err)
		}
		report, err := Verify(bad, dir)
		if err != nil {
			t.Errorf("Verify: %v", err)
		}
		if !slices.ContainsFunc(report.Problems, func(p Problem) bool { return p.Do == doRepair || p.Do == doRestore }) {
			t.Errorf("Verify does not say that the log does not open: %v", report.Problems)
		}
	}
	t.Run("segment added", func(t *testing.T) {
		bad := copyFS(t, mem)
		edit(t, bad, manifestName, func(b []byte) []byte { b[len(b)-10] ^= 1; return b })
		refused(t, bad, manifestName)
	})
	must(t, h.truncate(3))
	must(t, h.append(false))
	must(t, h.sync())
	t.Run("suffix cut", func(t *testing.T) {
		bad := copyFS(t, mem)
		edit(t, bad, manifestName, func(b []byte) []byte { b[len(b)-10] ^= 1; return b })
		refused(t, bad, manifestName)
	})
	t.Run("the file", func(t *testing.T) {
		bad := copyFS(t, mem)
		must(t, bad.Remove(dir+"/"+manifestName))
		refused(t, bad, manifestName)
	})
	t.Run("the hard state's term", func(t *testing.T) {
		bad := copyFS(t, mem)
		old := hardStateRecord{sequence: 1, generation: 1}.encode()
		edit(t, bad, hardStateName, func([]byte) []byte { return append(old, old...) })
		refused(t, bad, hardStateName)
	})
}

func TestStaleFramesBehindACutNeverComeBack(t *testing.T) {
	// The cut is in the manifest, but none of what follows reached the disk.
	mem := vfs.NewMem()
	h := start(t, mem)
	for _, roll := range []bool{false, false, false, false, true, false} {
		must(t, h.append(roll)) // each frame knows that the one before was durable
		must(t, h.sync())
	}
	before := copyFS(t, mem)
	must(t, h.truncate(2))
	edit(t, before, manifestName, func([]byte) []byte { return content(t, mem, manifestName) })
	for range 2 {
		l, err := Open(before, dir, Options{})
		must(t, err)
		if l.Last() != 2 || len(l.Segments()) != 1 {
			t.Fatalf("last is %d in %d segments", l.Last(), len(l.Segments()))
		}
		must(t, l.Close())
	}
	names, err := before.List(dir)
	must(t, err)
	if n := len(slices.DeleteFunc(names, func(s string) bool { return !strings.HasSuffix(s, segmentSuffix) })); n != 1 {
		t.Errorf("%d segment files are left", n)
	}
}

func TestADamagedSnapshotFallsBackToTheOlderOne(t *testing.T) {
	mem := vfs.NewMem()
	h := start(t, mem)
	must(t, h.append(false, true, false, false))
	must(t, h.sync())
	must(t, h.commit(4))
	must(t, h.seal())
	must(t, h.snap(2))
	must(t, h.snap(4))
	must(t, h.close())
	flip := func(name string) {
		edit(t, mem, name, func(b []byte) []byte { b[len(b)-1] ^= 4; return b })
	}
	flip(snapshotName(4))
	l, err := Open(mem, dir, Options{})
	must(t, err)
	if s := l.Snapshot(); s == nil || s.Index != 2 || len(l.Warnings()) != 1 {
		t.Fatalf("snapshot %+v, warnings %q", s, l.Warnings())
	}
	if s, _ := l.Snapshot().Section("partitions"); string(s) != "state behind 2" {
		t.Errorf("the older snapshot says %q", s)
	}
	h.log = l
	must(t, h.replay())
	must(t, h.check())
	must(t, l.Close())
	flip(snapshotName(2))
	h.log, err = Open(mem, dir, Options{})
	must(t, err)
	if s := h.log.Snapshot(); s != nil || h.log.First() != 1 || len(h.log.Warnings()) != 2 {
		t.Fatalf("snapshot %+v, first %d, warnings %q", s, h.log.First(), h.log.Warnings())
	}
	must(t, h.replay())
	must(t, h.check())
	must(t, h.log.WriteSnapshot(h.snapshotAt(3)))
	names, err := mem.List(dir)
	must(t, err)
	if slices.Contains(names, snapshotName(4)) || slices.Contains(names, snapshotName(2)) {
		t.Errorf("damaged snapshots are still there: %q", names)
	}
}

func TestADamagedIndexIsMadeAnew(t *testing.T) {
	mem := vfs.NewMem()
	h := start(t, mem)
	must(t, h.append(false, true, false, true, false))
	must(t, h.sync())
	must(t, h.commit(5))
	must(t, h.seal())
	must(t, h.snap(5))
	name := indexName(h.log.Segments()[1].Name)
	good := content(t, mem, name)

	// While the log is open: the reader is told, Seal repairs.
	edit(t, mem, name, func(b []byte) []byte { b[blockSize+100] ^= 1; return b })
	var corrupt *CorruptionError
	if err := h.check(); !errors.As(err, &corrupt) || corrupt.Segment != name {
		t.Errorf("reading over a damaged index: %v", err)
	}
	if !h.log.SealPending() {
		t.Error("nothing is to be done about it")
	}
	must(t, h.seal())
	must(t, h.check())
	if !bytes.Equal(content(t, mem, name), good) {
		t.Error("the new index is another")
	}

	// At the start: the head is damaged, or the file is gone.
	for _, spoil := range []func(){
		func() { edit(t, mem, name, func(b []byte) []byte { b[30] ^= 1; return b }) },
		func() { must(t, mem.Remove(dir+"/"+name)) },
	} {
		must(t, h.log.Close())
		spoil()
		var err error
		h.log, err = Open(mem, dir, Options{})
		must(t, err)
		if len(h.log.Warnings()) != 1 {
			t.Errorf("warnings %q", h.log.Warnings())
		}
		must(t, h.replay())
		must(t, h.check())
		if !bytes.Equal(content(t, mem, name), good) {
			t.Error("the new index is another")
		}
	}
}

func TestForgottenPartitionsLeaveTheDirectory(t *testing.T) {
	mem := vfs.NewMem()
	h := start(t, mem)
	must(t, h.append(false, false, true, false))
	must(t, h.sync())
	must(t, h.commit(2))
	h.log.Forget(partitions[2]) // entry 3 has none of it
	must(t, h.commit(3))
	must(t, h.seal())
	d, err := h.log.set.list[0].index.Load().directory()
	must(t, err)
	want := h.standings(3)
	want.delete(partitions[2])
	if !maps.Equal(maps.Collect(d.all()), maps.Collect(want.all())) {
		t.Errorf("the directory at the seal is %v, want %v", d, want)
	}
}

func TestOpeningReadsNoMoreThanWhatFollowsTheOlderSnapshot(t *testing.T) {
	mem := vfs.NewMem()
	h := start(t, mem)
	for i := range 12 {
		must(t, h.append(false, true))
		must(t, h.sync())
		must(t, h.commit(record.Index(2*i+2)))
		must(t, h.seal())
	}
	must(t, h.snap(21))
	must(t, h.snap(23))
	must(t, h.log.Close())
	read := map[string]bool{}
	f := vfs.NewFault(mem, func(op vfs.Op) error {
		if op.Kind == vfs.OpRead && strings.HasSuffix(op.Name, segmentSuffix) && op.Bytes > segmentHeaderSize {
			read[op.Name] = true
		}
		return nil
	})
	l, err := Open(f, dir, Options{})
	must(t, err)
	if l.First() != 22 || l.Last() != 24 || len(read) != 2 {
		t.Errorf("window %d to %d, scanned %v", l.First(), l.Last(), read)
	}
}
