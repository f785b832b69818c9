package commitlog

import (
	"errors"
	"path"
	"reflect"
	"testing"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// threeSealed is a layout of three sealed segments of ten entries and 1000 bytes
// each, and an open one.
func threeSealed(t *testing.T) layout {
	t.Helper()
	l := layout{generation: 1}
	for i := range 4 {
		must(t, l.apply(change{kind: segmentAdded, generation: 1, first: record.Index(10*i + 1), base: Address(1000 * i)}))
	}
	for i := range 3 {
		must(t, l.apply(change{kind: segmentSealed, generation: 1, first: record.Index(10*i + 1), last: record.Index(10*i + 10), size: 1000}))
	}
	return l
}

func TestNeighboursAreReplacedByOneSegment(t *testing.T) {
	l := threeSealed(t)
	must(t, l.apply(change{kind: replaced, generation: 1, edition: 1, first: 1, last: 20, size: 700}))
	must(t, l.apply(change{kind: replaced, generation: 1, edition: 2, first: 1, last: 30, size: 600}))
	want := []segmentMeta{
		{first: 1, generation: 1, edition: 2, sealed: true, last: 30, size: 600},
		{first: 31, generation: 1, base: 3000},
	}
	if !reflect.DeepEqual(l.segments, want) {
		t.Errorf("%+v, want %+v", l.segments, want)
	}
	if l.cleaned() != 30 {
		t.Errorf("cleaned up to %d", l.cleaned())
	}
}

func TestRemovedSegmentsLeaveAGap(t *testing.T) {
	l := threeSealed(t)
	must(t, l.apply(change{kind: removed, first: 11, last: 20}))
	if len(l.segments) != 3 || l.cleaned() != 20 {
		t.Errorf("%+v, cleaned up to %d", l.segments, l.cleaned())
	}
	must(t, l.apply(change{kind: removed, first: 1, last: 10}))
	must(t, l.apply(change{kind: removed, first: 21, last: 30}))
	if len(l.segments) != 1 || l.cleaned() != 30 {
		t.Errorf("%+v, cleaned up to %d", l.segments, l.cleaned())
	}
}

func TestAManifestWithGapsAndEditionsReadsBackTheSame(t *testing.T) {
	l := threeSealed(t)
	must(t, l.apply(change{kind: replaced, generation: 1, edition: 1, first: 1, last: 10, size: 500}))
	must(t, l.apply(change{kind: removed, first: 11, last: 20}))
	again, _, err := decodeManifest(l.encode())
	must(t, err)
	if !reflect.DeepEqual(again, l) {
		t.Errorf("%+v, want %+v", again, l)
	}
}

func TestAReplacementThatDoesNotFitIsRefused(t *testing.T) {
	for name, c := range map[string]change{
		"longer than what it replaces":     {kind: replaced, generation: 1, edition: 1, first: 1, last: 20, size: 2001},
		"shorter than a header":            {kind: replaced, generation: 1, edition: 1, first: 1, last: 20, size: 63},
		"of the same edition":              {kind: replaced, generation: 1, edition: 0, first: 1, last: 20, size: 700},
		"of another generation":            {kind: replaced, generation: 2, edition: 1, first: 1, last: 20, size: 700},
		"that begins inside a segment":     {kind: replaced, generation: 1, edition: 1, first: 2, last: 20, size: 700},
		"that ends inside a segment":       {kind: replaced, generation: 1, edition: 1, first: 1, last: 19, size: 700},
		"of a segment that is not sealed":  {kind: replaced, generation: 1, edition: 1, first: 31, last: 40, size: 700},
		"removal inside a segment":         {kind: removed, first: 1, last: 19},
		"removal of one that is not there": {kind: removed, first: 5, last: 10},
		"of an unknown kind":               {kind: 6},
	} {
		l := threeSealed(t)
		if err := l.apply(c); !isDamage(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	l := layout{generation: 1}
	must(t, l.apply(change{kind: segmentAdded, generation: 1, first: 1}))
	must(t, l.apply(change{kind: segmentSealed, generation: 1, first: 1, last: 9, size: 100}))
	if err := l.apply(change{kind: removed, first: 1, last: 9}); !isDamage(err) {
		t.Errorf("removing the only segment: %v", err)
	}
}

func TestASegmentsNameSaysWhichEditionItIs(t *testing.T) {
	for name, want := range map[string]segmentMeta{
		"00000000000000000001-00000001.log":          {first: 1, generation: 1},
		"00000000000000184273-0000000a-00000002.log": {first: 184273, generation: 10, edition: 2},
	} {
		if m, ok := parseSegmentName(name); !ok || m != want || m.name() != name {
			t.Errorf("%s is %+v", name, m)
		}
	}
	for _, name := range []string{
		"", ".log", "1-1.log", "00000000000000000001-00000001-00000000.log", "00000000000000000001-00000001-00000001-00000001.log",
		"00000000000000000001-00000001", "00000000000000000001-00000001.log.log", "00000000000000000001-0000000A.log",
	} {
		if m, ok := parseSegmentName(name); ok {
			t.Errorf("%q is taken for %+v", name, m)
		}
	}
}

func TestAnUnnamedSegmentIsALostRecordOnlyBehindAllOthers(t *testing.T) {
	l := threeSealed(t)
	for name, want := range map[string]bool{
		"00000000000000000041-00000001.log":          true,  // a roll whose record is gone
		"00000000000000000011-00000001.log":          false, // replaced, and not yet deleted
		"00000000000000000001-00000001-00000001.log": false, // a rewrite that was interrupted
		"00000000000000000041-00000000.log":          false, // of before a cut
	} {
		if got := l.mayHaveLost(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A disk reads the record of a cleaning wrong, once. The files that it replaced are gone,
// and the one that replaced them must not go too.
func TestARecordOfACleaningThatIsReadWrongOnceCostsOneStart(t *testing.T) {
	mem := vfs.NewMem()
	h := full(t, mem, 4)
	for _, p := range partitions[1:] {
		h.kill(p, 1000)
	}
	must(t, h.clean())
	must(t, h.close())
	size := fileSize(t, mem, manifestName)
	flipped := false
	_, err := Open(vfs.NewFault(mem, func(op vfs.Op) error {
		if flipped || op.Kind != vfs.OpRead || path.Base(op.Name) != manifestName {
			return nil
		}
		flipped = true
		return vfs.FlipBit(8*int(size-manifestRecord/2) + 3)
	}), dir, Options{})
	var corrupt *CorruptionError
	if !flipped || !errors.As(err, &corrupt) || corrupt.Segment != manifestName {
		t.Fatalf("flipped %v: %v", flipped, err)
	}
	again := h.clone()
	again.log, err = Open(mem, dir, Options{})
	must(t, err)
	must(t, again.replay())
	must(t, again.check())
	must(t, again.close())
}
