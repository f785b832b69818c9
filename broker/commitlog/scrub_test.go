package commitlog

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/splashdam/splashdam/internal/vfs"
)

// wholePass scrubs until a pass has ended, in steps of budget bytes.
func wholePass(t *testing.T, s *Scrubber, budget int64) (steps int, total int64) {
	t.Helper()
	for {
		n, done, err := s.Step(1000, budget)
		must(t, err)
		steps, total = steps+1, total+n
		if done {
			return steps, total
		}
		if steps > 100000 {
			t.Fatal("the scrub does not end")
		}
	}
}

// told opens a log and collects what it tells of damage.
func told(t *testing.T, fsys vfs.FS) (*Log, *[]*CorruptionError) {
	t.Helper()
	var list []*CorruptionError
	l, err := Open(fsys, dir, Options{Damaged: func(c *CorruptionError) { list = append(list, c) }})
	must(t, err)
	return l, &list
}

func TestAScrubFindsNothingInASoundLogAndReadsAllOfIt(t *testing.T) {
	mem, _, segments := aged(t, 15)
	want := int64(0)
	names, err := mem.List(dir)
	must(t, err)
	sealed := func(name string) bool {
		return strings.HasSuffix(name, indexSuffix) || slices.ContainsFunc(segments, func(s SegmentInfo) bool { return s.Sealed && s.Name == name })
	}
	l, list := told(t, mem)
	for _, name := range names {
		if !strings.HasSuffix(name, segmentSuffix) || sealed(name) {
			want += int64(len(content(t, mem, name)))
		}
		if strings.HasSuffix(name, segmentSuffix) && sealed(name) {
			want -= segmentHeaderSize
		}
	}
	for _, budget := range []int64{1, 100, 5000, 1 << 20} {
		s, err := l.Scrub()
		must(t, err)
		steps, total := wholePass(t, s, budget)
		if total != want || budget > 1<<19 && steps != 1 {
			t.Errorf("%d bytes in %d steps, want %d", total, steps, want)
		}
		if s.Due(1499, 500) || !s.Due(1500, 500) {
			t.Errorf("the pass began at %d", s.place.begun)
		}
		must(t, s.Close())
	}
	if len(*list) > 0 || l.Damage() > 0 {
		t.Errorf("told %v", *list)
	}
	must(t, l.Close())
}

func TestAScrubFindsEveryFlipInSealedSegmentsAndTheirIndexes(t *testing.T) {
	mem, h, segments := aged(t, 15)
	for _, seg := range segments[:3] {
		for _, name := range []string{seg.Name, indexName(seg.Name)} {
			step := stride(23, 2)
			if strings.HasSuffix(name, indexSuffix) {
				step = stride(307, 7)
			}
			for at := 0; at < len(content(t, mem, name)); at += step {
				bad := copyFS(t, mem)
				l, list := told(t, bad)
				edit(t, bad, name, func(b []byte) []byte { b[at] ^= 1 << (at % 8); return b })
				for _, budget := range []int64{300, 1 << 20, 1 << 20} { // the third one sees it again
					s, err := l.Scrub()
					must(t, err)
					wholePass(t, s, budget)
					must(t, s.Close())
					if len(*list) != 1 || (*list)[0].Segment != name || l.Damage() != 1 {
						t.Fatalf("flip at %d of %s: told %v", at, name, *list)
					}
				}
				if strings.HasSuffix(name, indexSuffix) {
					if !l.SealPending() {
						t.Fatalf("flip at %d of %s: nothing is to be done about it", at, name)
					}
					must(t, sealAll(l))
					got := h.clone()
					got.log = l
					must(t, got.replay())
					if err := got.check(); err != nil {
						t.Fatalf("flip at %d of %s, repaired: %v", at, name, err)
					}
				}
				must(t, l.Close())
			}
		}
	}
}

func TestAScrubFindsFlipsInTheSmallFiles(t *testing.T) {
	mem, _, _ := aged(t, 15)
	for _, name := range []string{manifestName, hardStateName, snapshotName(15), snapshotName(6)} {
		for at := 0; at < len(content(t, mem, name)); at += 3 {
			bad := copyFS(t, mem)
			l, list := told(t, bad)
			edit(t, bad, name, func(b []byte) []byte { b[at] ^= 1 << (at % 8); return b })
			s, err := l.Scrub()
			must(t, err)
			wholePass(t, s, 1<<20)
			if len(*list) != 1 || (*list)[0].Segment != name {
				t.Fatalf("flip at %d of %s: told %v", at, name, *list)
			}
			must(t, s.Close())
			_ = l.Close()
		}
	}
}

func TestAScrubPassesOverWhatTheDiskDoesNotRead(t *testing.T) {
	mem, _, segments := aged(t, 15)
	errDisk := errors.New("input/output error")
	broken := true
	f := vfs.NewFault(mem, func(op vfs.Op) error {
		if broken && op.Kind == vfs.OpRead && strings.HasSuffix(op.Name, segments[1].Name) && op.Offset < 512 && op.Offset+int64(op.Bytes) > 256 {
			return errDisk
		}
		return nil
	})
	// A start that would like to read it does without: a snapshot covers it.
	l, list := told(t, f)
	if len(*list) != 1 || !errors.Is((*list)[0], errDisk) || l.First() != 16 {
		t.Errorf("opening: told %v, the window begins at %d", *list, l.First())
	}
	must(t, l.Close())
	broken = false
	l, list = told(t, f)
	broken = true
	s, err := l.Scrub()
	must(t, err)
	wholePass(t, s, 1<<20)
	if len(*list) == 0 || (*list)[0].Segment != segments[1].Name || !errors.Is((*list)[0], errDisk) {
		t.Errorf("told %v", *list)
	}
	must(t, s.Close())
	must(t, l.Close())
}

func TestAScrubGoesOnWhereItWasAfterAStart(t *testing.T) {
	mem, _, segments := aged(t, 15)
	l, _ := told(t, mem)
	s, err := l.Scrub()
	must(t, err)
	for s.place.at <= segments[0].Base+1 {
		_, done, err := s.Step(77, 500)
		must(t, err)
		if done {
			t.Fatal("done already")
		}
	}
	at := s.place.at
	must(t, s.Close())
	must(t, l.Close())
	l, _ = told(t, mem)
	s, err = l.Scrub()
	must(t, err)
	if s.place != (scrubPlace{at, 77}) || !s.Due(78, 1000) {
		t.Errorf("it goes on at %+v; it was at %v", s.place, at)
	}
	must(t, s.Close())

	// A note that cannot be read costs a pass, nothing else.
	for what, spoil := range map[string]func([]byte) []byte{
		"torn":   func(b []byte) []byte { return b[:10] },
		"bad":    func(b []byte) []byte { b[9] ^= 1; return b },
		"future": func(b []byte) []byte { binary.LittleEndian.PutUint16(b[4:], 2); return b },
	} {
		edit(t, mem, scrubName, spoil)
		if s, err = l.Scrub(); err != nil || s.place.at != 0 {
			t.Fatalf("%s: at %v, %v", what, s.place.at, err)
		}
		wholePass(t, s, 1<<20)
		must(t, s.Close())
		edit(t, mem, scrubName, func([]byte) []byte { return scrubPlace{9, 9}.encode() })
	}
	must(t, l.Close())
	if _, _, err := s.Step(1, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("a step of a closed log: %v", err)
	}
}

func TestAScrubOfALogThatIsClosedMeanwhileTellsOfNoDamage(t *testing.T) {
	mem, _, segments := aged(t, 15)
	var l *Log
	last := dir + "/" + indexName(segments[2].Name)
	armed := false
	f := vfs.NewFault(mem, func(op vfs.Op) error {
		if armed && op.Kind == vfs.OpRead && op.Name == last && op.Bytes == blockSize {
			armed = false
			_ = l.Close()
		}
		return nil
	})
	l, list := told(t, f)
	s, err := l.Scrub()
	must(t, err)
	armed = true
	for done := false; !done && err == nil; {
		_, done, err = s.Step(1000, 1<<20)
	}
	if err != ErrClosed || armed || len(*list) > 0 {
		t.Errorf("%v, closed: %v, told %v", err, !armed, *list)
	}
}
