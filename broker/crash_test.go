package broker

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/cluster"
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

// live runs a node through the workload, whatever happens, and ends it. before, if
// set, is called before the end.
func live(t *testing.T, cfg Config, before func(*workload)) (*workload, error) {
	w := &workload{ledger: newLedger(), producer: -1}
	var err error
	if w.n, err = open(t, cfg); err != nil {
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
func (w *workload) revive(t *testing.T, cfg Config) error {
	n, err := open(t, cfg)
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
func calls(t *testing.T, configure func(*testing.T, vfs.FS) Config) (total int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewFault(vfs.NewMem(), nil)
		w, err := live(t, configure(t, fs), nil)
		must(t, errors.Join(err, errors.Join(w.failed...)))
		total = fs.Calls()
	})
	return total
}

// point is a call of the file system at which something happens, in one of several
// rounds: what is left to chance differs from round to round.
type point struct{ call, round int }

// forEach runs a test for calls up to the total, in a bubble each: for every third
// one, or for all, ten times, where tests may take long.
func forEach(t *testing.T, total int, test func(t *testing.T, at point)) (points int) {
	t.Helper()
	stride, rounds := 3, 1
	if long {
		stride, rounds = 1, 10
	}
	for round := range rounds {
		for call := 1; call <= total && !t.Failed(); call += stride {
			synctest.Test(t, func(t *testing.T) { test(t, point{call, round}) })
			points++
		}
	}
	t.Logf("%d calls, %d points", total, points)
	return points
}

// crash is what a power loss leaves: now the least that it may, now a bit more.
func (at point) crash(mem *vfs.Mem) *vfs.Mem {
	if (at.call+at.round)%2 == 0 {
		return mem.CrashClean()
	}
	return mem.Crash(rand.New(rand.NewPCG(uint64(at.round), uint64(at.call))))
}

func TestACrashAtAnyCallLosesNothing(t *testing.T) {
	t.Parallel()
	forEach(t, calls(t, small), func(t *testing.T, at point) {
		mem := vfs.NewMem()
		w, err := live(t, small(t, vfs.NewFault(mem, vfs.CrashAt(at.call))), nil)
		if err != nil && !errors.Is(err, vfs.ErrCrashed) {
			t.Fatalf("crash at call %d: the node ended with %v", at.call, err)
		}
		if err := w.revive(t, small(t, at.crash(mem))); err != nil {
			t.Fatalf("crash at call %d: %v", at.call, err)
		}
	})
}

// TestTheDeathOfAProcessLosesNothingThatIsWritten: a node that acknowledges what is
// written and syncs it later loses something with the power only.
func TestTheDeathOfAProcessLosesNothingThatIsWritten(t *testing.T) {
	t.Parallel()
	async := func(t *testing.T, fs vfs.FS) Config {
		cfg := small(t, fs)
		cfg.Settings.FlushSync = false
		return cfg
	}
	forEach(t, calls(t, async), func(t *testing.T, at point) {
		mem := vfs.NewMem()
		w, err := live(t, async(t, vfs.NewFault(mem, vfs.CrashAt(at.call))), nil)
		if err != nil && !errors.Is(err, vfs.ErrCrashed) {
			t.Fatalf("death at call %d: the node ended with %v", at.call, err)
		}
		if err := w.revive(t, async(t, mem)); err != nil {
			t.Fatalf("death at call %d: %v", at.call, err)
		}
	})
}

// TestACrashWhileStartingAgainLosesNothing crashes the second life of a node, in its
// recovery or behind it.
func TestACrashWhileStartingAgainLosesNothing(t *testing.T) {
	t.Parallel()
	again := func(t *testing.T, hook func(vfs.Op) error) (w *workload, mem *vfs.Mem, fs *vfs.Fault, err error) {
		mem = vfs.NewMem()
		w, err = live(t, small(t, mem), nil)
		must(t, errors.Join(err, errors.Join(w.failed...)))
		// A crash, so that there is something to repair.
		mem = mem.Crash(rand.New(rand.NewPCG(2, 2)))
		fs = vfs.NewFault(mem, hook)
		return w, mem, fs, w.revive(t, small(t, fs))
	}
	var total int
	synctest.Test(t, func(t *testing.T) {
		_, _, fs, err := again(t, nil)
		must(t, err)
		total = fs.Calls()
	})
	forEach(t, total, func(t *testing.T, at point) {
		w, mem, _, _ := again(t, vfs.CrashAt(at.call))
		if err := w.revive(t, small(t, at.crash(mem))); err != nil {
			t.Fatalf("crash at call %d of the second life: %v", at.call, err)
		}
	})
}

// TestAnErrorOfAnyCallLosesNothing lets one call fail. The node may fence itself or
// not start; what it acknowledged can be read, and is there after a start on the
// same disk, and after a power loss behind that.
func TestAnErrorOfAnyCallLosesNothing(t *testing.T) {
	t.Parallel()
	fenced := 0
	points := forEach(t, calls(t, small), func(t *testing.T, at point) {
		mem := vfs.NewMem()
		var over atomic.Bool
		fs := vfs.NewFault(mem, func(op vfs.Op) error {
			if op.N == at.call && !over.Load() {
				return vfs.ShortWrite(op.Bytes/2, syscall.EIO)
			}
			return nil
		})
		w, err := live(t, small(t, fs), func(w *workload) {
			over.Store(true)
			if err := w.checkRead(w.ask); err != nil {
				t.Errorf("error at call %d: %v", at.call, err)
			}
			if len(w.n.log.find("the shard is fenced")) > 0 {
				fenced++
			}
		})
		if err != nil && !errors.Is(err, syscall.EIO) {
			t.Fatalf("error at call %d: the node ended with %v", at.call, err)
		}
		if err := w.revive(t, small(t, mem)); err != nil {
			t.Fatalf("error at call %d: %v", at.call, err)
		}
		if err := w.revive(t, small(t, at.crash(mem))); err != nil {
			t.Fatalf("error at call %d, and a crash later: %v", at.call, err)
		}
	})
	if fenced < points/4 {
		t.Errorf("of %d errors only %d fenced a shard", points, fenced)
	}
	t.Logf("%d errors fenced a shard", fenced)
}

// TestAFullDiskAtAnyCallIsWaitedOut fills the disk for ten calls. Until the node is
// ready it may give up; behind that everything gets done, without a start, and what
// has to wait gets its answer. Syncs do not fail here: one that does fences the
// shard, whatever the cause.
func TestAFullDiskAtAnyCallIsWaitedOut(t *testing.T) {
	t.Parallel()
	waited := 0
	points := forEach(t, calls(t, small), func(t *testing.T, at point) {
		mem := vfs.NewMem()
		fs := vfs.NewFault(mem, func(op vfs.Op) error {
			switch op.Kind {
			case vfs.OpWrite, vfs.OpCreate, vfs.OpRename, vfs.OpMkdirAll, vfs.OpTruncate:
				if op.N >= at.call && op.N < at.call+10 {
					return vfs.ShortWrite(op.Bytes/2, vfs.ErrNoSpace)
				}
			}
			return nil
		})
		w, err := live(t, small(t, fs), func(w *workload) {
			if err := errors.Join(w.check(w.ask), w.unknowns()); err != nil {
				t.Errorf("disk full at call %d: %v; before there was %v", at.call, err, errors.Join(w.failed...))
			}
			if len(w.n.log.find("the disk is full")) > 0 {
				waited++
			}
		})
		if err != nil && !errors.Is(err, vfs.ErrNoSpace) {
			t.Fatalf("disk full at call %d: the node ended with %v", at.call, err)
		}
		if err := w.revive(t, small(t, at.crash(mem))); err != nil {
			t.Fatalf("disk full at call %d, and a crash later: %v", at.call, err)
		}
	})
	if waited < points/4 {
		t.Errorf("of %d times the disk was full only %d were noticed", points, waited)
	}
	t.Logf("%d times the full disk was met", waited)
}

// TestANearlyFullDiskTakesNoBatches: what is left of it is for what makes room.
func TestANearlyFullDiskTakesNoBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		mem := vfs.NewMem()
		mem.SetCapacity(cluster.DefaultBrokerSettings().MinFreeBytes + 4<<20)
		n := run(t, Config{FS: mem, Settings: settings(t, nil)})
		ask := n.asker(t)
		must(t, ask.createTopic(ctx, orders, 1))
		must(t, ask.createTopic(ctx, doomed, 1))
		must(t, ask.awaitCoordinator(ctx, readers))
		written := 0
		for ; written < 100; written++ {
			_, err := ask.produce(ctx, orders, 0, batch(-1, 0, strings.Repeat("x", 100<<10)))
			if errors.Is(err, kerr.KafkaStorageError) {
				break
			}
			must(t, err)
			time.Sleep(time.Second) // the room is looked at every second
		}
		if written < 20 || written > 45 {
			t.Errorf("%d batches of 100 KiB fit into 4 MiB", written)
		}
		if got, err := ask.read(ctx, orders, 0); err != nil || len(got) != written {
			t.Errorf("%d records can be read, want %d: %v", len(got), written, err)
		}
		must(t, ask.commit(ctx, readers, orders, 0, 1))
		must(t, ask.deleteTopic(ctx, doomed))
		mem.SetCapacity(-1)
		time.Sleep(2 * time.Second)
		if offset, err := ask.produce(ctx, orders, 0, batch(-1, 0, "x")); err != nil || offset != int64(written) {
			t.Errorf("when there is room again, a batch is at offset %d: %v", offset, err)
		}
		must(t, n.end())
		if len(n.log.find("the disk is nearly full")) != 2 || len(n.log.find("there is room on the disk again")) != 2 {
			t.Errorf("two shards log %q", n.log.find(""))
		}
	})
}

// TestTheLastOfADiskIsKeptHoweverFastItFills: what is written between two looks at the
// clock, and before the first, is bounded too.
func TestTheLastOfADiskIsKeptHoweverFastItFills(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		mem := vfs.NewMem()
		minFree := cluster.DefaultBrokerSettings().MinFreeBytes
		mem.SetCapacity(minFree + 24<<20)
		cfg := Config{FS: mem, Settings: settings(t, map[string]string{"flush": "async"})}
		n := run(t, cfg)
		ask := n.asker(t)
		must(t, ask.createTopic(ctx, orders, 1))
		fill := func() (written int) {
			for ; written < 1000; written++ {
				_, err := ask.produce(ctx, orders, 0, batch(-1, 0, strings.Repeat("x", 256<<10)))
				if errors.Is(err, kerr.KafkaStorageError) {
					break
				}
				must(t, err)
			}
			return written
		}
		// Nothing here waits for a clock.
		if written := fill(); written < 80 || written > 24*4+unseenLimit/(256<<10)+1 {
			t.Errorf("%d batches of 256 KiB fit into 24 MiB", written)
		}
		for range 5 {
			must(t, n.end())
			n = run(t, cfg)
			ask = n.asker(t)
			if written := fill(); written > 0 {
				t.Errorf("a node that starts takes %d batches more", written)
			}
		}
		if free, err := mem.Free("/"); err != nil || free < minFree-2*unseenLimit {
			t.Errorf("%d bytes are free, of %d that are kept: %v", free, minFree, err)
		}
		must(t, n.end())
	})
}
