package commitlog

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// full is a log of some sealed segments of three entries, both snapshots behind
// the last of them.
func full(t *testing.T, fsys vfs.FS, segments int) *history {
	t.Helper()
	h := start(t, fsys)
	for range segments {
		must(t, h.append(false, false, true))
	}
	must(t, h.append(false, false))
	must(t, h.commit(record.Index(len(h.entries))))
	must(t, h.seal())
	must(t, h.snap(h.committed-1))
	must(t, h.snap(h.committed))
	return h
}

func TestASegmentWithNothingAliveIsRemoved(t *testing.T) {
	mem := vfs.NewMem()
	h := full(t, mem, 4)
	for _, p := range partitions {
		h.kill(p, 1000) // all that is committed, also what is not sealed
	}
	got, err := h.log.Clean(h.judge, CleanOptions{SegmentSize: 1 << 20, Pace: atOnce})
	must(t, err)
	if got.Removed != 4 || got.Rewritten != 0 || got.Freed <= 0 || got.OpenWaste <= 0 || got.SealedWaste != 0 {
		t.Errorf("%+v", got)
	}
	if n := len(h.log.Segments()); n != 1 {
		t.Errorf("%d segments are left", n)
	}
	must(t, h.check())
	names, err := mem.List(dir)
	must(t, err)
	if len(names) != 5 {
		t.Errorf("left in the directory: %v", names)
	}
	must(t, h.reopen(mem))
	must(t, h.check())
	must(t, h.append(true, false))
	must(t, h.commit(record.Index(len(h.entries))))
	must(t, h.seal())
	must(t, h.reopen(mem))
	must(t, h.check())
}

func TestSegmentsThatAreMostlyDeadBecomeOne(t *testing.T) {
	mem := vfs.NewMem()
	h := full(t, mem, 4)
	for _, p := range partitions[1:] {
		h.kill(p, 1000)
	}
	before := h.log.Segments()
	got, err := h.log.Clean(h.judge, CleanOptions{SegmentSize: 1 << 20, Pace: atOnce})
	must(t, err)
	if got.Removed != 0 || got.Rewritten != 4 {
		t.Errorf("%+v", got)
	}
	after := h.log.Segments()
	if len(after) != 2 || after[0].First != 1 || after[0].Last != 12 || after[0].Edition != 1 || after[1] != before[4] {
		t.Errorf("%+v", after)
	}
	var sizes int64
	for _, s := range before[:4] {
		sizes += s.Size
	}
	if got.Freed != sizes-after[0].Size {
		t.Errorf("%d bytes were freed, from %d to %d", got.Freed, sizes, after[0].Size)
	}
	must(t, h.check())
	must(t, h.reopen(mem))
	must(t, h.check())
	// Again, to the second edition, and then to nothing.
	h.kill(1, 3)
	must(t, h.clean())
	must(t, h.check())
	h.kill(1, 1000)
	must(t, h.clean())
	must(t, h.check())
	if after := h.log.Segments(); len(after) != 1 {
		t.Errorf("%+v", after)
	}
	must(t, h.close())
	r, err := Verify(mem, dir)
	must(t, err)
	if len(r.Problems) > 0 {
		t.Error(r.Problems)
	}
}

func TestNothingAboveTheOlderSnapshotIsCleaned(t *testing.T) {
	h := start(t, vfs.NewMem())
	must(t, h.append(true, true, true, false))
	must(t, h.commit(4))
	must(t, h.seal())
	for _, p := range partitions {
		h.kill(p, 1000)
	}
	for i, want := range []int{4, 4, 2} { // no snapshot, one at 2, one more at 3
		if i > 0 {
			must(t, h.snap(record.Index(i+1)))
		}
		must(t, h.clean())
		if n := len(h.log.Segments()); n != want {
			t.Errorf("with %d snapshots %d segments are left, want %d", i, n, want)
		}
		must(t, h.check())
	}
}

func TestAnIndexThatIsLostAfterACleaningIsMadeAnew(t *testing.T) {
	mem := vfs.NewMem()
	h := full(t, mem, 4)
	h.kill(1, 1000)
	for _, p := range partitions[2:] {
		h.kill(p, 1000)
	}
	must(t, h.clean())
	must(t, h.log.Close())
	names, err := mem.List(dir)
	must(t, err)
	for _, name := range names {
		if len(name) > 4 && name[len(name)-4:] == indexSuffix {
			must(t, mem.Remove(dir+"/"+name))
		}
	}
	h.log, err = Open(mem, dir, Options{})
	must(t, err)
	if len(h.log.Warnings()) != 1 {
		t.Errorf("%v", h.log.Warnings())
	}
	must(t, h.replay())
	must(t, h.check())
	for _, p := range partitions {
		h.checkTimes(t, p)
	}
}

func TestADamagedBatchStaysWhereItIs(t *testing.T) {
	mem := vfs.NewMem()
	h := full(t, mem, 2)
	h.kill(1, 1000)
	h.kill(2, 1000)
	h.kill(7, 1000)
	s := h.log.set.list[0]
	i, err := s.index.Load().find(record.Halves, 0)
	must(t, err)
	_, r, err := s.index.Load().row(i)
	must(t, err)
	must(t, h.log.Close())
	edit(t, mem, s.name(), func(b []byte) []byte { b[int(r.at-s.base)+70] ^= 1; return b })
	must(t, h.again(mem))
	_, err = h.log.Clean(h.judge, CleanOptions{SegmentSize: 1 << 20, Pace: atOnce, Urgent: true})
	var corrupt *CorruptionError
	if !errors.As(err, &corrupt) {
		t.Fatal(err)
	}
	// It is left alone from now on; the other one is rewritten.
	got, err := h.log.Clean(h.judge, CleanOptions{SegmentSize: 1 << 20, Pace: atOnce, Urgent: true})
	must(t, err)
	if after := h.log.Segments(); got.Rewritten != 1 || after[0].Edition != 0 || after[1].Edition != 1 {
		t.Errorf("%+v, %+v", got, after)
	}
}

func TestACleaningThatIsStoppedLeavesNothingBehind(t *testing.T) {
	stop := errors.New("stop")
	for n := 1; ; n++ {
		mem := vfs.NewMem()
		h := full(t, mem, 3)
		for _, p := range partitions[1:] {
			h.kill(p, 1000)
		}
		calls := 0
		_, err := h.log.Clean(h.judge, CleanOptions{SegmentSize: 1 << 20, Pace: func(int) error {
			if calls++; calls == n {
				return stop
			}
			return nil
		}})
		if calls < n {
			if n < 10 {
				t.Errorf("asked only %d times", calls)
			}
			break
		}
		if !errors.Is(err, stop) {
			t.Fatal(err)
		}
		must(t, h.check())
		names, err := mem.List(dir)
		must(t, err)
		if want := 2 + 2 + 2*3 + 1; len(names) != want && len(names) != 2+2+2+1 {
			t.Fatalf("stopped at %d: %v", n, names)
		}
	}
}

func TestReadersGoOnWhileSegmentsAreReplacedUnderThem(t *testing.T) {
	mem := vfs.NewMem()
	h := full(t, mem, 40)
	want := h.batches(partitions[0])
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				i := rand.IntN(len(want))
				got, err := h.log.Read(nil, nil, partitions[0], want[i].BaseOffset(), 1<<62, 1, true)
				if err != nil || !bytes.Equal(got, want[i]) {
					t.Errorf("reading at %d: %d bytes, %v", want[i].BaseOffset(), len(got), err)
					return
				}
			}
		})
	}
	rewritten := 0
	for range 20 {
		for _, p := range partitions[1:] {
			h.kill(p, 3)
		}
		got, err := h.log.Clean(h.judge, CleanOptions{SegmentSize: 1 << 20, Pace: atOnce})
		if err != nil && !errors.Is(err, errNoGain) {
			t.Fatal(err)
		}
		rewritten += got.Rewritten
		must(t, h.append(true)) // appending goes on
		must(t, h.commit(record.Index(len(h.entries))))
		must(t, h.seal())
	}
	close(done)
	wg.Wait()
	if rewritten < 10 {
		t.Errorf("only %d segments were rewritten", rewritten)
	}
	must(t, h.check())
}

func TestNeighboursAreChosenByWhatIsDeadAndBySize(t *testing.T) {
	seg := func(first, size, live int64) surveyed {
		s := &segment{segmentMeta: segmentMeta{first: record.Index(first), last: record.Index(first), size: size + segmentHeaderSize}}
		return surveyed{s, live, true}
	}
	for name, c := range map[string]struct {
		list   []surveyed
		urgent bool
		want   [][2]int // first, how many
	}{
		"half dead":                  {[]surveyed{seg(1, 1000, 500)}, false, [][2]int{{1, 1}}},
		"mostly alive":               {[]surveyed{seg(1, 1000, 600)}, false, nil},
		"mostly alive, urgently":     {[]surveyed{seg(1, 1000, 600)}, true, [][2]int{{1, 1}}},
		"all alive, urgently":        {[]surveyed{seg(1, 1000, 1000)}, true, nil},
		"neighbours":                 {[]surveyed{seg(1, 1000, 400), seg(2, 1000, 300), seg(3, 1000, 200)}, false, [][2]int{{1, 3}}},
		"too much for one":           {[]surveyed{seg(1, 1000, 500), seg(2, 1000, 400), seg(3, 1000, 200)}, false, [][2]int{{1, 2}, {3, 1}}},
		"a live one between":         {[]surveyed{seg(1, 1000, 10), seg(2, 1000, 990), seg(3, 1000, 10)}, false, [][2]int{{1, 1}, {3, 1}}},
		"seven small ones":           {[]surveyed{seg(1, 9, 9), seg(2, 9, 9), seg(3, 9, 9), seg(4, 9, 9), seg(5, 9, 9), seg(6, 9, 9), seg(7, 9, 9)}, false, nil},
		"eight small ones":           {[]surveyed{seg(1, 9, 9), seg(2, 9, 9), seg(3, 9, 9), seg(4, 9, 9), seg(5, 9, 9), seg(6, 9, 9), seg(7, 9, 9), seg(8, 9, 9)}, false, [][2]int{{1, 8}}},
		"a damaged one in the midst": {[]surveyed{seg(1, 1000, 10), {seg(2, 1000, 0).segment, 0, false}, seg(3, 1000, 10)}, false, [][2]int{{1, 1}, {3, 1}}},
	} {
		var got [][2]int
		for _, g := range groups(c.list, 1000, c.urgent) {
			got = append(got, [2]int{int(g[0].first), len(g)})
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// What a cleaning takes does not depend on how many batches a segment has: a million
// rows of an index are 48 MB.
func TestACleaningHoldsNoMoreThanItsBuffers(t *testing.T) {
	const batches = 100_000 // 48 bytes of index each
	dir := t.TempDir()
	l, err := Open(vfs.OS(), dir, Options{})
	must(t, err)
	must(t, l.SetHardState(HardState{Term: 1, Vote: 1}))
	var e record.EntryBuilder
	i := record.Index(0)
	put := func(roll bool) {
		i++
		entry := e.Finish(i, 1, 1, roll)
		must(t, l.Append([]record.Entry{entry}))
		l.Committed(entry)
		e.Reset()
	}
	next := map[record.PartitionID]int64{}
	for n := range batches {
		p := record.PartitionID(1 + n%1000)
		e.Add(record.KindBatch, p, batch(next[p], 1, 1, int64(n), []byte("x")))
		next[p]++
		if n%5000 == 4999 {
			put(n == batches-1)
		}
	}
	for range 2 {
		put(false)
		must(t, l.WriteSnapshot(&Snapshot{Index: i, Term: 1}))
	}
	must(t, sealAll(l))
	judge := starts{}
	for _, c := range []struct {
		what  string
		start int64 // of every partition, of 100 batches
		most  uint64
	}{
		{"a survey", 10, 1 << 20},
		{"a rewrite", 60, 10 << 20}, // an entry is built, and framed, in buffers that grow
	} {
		for p := range next {
			judge[p] = c.start
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got, err := l.Clean(judge, CleanOptions{SegmentSize: 1 << 30, Pace: atOnce})
		must(t, err)
		runtime.ReadMemStats(&after)
		if want := int(c.start / 60); got.Rewritten != want {
			t.Fatalf("%s: %+v", c.what, got)
		}
		if total := after.TotalAlloc - before.TotalAlloc; total > c.most {
			t.Errorf("%s of %d batches took %d bytes, in all", c.what, batches, total)
		}
	}
	must(t, l.Close())
}

func TestNothingIsDeletedOnTheWordOfAnEntryThatThePowerMayTake(t *testing.T) {
	mem := vfs.NewMem()
	h := full(t, mem, 3)
	must(t, h.sync())
	must(t, h.append(false))
	must(t, h.commit(record.Index(len(h.entries)))) // by the others: here it is not durable
	for _, p := range partitions {
		h.kill(p, 1000)
	}
	must(t, h.clean())
	must(t, h.after(mem.CrashClean()))
}

func TestABatchLivesAsLongAsOneOfItsOffsets(t *testing.T) {
	r := row{base: 10, count: 5}
	for what, c := range map[string]struct {
		verdict Verdict
		lives   bool
	}{
		"a log that begins before it":    {Verdict{Start: 3}, true},
		"at it":                          {Verdict{Start: 10}, true},
		"in it":                          {Verdict{Start: 14}, true},
		"behind it":                      {Verdict{Start: 15}, false},
		"a closed partition":             {Verdict{Closed: true}, false},
		"one that holds it":              {Verdict{Holds: func(base int64) bool { return base == 10 }}, true},
		"one that holds others":          {Verdict{Holds: func(base int64) bool { return base != 10 }}, false},
		"one that held it before it was": {Verdict{Start: 15, Holds: func(int64) bool { return true }}, false},
	} {
		if got := c.verdict.lives(r); got != c.lives {
			t.Errorf("%s: %v", what, got)
		}
	}
}

func TestASealBesideACleanerThatRemovesTheSegmentDoesNotFenceTheLog(t *testing.T) {
	for _, at := range []vfs.OpKind{vfs.OpOpen, vfs.OpCreate} { // behind the new index, and before it
		mem := vfs.NewMem()
		var h *history
		name := ""
		f := vfs.NewFault(mem, func(op vfs.Op) error {
			if name == "" || op.Kind != at || op.Name != dir+"/"+name && op.Name != dir+"/"+name+tmpSuffix {
				return nil
			}
			name = ""
			done := make(chan error)
			go func() {
				_, err := h.log.Clean(h.judge, CleanOptions{SegmentSize: 1 << 20, Pace: atOnce})
				done <- err
			}()
			return <-done
		})
		h = full(t, f, 4)
		for _, p := range partitions {
			h.kill(p, 1000)
		}
		s := h.log.set.list[1]
		s.condemnIndex() // as a reader does
		name = indexName(s.name())
		if err := sealAll(h.log); err != nil || h.log.Fenced() != nil {
			t.Errorf("%v; %v", err, h.log.Fenced())
		}
		if name != "" {
			t.Error("nothing was cleaned meanwhile")
		}
		names, err := mem.List(dir)
		must(t, err)
		if slices.Contains(names, indexName(s.name())) {
			t.Errorf("the index stays without its segment: %v", names)
		}
		must(t, sealAll(h.log))
		if h.log.SealPending() {
			t.Error("it is asked for again and again")
		}
		must(t, h.check())
	}
}

func TestADirectoryThatTheCleanerFoundDamagedIsMadeAnew(t *testing.T) {
	mem := vfs.NewMem()
	h := full(t, mem, 4)
	for _, p := range partitions[1:] {
		h.kill(p, 1000)
	}
	s := h.log.set.list[3]
	size := len(content(t, mem, indexName(s.name())))
	edit(t, mem, indexName(s.name()), func(b []byte) []byte { b[size-blockSize+100] ^= 1; return b })
	h.log.cache.drop(s.index.Load())
	if err := h.clean(); !isCorrupt(err) {
		t.Fatalf("with a damaged directory: %v", err)
	}
	if !h.log.SealPending() {
		t.Error("nobody makes the index anew")
	}
	must(t, sealAll(h.log))
	must(t, h.clean())
	if n := len(h.log.Segments()); n != 2 {
		t.Errorf("%d segments are left", n)
	}
	must(t, h.check())
}
