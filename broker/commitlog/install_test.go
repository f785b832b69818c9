package commitlog

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/seeds"
	"github.com/splashdam/splashdam/internal/vfs"
)

// leading is a log with sealed segments, one that is full, an open one, and a snapshot
// before the last of its entries.
func leading(t testing.TB, fsys vfs.FS) *history {
	t.Helper()
	h := newHistory()
	var err error
	h.log, err = Open(fsys, dir, Options{})
	for _, step := range []func() error{
		func() error { return err },
		func() error { return h.setHard(1, 1, 0) },
		func() error { return h.append(false, false, true, false, true) },
		func() error { return h.setHard(2, 1, 0) },
		func() error { return h.append(false, false, false, true) },
		func() error { return h.setHard(3, 1, 0) },
		func() error { return h.append(false, true, false, false) },
		h.sync,
		func() error { return h.commit(9) },
		h.seal,
		func() error { return h.commit(13) },
		func() error { return h.snap(12) },
		func() error { return h.append(false) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

// following is a log that has the first entries of another, some of them committed and
// sealed, and, of its own, a tail that was never committed.
func (h *history) following(fsys vfs.FS, entries, committed record.Index, tail int) (*history, error) {
	f := newHistory()
	var err error
	if f.log, err = Open(fsys, dir, Options{}); err != nil {
		return f, err
	}
	return f, f.follow(h, entries, committed, tail)
}

func (f *history) follow(h *history, entries, committed record.Index, tail int) error {
	maps.Copy(f.tried, h.tried)
	for i, e := range h.entries[:entries] {
		if e.Term() != f.hard.Term {
			if err := f.setHard(e.Term(), 0, 0); err != nil {
				return err
			}
		}
		f.entries = h.entries[:i+1]
		if err := f.log.Append(f.entries[i:]); err != nil {
			return err
		}
	}
	f.entries = slices.Clone(f.entries)
	if err := f.commit(committed); err != nil {
		return err
	}
	if committed > 1 {
		if err := f.snap(committed - 1); err != nil {
			return err
		}
	}
	if err := f.seal(); err != nil {
		return err
	}
	for i := range tail {
		if err := f.append(i%3 == 2); err != nil {
			return err
		}
	}
	return f.setHard(h.hard.Term, 0, committed)
}

// take brings a shipment's bytes from cursor to cursor, and installs it.
func take(from, to *Log, piece int) (bytes int, err error) {
	ship, err := from.Ship()
	if err != nil {
		return 0, err
	}
	defer ship.Close()
	stage, err := to.Stage(ship.List())
	if err != nil {
		return 0, err
	}
	defer stage.Close()
	for !stage.Complete() {
		b, err := pass(ship, stage, piece)
		bytes += b
		if err != nil {
			return bytes, err
		}
	}
	return bytes, to.Install(stage)
}

// pass brings one piece over.
func pass(ship *Shipment, stage *Stage, piece int) (int, error) {
	at := stage.Next()
	b, next, err := ship.Read(nil, at, piece)
	if err != nil {
		return 0, err
	}
	return len(b), stage.Write(b, next.Object != at.Object)
}

// becomes is what a history is once it has installed the newest snapshot of another.
func (f *history) becomes(h *history) {
	maps.Copy(f.tried, h.tried)
	for _, e := range f.entries {
		f.gone[string(e)] = true
	}
	f.entries = slices.Clone(h.entries[:h.snapshot])
	for _, e := range f.entries {
		delete(f.gone, string(e))
	}
	f.synced, f.committed, f.snapshot, f.snapTried = h.snapshot, h.snapshot, h.snapshot, h.snapshot
	f.appended = h.snapshot
	f.hard.Commit = max(f.hard.Commit, h.snapshot)
	for p, start := range h.judge { // what is dead there may not have come
		f.judge[p] = max(f.judge[p], start)
	}
}

func TestAFollowerBecomesWhatTheLeaderWasAtItsSnapshot(t *testing.T) {
	for _, test := range []struct {
		name               string
		entries, committed record.Index
		tail               int
		kept               int // segments
	}{
		{"an empty log", 0, 0, 0, 0},
		{"one that is behind", 4, 3, 0, 1},
		{"one with a tail of its own", 5, 5, 3, 2},
		{"one that is ahead, with another tail", 5, 4, 20, 1},
		{"one that has all segments that are sealed", 10, 10, 0, 3},
		{"one that has sealed nothing in time", 9, 2, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, piece := range []int{1, 7, 100, 1 << 20} {
				h, mem := leading(t, vfs.NewMem()), vfs.NewMem()
				f, err := h.following(mem, test.entries, test.committed, test.tail)
				must(t, err)
				own := f.log.Segments()
				end := own[len(own)-1].Base + Address(own[len(own)-1].Size)
				_, err = take(h.log, f.log, piece)
				must(t, err)
				f.becomes(h)
				must(t, f.check())
				if got := f.log.HardState(); got != f.hard {
					t.Errorf("hard state is %+v, want %+v", got, f.hard)
				}
				if l := f.log; l.First() != 13 || l.Last() != 12 || l.Durable() != 12 || l.Snapshot().Index != 12 {
					t.Errorf("window %d to %d, durable %d, snapshot %d", l.First(), l.Last(), l.Durable(), l.Snapshot().Index)
				}
				ours, theirs := f.log.Segments(), h.log.Segments()
				for i, s := range ours {
					if s.First != theirs[i].First || s.Sealed && s.Digest != theirs[i].Digest {
						t.Errorf("segment %d is %+v, the leader's %+v", i, s, theirs[i])
					}
					if kept := i < test.kept; kept && s != own[i] || !kept && s.Base < end {
						t.Errorf("segment %d is %+v, it was %+v", i, s, own[i])
					}
				}
				must(t, f.reopen(mem))
				must(t, f.check())
				must(t, f.goOn(mem))
			}
		})
	}
}

// goOn lives a little longer.
func (f *history) goOn(fsys vfs.FS) error {
	for _, step := range []func() error{
		func() error { return f.setHard(f.hard.Term+1, 2, f.committed) },
		func() error { return f.append(false, true, false) },
		f.sync,
		func() error { return f.commit(record.Index(len(f.entries))) },
		f.seal,
		func() error { return f.snap(f.committed) },
		f.check,
		func() error { return f.reopen(fsys) },
		f.check,
		f.close,
		func() error {
			r, err := Verify(fsys, dir)
			if err == nil && len(r.Problems) > 0 {
				err = fmt.Errorf("verify: %v", r.Problems)
			}
			return err
		},
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func TestALogThatIsCommittedUpToTheSnapshotRefusesIt(t *testing.T) {
	h := leading(t, vfs.NewMem())
	f, err := h.following(vfs.NewMem(), 12, 12, 0)
	must(t, err)
	if _, err := take(h.log, f.log, 1<<20); !errors.Is(err, ErrStale) {
		t.Errorf("error %v", err)
	}
	must(t, f.check())
}

func TestAShipmentThatTheLogHasOvertakenIsNotInstalled(t *testing.T) {
	h := leading(t, vfs.NewMem())
	f, err := h.following(vfs.NewMem(), 5, 5, 0)
	must(t, err)
	stage := f.receive(t, h)
	f.entries = slices.Clone(h.entries)
	must(t, f.log.Append(f.entries[5:]))
	must(t, f.commit(12))
	if err := f.log.Install(stage); !errors.Is(err, ErrStale) {
		t.Errorf("error %v", err)
	}
	stage.Close()
	must(t, f.log.DiscardStage())
	must(t, f.check())
}

// receive takes a shipment in, and does not install it.
func (f *history) receive(t *testing.T, h *history) *Stage {
	t.Helper()
	ship, err := h.log.Ship()
	must(t, err)
	defer ship.Close()
	stage, err := f.log.Stage(ship.List())
	must(t, err)
	for !stage.Complete() {
		_, err := pass(ship, stage, 100)
		must(t, err)
	}
	return stage
}

func TestAnInstallationNeverTakesWhatTheHardStateCallsCommitted(t *testing.T) {
	h := leading(t, vfs.NewMem())
	f, err := h.following(vfs.NewMem(), 13, 8, 0)
	must(t, err)
	must(t, f.sync())
	must(t, f.setHard(f.hard.Term, 0, 11))
	stage := f.receive(t, h) // of the snapshot at 12
	must(t, f.setHard(f.hard.Term, 0, 12))
	if err := f.log.Install(stage); !errors.Is(err, ErrStale) {
		t.Errorf("error %v, the log ends at %d", err, f.log.Last())
	}
	stage.Close()
	must(t, f.check())
	ship, err := h.log.Ship()
	must(t, err)
	defer ship.Close()
	if _, err := f.log.Stage(ship.List()); !errors.Is(err, ErrStale) {
		t.Errorf("error %v", err)
	}
}

// The index of a segment that is kept is made anew, around damage.
func TestDamageThatAnInstallationFindsIsTold(t *testing.T) {
	h, mem := leading(t, vfs.NewMem()), vfs.NewMem()
	told := 0
	f := newHistory()
	var err error
	f.log, err = Open(mem, dir, Options{Damaged: func(*CorruptionError) { told++ }})
	must(t, err)
	must(t, f.follow(h, 8, 8, 0))
	stage := f.receive(t, h)
	var lost record.PartitionID
	var offset int64
	f.entries[1].Each(func(_ int, p record.Part) bool {
		if p.Kind == record.KindBatch {
			lost, offset = p.Partition, record.Batch(p.Bytes).BaseOffset()
		}
		return p.Kind != record.KindBatch
	})
	seg := f.log.Segments()[0]
	from, to := f.frameOf(t, mem, seg, 2)
	edit(t, mem, seg.Name, func(b []byte) []byte { b[(from+to)/2] ^= 1; return b })
	must(t, mem.Remove(dir+"/"+indexName(seg.Name)))
	must(t, f.log.Install(stage))
	if told != 1 || f.log.Damage() != 1 {
		t.Errorf("told %d times, %d damaged places", told, f.log.Damage())
	}
	data, err := f.log.Read(nil, nil, lost, offset, math.MaxInt64, 1<<20, true)
	if _, ok := errors.AsType[*CorruptionError](err); !ok {
		t.Errorf("reading %v from %d gives %d bytes, error %v", lost, offset, len(data), err)
	}
}

// What it looked at when there was no Stage yet it changes no more when there is one.
func TestACleaningThatHasBegunTakesNothingThatAStageKeeps(t *testing.T) {
	h, mem := leading(t, vfs.NewMem()), vfs.NewMem()
	f, err := h.following(mem, 8, 8, 0)
	must(t, err)
	must(t, f.snap(8))
	must(t, f.sync())
	for _, p := range partitions {
		f.kill(p, 1000)
	}
	segments := len(f.log.Segments())
	var stage *Stage
	cleaned, err := f.log.Clean(f.judge, CleanOptions{SegmentSize: 1 << 20, Pace: func(int) error {
		if stage == nil {
			stage = f.receive(t, h)
		}
		return nil
	}})
	if !errors.Is(err, ErrStale) || len(f.log.Segments()) != segments {
		t.Errorf("%+v, %v: %d segments of %d are left", cleaned, err, len(f.log.Segments()), segments)
	}
	if len(stage.kept) == 0 {
		t.Fatal("nothing was kept")
	}
	must(t, f.log.Install(stage))
	f.becomes(h)
	must(t, f.check())
	must(t, f.goOn(mem))
}

// What the kernel has dropped then it may still show to the next Stage.
func TestAReceivedFileWhoseSyncFailedIsNotTakenUp(t *testing.T) {
	h := leading(t, vfs.NewMem())
	for n, failed := 1, true; failed; n++ {
		mem, syncs, name := vfs.NewMem(), 0, ""
		fault := vfs.NewFault(mem, func(op vfs.Op) error {
			if op.Kind != vfs.OpSync || !strings.HasSuffix(op.Name, segmentSuffix) {
				return nil
			}
			if syncs--; syncs == 0 {
				name = op.Name
				return errors.New("input/output error")
			}
			return nil
		})
		f, err := h.following(fault, 2, 2, 0)
		must(t, err)
		ship, err := h.log.Ship()
		must(t, err)
		stage, err := f.log.Stage(ship.List())
		must(t, err)
		syncs = n
		for err == nil && !stage.Complete() {
			_, err = pass(ship, stage, 100)
		}
		syncs = 0
		stage.Close()
		ship.Close()
		if failed = name != ""; failed {
			if err == nil || f.log.Fenced() != nil {
				t.Fatalf("sync %d of %s: error %v, fenced: %v", n, name, err, f.log.Fenced())
			}
			if there, err := mem.Exists(name); err != nil || there {
				t.Errorf("sync %d failed, %s is there: %v", n, name, err)
			}
		} else if must(t, err); n < 10 {
			t.Errorf("%d syncs", n-1)
		}
		_, err = take(h.log, f.log, 100)
		must(t, err)
		f.becomes(h)
		must(t, f.check())
	}
}

// Also of one in the middle of a segment, which is there so that none brings too much.
func TestAReceiptSyncsALongSegmentInPieces(t *testing.T) {
	entries := benchEntries(9, 8<<20, 8<<20, 1)
	last := entries[len(entries)-1]
	lead, err := Open(vfs.NewMem(), dir, Options{})
	must(t, err)
	must(t, lead.SetHardState(HardState{Term: last.Term()}))
	must(t, lead.Append(entries))
	must(t, lead.Sync())
	for _, e := range entries {
		lead.Committed(e)
	}
	must(t, lead.WriteSnapshot(&Snapshot{Index: last.Index(), Term: last.Term()}))
	var name string
	failing, syncs := false, 0
	mem := vfs.NewMem()
	f, err := Open(vfs.NewFault(mem, func(op vfs.Op) error {
		if op.Kind == vfs.OpSync && strings.HasSuffix(op.Name, segmentSuffix) {
			name = op.Name
			if syncs++; failing {
				return errors.New("input/output error")
			}
		}
		return nil
	}), dir, Options{})
	must(t, err)
	must(t, f.SetHardState(HardState{Term: last.Term()}))
	ship, err := lead.Ship()
	must(t, err)
	defer ship.Close()
	stage, err := f.Stage(ship.List())
	must(t, err)
	for syncs = 0; stage.Next().Offset < 2*stageSync+1<<20; {
		_, err = pass(ship, stage, 1<<20)
		must(t, err)
	}
	if syncs != 3 { // one when it was made
		t.Errorf("%d syncs up to %v", syncs, stage.Next())
	}
	stage.Close()
	stage, err = f.Stage(ship.List())
	must(t, err)
	if at := stage.Next(); at.Offset < stageSync {
		t.Errorf("it goes on at %v", at)
	}
	failing = true
	_, err = pass(ship, stage, 1<<20)
	if err == nil {
		t.Error("no error")
	}
	stage.Close()
	if there, err := mem.Exists(name); err != nil || there {
		t.Errorf("%s is there: %v", name, err)
	}
}

func TestAReceiptThatCannotSyncTheDirectoryFencesTheLog(t *testing.T) {
	h := leading(t, vfs.NewMem())
	for n := 1; ; n++ {
		syncs := 0
		fault := vfs.NewFault(vfs.NewMem(), func(op vfs.Op) error {
			if op.Kind == vfs.OpSyncDir {
				if syncs--; syncs == 0 {
					return errors.New("input/output error")
				}
			}
			return nil
		})
		f, err := h.following(fault, 5, 4, 0)
		must(t, err)
		ship, err := h.log.Ship()
		must(t, err)
		receive := func() error {
			stage, err := f.log.Stage(ship.List())
			for err == nil && !stage.Complete() {
				_, err = pass(ship, stage, 200)
			}
			if stage != nil {
				stage.Close()
			}
			return err
		}
		syncs = n
		if err = receive(); err == nil {
			// What came of the snapshot goes, durably.
			err = receive()
		}
		ship.Close()
		if syncs > 0 {
			if must(t, err); n < 6 {
				t.Errorf("the directory was synced %d times", n-1)
			}
			return
		}
		if !errors.Is(err, ErrFenced) || f.log.Fenced() == nil {
			t.Errorf("sync %d: error %v, fenced: %v", n, err, f.log.Fenced())
		}
	}
}

// The log goes on, is cut and rolls while a shipment arrives, and both are written
// under the same first indexes.
func TestTheLogGoesOnWhileAShipmentArrives(t *testing.T) {
	h, mem := leading(t, vfs.NewMem()), vfs.NewMem()
	f, err := h.following(mem, 5, 3, 2)
	must(t, err)
	stage := f.receive(t, h)
	must(t, f.truncate(5))
	must(t, f.append(true, false, true))
	must(t, f.sync())
	must(t, f.check())
	own := f.log.Segments()
	end := own[len(own)-1].Base + Address(own[len(own)-1].Size)
	// A crash now leaves the log as it is, with what has arrived beside it.
	left := mem.CrashClean()
	must(t, f.clone().after(left))
	must(t, f.log.Install(stage))
	f.becomes(h)
	for _, s := range f.log.Segments()[1:] {
		if s.Base < end {
			t.Errorf("segment %s begins at %s, the log had come to %s", s.Name, s.Base, end)
		}
	}
	must(t, f.check())
	must(t, f.goOn(mem))
}

func TestASnapshotOfBeforeAnInstallationIsNotWritten(t *testing.T) {
	h := leading(t, vfs.NewMem())
	f, err := h.following(vfs.NewMem(), 5, 5, 0)
	must(t, err)
	old := f.snapshotAt(5)
	must(t, f.log.Install(f.receive(t, h)))
	if err := f.log.WriteSnapshot(old); !errors.Is(err, ErrStale) {
		t.Errorf("error %v", err)
	}
	f.becomes(h)
	must(t, f.check())
}

// receipt is a follower's life up to and behind an installation, all on one disk.
func (f *history) receipt(h *history, fsys vfs.FS) error {
	var err error
	if f.log, err = Open(fsys, dir, Options{}); err != nil {
		return err
	}
	if err := f.follow(h, 5, 4, 5); err != nil {
		return err
	}
	if err := f.sync(); err != nil {
		return err
	}
	f.snapTried = h.snapshot
	if _, err := take(h.log, f.log, 500); err != nil {
		return err
	}
	f.becomes(h)
	return nil
}

// installedIn tells from the manifest whether an installation came through.
func installedIn(t *testing.T, fsys vfs.FS) bool {
	if ok, _ := fsys.Exists(dir + "/" + manifestName); !ok {
		return false
	}
	l, _, err := decodeManifest(content(t, fsys, manifestName))
	must(t, err)
	return l.installed > 0
}

// settled is what a history must find on a disk: the old log or the new one.
func (f *history) settled(t *testing.T, h *history, fsys vfs.FS) *history {
	g := f.clone()
	if installedIn(t, fsys) {
		g.becomes(h)
	} else if f.snapshot == h.snapshot {
		t.Fatal("an installation was acknowledged and is gone")
	} else {
		g.snapTried = min(g.snapTried, h.snapshot-1)
	}
	return g
}

func TestACrashAtAnyCallOfAnInstallationLeavesTheOldLogOrTheNewOne(t *testing.T) {
	h := leading(t, vfs.NewMem())
	count := vfs.NewFault(vfs.NewMem(), nil)
	must(t, newHistory().receipt(h, count))
	const seeds = uint64(6)
	olds, news := 0, 0
	for _, n := range sample(t, count.Calls()+1, stride(4, 1)) {
		for seed := range seeds {
			mem := vfs.NewMem()
			f := newHistory()
			if err := f.receipt(h, vfs.NewFault(mem, vfs.CrashAt(n))); err != nil && !errors.Is(err, vfs.ErrCrashed) {
				t.Fatalf("call %d: %v", n, err)
			}
			left := mem.CrashClean()
			rnd := rand.New(rand.NewPCG(seed, uint64(n)))
			if seed > 0 {
				left = mem.Crash(rnd)
			}
			again := left.CrashClean()
			g := f.settled(t, h, left)
			if err := g.after(left); err != nil {
				t.Fatalf("crash at call %d, seed %d: %v", n, seed, err)
			}
			if installedIn(t, again) {
				news++
				continue
			}
			// The receipt goes on with what is there.
			if ok, _ := again.Exists(dir + "/" + manifestName); !ok {
				continue
			}
			olds++
			g = f.settled(t, h, again)
			if err := g.again(again); err != nil {
				t.Fatalf("crash at call %d, seed %d: %v", n, seed, err)
			}
			must(t, g.setHard(max(g.log.HardState().Term, h.hard.Term), 0, 0))
			if _, err := take(h.log, g.log, 500); err != nil {
				t.Fatalf("crash at call %d, seed %d, receiving again: %v", n, seed, err)
			}
			g.becomes(h)
			if err := errors.Join(g.check(), g.goOn(again)); err != nil {
				t.Fatalf("crash at call %d, seed %d, receiving again: %v", n, seed, err)
			}
		}
	}
	if !raced && (olds < 50 || news < 10) {
		t.Errorf("%d crashes left the old log, %d the new one", olds, news)
	}
}

func TestAnErrorAtAnyCallOfAnInstallationLeavesTheOldLogOrTheNewOne(t *testing.T) {
	h := leading(t, vfs.NewMem())
	count := vfs.NewFault(vfs.NewMem(), nil)
	must(t, newHistory().receipt(h, count))
	for _, failure := range []error{errors.New("input/output error"), vfs.ErrNoSpace} {
		for _, n := range sample(t, count.Calls(), stride(2, 1)) {
			mem := vfs.NewMem()
			f := newHistory()
			err := f.receipt(h, vfs.NewFault(mem, func(op vfs.Op) error {
				if op.N == n {
					return vfs.ShortWrite(op.Bytes/2, failure)
				}
				return nil
			}))
			if err != nil && !errors.Is(err, failure) {
				t.Fatalf("%v at call %d: %v", failure, n, err)
			}
			left := mem.Crash(rand.New(rand.NewPCG(1, uint64(n))))
			if err := f.settled(t, h, mem).after(mem); err != nil {
				t.Fatalf("%v at call %d, then a start: %v", failure, n, err)
			}
			if err := f.settled(t, h, left).after(left); err != nil {
				t.Fatalf("%v at call %d, then a crash: %v", failure, n, err)
			}
		}
	}
}

func TestAReceiptGoesOnWhereItWasInterrupted(t *testing.T) {
	h := leading(t, vfs.NewMem())
	ship, err := h.log.Ship()
	must(t, err)
	defer ship.Close()
	var whole int
	for stop := 0; ; stop++ {
		mem := vfs.NewMem()
		f, err := h.following(mem, 4, 3, 0)
		must(t, err)
		stage, err := f.log.Stage(ship.List())
		must(t, err)
		pieces := 0
		for ; pieces < stop && !stage.Complete(); pieces++ {
			_, err := pass(ship, stage, 200)
			must(t, err)
		}
		done := stage.Complete()
		reached := stage.Next()
		stage.Close()
		must(t, f.reopen(mem))
		must(t, f.setHard(f.hard.Term, 0, 0))
		bytes, err := take(h.log, f.log, 200)
		must(t, err)
		if stop == 0 {
			whole = bytes
		}
		// Not received again: all but what belongs to an entry that was not whole, a
		// directory, or the snapshot.
		if reached.Object < uint32(len(ship.List().Segments)) && bytes > whole-(pieces*200-700) && pieces > 4 {
			t.Errorf("%d bytes had come, up to %v, and %d of %d came again", pieces*200, reached, bytes, whole)
		}
		f.becomes(h)
		must(t, f.check())
		must(t, f.goOn(mem))
		if done {
			return
		}
	}
}

// A newer snapshot, of another leader whose segments are the same ones.
func TestAReceiptKeepsEqualSegmentsForAnotherShipment(t *testing.T) {
	h := leading(t, vfs.NewMem())
	mem := vfs.NewMem()
	f, err := h.following(mem, 2, 2, 0)
	must(t, err)
	first := f.receive(t, h)
	if n := len(first.received); n != 5 {
		t.Fatalf("%d segments came", n)
	}
	first.Close()
	must(t, h.append(false, true, false))
	must(t, h.sync())
	must(t, h.commit(16))
	must(t, h.seal())
	must(t, h.snap(15))
	ship, err := h.log.Ship()
	must(t, err)
	defer ship.Close()
	second, err := f.log.Stage(ship.List())
	must(t, err)
	// The three that were sealed then are there; the full one is verified frame by
	// frame, and lacks what only an index has: the directory.
	if at := second.Next(); at.Object != 4 || at.Offset != ship.List().Segments[3].Digest.Bytes {
		t.Errorf("it goes on at %v of %+v", at, ship.List())
	}
	second.Close()
	must(t, f.setHard(h.hard.Term, 0, 0))
	_, err = take(h.log, f.log, 1<<20)
	must(t, err)
	f.becomes(h)
	must(t, f.check())
	must(t, f.goOn(mem))
}

func TestADamagedPieceIsRefusedAndNothingOfItStays(t *testing.T) {
	h := leading(t, vfs.NewMem())
	ship, err := h.log.Ship()
	must(t, err)
	defer ship.Close()
	var content [][]byte // of the objects
	for at := (Cursor{}); at != ship.List().End(); {
		var b []byte
		before := at.Object
		b, at, err = ship.Read(nil, at, 1<<20)
		must(t, err)
		if int(before) == len(content) {
			content = append(content, nil)
		}
		content[before] = append(content[before], b...)
	}
	refused := 0
	for object := 1; object < len(content); object++ {
		for pos := 0; pos < len(content[object]); pos += 13 {
			f, err := h.following(vfs.NewMem(), 0, 0, 0)
			must(t, err)
			stage, err := f.log.Stage(ship.List())
			must(t, err)
			for o := 1; err == nil && !stage.Complete(); o++ {
				b := bytes.Clone(content[o])
				if o == object {
					b[pos] ^= 1 << (pos % 8)
				}
				err = stage.Write(b, true)
			}
			switch {
			case errors.Is(err, ErrShipment):
				refused++
			case err == nil && object <= 3 && uint64(pos) >= ship.List().Segments[object-1].Digest.Bytes:
				// The directory is a place to look first; pieces have a checksum on the way.
			default:
				t.Fatalf("byte %d of object %d: %v", pos, object, err)
			}
			stage.Close()
		}
	}
	if refused < 100 {
		t.Errorf("only %d were refused", refused)
	}
}

// Of a segment that is not sealed there is no digest: that what comes is a piece of
// log is seen entry by entry.
func TestWhatDoesNotFollowIsRefused(t *testing.T) {
	list := &ShipList{Index: 12, Term: 3, Snapshot: 1000, Segments: []ShippedSegment{{First: 10, Last: 11}, {First: 12, Last: 12}}}
	entry := func(i record.Index, term record.Term, rolls bool) record.Entry {
		var b record.EntryBuilder
		b.Add(record.KindCommand, 0, record.NewCommand(record.OwnerShard, 1, 1))
		return b.Finish(i, term, 0, rolls)
	}
	var rewritten record.EntryBuilder
	for name, entries := range map[string][]record.Entry{
		"another first entry":            {entry(11, 1, true)},
		"a gap":                          {entry(10, 1, false), entry(12, 1, false)},
		"the same entry again":           {entry(10, 1, false), entry(10, 1, false)},
		"a term that falls":              {entry(10, 2, false), entry(11, 1, true)},
		"no term":                        {entry(10, 0, false), entry(11, 1, true)},
		"a term above the snapshot's":    {entry(10, 4, false), entry(11, 4, true)},
		"a roll inside of a segment":     {entry(10, 1, true), entry(11, 1, true)},
		"what was rewritten":             {rewritten.FinishRewritten(10), entry(11, 1, true)},
		"an entry behind the last one":   {entry(10, 1, false), entry(11, 1, true), entry(12, 1, false)},
		"a batch that overlaps another":  {batches(10, 1, 5, 3), entry(11, 1, true)},
		"a batch that is cut off":        {batches(10, 1), entry(11, 1, true)},
		"an end in front of the segment": {entry(10, 1, false)},
	} {
		l, err := Open(vfs.NewMem(), dir, Options{})
		must(t, err)
		must(t, l.SetHardState(HardState{Term: 5}))
		stage, err := l.Stage(list)
		must(t, err)
		var content []byte
		for _, e := range entries {
			content = append(content, e...)
		}
		if err := stage.Write(content, true); !errors.Is(err, ErrShipment) {
			t.Errorf("%s: %v", name, err)
		}
		stage.Close()
		// Nor is it taken up from the disk.
		stage, err = l.Stage(list)
		must(t, err)
		if at := stage.Next(); at.Object > 2 || at.Offset > uint64(len(content)) {
			t.Errorf("%s: it goes on at %v", name, at)
		}
		stage.Close()
	}
}

// batches is an entry with batches at offsets, of three records each; of none, with
// one that is cut off.
func batches(i record.Index, term record.Term, offsets ...int64) record.Entry {
	var b record.EntryBuilder
	for _, o := range offsets {
		b.Add(record.KindBatch, 1, batch(o, 1, 3, 100, []byte("value")))
	}
	if len(offsets) == 0 {
		b.Add(record.KindBatch, 1, make([]byte, record.BatchHeaderSize-1))
	}
	return b.Finish(i, term, 0, false)
}

func TestASegmentThatDoesNotAddUpIsRefusedOrBegunAnew(t *testing.T) {
	h := leading(t, vfs.NewMem())
	ship, err := h.log.Ship()
	must(t, err)
	defer ship.Close()
	first, _, err := ship.Read(nil, Cursor{Object: 1}, 1<<20)
	must(t, err)
	other := *ship.List()
	other.Segments = slices.Clone(other.Segments)
	other.Segments[0].Digest.Sum++
	f, err := h.following(vfs.NewMem(), 0, 0, 0)
	must(t, err)
	stage, err := f.log.Stage(&other)
	must(t, err)
	if err := stage.Write(first, true); !errors.Is(err, ErrShipment) {
		t.Errorf("a segment of another digest: %v", err)
	}
	stage.Close()
	// All its entries are on the disk now, and they are not those of the list.
	if stage, err = f.log.Stage(&other); err != nil {
		t.Fatal(err)
	}
	at := stage.Next()
	must(t, stage.Write(first[at.Offset:], true))
	if again := stage.Next(); at.Offset == 0 || again != (Cursor{Object: 1}) {
		t.Errorf("it goes on at %v, and then at %v", at, again)
	}
	stage.Close()
	must(t, f.setHard(h.hard.Term, 0, 0))
	_, err = take(h.log, f.log, 1000)
	must(t, err)
	f.becomes(h)
	must(t, f.check())
}

func TestASnapshotOfAnotherPlaceIsRefused(t *testing.T) {
	h := leading(t, vfs.NewMem())
	ship, err := h.log.Ship()
	must(t, err)
	defer ship.Close()
	for name, change := range map[string]func(*Snapshot){
		"index": func(s *Snapshot) { s.Index++ }, "term": func(s *Snapshot) { s.Term-- },
	} {
		f, err := h.following(vfs.NewMem(), 0, 0, 0)
		must(t, err)
		stage, err := f.log.Stage(ship.List())
		must(t, err)
		for stage.Next().Object < ship.List().snapshotObject() {
			_, err := pass(ship, stage, 1<<20)
			must(t, err)
		}
		s := *h.snapshotAt(12)
		change(&s)
		mem := vfs.NewMem()
		must(t, mem.MkdirAll(dir))
		file, err := mem.Create(dir + "/snapshot")
		must(t, err)
		must(t, s.write(file))
		if err := stage.Write(content(t, mem, "snapshot"), true); !errors.Is(err, ErrShipment) {
			t.Errorf("a snapshot of another %s: %v", name, err)
		}
		stage.Close()
	}
}

func TestAShipmentIsWhatItWasWhateverBecomesOfTheLog(t *testing.T) {
	h := leading(t, vfs.NewMem())
	ship, err := h.log.Ship()
	must(t, err)
	read := func(at Cursor, n int) (all []byte) {
		for at != ship.List().End() {
			var b []byte
			var err error
			b, at, err = ship.Read(nil, at, n)
			must(t, err)
			all = append(all, b...)
		}
		return all
	}
	want := read(Cursor{}, 1<<20)
	must(t, h.truncate(13))
	for range 3 {
		must(t, h.append(false, true, false))
		must(t, h.sync())
		must(t, h.commit(record.Index(len(h.entries))))
		must(t, h.seal())
		must(t, h.snap(h.committed))
	}
	if got := read(Cursor{}, 333); !bytes.Equal(got, want) {
		t.Error("the shipment has changed")
	}
	// From any place on, backwards.
	for n := len(want); n > 0; n -= 97 {
		at, left := Cursor{}, n
		for left > 0 {
			b, next, err := ship.Read(nil, at, left)
			must(t, err)
			at, left = next, left-len(b)
		}
		if got := read(at, 1<<20); !bytes.Equal(got, want[n:]) {
			t.Fatalf("from byte %d, at %v, it is another", n, at)
		}
	}
	if first := h.log.First(); first != 13 {
		t.Errorf("the window begins at %d with a shipment of 12 under way", first)
	}
	must(t, h.check())
	ship.Close()
	if first := h.log.First(); first <= 13 {
		t.Errorf("the window begins at %d still", first)
	}
}

func TestAShipmentThatHoldsTooMuchExpires(t *testing.T) {
	h := leading(t, vfs.NewMem())
	ship, err := h.log.Ship()
	must(t, err)
	defer ship.Close()
	ship.end -= maxHeldBytes // as if so much had been appended since
	must(t, h.append(true, false))
	must(t, h.commit(15))
	must(t, h.snap(13))
	must(t, h.snap(15))
	if _, _, err := ship.Read(nil, Cursor{}, 1); !errors.Is(err, ErrExpired) {
		t.Errorf("error %v", err)
	}
	if first := h.log.First(); first != 14 {
		t.Errorf("the window begins at %d", first)
	}
}

// The manifest keeps a reservation for the receipt that comes: meanwhile the log may be
// cut, which raises the generation of what it keeps.
func TestVerifyHasNothingAgainstAnInstallationWithAnOldReservation(t *testing.T) {
	h, mem := leading(t, vfs.NewMem()), vfs.NewMem()
	f, err := h.following(mem, 2, 2, 1)
	must(t, err)
	ship, err := h.log.Ship()
	must(t, err)
	stage, err := f.log.Stage(ship.List())
	must(t, err)
	stage.Close()
	ship.Close()
	must(t, f.truncate(2))
	for i := record.Index(2); i < 6; i++ {
		e := h.entries[i]
		if e.Term() > f.hard.Term {
			must(t, f.setHard(e.Term(), 0, 0))
		}
		must(t, f.log.Append([]record.Entry{e}))
		f.entries = append(f.entries, e)
	}
	must(t, f.sync())
	must(t, f.commit(6))
	must(t, f.seal())
	stage = f.receive(t, h)
	if n := len(stage.kept); n == 0 || stage.kept[n-1].first < 3 || stage.received[0].generation != 2 {
		t.Fatalf("kept %+v, received %+v", stage.kept, stage.received)
	}
	must(t, f.log.Install(stage))
	f.becomes(h)
	must(t, f.check())
	must(t, f.log.Close())
	r, err := Verify(mem, dir)
	must(t, err)
	for _, p := range r.Problems {
		t.Errorf("%v", p)
	}
	if r.Cut != nil {
		t.Errorf("a repair would cut %+v", r.Cut)
	}
	must(t, f.again(mem))
	must(t, f.goOn(mem))
}

func TestACutOfTheLogLetsNoShipmentExpire(t *testing.T) {
	h := leading(t, vfs.NewMem())
	must(t, h.append(false, false, false))
	ship, err := h.log.Ship()
	must(t, err)
	defer ship.Close()
	must(t, h.truncate(14))
	must(t, h.commit(14))
	must(t, h.snap(14))
	if _, _, err := ship.Read(nil, Cursor{}, 100); err != nil {
		t.Error(err)
	}
}

func TestAShipListReadsBackTheSame(t *testing.T) {
	h := leading(t, vfs.NewMem())
	ship, err := h.log.Ship()
	must(t, err)
	defer ship.Close()
	got, err := DecodeShipList(ship.List().Encode())
	if err != nil || fmt.Sprint(got) != fmt.Sprint(ship.List()) {
		t.Errorf("%+v, want %+v: %v", got, ship.List(), err)
	}
	b := ship.List().Encode()
	b[4]++
	if _, err := DecodeShipList(b); !errors.Is(err, ErrFutureVersion) {
		t.Errorf("a list of a future version: %v", err)
	}
	for i := range b {
		c := ship.List().Encode()
		c[i] ^= 0x20
		if _, err := DecodeShipList(c); !errors.Is(err, ErrShipment) && !errors.Is(err, ErrFutureVersion) {
			t.Errorf("byte %d flipped: %v", i, err)
		}
	}
}

func TestAListThatNoLogCanHaveIsRefused(t *testing.T) {
	sealed := func(first, last record.Index) ShippedSegment {
		return ShippedSegment{First: first, Last: last, Sealed: true, Digest: Digest{Entries: 1, Bytes: 40, Sum: 7}}
	}
	open := func(first, last record.Index) ShippedSegment { return ShippedSegment{First: first, Last: last} }
	for name, segments := range map[string][]ShippedSegment{
		"none":                          {},
		"out of order":                  {sealed(5, 9), sealed(1, 4), open(10, 10)},
		"that overlap":                  {sealed(1, 5), open(5, 10)},
		"that end early":                {sealed(1, 5), open(6, 9)},
		"that go further":               {sealed(1, 5), open(6, 11)},
		"with a gap behind an open one": {open(1, 5), open(7, 10)},
		"sealed behind an open one":     {open(1, 5), sealed(6, 10)},
		"open and rewritten":            {{First: 1, Last: 10, Edition: 1}},
		"with more entries than bytes":  {{First: 1, Last: 10, Sealed: true, Digest: Digest{Entries: 2, Bytes: 79}}},
		"backwards":                     {sealed(3, 2), open(4, 10)},
	} {
		l := &ShipList{Index: 10, Term: 1, Snapshot: 100, Segments: segments}
		if _, err := DecodeShipList(l.Encode()); !errors.Is(err, ErrShipment) {
			t.Errorf("segments %s: %v", name, err)
		}
	}
}

func FuzzShipList(f *testing.F) {
	h := leading(f, vfs.NewMem())
	ship, err := h.log.Ship()
	if err != nil {
		f.Fatal(err)
	}
	defer ship.Close()
	f.Add(ship.List().Encode())
	f.Add([]byte(strings.Repeat("SDSL", 30)))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := DecodeShipList(b)
		if err != nil {
			if !errors.Is(err, ErrShipment) && !errors.Is(err, ErrFutureVersion) {
				t.Fatal(err)
			}
			return
		}
		again, err := DecodeShipList(l.Encode())
		if err != nil || fmt.Sprint(again) != fmt.Sprint(l) {
			t.Fatalf("written and read again it is %+v, not %+v: %v", again, l, err)
		}
	})
}

// Two logs live at random, one of them behind the other and with tails of its own that
// come to nothing, and shipments go from one to the other, some of them interrupted by
// a crash. SPLASHDAM_TEST_SEED lives that one life again.
func TestALogThatGetsShipmentsAgreesWithTheOneTheyComeFrom(t *testing.T) {
	first, n := seeds.Range(t, fewer(40), fewer(200))
	var taken, interrupted int
	for seed := first; seed != first+n; seed++ {
		rnd := rand.New(rand.NewPCG(seed, 1))
		from, to := vfs.NewMem(), vfs.NewMem()
		h, f := newHistory(), newHistory()
		live := func() (err error) {
			if h.log, err = Open(from, dir, Options{}); err != nil {
				return err
			}
			if f.log, err = Open(to, dir, Options{}); err != nil {
				return err
			}
			if err := h.setHard(1, 1, 0); err != nil {
				return err
			}
			for range 8 {
				for range 20 {
					if err := h.random(from, rnd); err != nil {
						return err
					}
				}
				if err := f.hear(h, rnd); err != nil {
					return err
				}
				if h.snapshot <= f.committed {
					continue
				}
				for rnd.IntN(3) == 0 {
					interrupted++
					if err := f.begin(h, rnd); err != nil {
						return err
					}
					// What was not durable is gone, and so is what h knows of it.
					if to, err = f.crash(to, rnd); err != nil {
						return err
					}
				}
				if err := f.setHard(max(f.hard.Term, h.hard.Term), 0, f.committed); err != nil {
					return err
				}
				if _, err := take(h.log, f.log, 1+rnd.IntN(2000)); err != nil {
					return err
				}
				taken++
				f.becomes(h)
				if err := errors.Join(f.check(), f.hasSegmentsOf(h)); err != nil {
					return err
				}
			}
			return f.goOn(to)
		}
		if err := live(); err != nil {
			t.Fatalf("SPLASHDAM_TEST_SEED=%d: %v", seed, err)
		}
	}
	if n >= 40 && (taken < 30 || interrupted < 7) {
		t.Errorf("only %d shipments, %d interrupted", taken, interrupted)
	}
}

// hasSegmentsOf compares the sealed segments: each is the other's, entry for entry.
func (f *history) hasSegmentsOf(h *history) error {
	theirs := h.log.Segments()
	for _, s := range f.log.Segments() {
		i := slices.IndexFunc(theirs, func(o SegmentInfo) bool { return o.First == s.First })
		if s.Sealed && (i < 0 || theirs[i].Last != s.Last || theirs[i].Digest != s.Digest) {
			return fmt.Errorf("segment %+v is not one of %+v", s, theirs)
		}
	}
	return nil
}

// hear brings a follower on by some of the leader's entries, and adds others.
func (f *history) hear(h *history, rnd *rand.Rand) error {
	if err := f.truncate(f.committed); err != nil {
		return err
	}
	if err := f.setHard(max(f.hard.Term, h.hard.Term), 0, f.committed); err != nil {
		return err
	}
	begin := len(f.entries)
	for _, e := range h.entries[begin:] {
		if rnd.IntN(6) == 0 {
			break
		}
		f.entries = append(f.entries, e)
		f.tried[string(e)] = true
		delete(f.gone, string(e))
	}
	heard := record.Index(len(f.entries))
	if err := f.log.Append(f.entries[begin:]); err != nil {
		return err
	}
	if to := min(heard, h.committed); to > f.committed {
		if err := f.commit(f.committed + 1 + record.Index(rnd.Uint64N(uint64(to-f.committed)))); err != nil {
			return err
		}
	}
	if err := f.seal(); err != nil {
		return err
	}
	if f.committed > f.snapshot && rnd.IntN(3) == 0 {
		if err := f.snap(f.committed); err != nil {
			return err
		}
	}
	if f.committed > 0 && rnd.IntN(3) == 0 {
		f.kill(partitions[rnd.IntN(len(partitions))], 1+rnd.IntN(8))
		if err := f.clean(); err != nil {
			return err
		}
	}
	if rnd.IntN(2) == 0 && heard >= h.committed { // else it could only be older
		if err := f.setHard(f.hard.Term+1, 0, f.committed); err != nil {
			return err
		}
		if err := f.append(rnd.IntN(2) == 0, rnd.IntN(2) == 0); err != nil {
			return err
		}
	}
	return f.sync()
}

// begin receives some of a shipment and stops.
func (f *history) begin(h *history, rnd *rand.Rand) error {
	ship, err := h.log.Ship()
	if err != nil {
		return err
	}
	defer ship.Close()
	stage, err := f.log.Stage(ship.List())
	if err != nil {
		return err
	}
	defer stage.Close()
	for !stage.Complete() && rnd.IntN(8) > 0 {
		if _, err := pass(ship, stage, 1+rnd.IntN(1000)); err != nil {
			return err
		}
	}
	return nil
}

// crash opens what is left of a disk.
func (f *history) crash(mem *vfs.Mem, rnd *rand.Rand) (*vfs.Mem, error) {
	left := mem.Crash(rnd)
	l, err := Open(left, dir, Options{})
	if err != nil {
		return left, err
	}
	f.log, f.hard = l, l.HardState()
	f.entries = f.entries[:l.Last()]
	return left, f.replay()
}

func TestACleanerBehindAnInstallationThatFailedDeletesNothing(t *testing.T) {
	h, mem := leading(t, vfs.NewMem()), vfs.NewMem()
	failing, reached, release := false, make(chan struct{}), make(chan struct{})
	fault := vfs.NewFault(mem, func(op vfs.Op) error {
		if failing && op.Kind == vfs.OpSyncDir { // the manifest is replaced already
			failing = false
			close(reached)
			<-release
			return errors.New("input/output error")
		}
		return nil
	})
	f, err := h.following(fault, 8, 8, 0)
	must(t, err)
	must(t, f.snap(8))
	must(t, f.sync())
	for _, p := range partitions {
		f.kill(p, 1000)
	}
	looked, goOn, cleaned := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	first := true
	go func() {
		_, err := f.log.Clean(f.judge, CleanOptions{SegmentSize: 1 << 20, Pace: func(int) error {
			if first {
				first = false
				close(looked)
				<-goOn
			}
			return nil
		}})
		cleaned <- err
	}()
	<-looked
	stage := f.receive(t, h)
	failing = true
	installed := make(chan error, 1)
	go func() { installed <- f.log.Install(stage) }()
	<-reached
	close(goOn)
	time.Sleep(100 * time.Millisecond) // for the cleaner to come to where it waits
	close(release)
	if err := <-installed; !errors.Is(err, ErrFenced) {
		t.Errorf("the installation: %v", err)
	}
	if err := <-cleaned; !errors.Is(err, ErrFenced) {
		t.Errorf("the cleaner: %v", err)
	}
	if err := f.log.manifest.record(change{kind: receiptBegun, generation: f.log.manifest.next()}); err == nil {
		t.Error("the manifest can be written, though nobody knows which one has the name")
	}
	l, err := Open(mem, dir, Options{Damaged: func(c *CorruptionError) { t.Errorf("after a start: %v", c) }})
	if err != nil {
		t.Fatalf("after a start: %v", err)
	}
	if w := l.Warnings(); len(w) > 0 {
		t.Errorf("after a start: %v", w)
	}
	must(t, l.Close())
}

func TestWhatWaitsForAShipmentAsksForNoSnapshot(t *testing.T) {
	h, mem := leading(t, vfs.NewMem()), vfs.NewMem()
	f, err := h.following(mem, 8, 8, 0)
	must(t, err)
	must(t, f.snap(8))
	f.kill(7, 1)
	clean := func() Cleaned {
		c, err := f.log.Clean(f.judge, CleanOptions{SegmentSize: 1 << 20, Pace: atOnce})
		must(t, err)
		return c
	}
	before := clean()
	ship, err := h.log.Ship()
	must(t, err)
	_, err = f.log.Stage(ship.List())
	must(t, err)
	if during := clean(); during.SealedWaste != before.SealedWaste {
		t.Errorf("%d bytes wait for a snapshot, and %d while there is a Stage", before.SealedWaste, during.SealedWaste)
	}
}
