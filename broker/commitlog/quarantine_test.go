package commitlog

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// aged is a log of 18 entries in three sealed segments, a full one that is not
// sealed and an open one, with snapshots at 6 and at the given index, closed.
func aged(t *testing.T, snapshot record.Index) (*vfs.Mem, *history, []SegmentInfo) {
	t.Helper()
	return agedOf(t, snapshot, 0)
}

// agedOf is aged of entries that are longer by some bytes.
func agedOf(t *testing.T, snapshot record.Index, pad int) (*vfs.Mem, *history, []SegmentInfo) {
	t.Helper()
	mem := vfs.NewMem()
	h := start(t, mem)
	h.pad = pad
	for range 3 {
		must(t, h.append(false, false, false, true))
	}
	must(t, h.append(false, false))
	must(t, h.sync())
	must(t, h.commit(12))
	must(t, h.seal())
	must(t, h.append(false, true, false, false))
	must(t, h.sync())
	must(t, h.commit(18))
	must(t, h.snap(6))
	must(t, h.snap(snapshot))
	segments := h.log.Segments()
	must(t, h.close())
	return mem, h, segments
}

// damages is ways in which a disk spoils a segment file between two addresses.
var damages = map[string]func(b []byte, from, to int) []byte{
	"flip":  func(b []byte, from, to int) []byte { b[(from+to)/2] ^= 4; return b },
	"zeros": func(b []byte, from, to int) []byte { clear(b[from:to]); return b },
	"noise": func(b []byte, from, to int) []byte {
		copy(b[from:to], bytes.Repeat([]byte("SDFR"), (to-from)/4+1))
		return b
	},
	"cut":    func(b []byte, from, _ int) []byte { return b[:from] },
	"header": func(b []byte, _, _ int) []byte { b[9] ^= 1; return b },
}

// Every entry of every segment is spoilt in every way, with the segment's index and
// without: what the newest snapshot covers costs just that, what lies behind is
// refused.
func TestDamageCostsItsPlaceBelowTheSnapshotAndStopsTheStartAboveIt(t *testing.T) {
	const snapshot = 15
	mem, h, segments := aged(t, snapshot)
	if len(segments) != 5 || !segments[2].Sealed || segments[3].Sealed {
		t.Fatalf("segments %+v", segments)
	}
	opened, refused := 0, 0
	for i := record.Index(1); i <= 18; i++ {
		for what, spoil := range damages {
			for _, keepIndex := range []bool{true, false} {
				s := segments[min((i-1)/4, 3)]
				if i > 16 {
					s = segments[4]
				}
				name := fmt.Sprintf("%s of entry %d, index kept: %v", what, i, keepIndex)
				bad := copyFS(t, mem)
				from, to := h.frameOf(t, mem, s, i)
				edit(t, bad, s.Name, func(b []byte) []byte { return spoil(b, from, to) })
				if !keepIndex && s.Sealed {
					must(t, bad.Remove(dir+"/"+indexName(s.Name)))
				}
				lostFrom, lostTo := i, i
				switch what {
				case "cut":
					lostTo = s.Last
				case "header":
					lostFrom, lostTo = 1, 0 // it is not what is read
				}
				harmless := what == "header" && s.Last <= snapshot && s.Last > 0 || what != "header" && lostTo <= snapshot
				got := h.clone()
				var told []*CorruptionError
				var err error
				got.log, err = Open(bad, dir, Options{Damaged: func(c *CorruptionError) { told = append(told, c) }})
				var corrupt *CorruptionError
				if !harmless {
					refused++
					if !errors.As(err, &corrupt) || corrupt.Segment != s.Name {
						t.Fatalf("%s: %v", name, err)
					}
					continue
				}
				opened++
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				must(t, got.replay())
				hit := 0
				lost := func(e record.Index, b record.Batch) (yes bool) {
					defer func() {
						if yes {
							hit++
						}
					}()
					if what == "flip" && keepIndex && s.Sealed {
						at := bytes.Index(content(t, mem, s.Name), b)
						return e == i && at <= (from+to)/2 && (from+to)/2 < at+len(b)
					}
					return e >= lostFrom && e <= lostTo
				}
				if err := got.served(lost); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if hit > 0 && len(told) == 0 {
					t.Fatalf("%s: nobody was told", name)
				}
				for k, c := range told {
					for _, other := range told[:k] {
						if c.Segment == other.Segment && c.Address == other.Address {
							t.Fatalf("%s: told twice of %v", name, c)
						}
					}
				}
				// It goes on, through a seal, a snapshot and a start.
				must(t, got.append(true, false))
				must(t, got.sync())
				must(t, got.commit(20))
				must(t, got.seal())
				must(t, got.snap(19))
				must(t, got.close())
				if got.log, err = Open(bad, dir, Options{}); err != nil {
					t.Fatalf("%s, opened once more: %v", name, err)
				}
				must(t, got.replay())
				if err := got.served(lost); err != nil {
					t.Fatalf("%s, opened once more: %v", name, err)
				}
				must(t, got.log.Close())
			}
		}
	}
	if opened < 100 || refused < 15 {
		t.Errorf("%d opened, %d refused", opened, refused)
	}
}

// frameOf is where the frame of an entry begins and ends in its segment's file.
func (h *history) frameOf(t *testing.T, fsys vfs.FS, s SegmentInfo, i record.Index) (from, to int) {
	t.Helper()
	scan := newScanner(bytes.NewReader(content(t, fsys, s.Name)), s.Base, segmentHeaderSize, s.Size)
	for {
		f, err := scan.next()
		must(t, err)
		if f.entry.Index() == i {
			return int(f.pos), int(f.end())
		}
	}
}

// served reads every partition from every batch: one that is lost gives an error of
// damage, any other is there, whole.
func (h *history) served(lost func(record.Index, record.Batch) bool) error {
	gone := map[string]bool{}
	for _, e := range h.entries {
		e.Each(func(_ int, p record.Part) bool {
			if p.Kind == record.KindBatch && lost(e.Index(), p.Bytes) {
				gone[string(p.Bytes)] = true
			}
			return true
		})
	}
	for _, p := range partitions {
		list := h.batches(p)
		end := list[len(list)-1].NextOffset()
		for i, b := range list {
			var want []byte
			for k := i; k < len(list) && !gone[string(list[k])]; k++ {
				want = append(want, list[k]...)
			}
			for o := b.BaseOffset(); o < b.NextOffset(); o++ {
				got, err := h.log.Read(nil, nil, p, o, end, 1<<20, true)
				var corrupt *CorruptionError
				switch {
				case gone[string(b)] && (len(got) > 0 || !errors.As(err, &corrupt)):
					return fmt.Errorf("%v at %d, which is damaged: %d bytes, %v", p, o, len(got), err)
				case !gone[string(b)] && (err != nil || !bytes.Equal(got, want)):
					return fmt.Errorf("%v at %d: %d bytes, want %d, %v", p, o, len(got), len(want), err)
				}
			}
		}
		if got, err := h.log.Read(nil, nil, p, end, end, 1<<20, true); len(got) > 0 || err != nil {
			return fmt.Errorf("%v at its end: %d bytes, %v", p, len(got), err)
		}
	}
	return nil
}

func TestAMissingSegmentBelowTheSnapshotCostsItsEntries(t *testing.T) {
	mem, h, segments := aged(t, 15)
	for n, s := range segments {
		for _, keepIndex := range []bool{true, false} {
			bad := copyFS(t, mem)
			must(t, bad.Remove(dir+"/"+s.Name))
			if !keepIndex && s.Sealed {
				must(t, bad.Remove(dir+"/"+indexName(s.Name)))
			}
			got := h.clone()
			var err error
			got.log, err = Open(bad, dir, Options{})
			if n >= 3 {
				var corrupt *CorruptionError
				if !errors.As(err, &corrupt) || corrupt.Segment != s.Name {
					t.Fatalf("segment %d: %v", n, err)
				}
				continue
			}
			must(t, err)
			must(t, got.replay())
			if err := got.served(func(i record.Index, _ record.Batch) bool { return i >= s.First && i <= s.Last }); err != nil {
				t.Fatalf("segment %d, index kept: %v: %v", n, keepIndex, err)
			}
			must(t, got.log.Close())
		}
	}
}

// Two places are damaged at once, anywhere: the log does not open, or what it serves
// is right, and what it does not serve it says.
func TestTwoPlacesDamagedAtOnceNeverGiveAWrongByte(t *testing.T) {
	mem, h, _ := aged(t, 15)
	names, err := mem.List(dir)
	must(t, err)
	seed, n := rand.Uint64(), 400
	if long {
		n = 20000
	}
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	opened := 0
	for range n {
		bad := copyFS(t, mem)
		what := ""
		for range 2 {
			name := names[rnd.IntN(len(names))]
			edit(t, bad, name, func(b []byte) []byte {
				if len(b) == 0 {
					return b
				}
				at := rnd.IntN(len(b))
				what += fmt.Sprintf(" %s at %d", name, at)
				switch rnd.IntN(4) {
				case 0:
					return b[:at]
				case 1:
					clear(b[at:min(len(b), at+512)])
				default:
					b[at] ^= 1 << rnd.IntN(8)
				}
				return b
			})
		}
		got := h.clone()
		got.log, err = Open(bad, dir, Options{})
		var corrupt *CorruptionError
		if err != nil {
			if !errors.As(err, &corrupt) && !errors.Is(err, ErrFutureVersion) {
				t.Fatalf("seed %d,%s: %v", seed, what, err)
			}
			continue
		}
		opened++
		must(t, got.replay())
		for _, p := range partitions {
			list := got.batches(p)
			end := list[len(list)-1].NextOffset()
			for i, b := range list {
				read, err := got.log.Read(nil, nil, p, b.BaseOffset(), end, 1<<20, true)
				var want []byte
				for _, b := range list[i:] {
					want = append(want, b...)
				}
				if !bytes.HasPrefix(want, read) || len(read) == 0 && !errors.As(err, &corrupt) {
					t.Fatalf("seed %d,%s: %v at %d: %d bytes, %v", seed, what, p, b.BaseOffset(), len(read), err)
				}
			}
		}
		must(t, got.log.Close())
	}
	if opened < n/20 {
		t.Errorf("only %d of %d opened", opened, n)
	}
}

func TestABadSectorCostsOnlyTheBatchesInIt(t *testing.T) {
	mem, h, _ := aged(t, 15)
	s := segmentName(1, 1, 0)
	p := partitions[4] // in each of the entries 2, 3 and 4
	list := h.batches(p)
	at := int64(bytes.Index(content(t, mem, s), list[1]))
	f := vfs.NewFault(mem, func(op vfs.Op) error {
		if op.Kind == vfs.OpRead && strings.HasSuffix(op.Name, s) && op.Offset <= at && at < op.Offset+int64(op.Bytes) {
			return errors.New("input/output error")
		}
		return nil
	})
	var err error
	h.log, err = Open(f, dir, Options{})
	must(t, err)
	must(t, h.replay())
	if got, err := h.log.Read(nil, nil, p, 0, 1<<62, 1<<20, true); err != nil || !bytes.Equal(got, list[0]) {
		t.Errorf("in front: %d bytes, want %d, %v", len(got), len(list[0]), err)
	}
	if got, err := h.log.Read(nil, nil, p, list[1].BaseOffset(), 1<<62, 1<<20, true); err == nil || len(got) > 0 {
		t.Errorf("on it: %d bytes, %v", len(got), err)
	}
	if got, err := h.log.Read(nil, nil, p, list[2].BaseOffset(), 1<<62, len(list[2]), true); err != nil || !bytes.Equal(got, list[2]) {
		t.Errorf("behind: %d bytes, want %d, %v", len(got), len(list[2]), err)
	}
}
