package commitlog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// unsealed is a log with two segments that were sealed, the first one's index found
// damaged since, two that are full, and an open one whose last entry is not committed.
func unsealed(h *history, fsys vfs.FS) error {
	for _, step := range []func() error{
		func() (err error) { h.log, err = Open(fsys, dir, pieces); return err },
		func() error { return h.setHard(1, 1, 0) },
		func() error { return h.append(false, true, false, false, true, false) },
		func() error { return h.commit(6) },
		h.seal,
		func() error { return h.snap(5) },
		func() error { return h.snap(6) },
		func() error { return h.append(true, false, true, false, false) },
		func() error { return h.commit(10) },
		h.prepare,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	h.log.set.list[0].condemnIndex()
	return nil
}

// meanwhile is what else is done while a segment is sealed.
var meanwhile = []struct {
	what string
	do   func(*history) error
}{
	{"appending over a roll", func(h *history) error {
		if err := h.append(true, false); err != nil {
			return err
		}
		return h.sync()
	}},
	{"cutting a suffix and appending", func(h *history) error {
		if err := h.truncate(10); err != nil {
			return err
		}
		return h.append(false)
	}},
	{"committing another full segment", func(h *history) error {
		if err := h.append(true, false); err != nil {
			return err
		}
		return h.commit(12)
	}},
	{"writing a snapshot", func(h *history) error { return h.snap(h.committed) }},
	{"cleaning", func(h *history) error {
		for _, p := range partitions {
			h.kill(p, 1000)
		}
		return h.clean()
	}},
	{"reading", func(h *history) error { return h.check() }},
}

// sealBeside seals all that can be, and does something at call at of that. It reports
// whether there was such a call, not of the manifest or of room, which have locks of
// their own, held over I/O.
func (h *history) sealBeside(mem *vfs.Mem, at int, do func(*history) error, fault func(vfs.Op) error) (done bool, calls int, err error) {
	sealing, count := false, 0
	var beside error
	f := vfs.NewFault(mem, func(op vfs.Op) error {
		if sealing {
			if count++; count >= at && !done && !strings.HasPrefix(op.Name, dir+"/"+manifestName) && op.Name != dir+"/"+roomName {
				done, sealing = true, false
				beside = do(h)
				sealing = true
			}
		}
		if fault != nil {
			return fault(op)
		}
		return nil
	})
	if err := unsealed(h, f); err != nil {
		return false, 0, err
	}
	sealing = true
	err = h.seal()
	return done, f.Calls(), errors.Join(err, beside)
}

func TestWhateverIsDoneWhileASegmentIsSealedBothSucceed(t *testing.T) {
	for _, m := range meanwhile {
		for at := 1; ; at += min(5, stride(1, 1)) {
			mem, h := vfs.NewMem(), newHistory()
			done, _, err := h.sealBeside(mem, at, m.do, nil)
			if err != nil {
				t.Fatalf("%s at call %d of a seal: %v", m.what, at, err)
			}
			if !done {
				if at < 15 {
					t.Errorf("%s was done at only %d calls", m.what, at)
				}
				break
			}
			if h.log.SealPending() {
				t.Fatalf("%s at call %d of a seal: not all is sealed", m.what, at)
			}
			must(t, h.check())
			must(t, h.after(mem))
		}
	}
}

func TestACrashOrAnErrorWhileASegmentIsSealedBesideOthersLosesNothing(t *testing.T) {
	t.Parallel()
	sealStride := stride(97, 5)
	errDisk := errors.New("input/output error")
	before := vfs.NewFault(vfs.NewMem(), nil)
	must(t, unsealed(newHistory(), before))
	tries := 0
	for _, m := range meanwhile {
		if m.what == "reading" {
			continue // nothing can come of it
		}
		for at := 1; ; at++ {
			done, last, err := newHistory().sealBeside(vfs.NewMem(), at, m.do, nil)
			must(t, err)
			if !done {
				break
			}
			for n := before.Calls() + 1; n <= last; n++ {
				if tries++; tries%sealStride != 0 {
					continue
				}
				for _, failing := range []error{vfs.ErrCrashed, errDisk, vfs.ErrNoSpace} {
					fault := vfs.FailAt(n, failing)
					if failing == vfs.ErrCrashed {
						fault = vfs.CrashAt(n)
					}
					mem, h := vfs.NewMem(), newHistory()
					// What a cleaning finds damaged, or the disk full for, is no end.
					if _, _, err := h.sealBeside(mem, at, m.do, fault); err != nil && !errors.Is(err, failing) && !isCorrupt(err) {
						t.Fatalf("%s at call %d of a seal, %v at call %d: %v", m.what, at, failing, n, err)
					}
					if err := h.after(mem.Crash(rand.New(rand.NewPCG(uint64(at), uint64(n))))); err != nil {
						t.Fatalf("%s at call %d of a seal, %v at call %d, then a crash: %v", m.what, at, failing, n, err)
					}
				}
			}
		}
	}
}

// An installation replaces what is being sealed: it comes before the seal or behind it.
func TestNoInstallationComesBetweenTheStepsOfASeal(t *testing.T) {
	for _, sealFirst := range []bool{true, false} {
		for at := 1; ; at++ {
			h, mem := leading(t, vfs.NewMem()), vfs.NewMem()
			var armed, reached atomic.Bool
			var count atomic.Int64
			others := make(chan error, 1)
			var other func() error
			f, err := h.following(vfs.NewFault(mem, func(vfs.Op) error {
				if armed.Load() && count.Add(1) == int64(at) {
					reached.Store(true)
					go func() { others <- other() }()
				}
				return nil
			}), 9, 2, 0)
			must(t, err)
			must(t, f.commit(8))
			stage := f.receive(t, h)
			if !f.log.SealPending() {
				t.Fatal("nothing is to be sealed")
			}
			install := func() error { return f.log.Install(stage) }
			armed.Store(true)
			first := install
			if other = f.seal; sealFirst {
				first, other = f.seal, install
			}
			must(t, first())
			armed.Store(false)
			if !reached.Load() {
				must(t, f.log.Close())
				if at < 10 {
					t.Errorf("only %d calls", at)
				}
				break
			}
			if err := <-others; err != nil {
				t.Fatalf("at call %d of the other, sealing first: %v: %v", at, sealFirst, err)
			}
			f.becomes(h)
			must(t, f.check())
			must(t, f.goOn(mem))
		}
	}
}

func TestTheAppenderIsToldToWaitWhereTooManySegmentsAreNotSealed(t *testing.T) {
	h := start(t, vfs.NewMem())
	for n := range maxUnsealed {
		if h.log.SealBehind() {
			t.Errorf("behind with %d", n)
		}
		must(t, h.append(false, true))
		must(t, h.commit(record.Index(len(h.entries))))
	}
	must(t, h.append(false)) // rolls
	if !h.log.SealBehind() {
		t.Error("not behind")
	}
	must(t, h.log.Seal())
	if h.log.SealBehind() || !h.log.SealPending() {
		t.Error("one call seals one segment")
	}
	must(t, h.seal())
	if n := h.log.unsealed(); n > 0 {
		t.Errorf("%d are not sealed", n)
	}
}

// What waits to be sealed since it is not committed keeps nobody: its commit may wait for
// what is appended.
func TestSegmentsThatAreNotCommittedDoNotKeepTheAppender(t *testing.T) {
	h := start(t, vfs.NewMem())
	must(t, h.append(true, true, true, true, true, true, false))
	if h.log.SealBehind() || h.log.SealPending() {
		t.Error("there is something to be sealed")
	}
	must(t, h.commit(2))
	if n := h.log.unsealed(); n != 2 {
		t.Error(fmt.Sprint(n))
	}
}
