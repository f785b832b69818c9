package commitlog

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// roomy returns a log whose open segment has room behind its one entry.
func roomy(t *testing.T, fsys vfs.FS) *history {
	t.Helper()
	h := newHistory()
	var err error
	h.log, err = Open(fsys, dir, pieces)
	must(t, err)
	must(t, h.setHard(1, 1, 0))
	must(t, h.append(false, false, false, false, false, false))
	must(t, h.prepare())
	must(t, h.append(true, false))
	must(t, h.sync())
	return h
}

func fileSize(t *testing.T, fsys vfs.FS, name string) int64 {
	t.Helper()
	f, err := fsys.Open(dir + "/" + name)
	must(t, err)
	defer f.Close()
	size, err := f.Size()
	must(t, err)
	return size
}

func TestTheOpenSegmentHasRoomAndAFullOneHasNone(t *testing.T) {
	mem := vfs.NewMem()
	h := roomy(t, mem)
	s := h.log.Segments()
	if size := fileSize(t, mem, s[1].Name); size < s[0].Size-pieces.roomPiece {
		t.Errorf("there is room up to %d, the segment before has %d bytes", size, s[0].Size)
	}
	must(t, h.append(true, false))
	s = h.log.Segments()
	for _, s := range s[:2] {
		if size := fileSize(t, mem, s.Name); size != s.Size {
			t.Errorf("%s has %d bytes, its frames end at %d", s.Name, size, s.Size)
		}
	}
	must(t, h.reopen(mem))
	must(t, h.check())
	if w := h.log.Warnings(); len(w) > 0 {
		t.Error(w)
	}
}

func TestRoomIsNeitherATornTailNorDamage(t *testing.T) {
	mem := vfs.NewMem()
	h := roomy(t, mem)
	s := lastSegment(h.log)
	if fileSize(t, mem, s.Name) < s.Size+FrameHeaderSize {
		t.Fatal("there is no room")
	}
	left := mem.CrashClean()
	r, err := Verify(left, dir)
	must(t, err)
	if len(r.Problems) > 0 {
		t.Error(r.Problems)
	}
	l, err := Open(left, dir, pieces)
	must(t, err)
	if w := l.Warnings(); len(w) > 0 || l.generation != 1 || lastSegment(l).Size != s.Size {
		t.Errorf("generation %d, %d bytes, %v", l.generation, lastSegment(l).Size, w)
	}
	if size := fileSize(t, left, s.Name); size == s.Size {
		t.Error("the room is gone")
	}
}

// Of two frames that were not synced a power loss may take the first alone. What is
// there of the second must not come back behind another that takes the first one's
// place.
func TestZerosInFrontOfAFrameAreNoRoom(t *testing.T) {
	mem := vfs.NewMem()
	h := roomy(t, mem)
	before := lastSegment(h.log)
	must(t, h.append(false))
	between := lastSegment(h.log).Size
	must(t, h.append(false))
	first := h.entries[before.Last]
	left := copyFS(t, mem)
	edit(t, left, before.Name, func(b []byte) []byte { clear(b[before.Size:between]); return b })
	l, err := Open(left, dir, pieces)
	must(t, err)
	if l.Last() != before.Last || l.generation != 2 {
		t.Fatalf("the log ends at %d, generation %d", l.Last(), l.generation)
	}
	must(t, l.Append(h.entries[before.Last:before.Last+1]))
	must(t, l.Close())
	l, err = Open(left, dir, pieces)
	must(t, err)
	if l.Last() != first.Index() {
		t.Errorf("the log ends at %d, want %d", l.Last(), first.Index())
	}
}

func TestAFullDiskTakesTheRoomBack(t *testing.T) {
	mem := vfs.NewMem()
	h := newHistory()
	h.retry = true
	var err error
	h.log, err = Open(mem, dir, pieces)
	must(t, err)
	must(t, h.setHard(1, 1, 0))
	for range 6 {
		must(t, h.append(false))
	}
	must(t, h.prepare())
	room := fileSize(t, mem, roomName)
	const large = 1 << 20
	mem.SetCapacity(large)
	free, err := mem.Free(dir)
	must(t, err)
	mem.SetCapacity(large - free) // all of it is used
	for was := lastSegment(h.log).Size; lastSegment(h.log).Size < was+room/2; {
		must(t, h.append(false)) // the first one at the second attempt
	}
	if there, _ := mem.Exists(dir + "/" + roomName); there {
		t.Error("the room is still there")
	}
	if h.log.PreparePending() {
		t.Error("more room is wanted on a full disk")
	}
	mem.SetCapacity(-1)
	must(t, h.append(true, false))
	must(t, h.prepare())
	if there, _ := mem.Exists(dir + "/" + roomName); !there {
		t.Error("there is no room after the roll, on a disk that is empty again")
	}
}

func TestRoomTakesNoMoreThanItsShareOfTheDisk(t *testing.T) {
	mem := vfs.NewMem()
	h := newHistory()
	var err error
	h.log, err = Open(mem, dir, pieces)
	must(t, err)
	must(t, h.setHard(1, 1, 0))
	for range 12 {
		must(t, h.append(false))
	}
	mem.SetCapacity(12 << 10)
	must(t, h.prepare())
	if there, _ := mem.Exists(dir + "/" + roomName); there {
		t.Error("room was made on a disk that has little")
	}
	if h.log.PreparePending() {
		t.Error("more is wanted")
	}
}

// Whatever fails in making room, or in using it, the roll goes on without.
func TestARollNeedsNoRoom(t *testing.T) {
	errDisk := errors.New("input/output error")
	tried := 0
	for n := 1; ; n++ {
		count, failed := 0, false
		mem := vfs.NewMem()
		f := vfs.NewFault(mem, func(op vfs.Op) error {
			if strings.HasSuffix(op.Name, roomName) {
				if count++; count == n {
					failed = true
					return errDisk
				}
			}
			return nil
		})
		h := newHistory()
		var err error
		h.log, err = Open(f, dir, pieces)
		must(t, err)
		must(t, h.setHard(1, 1, 0))
		must(t, h.append(false, false, false, false))
		if err := h.prepare(); err != nil && !errors.Is(err, errDisk) {
			t.Fatal(err)
		}
		must(t, h.append(true, false))
		must(t, h.sync())
		must(t, h.reopen(mem))
		must(t, h.check())
		if !failed {
			break
		}
		tried++
	}
	if tried < 8 {
		t.Errorf("only %d calls concern the room", tried)
	}
}

// Append must not allocate for every entry, and not for every batch.
func TestAppendAllocatesNothingPerEntry(t *testing.T) {
	mem := vfs.NewFault(discard{vfs.NewMem()}, nil)
	l, err := Open(mem, dir, Options{})
	must(t, err)
	must(t, l.SetHardState(HardState{Term: 1, Vote: 1}))
	entries := benchEntries(6000, 4096, 512, 3)
	const each = 50
	must(t, l.Append(entries[:each])) // the buffers grow
	at := each
	allocs := testing.AllocsPerRun(50, func() {
		if err := l.Append(entries[at : at+each]); err != nil {
			t.Fatal(err)
		}
		at += each
	})
	if allocs > 4 {
		t.Errorf("%v allocations for an append of %d entries", allocs, each)
	}
}

// discard forgets what is written to segments, so that only the log's own memory counts.
type discard struct{ vfs.FS }

func (d discard) Create(name string) (vfs.File, error) { return d.wrap(d.FS.Create(name)) }

func (d discard) OpenWrite(name string) (vfs.File, error) { return d.wrap(d.FS.OpenWrite(name)) }

func (discard) wrap(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return discardFile{f}, nil
}

type discardFile struct{ vfs.File }

func (f discardFile) WriteAt(p []byte, off int64) (int, error) {
	if off >= segmentHeaderSize && len(p) > 1024 {
		return len(p), nil
	}
	return f.File.WriteAt(p, off)
}

// The full segment is cut to its frames by a process that found it durable already. The
// power goes when the next segment is in use.
func TestAFullSegmentIsCutToItsFramesForGood(t *testing.T) {
	mem := vfs.NewMem()
	down := false
	h := roomy(t, vfs.NewFault(mem, func(vfs.Op) error {
		if down {
			return vfs.ErrCrashed
		}
		return nil
	}))
	// The process dies behind the write of the entry that rolls.
	e := slices.Clone(h.next(true))
	h.tried[string(e)] = true
	must(t, h.log.write([]record.Entry{e}))
	h.entries = append(h.entries, e)
	down = true
	next := h.clone()
	var err error
	next.log, err = Open(mem, dir, pieces)
	must(t, err)
	must(t, next.append(false, true, false))
	must(t, next.sync())
	must(t, next.commit(record.Index(len(next.entries))))
	must(t, next.seal())
	left := mem.CrashClean()
	r, err := Verify(left, dir)
	must(t, err)
	if len(r.Problems) > 0 {
		t.Errorf("verify says %v", r.Problems)
	}
	l, list := told(t, left)
	s, err := l.Scrub()
	must(t, err)
	wholePass(t, s, 1<<20)
	if len(l.Warnings()) > 0 || len(*list) > 0 {
		t.Errorf("a start warns %v, and is told %v", l.Warnings(), *list)
	}
	must(t, l.Close())
}
