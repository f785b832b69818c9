package commitlog

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// lives are the scripts that the tests of this file go through: the written one
// and a random one, or many where tests may take long.
func lives() []uint64 {
	n := 2
	switch {
	case testing.Short():
		n = 1
	case long:
		n = 4
	}
	list := make([]uint64, n)
	for i := range list {
		list[i] = uint64(i)
	}
	return list
}

// every is the calls of a life that a matrix tries, of total: all where tests may take
// long, else a sample.
func every(t *testing.T, life uint64, total int) []int {
	t.Helper()
	n := 3
	if life > 0 {
		n = 7
	}
	return sample(t, total, stride(n, 1))
}

func newLife(life uint64) *history {
	h := newHistory()
	h.life = life
	return h
}

// run goes through the script until a step fails.
func (h *history) run(fsys vfs.FS) error {
	steps := h.script(fsys)
	if h.life > 0 {
		steps = h.randomScript(fsys)
	}
	for i, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i, err)
		}
	}
	return nil
}

// calls is how many I/O calls a life makes.
func calls(t *testing.T, life uint64) int {
	t.Helper()
	f := vfs.NewFault(vfs.NewMem(), nil)
	must(t, newLife(life).run(f))
	return f.Calls()
}

// after opens what a crash left, compares it with what had been promised, and goes on
// with it.
func (h *history) after(fsys vfs.FS) error {
	before, err := Verify(fsys, dir)
	if err == nil {
		for _, p := range before.Problems {
			if exists, _ := fsys.Exists(dir + "/" + manifestName); exists && p.Do != doNothing {
				return fmt.Errorf("verify before opening: %v", p)
			}
		}
	}
	l, err := Open(fsys, dir, pieces)
	if err != nil {
		return err
	}
	last := l.Last()
	if last < h.synced {
		return fmt.Errorf("%d were synced, %d are there", h.synced, last)
	}
	// What entries said that are lost was never said: nothing may have come of it.
	h.kills = slices.DeleteFunc(h.kills, func(k kill) bool { return k.at > last })
	clear(h.judge)
	for _, k := range h.kills {
		h.judge[k.p] = max(h.judge[k.p], k.start)
	}
	if d := l.Durable(); d != last {
		return fmt.Errorf("durable is %d after opening, the log ends at %d", d, last)
	}
	// What was found is durable: the power may fail at once.
	if mem, ok := fsys.(*vfs.Mem); ok {
		again, err := Open(mem.CrashClean(), dir, Options{})
		if err != nil {
			return fmt.Errorf("after opening and a crash: %w", err)
		}
		if again.Last() != last || again.HardState() != l.HardState() {
			return fmt.Errorf("after opening and a crash: %d entries and %+v, there were %d and %+v", again.Last(), again.HardState(), last, l.HardState())
		}
		if err := again.Close(); err != nil {
			return err
		}
	}
	if hs := l.HardState(); hs.Term < h.hard.Term || hs.Term > h.hardTried.Term || hs.Term == h.hard.Term && hs.Vote != h.hard.Vote {
		return fmt.Errorf("hard state is %+v, %+v was set", hs, h.hard)
	}
	snapshot := record.Index(0)
	if s := l.Snapshot(); s != nil {
		snapshot = s.Index
		if got, _ := s.Section("partitions"); string(got) != fmt.Sprintf("state behind %d", s.Index) || string(s.ConfState) != "members" {
			return fmt.Errorf("snapshot %d says %q", s.Index, got)
		}
	}
	if snapshot < h.snapshot || snapshot > h.snapTried {
		return fmt.Errorf("snapshot is %d, %d was written", snapshot, h.snapshot)
	}
	// The frames, also those in front of the window: what was synced as it was, behind
	// it nothing that was never appended.
	var found []record.Entry
	for _, s := range l.Segments() {
		// What was cleaned away, or rewritten, had been synced.
		for s.First > record.Index(len(found)+1) || s.Edition > 0 && s.Last > record.Index(len(found)) {
			found = append(found, h.entries[len(found)])
		}
		if s.Edition > 0 {
			continue
		}
		f, err := fsys.Open(dir + "/" + s.Name)
		if err != nil {
			return err
		}
		scan := newScanner(f, s.Base, segmentHeaderSize, s.Size)
		for scan.pos < s.Size {
			fr, err := scan.next()
			if err != nil {
				return err
			}
			e := append(record.Entry(nil), fr.entry...)
			if h.gone[string(e)] {
				return fmt.Errorf("entry %d was cut, and is back", e.Index())
			}
			if e.Index() != record.Index(len(found)+1) || !h.tried[string(e)] {
				return fmt.Errorf("entry %d behind %d was never appended", e.Index(), len(found))
			}
			if i := len(found); i < int(h.synced) && !bytes.Equal(e, h.entries[i]) {
				return fmt.Errorf("entry %d is not the one that was synced", i+1)
			}
			found = append(found, e)
		}
	}
	// From here on the log is what was found, and life goes on.
	h.log, h.entries, h.retry = l, found, false
	h.hard, h.committed = l.HardState(), min(h.committed, last)
	if err := h.replay(); err != nil {
		return err
	}
	if err := h.check(); err != nil {
		return err
	}
	if err := h.setHard(h.hard.Term+1, 2, h.committed); err != nil {
		return err
	}
	if h.committed < l.Last() {
		if err := h.truncate(h.committed + (l.Last()-h.committed)/2); err != nil {
			return err
		}
	}
	if err := h.prepare(); err != nil {
		return err
	}
	if err := h.append(false, true, false); err != nil {
		return err
	}
	if err := h.sync(); err != nil {
		return err
	}
	if err := h.commit(record.Index(len(h.entries))); err != nil {
		return err
	}
	if err := h.seal(); err != nil {
		return err
	}
	h.kill(1, 1)
	if err := h.clean(); err != nil {
		return err
	}
	if err := h.check(); err != nil {
		return err
	}
	if err := h.reopen(fsys); err != nil {
		return err
	}
	if err := h.check(); err != nil {
		return err
	}
	if err := h.close(); err != nil {
		return err
	}
	r, err := Verify(fsys, dir)
	if err == nil && len(r.Problems) > 0 {
		err = fmt.Errorf("verify: %v", r.Problems)
	}
	return err
}

func TestACrashAtAnyCallLosesNothingThatWasSynced(t *testing.T) {
	t.Parallel()
	seeds := uint64(6)
	if testing.Short() {
		seeds = 1
	}
	for _, life := range lives() {
		for _, n := range every(t, life, calls(t, life)+1) {
			for seed := range seeds {
				mem := vfs.NewMem()
				h := newLife(life)
				if err := h.run(vfs.NewFault(mem, vfs.CrashAt(n))); err != nil && !errors.Is(err, vfs.ErrCrashed) {
					t.Fatalf("life %d, call %d: %v", life, n, err)
				}
				left := mem.CrashClean()
				if seed > 0 {
					left = mem.Crash(rand.New(rand.NewPCG(seed, uint64(n))))
				}
				if err := h.after(left); err != nil {
					t.Fatalf("life %d, crash at call %d, seed %d: %v", life, n, seed, err)
				}
			}
		}
	}
}

// What was written survives the process, synced or not: that is all that is promised
// where flushing is asynchronous.
func TestTheDeathOfTheProcessAtAnyCallLosesNothingThatWasAppended(t *testing.T) {
	t.Parallel()
	for _, life := range lives() {
		for _, n := range every(t, life, calls(t, life)+1) {
			mem := vfs.NewMem()
			h := newLife(life)
			if err := h.run(vfs.NewFault(mem, vfs.CrashAt(n))); err != nil && !errors.Is(err, vfs.ErrCrashed) {
				t.Fatalf("life %d, call %d: %v", life, n, err)
			}
			h.synced = max(h.synced, h.appended)
			if err := h.after(mem); err != nil {
				t.Fatalf("life %d, death at call %d: %v", life, n, err)
			}
		}
	}
}

func TestACrashWhileOpeningAfterACrash(t *testing.T) {
	t.Parallel()
	for _, life := range lives() {
		total := calls(t, life)
		for _, n := range sample(t, total, stride(11+9*int(life), 2+6*int(life))) {
			mem := vfs.NewMem()
			h := newLife(life)
			if err := h.run(vfs.NewFault(mem, vfs.CrashAt(n))); err != nil && !errors.Is(err, vfs.ErrCrashed) {
				t.Fatal(err)
			}
			for k := 1; ; k++ {
				rnd := rand.New(rand.NewPCG(uint64(n), uint64(k)))
				left := mem.Crash(rnd)
				f := vfs.NewFault(left, vfs.CrashAt(k))
				l, err := Open(f, dir, Options{})
				if err == nil {
					_ = l.Close() // the crash may come here
					break
				}
				if !errors.Is(err, vfs.ErrCrashed) {
					t.Fatalf("life %d, crash at call %d, then at %d: %v", life, n, k, err)
				}
				if err := h.clone().after(left.Crash(rnd)); err != nil {
					t.Fatalf("life %d, crash at call %d, then at call %d of opening: %v", life, n, k, err)
				}
			}
		}
	}
}

func TestAFullDiskAtAnyCallLosesNothing(t *testing.T) {
	t.Parallel()
	for _, life := range lives() {
		for _, n := range every(t, life, calls(t, life)) {
			fullDisk(t, life, n)
		}
	}
}

func fullDisk(t *testing.T, life uint64, n int) {
	t.Helper()
	for _, short := range []bool{false, true} {
		mem := vfs.NewMem()
		h := newLife(life)
		h.retry = true
		f := vfs.NewFault(mem, func(op vfs.Op) error {
			switch {
			case op.N != n:
				return nil
			case short && op.Kind == vfs.OpWrite:
				return vfs.ShortWrite(op.Bytes/2, vfs.ErrNoSpace)
			}
			return vfs.ErrNoSpace
		})
		err := h.run(f)
		if err != nil && !errors.Is(err, vfs.ErrNoSpace) {
			t.Fatalf("disk full at call %d: %v", n, err)
		}
		if err := h.after(mem.Crash(rand.New(rand.NewPCG(1, uint64(n))))); err != nil {
			t.Fatalf("disk full at call %d (%v), then a crash: %v", n, err, err)
		}
	}
}

func TestAnAppendThatFindsTheDiskFullIsRetried(t *testing.T) {
	// Of the calls that make up an append with two rolls, those that only write may be
	// retried; the log then is as if nothing had happened.
	recovered := 0
	for n := 1; ; n++ {
		mem := vfs.NewMem()
		armed, count := false, 0
		var failed vfs.Op
		f := vfs.NewFault(mem, func(op vfs.Op) error {
			if !armed {
				return nil
			}
			if count++; count == n {
				failed = op
				return vfs.ShortWrite(op.Bytes/3, vfs.ErrNoSpace)
			}
			return nil
		})
		h := start(t, f)
		h.retry = true
		must(t, h.append(false))
		armed = true
		err := h.append(false, true, false, true, false)
		armed = false
		if count < n {
			break
		}
		if failed.Kind == vfs.OpSync || failed.Kind == vfs.OpSyncDir {
			if !errors.Is(err, ErrFenced) {
				t.Errorf("%v failed with the disk full: %v, want the log fenced", failed, err)
			}
			continue
		}
		recovered++
		if err != nil {
			t.Fatalf("%v found the disk full: %v", failed, err)
		}
		must(t, h.sync())
		must(t, h.commit(6))
		must(t, h.seal())
		must(t, h.check())
		must(t, h.reopen(mem))
		must(t, h.check())
	}
	if recovered < 6 {
		t.Errorf("only %d places were tried", recovered)
	}
}

func TestAnErrorAtAnyCallFencesTheLogAndLosesNothing(t *testing.T) {
	t.Parallel()
	errDisk := errors.New("input/output error")
	fenced := 0
	for _, life := range lives() {
		for _, n := range every(t, life, calls(t, life)) {
			fenced += oneError(t, life, n, errDisk)
		}
	}
	if fenced < 30 && !raced {
		t.Errorf("only %d errors fenced the log", fenced)
	}
}

// oneError lets call n fail, and returns 1 if that fenced the log.
func oneError(t *testing.T, life uint64, n int, errDisk error) (fenced int) {
	t.Helper()
	mem := vfs.NewMem()
	h := newLife(life)
	f := vfs.NewFault(mem, func(op vfs.Op) error {
		if op.N == n {
			return vfs.ShortWrite(op.Bytes/2, errDisk)
		}
		return nil
	})
	err := h.run(f)
	if err != nil && !errors.Is(err, errDisk) {
		t.Fatalf("error at call %d: %v", n, err)
	}
	if errors.Is(err, ErrFenced) && h.log.writable() != ErrClosed {
		fenced++
		count := f.Calls()
		for what, again := range map[string]error{
			"append":   h.log.Append([]record.Entry{h.next(false)}),
			"sync":     h.log.Sync(),
			"truncate": h.log.TruncateSuffix(h.log.Last()),
			"set":      h.log.SetHardState(HardState{Term: 99}),
			"seal":     h.log.Seal(),
		} {
			if !errors.Is(again, ErrFenced) || !errors.Is(again, errDisk) {
				t.Errorf("error at call %d, then %s: %v", n, what, again)
			}
		}
		if f.Calls() != count {
			t.Errorf("error at call %d: the fenced log still reaches for the disk", n)
		}
		if _, err := h.log.Read(nil, nil, 1, 0, 1<<62, 1<<20, true); err != nil {
			t.Errorf("error at call %d: the fenced log cannot be read: %v", n, err)
		}
	}
	// The process ends and starts again; or the power fails too.
	again := h.clone()
	crashed := mem.Crash(rand.New(rand.NewPCG(2, uint64(n))))
	if err := h.after(mem); err != nil {
		t.Fatalf("error at call %d, then a start: %v", n, err)
	}
	if err := again.after(crashed); err != nil {
		t.Fatalf("error at call %d, then a crash: %v", n, err)
	}
	return fenced
}

func TestASyncThatFailedIsNeverTriedAgain(t *testing.T) {
	for _, errDisk := range []error{errors.New("input/output error"), vfs.ErrNoSpace} {
		var syncs int
		failing := false
		f := vfs.NewFault(vfs.NewMem(), func(op vfs.Op) error {
			if op.Kind == vfs.OpSync && failing {
				syncs++
				return errDisk
			}
			return nil
		})
		h := start(t, f)
		must(t, h.append(false, false))
		failing = true
		for range 3 {
			if err := h.log.Sync(); !errors.Is(err, ErrFenced) || !errors.Is(err, errDisk) {
				t.Errorf("sync: %v", err)
			}
		}
		if err := h.log.Close(); !errors.Is(err, errDisk) {
			t.Errorf("close: %v", err)
		}
		if syncs != 1 {
			t.Errorf("%d syncs", syncs)
		}
		if d := h.log.Durable(); d != 0 {
			t.Errorf("durable is %d", d)
		}
	}
}

func TestWhatAFailedAppendLeftDoesNotStayBehindARoll(t *testing.T) {
	mem := vfs.NewMem()
	full := false
	f := vfs.NewFault(mem, func(op vfs.Op) error {
		if full && op.Kind == vfs.OpWrite {
			return vfs.ShortWrite(op.Bytes-1, vfs.ErrNoSpace)
		}
		return nil
	})
	h := start(t, f)
	must(t, h.append(false))
	full = true
	if err := h.append(false, false, false); !errors.Is(err, vfs.ErrNoSpace) {
		t.Fatal(err)
	}
	if h.log.Last() != 1 {
		t.Fatalf("last is %d", h.log.Last())
	}
	// Another leader has something shorter to say.
	full = false
	h.entries = h.entries[:1]
	must(t, h.setHard(2, 2, 0))
	must(t, h.append(true))
	must(t, h.append(false))
	must(t, h.reopen(mem))
	must(t, h.check())
}
