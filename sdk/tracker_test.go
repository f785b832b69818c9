package sdk

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestCommitStopsAtTheFirstUnfinishedMessage(t *testing.T) {
	tr := newTracker(nowhere)
	for o := int64(10); o < 16; o++ {
		if !tr.deliver(o, 3) {
			t.Fatalf("offset %d is new and was not to be handled", o)
		}
	}
	for _, step := range []struct {
		finish int64
		commit int64
		above  []int64
		span   int64
	}{
		{13, 10, []int64{13}, 6},
		{11, 10, []int64{11, 13}, 6},
		{10, 12, []int64{13}, 4},
		{15, 12, []int64{13, 15}, 4},
		{12, 14, []int64{15}, 2},
		{14, 16, nil, 0},
	} {
		tr.finish(step.finish)
		p := tr.position()
		if p.offset != step.commit || tr.span() != step.span {
			t.Errorf("after finishing %d: commit %d, span %d, want %d and %d", step.finish, p.offset, tr.span(), step.commit, step.span)
		}
		s := decodeFinished(p.offset, p.metadata)
		var above []int64
		for o := p.offset; o < 20; o++ {
			if s.has(o) {
				above = append(above, o)
			}
		}
		if !slices.Equal(above, step.above) || s.above() != int64(len(step.above)) {
			t.Errorf("after finishing %d: the metadata says %v (%d), want %v", step.finish, above, s.above(), step.above)
		}
	}
	if e := tr.position().epoch; e != 3 {
		t.Errorf("epoch %d, want that of the last message below the commit, 3", e)
	}
}

func TestNothingIsCommittedBeforeTheFirstMessage(t *testing.T) {
	if p := newTracker(nowhere).position(); p != nowhere {
		t.Errorf("position %+v", p)
	}
	was := position{offset: 7, epoch: 2, metadata: finishedSet{from: 7, end: 9}.encode()}
	if p := newTracker(was).position(); p != was {
		t.Errorf("position %+v without a delivery, want the committed %+v", p, was)
	}
}

func TestFinishedMessagesOfACrashedMemberAreNotHandledAgain(t *testing.T) {
	a := newTracker(position{offset: 100, epoch: -1})
	for o := int64(100); o < 110; o++ {
		a.deliver(o, 0)
	}
	for _, o := range []int64{101, 102, 105, 109} {
		a.finish(o)
	}
	b := newTracker(a.position())
	// The survivor has taken two messages; what it was told about the others must
	// outlive it too.
	b.deliver(100, 0)
	b.deliver(101, 0)
	b.finish(100)
	c := newTracker(b.position())
	var again []int64
	for o := c.next; o < 110; o++ {
		if c.deliver(o, 0) {
			again = append(again, o)
		}
	}
	if want := []int64{103, 104, 106, 107, 108}; !slices.Equal(again, want) {
		t.Errorf("handled again: %v, want %v", again, want)
	}
}

func TestMetadataNeverPassesTheLimitAndNeverLies(t *testing.T) {
	tr := newTracker(nowhere)
	finished := map[int64]bool{}
	for o := int64(0); o < 40_000; o += 5 { // every gap takes two bytes once it is 130
		tr.deliver(o, 0)
	}
	for o := int64(5); o < 40_000; o += 130 {
		tr.finish(o)
		finished[o] = true
	}
	for o := int64(10_000); o < 40_000; o += 10 {
		tr.finish(o)
		finished[o] = true
	}
	p := tr.position()
	if len(p.metadata) > maxMetadata || len(p.metadata) < maxMetadata-8 {
		t.Errorf("metadata of %d bytes, want it to fill %d", len(p.metadata), maxMetadata)
	}
	s := decodeFinished(p.offset, p.metadata)
	known := 0
	for o := p.offset; o < 40_000; o += 5 {
		if s.has(o) {
			known++
			if !finished[o] {
				t.Fatalf("offset %d is unfinished, and the metadata says that it is finished", o)
			}
		}
	}
	if known < 100 {
		t.Errorf("only %d finished messages are known", known)
	}
}

func TestForeignMetadataMeansNothingAboveTheCommitIsFinished(t *testing.T) {
	for _, m := range []string{"", "rdkafka", "sd1:", "sd1:!", "sd1:AA", "sd1:gICAgICAgICAgICA", "sd2:AQ", "sd1:" + strings.Repeat("AQ", maxMetadata)} {
		s := decodeFinished(5, m)
		for o := int64(5); o < 10; o++ {
			if s.has(o) {
				t.Errorf("metadata %.20q: offset %d is said to be finished", m, o)
			}
		}
	}
}

func FuzzFinishedSetSurvivesAnyMetadata(f *testing.F) {
	f.Add(int64(0), "sd1:AQ")
	f.Add(int64(7), finishedSet{from: 7, open: []int64{9, 12}, end: 300}.encode())
	f.Fuzz(func(t *testing.T, from int64, metadata string) {
		if from < 0 || from > 1<<50 {
			return
		}
		s, err := parseFinished(from, metadata)
		if err != nil {
			return
		}
		if s.from != from || s.end < from || s.above() < 0 || !slices.IsSorted(s.open) {
			t.Fatalf("parsed %+v", s)
		}
		if again, err := parseFinished(from, s.encode()); s.above() > 0 && (err != nil || fmt.Sprint(again) != fmt.Sprint(s)) {
			t.Fatalf("%+v became %+v: %v", s, again, err)
		}
	})
}

// TestTrackerAgreesWithASetOfFinishedOffsets runs a partition with gaps through
// members that crash: the model is a plain set.
func TestTrackerAgreesWithASetOfFinishedOffsets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var log []int64
		for o, n := int64(0), rapid.IntRange(1, 80).Draw(t, "messages"); len(log) < n; {
			log = append(log, o)
			o += int64(rapid.IntRange(1, 3).Draw(t, "gap"))
		}
		done := map[int64]bool{}      // finished, by anyone
		committed := map[int64]bool{} // of these, known to the last commit
		last := nowhere
		tr, at := newTracker(last), 0 // at: index in log of the next delivery
		running := []int64{}
		t.Repeat(map[string]func(*rapid.T){
			"deliver": func(t *rapid.T) {
				if at == len(log) {
					return
				}
				o := log[at]
				at++
				if handle := tr.deliver(o, 1); handle == committed[o] {
					t.Fatalf("offset %d: handled %v, known to be finished %v", o, handle, committed[o])
				} else if handle {
					running = append(running, o)
				}
			},
			"finish": func(t *rapid.T) {
				if len(running) == 0 {
					return
				}
				i := rapid.IntRange(0, len(running)-1).Draw(t, "which")
				tr.finish(running[i])
				done[running[i]] = true
				running = slices.Delete(running, i, i+1)
			},
			"commit": func(t *rapid.T) {
				if p := tr.position(); p.offset >= 0 {
					last = p
					committed = map[int64]bool{}
					for _, o := range log {
						if done[o] {
							committed[o] = true
						}
					}
				}
			},
			"crash": func(t *rapid.T) {
				tr, running = newTracker(last), nil
				at, _ = slices.BinarySearch(log, max(0, last.offset))
				done = map[int64]bool{}
				for o := range committed {
					done[o] = true
				}
			},
			"": func(t *rapid.T) {
				first := int64(-1) // the first unfinished message
				for _, o := range log {
					if !done[o] {
						first = o
						break
					}
				}
				p := tr.position()
				if p.offset >= 0 && first >= 0 && p.offset > first {
					t.Fatalf("commit at %d would lose %d", p.offset, first)
				}
				s := decodeFinished(p.offset, p.metadata)
				for _, o := range log {
					if o >= p.offset && s.has(o) != done[o] {
						t.Fatalf("offset %d: finished %v, metadata says %v", o, done[o], s.has(o))
					}
				}
			},
		})
	})
}
