package commitlog

import (
	"bytes"
	"errors"
	"testing"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

var errSector = errors.New("input/output error")

// badSectors fails every read of a file that touches a sector from one position on up
// to another; none while file is empty.
type badSectors struct {
	file     string
	from, to int64
}

func (d *badSectors) fail(op vfs.Op) error {
	from, to := d.from&^(sector-1), (d.to+sector-1)&^(sector-1)
	if d.file != "" && op.Kind == vfs.OpRead && op.Name == dir+"/"+d.file && op.Offset < to && op.Offset+int64(op.Bytes) > from {
		return errSector
	}
	return nil
}

// sectorsLong makes an entry so long that there are sectors in which there is nothing else.
const sectorsLong = 3 * sector

// within is one sector in the middle of an entry's frame, and in no other's.
func within(t *testing.T, h *history, mem vfs.FS, s SegmentInfo, i record.Index) badSectors {
	t.Helper()
	from, to := h.frameOf(t, mem, s, i)
	at := int64(from+to) / 2
	return badSectors{s.Name, at, at + 1}
}

func TestABadSectorBelowTheSnapshotCostsTheEntryInItAndNotTheStart(t *testing.T) {
	for what, c := range map[string]struct {
		segment         int
		entry, snapshot record.Index
		noIndex         bool
	}{
		"a sealed segment without its index": {1, 6, 15, true},
		"a full segment":                     {3, 14, 17, false},
		"the open segment":                   {4, 17, 18, false},
	} {
		mem, h, segments := agedOf(t, c.snapshot, sectorsLong)
		s := segments[c.segment]
		if c.noIndex {
			must(t, mem.Remove(dir+"/"+indexName(s.Name)))
		}
		bad := within(t, h, mem, s, c.entry)
		var told []*CorruptionError
		l, err := Open(vfs.NewFault(mem, bad.fail), dir, Options{Damaged: func(c *CorruptionError) { told = append(told, c) }})
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if len(told) != 1 || told[0].Segment != s.Name || !errors.Is(told[0], errSector) {
			t.Errorf("%s: told %v", what, told)
		}
		h.log = l
		must(t, h.replay())
		if err := h.served(func(i record.Index, _ record.Batch) bool { return i == c.entry }); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		must(t, l.Close())
		r, err := Verify(vfs.NewFault(mem, bad.fail), dir)
		must(t, err)
		if len(r.Problems) == 0 || r.Problems[0].File != s.Name || r.Problems[0].Do != doLookDisk || r.Last != 18 {
			t.Errorf("%s: verify says %v, and that the log ends at %d", what, r.Problems, r.Last)
		}
	}
}

func TestABadSectorInTheHeaderOfASegmentBelowTheSnapshotDoesNotStopTheStart(t *testing.T) {
	mem, h, segments := agedOf(t, 15, sectorsLong)
	bad := badSectors{segments[1].Name, 0, segmentHeaderSize}
	l, err := Open(vfs.NewFault(mem, bad.fail), dir, Options{})
	must(t, err)
	h.log = l
	must(t, h.replay())
	must(t, h.served(func(i record.Index, b record.Batch) bool {
		return i == 5 && bytes.Index(content(t, mem, segments[1].Name), b) < sector
	}))
	must(t, l.Close())
}

// What the disk does not read may have been durable, and may say that the rest was.
func TestABadSectorAboveTheSnapshotIsNeverCut(t *testing.T) {
	for what, spoil := range map[string]func([]byte) []byte{
		"the last entry": func(b []byte) []byte { return b },
		"an entry behind one that is torn": func(b []byte) []byte {
			clear(b[segmentHeaderSize:][:2*FrameHeaderSize])
			return b
		},
	} {
		mem := vfs.NewMem()
		h := start(t, mem)
		h.pad = sectorsLong
		must(t, h.append(false, false)) // nothing says that they are durable
		left, s := copyFS(t, mem), lastSegment(h.log)
		bad := within(t, h, left, s, 2)
		edit(t, left, s.Name, spoil)
		before := content(t, left, s.Name)
		_, err := Open(vfs.NewFault(left, bad.fail), dir, Options{})
		if c, ok := errors.AsType[*CorruptionError](err); !ok || c.Segment != s.Name || !errors.Is(err, errSector) {
			t.Errorf("%s: %v", what, err)
		}
		if !bytes.Equal(before, content(t, left, s.Name)) {
			t.Errorf("%s: the segment was changed", what)
		}
		r, err := Verify(vfs.NewFault(left, bad.fail), dir)
		must(t, err)
		if len(r.Problems) == 0 || r.Problems[0].Do == doNothing {
			t.Errorf("%s: verify says %v", what, r.Problems)
		}
	}
}

func TestASealGoesAroundABadSector(t *testing.T) {
	mem, h, segments := agedOf(t, 15, sectorsLong)
	s := segments[1]
	sectors := within(t, h, mem, s, 6)
	edit(t, mem, indexName(s.Name), func(b []byte) []byte { b[blockSize+100] ^= 1; return b })
	var bad badSectors
	l, err := Open(vfs.NewFault(mem, func(op vfs.Op) error { return bad.fail(op) }), dir, Options{})
	must(t, err)
	bad = sectors
	for _, p := range partitions {
		_, _ = l.Read(nil, nil, p, 0, 1<<40, 1<<20, true)
	}
	if !l.SealPending() {
		t.Fatal("no reader has met the damaged index")
	}
	if err := sealAll(l); err != nil || l.SealPending() {
		t.Fatalf("%v, pending: %v", err, l.SealPending())
	}
	h.log = l
	must(t, h.replay())
	must(t, h.served(func(i record.Index, _ record.Batch) bool { return i == 6 }))
	must(t, l.Close())
}

func TestAnIndexThatTheDiskDoesNotReadIsMadeAnew(t *testing.T) {
	for what, from := range map[string]int64{"head": 0, "rows": blockSize} {
		mem, h, segments := aged(t, 15)
		sectors := badSectors{indexName(segments[1].Name), from, from + 1}
		var bad badSectors
		fsys := vfs.NewFault(mem, func(op vfs.Op) error {
			if op.Kind == vfs.OpRename {
				bad = badSectors{} // the new file lies elsewhere
			}
			return bad.fail(op)
		})
		if what == "head" {
			bad = sectors
		}
		l, list := told(t, fsys)
		if bad = sectors; what == "head" {
			bad = badSectors{}
		} else {
			for _, p := range partitions {
				if _, err := l.Read(nil, nil, p, 0, 1<<40, 1<<20, true); err != nil && !isCorrupt(err) {
					t.Errorf("%s: a reader gets %v", what, err)
				}
			}
			if len(*list) != 1 || (*list)[0].Segment != sectors.file || !l.SealPending() {
				t.Errorf("%s: told %v, seal pending: %v", what, *list, l.SealPending())
			}
			must(t, sealAll(l))
		}
		h.log = l
		must(t, h.replay())
		if err := h.check(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		must(t, l.Close())
	}
}

func TestABadSectorInAnIndexDoesNotEndTheCleaning(t *testing.T) {
	var bad badSectors
	h := full(t, vfs.NewFault(vfs.NewMem(), func(op vfs.Op) error { return bad.fail(op) }), 4)
	for _, p := range partitions {
		h.kill(p, 1000)
	}
	bad = badSectors{indexName(h.log.Segments()[1].Name), blockSize, 1 << 20}
	got, err := h.log.Clean(h.judge, CleanOptions{SegmentSize: 1 << 20, Pace: atOnce})
	if got.Removed == 0 || !h.log.SealPending() {
		t.Errorf("%+v, %v; seal pending: %v", got, err, h.log.SealPending())
	}
}

func TestADumpGoesAroundABadSector(t *testing.T) {
	mem, h, segments := agedOf(t, 15, sectorsLong)
	s := segments[1]
	bad := within(t, h, mem, s, 6)
	var seen []record.Index
	unread := 0
	must(t, Dump(vfs.NewFault(mem, bad.fail), dir+"/"+s.Name, func(f FrameInfo) error {
		if f.Err == nil {
			seen = append(seen, f.Index)
		} else if errors.Is(f.Err, errSector) {
			unread++
		}
		return nil
	}))
	if len(seen) != 3 || seen[0] != 5 || seen[1] != 7 || seen[2] != 8 || unread != 1 {
		t.Errorf("seen %v, %d not read", seen, unread)
	}
}
