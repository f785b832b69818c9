package commitlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// lived returns what the script leaves, closed, and its history.
func lived(t testing.TB) (*vfs.Mem, *history) {
	t.Helper()
	mem := vfs.NewMem()
	h := newHistory()
	if err := h.run(mem); err != nil {
		t.Fatal(err)
	}
	return copyFS(t, mem), h
}

// A bit that flipped in a file at rest is reported by Verify, and never leads to a
// wrong byte served: Open refuses, or repairs, or the reader is told.
func TestEveryFlippedBitIsFound(t *testing.T) {
	t.Parallel()
	mem, h := lived(t)
	names, err := mem.List(dir)
	must(t, err)
	refused, told, repaired := 0, 0, 0
	for _, name := range names {
		size := len(content(t, mem, name))
		step := stride(max(1, map[string]int{segmentSuffix: 13, indexSuffix: 211}[name[max(0, len(name)-4):]]), 1)
		for at := 0; at < size; at += step {
			bad := copyFS(t, mem)
			edit(t, bad, name, func(b []byte) []byte { b[at] ^= 1 << (at % 8); return b })
			r, err := Verify(bad, dir)
			must(t, err)
			if len(r.Problems) == 0 {
				t.Fatalf("%s: Verify does not see the flip at %d", name, at)
			}
			l, err := Open(bad, dir, Options{})
			var corrupt *CorruptionError
			if err != nil {
				if !errors.As(err, &corrupt) && !errors.Is(err, ErrFutureVersion) {
					t.Fatalf("%s, flip at %d: %v", name, at, err)
				}
				refused++
				continue
			}
			again := *h
			again.log = l
			must(t, again.replay())
			again.checkServed(t, name, at)
			err = again.check()
			if err != nil && strings.HasSuffix(name, indexSuffix) {
				must(t, sealAll(l))
				err = again.check()
			}
			switch {
			case err == nil:
				repaired++
			case strings.HasSuffix(name, segmentSuffix):
				told++ // by fewer bytes or an error; that none is wrong was checked
			default:
				t.Fatalf("%s, flip at %d: %v", name, at, err)
			}
			_ = l.Close()
		}
	}
	if refused == 0 || told == 0 || repaired == 0 {
		t.Errorf("%d refused, %d told, %d repaired: a kind was never seen", refused, told, repaired)
	}
}

// checkServed reads every partition from every batch: what comes is right, whatever
// else is wrong.
func (h *history) checkServed(t *testing.T, name string, at int) {
	t.Helper()
	for _, p := range partitions {
		list := h.batches(p)
		for i, b := range list {
			if !h.judge.lives(p, b) {
				continue
			}
			got, err := h.log.Read(nil, nil, p, b.BaseOffset(), 1<<62, 1<<20, true)
			var want []byte
			for _, b := range list[i:] {
				want = append(want, b...)
			}
			if !bytes.HasPrefix(want, got) {
				t.Fatalf("%s, flip at %d: a wrong byte was served", name, at)
			}
			var corrupt *CorruptionError
			if len(got) == 0 && !errors.As(err, &corrupt) {
				t.Fatalf("%s, flip at %d: nothing was served, and no reason: %v", name, at, err)
			}
		}
	}
}

func TestGoodBatchesAroundADamagedOneCanBeRead(t *testing.T) {
	mem := vfs.NewMem()
	h := start(t, mem)
	must(t, h.append(false, false, false, false, false, false))
	must(t, h.sync())
	must(t, h.commit(6))
	p := partitions[0]
	list := h.batches(p)
	bad := list[len(list)/2]
	edit(t, mem, lastSegment(h.log).Name, func(b []byte) []byte { b[bytes.Index(b, bad)+14] ^= 1; return b }) // in the leader epoch
	var before, after []byte
	for _, b := range list {
		switch {
		case b.NextOffset() <= bad.BaseOffset():
			before = append(before, b...)
		case b.BaseOffset() >= bad.NextOffset():
			after = append(after, b...)
		}
	}
	if got, err := h.log.Read(nil, nil, p, 0, 1<<62, 1<<20, true); err != nil || !bytes.Equal(got, before) {
		t.Errorf("in front: %d bytes, want %d, %v", len(got), len(before), err)
	}
	var corrupt *CorruptionError
	if got, err := h.log.Read(nil, nil, p, bad.BaseOffset(), 1<<62, 1<<20, true); !errors.As(err, &corrupt) || len(got) > 0 {
		t.Errorf("the damaged one: %d bytes, %v", len(got), err)
	}
	if got, err := h.log.Read(nil, nil, p, bad.NextOffset(), 1<<62, 1<<20, true); err != nil || !bytes.Equal(got, after) {
		t.Errorf("behind: %d bytes, want %d, %v", len(got), len(after), err)
	}
}

func TestAFutureVersionIsRefusedByName(t *testing.T) {
	mem, h := lived(t)
	segments := h.log.manifest.segments
	open := segments[len(segments)-1].name()
	at := map[string]int{
		manifestName:                   4,
		hardStateName:                  4,
		open:                           4,
		open + " frame":                segmentHeaderSize + 4,
		indexName(segments[0].name()):  4,
		snapshotName(h.snapshot):       4,
		hardStateName + " second slot": hardStateSlot + 4,
	}
	for what, pos := range at {
		name, _, _ := strings.Cut(what, " ")
		future := copyFS(t, mem)
		edit(t, future, name, func(b []byte) []byte {
			binary.LittleEndian.PutUint16(b[pos:], 2)
			if strings.HasSuffix(what, "frame") {
				h := b[segmentHeaderSize:]
				binary.LittleEndian.PutUint32(h[24:], frameChecksum(h, segments[len(segments)-1].base+segmentHeaderSize))
			}
			return b
		})
		before := content(t, future, name)
		_, err := Open(future, dir, Options{})
		var corrupt *CorruptionError
		if !errors.Is(err, ErrFutureVersion) || errors.As(err, &corrupt) || !strings.Contains(err.Error(), "version 2") {
			t.Errorf("%s: %v", what, err)
		}
		if !bytes.Equal(content(t, future, name), before) {
			t.Errorf("%s: it was changed", what)
		}
		r, err := Verify(future, dir)
		must(t, err)
		if len(r.Problems) == 0 || r.Problems[0].Do != doUpgrade {
			t.Errorf("%s: verify says %v", what, r.Problems)
		}
	}
}

func TestDumpGoesAroundDamage(t *testing.T) {
	mem := vfs.NewMem()
	h := start(t, mem)
	must(t, h.append(false, false, false, false))
	must(t, h.sync())
	p, _ := h.log.win.at(2)
	name := lastSegment(h.log).Name
	edit(t, mem, name, func(b []byte) []byte { b[int(p.at)+FrameHeaderSize+50] ^= 1; return b })
	var seen []record.Index
	bad := 0
	must(t, Dump(mem, dir+"/"+name, func(f FrameInfo) error {
		if f.Err != nil {
			bad++
			if f.Address != p.at || f.Size != frameSize(p.length()) {
				t.Errorf("damage at %v of %d bytes, want %v, %d", f.Address, f.Size, p.at, frameSize(p.length()))
			}
			return nil
		}
		if len(f.Parts) < 2 || f.Parts[1].Records == 0 || f.Parts[1].Err != nil {
			t.Errorf("%v: parts %+v", f, f.Parts)
		}
		seen = append(seen, f.Index)
		return nil
	}))
	if bad != 1 || len(seen) != 3 || seen[0] != 1 || seen[1] != 3 || seen[2] != 4 {
		t.Errorf("%d damaged, seen %v", bad, seen)
	}
}

// A read that goes wrong once, a bit that flips in memory or on the way, a read that
// is short: what is served is right, or an error, and nothing on the disk suffers.
func TestAReadThatGoesWrongNeverGivesAWrongByteAndCostsNothing(t *testing.T) {
	mem, h, _ := aged(t, 15)
	errDisk := errors.New("input/output error")
	// session opens the log, reads all, and closes it.
	session := func(fsys vfs.FS) error {
		got := h.clone()
		l, err := Open(fsys, dir, Options{})
		if err != nil {
			return err
		}
		got.log = l
		if err := got.replay(); err != nil {
			return err
		}
		for _, p := range partitions {
			list := got.batches(p)
			end := list[len(list)-1].NextOffset()
			for i, b := range list {
				read, err := l.Read(nil, nil, p, b.BaseOffset(), end, 1<<20, true)
				var want []byte
				for _, b := range list[i:] {
					want = append(want, b...)
				}
				if !bytes.HasPrefix(want, read) || len(read) == 0 && err == nil {
					t.Fatalf("%v at %d: %d bytes, %v", p, b.BaseOffset(), len(read), err)
				}
			}
		}
		for i := l.First(); i <= l.Last(); i++ {
			if e, err := l.Entry(i); err == nil && !bytes.Equal(e, h.entries[i-1]) {
				t.Fatalf("entry %d is another", i)
			}
		}
		return l.Close()
	}
	reads := 0
	must(t, session(vfs.NewFault(copyFS(t, mem), func(op vfs.Op) error {
		if op.Kind == vfs.OpRead {
			reads++
		}
		return nil
	})))
	bits := 3
	if long {
		bits = 200
	}
	rnd := rand.New(rand.NewPCG(uint64(reads), 1))
	for n := 1; n <= reads; n++ {
		faults := []error{vfs.ShortRead(0, errDisk), vfs.ShortRead(rnd.IntN(64), errDisk), vfs.ShortRead(rnd.IntN(4096), errDisk)}
		for range bits {
			faults = append(faults, vfs.FlipBit(rnd.IntN(8*4096)))
		}
		for _, fault := range faults {
			fsys := copyFS(t, mem)
			count := 0
			err := session(vfs.NewFault(fsys, func(op vfs.Op) error {
				if op.Kind != vfs.OpRead {
					return nil
				}
				if count++; count == n {
					return fault
				}
				return nil
			}))
			var corrupt *CorruptionError
			if err != nil && !errors.As(err, &corrupt) && !errors.Is(err, errDisk) && !errors.Is(err, ErrFutureVersion) {
				t.Fatalf("%v in read %d: %v", fault, n, err)
			}
			// The next session finds all of it.
			again := h.clone()
			if again.log, err = Open(fsys, dir, Options{}); err != nil {
				t.Fatalf("%v in read %d, then: %v", fault, n, err)
			}
			must(t, again.replay())
			if err := again.check(); err != nil {
				t.Fatalf("%v in read %d, then: %v", fault, n, err)
			}
			must(t, again.log.Close())
		}
	}
	t.Logf("%d reads", reads)
}

func TestWhoeverMeetsDamageTellsOfItOnce(t *testing.T) {
	mem, h, segments := agedOf(t, 15, sectorsLong)
	s := segments[0] // a start reads nothing of it
	from, to := h.frameOf(t, mem, s, 2)
	all := func(do func(p record.PartitionID, end int64)) {
		for _, p := range partitions {
			list := h.batches(p)
			do(p, list[len(list)-1].NextOffset())
		}
	}
	readers := map[string]func(*Log){
		"a reader": func(l *Log) {
			all(func(p record.PartitionID, end int64) {
				for o := range end {
					_, _ = l.Read(nil, nil, p, o, end, 1<<20, true)
				}
			})
		},
		"a search for a time": func(l *Log) {
			all(func(p record.PartitionID, end int64) {
				for _, r := range h.records(p) {
					_, _, _, _ = l.OffsetForTime(p, r.time, 0, end)
				}
			})
		},
		"a shipment": func(l *Log) {
			ship, err := l.Ship()
			must(t, err)
			defer ship.Close()
			for at := (Cursor{}); at.Before(ship.List().End()) && err == nil; {
				_, at, err = ship.Read(nil, at, 1<<10)
			}
			if !isCorrupt(err) {
				t.Errorf("a shipment: %v", err)
			}
		},
		"the cleaner": func(l *Log) {
			h := h.clone()
			h.kill(partitions[0], 4)
			_, _ = l.Clean(h.judge, CleanOptions{SegmentSize: 1 << 20, Pace: atOnce, Urgent: true})
		},
		"the scrub": func(l *Log) {
			s, err := l.Scrub()
			must(t, err)
			for done := false; !done && err == nil; {
				_, done, err = s.Step(1, 1<<20)
			}
			must(t, errors.Join(err, s.Close()))
		},
	}
	for name, meet := range readers {
		for what, spoil := range map[string]func(vfs.FS) vfs.FS{
			"flips": func(bad vfs.FS) vfs.FS {
				edit(t, bad, s.Name, func(b []byte) []byte {
					for i := from + FrameHeaderSize; i < to; i += 16 { // in every batch
						b[i] ^= 1
					}
					return b
				})
				return bad
			},
			"a bad sector": func(bad vfs.FS) vfs.FS {
				d := badSectors{s.Name, int64(to) - 1, int64(to)} // batches are at the end of an entry
				return vfs.NewFault(bad, d.fail)
			},
		} {
			bad := spoil(copyFS(t, mem))
			l, list := told(t, bad)
			if len(*list) > 0 {
				t.Fatalf("%s: the start has met it", what)
			}
			meet(l)
			if len(*list) == 0 {
				t.Errorf("%s, met by %s: nobody was told", what, name)
			}
			for i, c := range *list {
				if c.Segment != s.Name {
					t.Errorf("%s, met by %s: told of %v", what, name, c)
				}
				for _, d := range (*list)[:i] {
					if c.Address == d.Address {
						t.Errorf("%s, met by %s: told twice of %v", what, name, c)
					}
				}
			}
			told := len(*list)
			meet(l)
			if len(*list) != told {
				t.Errorf("%s, met by %s again: told of %v", what, name, (*list)[told:])
			}
			must(t, l.Close())
		}
	}
}
