package broker

import (
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/splashdam/splashdam/internal/vfs"
)

// The question of these tests: whatever call of the file system a node dies in, or
// gets an error from, is all that it acknowledged there when it is started again,
// in order and once, and nothing else?

// small makes nodes that reach the ends of their segments soon.
func small(t *testing.T, fs vfs.FS) Config {
	set := settings(t, nil)
	set.SegmentBytes = 2048
	return Config{FS: fs, Settings: set, Shards: 2}
}

// live runs a node on fs through the workload, whatever happens, and ends it.
// before, if set, is called before the end.
func live(t *testing.T, fs vfs.FS, before func(*workload)) (*workload, error) {
	w := &workload{ledger: newLedger(), producer: -1}
	var err error
	if w.n, err = open(t, small(t, fs)); err != nil {
		return w, err
	}
	if err = promptly(t, "to start", w.n.up); err == nil {
		w.ask = w.n.asker(t)
		w.do()
		if before != nil {
			before(w)
		}
		w.ask.close()
	}
	err = errors.Join(err, promptly(t, "to end", w.n.end))
	for _, l := range w.n.log.find("bug") {
		t.Error(l)
	}
	return w, err
}

// promptly fails a test if it takes time, which in a bubble passes only where nothing
// happens.
func promptly(t *testing.T, what string, do func() error) error {
	t.Helper()
	began := time.Now()
	err := do()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the node took %v %s: %v", took, what, err)
	}
	return err
}

// revive starts a node on what is left, and demands that it has what the ledger
// says and goes on.
func (w *workload) revive(t *testing.T, fs vfs.FS) error {
	n, err := open(t, small(t, fs))
	if err != nil {
		return err
	}
	if err := n.up(); err != nil {
		return errors.Join(err, n.end())
	}
	w.n, w.ask = n, n.asker(t)
	err = w.check(w.ask)
	if err == nil {
		err = w.goOn()
	}
	if err == nil {
		err = w.check(w.ask)
	}
	w.ask.close()
	return errors.Join(err, n.end())
}

// calls is how many calls of the file system the workload makes.
func calls(t *testing.T) (total int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewFault(vfs.NewMem(), nil)
		w, err := live(t, fs, nil)
		must(t, errors.Join(err, errors.Join(w.failed...)))
		total = fs.Calls()
	})
	return total
}

// forEach runs a test in a bubble of its own for each call up to the total.
func forEach(t *testing.T, total int, test func(t *testing.T, n int)) {
	t.Helper()
	for n := 1; n <= total && !t.Failed(); n++ {
		synctest.Test(t, func(t *testing.T) { test(t, n) })
	}
}

// crash is what a power loss leaves: now the least that it may, now a bit more.
func crash(mem *vfs.Mem, n int) *vfs.Mem {
	if n%2 == 0 {
		return mem.CrashClean()
	}
	return mem.Crash(rand.New(rand.NewPCG(1, uint64(n))))
}

func TestACrashAtAnyCallLosesNothing(t *testing.T) {
	t.Parallel()
	total := calls(t)
	forEach(t, total, func(t *testing.T, n int) {
		mem := vfs.NewMem()
		w, err := live(t, vfs.NewFault(mem, vfs.CrashAt(n)), nil)
		if err != nil && !errors.Is(err, vfs.ErrCrashed) {
			t.Fatalf("crash at call %d: the node ended with %v", n, err)
		}
		if err := w.revive(t, crash(mem, n)); err != nil {
			t.Fatalf("crash at call %d: %v", n, err)
		}
	})
	t.Logf("%d calls", total)
}

// TestACrashWhileStartingAgainLosesNothing crashes the second life of a node, in its
// recovery or behind it.
func TestACrashWhileStartingAgainLosesNothing(t *testing.T) {
	t.Parallel()
	again := func(t *testing.T, hook func(vfs.Op) error) (w *workload, mem *vfs.Mem, fs *vfs.Fault, err error) {
		mem = vfs.NewMem()
		w, err = live(t, mem, nil)
		must(t, errors.Join(err, errors.Join(w.failed...)))
		// A crash, so that there is something to repair.
		mem = mem.Crash(rand.New(rand.NewPCG(2, 2)))
		fs = vfs.NewFault(mem, hook)
		return w, mem, fs, w.revive(t, fs)
	}
	var total int
	synctest.Test(t, func(t *testing.T) {
		_, _, fs, err := again(t, nil)
		must(t, err)
		total = fs.Calls()
	})
	forEach(t, total, func(t *testing.T, n int) {
		w, mem, _, _ := again(t, vfs.CrashAt(n))
		if err := w.revive(t, crash(mem, n)); err != nil {
			t.Fatalf("crash at call %d of the second life: %v", n, err)
		}
	})
	t.Logf("%d calls", total)
}

// TestAnErrorOfAnyCallLosesNothing lets one call fail. The node may fence itself or
// not start; what it acknowledged can be read, and is there after a start on the
// same disk, and after a power loss behind that.
func TestAnErrorOfAnyCallLosesNothing(t *testing.T) {
	t.Parallel()
	total := calls(t)
	fenced := 0
	forEach(t, total, func(t *testing.T, n int) {
		mem := vfs.NewMem()
		var over atomic.Bool
		fs := vfs.NewFault(mem, func(op vfs.Op) error {
			if op.N == n && !over.Load() {
				return vfs.ShortWrite(op.Bytes/2, syscall.EIO)
			}
			return nil
		})
		w, err := live(t, fs, func(w *workload) {
			over.Store(true)
			if err := w.checkRead(w.ask); err != nil {
				t.Errorf("error at call %d: %v", n, err)
			}
			if len(w.n.log.find("the shard is fenced")) > 0 {
				fenced++
			}
		})
		if err != nil && !errors.Is(err, syscall.EIO) {
			t.Fatalf("error at call %d: the node ended with %v", n, err)
		}
		if err := w.revive(t, mem); err != nil {
			t.Fatalf("error at call %d: %v", n, err)
		}
		if err := w.revive(t, crash(mem, n)); err != nil {
			t.Fatalf("error at call %d, and a crash later: %v", n, err)
		}
	})
	if fenced < total/4 {
		t.Errorf("of %d errors only %d fenced a shard", total, fenced)
	}
	t.Logf("%d calls, %d of them fenced a shard", total, fenced)
}

// TestAFullDiskAtAnyCallIsWaitedOut fills the disk for ten calls. Until the node is
// ready it may give up; behind that everything gets done, without a start, and what
// has to wait gets its answer. Syncs do not fail here: one that does fences the
// shard, whatever the cause.
func TestAFullDiskAtAnyCallIsWaitedOut(t *testing.T) {
	t.Parallel()
	total := calls(t)
	waited := 0
	forEach(t, total, func(t *testing.T, n int) {
		mem := vfs.NewMem()
		fs := vfs.NewFault(mem, func(op vfs.Op) error {
			switch op.Kind {
			case vfs.OpWrite, vfs.OpCreate, vfs.OpRename, vfs.OpMkdirAll, vfs.OpTruncate:
				if op.N >= n && op.N < n+10 {
					return vfs.ShortWrite(op.Bytes/2, vfs.ErrNoSpace)
				}
			}
			return nil
		})
		w, err := live(t, fs, func(w *workload) {
			if err := errors.Join(w.check(w.ask), w.unknowns()); err != nil {
				t.Errorf("disk full at call %d: %v; before there was %v", n, err, errors.Join(w.failed...))
			}
			if len(w.n.log.find("the disk is full")) > 0 {
				waited++
			}
		})
		if err != nil && !errors.Is(err, vfs.ErrNoSpace) {
			t.Fatalf("disk full at call %d: the node ended with %v", n, err)
		}
		if err := w.revive(t, crash(mem, n)); err != nil {
			t.Fatalf("disk full at call %d, and a crash later: %v", n, err)
		}
	})
	if waited < total/4 {
		t.Errorf("of %d times the disk was full only %d were noticed", total, waited)
	}
	t.Logf("%d calls, %d of them met the full disk", total, waited)
}
