package replica_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/broker/replica"
	"github.com/splashdam/splashdam/internal/vfs"
)

// recorder is a state machine that keeps the commands it applied, in order.
type recorder struct {
	mu      sync.Mutex
	waiting [][]byte
	flight  map[record.Index][][]byte
	applied []string
	acked   []string
	term    record.Term
	led     chan record.Term
	full    chan bool
	failed  chan error
	more    chan struct{} // an entry was applied
}

func newRecorder() *recorder {
	return &recorder{
		flight: make(map[record.Index][][]byte), led: make(chan record.Term, 16),
		full: make(chan bool, 16), failed: make(chan error, 1), more: make(chan struct{}, 1),
	}
}

func (m *recorder) Next(b *record.EntryBuilder, at record.Index) (int64, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.waiting) == 0 {
		return 0, false
	}
	b.Add(record.KindCommand, 0, m.waiting[0])
	m.flight[at] = m.waiting[:1]
	m.waiting = m.waiting[1:]
	return int64(at), true
}

func (m *recorder) Proposed(at record.Index, dropped bool) {
	if dropped {
		panic("a sole voter dropped a proposal")
	}
}

func (m *recorder) Written(record.Index) {}

func (m *recorder) Apply(e record.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e.Each(func(_ int, p record.Part) bool {
		m.applied = append(m.applied, string(p.Bytes))
		return true
	})
	for _, c := range m.flight[e.Index()] {
		m.acked = append(m.acked, string(c))
	}
	select {
	case m.more <- struct{}{}:
	default:
	}
	return nil
}

func (m *recorder) Restore(*commitlog.Snapshot) error { panic("a group of one installs nothing") }

func (m *recorder) Lead(t record.Term) { m.term = t; m.led <- t }
func (m *recorder) Follow()            {}
func (m *recorder) Tick(time.Time)     {}
func (m *recorder) NoSpace(full bool)  { m.full <- full }
func (m *recorder) Failed(err error)   { m.failed <- err }

func (m *recorder) add(commands ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range commands {
		m.waiting = append(m.waiting, []byte(c))
	}
}

func (m *recorder) ackedCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.acked)
}

// quiet swallows what Raft says.
func quiet() raft.Logger { return raft.Logger(silent{}) }

type silent struct{}

func (silent) Debug(...any)              {}
func (silent) Debugf(string, ...any)     {}
func (silent) Info(...any)               {}
func (silent) Infof(string, ...any)      {}
func (silent) Warning(...any)            {}
func (silent) Warningf(string, ...any)   {}
func (silent) Error(...any)              {}
func (silent) Errorf(string, ...any)     {}
func (silent) Fatal(v ...any)            { panic(fmt.Sprint(v...)) }
func (silent) Fatalf(f string, v ...any) { panic(fmt.Sprintf(f, v...)) }
func (silent) Panic(v ...any)            { panic(fmt.Sprint(v...)) }
func (silent) Panicf(f string, v ...any) { panic(fmt.Sprintf(f, v...)) }

// running is a host on a file system.
type running struct {
	*replica.Host
	m    *recorder
	log  *commitlog.Log
	stop func() error
}

// start opens the log, makes the group if it is new, and runs the host.
func start(fs vfs.FS, segment int64) (*running, error) {
	log, err := commitlog.Open(fs, "shard", commitlog.Options{})
	if err != nil {
		return nil, err
	}
	if log.Snapshot() == nil {
		if err := replica.Bootstrap(log, []uint64{1}, 1); err != nil {
			return nil, errors.Join(err, log.Close())
		}
	}
	m := newRecorder()
	h, err := replica.NewHost(replica.Config{ID: 1, Log: log, StateMachine: m, SegmentSize: segment, Logger: quiet()})
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	return &running{h, m, log, func() error {
		cancel()
		return errors.Join(<-ended, log.Close())
	}}, nil
}

// propose adds commands and waits until all are acknowledged, or the host failed.
func (r *running) propose(commands ...string) error {
	want := r.m.ackedCount() + len(commands)
	r.m.add(commands...)
	r.Wake()
	for r.m.ackedCount() < want {
		select {
		case <-r.m.more:
		case err := <-r.m.failed:
			return err
		}
	}
	return nil
}

func commands(from, n int) []string {
	var cs []string
	for i := range n {
		cs = append(cs, fmt.Sprintf("command %d", from+i))
	}
	return cs
}

func TestSoleVoterLeadsAppliesAndComesBack(t *testing.T) {
	fs := vfs.NewMem()
	r, err := start(fs, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	first := <-r.m.led
	if err := r.propose(commands(0, 100)...); err != nil {
		t.Fatal(err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}

	// What a power loss leaves of a synced log is all of it.
	r, err = start(fs.CrashClean(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if second := <-r.m.led; second <= first {
		t.Fatalf("term %d after term %d", second, first)
	}
	if !slices.Equal(r.m.applied, commands(0, 100)) {
		t.Fatalf("applied after a restart: %q", r.m.applied)
	}
	if err := r.propose(commands(100, 10)...); err != nil {
		t.Fatal(err)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}

// TestLeaderRollsSegmentsByTheLog sees segments end where entries say so.
func TestLeaderRollsSegmentsByTheLog(t *testing.T) {
	r, err := start(vfs.NewMem(), 500)
	if err != nil {
		t.Fatal(err)
	}
	<-r.m.led
	if err := r.propose(commands(0, 50)...); err != nil {
		t.Fatal(err)
	}
	if n := len(r.log.Segments()); n < 5 {
		t.Fatalf("50 entries of 100 bytes made %d segments of 500", n)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}

// TestCrashAtEveryIOKeepsWhatWasAcknowledged stops the world at every I/O of a
// short workload and demands that what was acknowledged is applied again, in order,
// with nothing in between that was never proposed.
func TestCrashAtEveryIOKeepsWhatWasAcknowledged(t *testing.T) {
	all := commands(0, 12)
	workload := func(fs vfs.FS) (acked []string) {
		r, err := start(fs, 600)
		if err != nil {
			return nil
		}
		select {
		case <-r.m.led:
			for _, c := range all {
				if r.propose(c) != nil {
					break
				}
			}
		case <-r.m.failed:
		}
		// Ending on a crashed file system fails, as it should.
		_ = r.stop()
		return r.m.acked
	}
	for n := 1; ; n++ {
		mem := vfs.NewMem()
		faulty := vfs.NewFault(mem, vfs.CrashAt(n))
		acked := workload(faulty)
		crashed := faulty.Calls() >= n
		for seed := range uint64(4) {
			r, err := start(mem.Crash(rand.New(rand.NewPCG(uint64(n), seed))), 600)
			if err != nil {
				t.Fatalf("crash at I/O %d, seed %d: reopening: %v", n, seed, err)
			}
			<-r.m.led
			applied := r.m.applied
			if len(applied) < len(acked) || !slices.Equal(applied, all[:len(applied)]) {
				t.Fatalf("crash at I/O %d, seed %d: acknowledged %q, applied %q", n, seed, acked, applied)
			}
			if err := r.propose("one more"); err != nil {
				t.Fatalf("crash at I/O %d, seed %d: going on: %v", n, seed, err)
			}
			if err := r.stop(); err != nil {
				t.Fatal(err)
			}
		}
		if !crashed {
			t.Logf("%d I/Os", faulty.Calls())
			return
		}
	}
}

// TestFullDiskIsWaitedOut sees entries wait, not fail, while there is no room.
func TestFullDiskIsWaitedOut(t *testing.T) {
	fs := vfs.NewMem()
	r, err := start(fs, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	<-r.m.led
	fs.SetCapacity(1)
	r.m.add("waits")
	r.Wake()
	if !<-r.m.full {
		t.Fatal("the disk is said to have room")
	}
	if n := r.m.ackedCount(); n != 0 {
		t.Fatalf("%d entries are acknowledged on a full disk", n)
	}
	fs.SetCapacity(1 << 30)
	if <-r.m.full {
		t.Fatal("the disk is still said to be full")
	}
	for r.m.ackedCount() == 0 {
		<-r.m.more
	}
	if err := r.propose("next"); err != nil {
		t.Fatal(err)
	}
	if got := []string{"waits", "next"}; !slices.Equal(r.m.applied, got) {
		t.Fatalf("applied %q, want %q", r.m.applied, got)
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
}

// TestFailedSyncFences sees a shard stop for good when a sync fails, and start
// again on what was durable.
func TestFailedSyncFences(t *testing.T) {
	mem := vfs.NewMem()
	bad := errors.New("the disk is ill")
	var fail sync.Map
	fs := vfs.NewFault(mem, func(op vfs.Op) error {
		if _, on := fail.Load("on"); on && op.Kind == vfs.OpSync {
			return bad
		}
		return nil
	})
	r, err := start(fs, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	<-r.m.led
	if err := r.propose("kept"); err != nil {
		t.Fatal(err)
	}
	fail.Store("on", true)
	if err := r.propose("lost"); !errors.Is(err, bad) {
		t.Fatalf("a failed sync ends in %v", err)
	}
	if err := r.Do(context.Background(), func() {}); err != nil {
		t.Fatalf("the loop serves no more calls: %v", err)
	}
	if err := r.stop(); !errors.Is(err, bad) {
		t.Fatalf("the host ended with %v", err)
	}
	if slices.Contains(r.m.acked, "lost") {
		t.Fatal("what was never synced was acknowledged")
	}
}

// TestAFencedLogIsNoticedByAReplicaThatStoresNothing has somebody else meet the ill disk.
func TestAFencedLogIsNoticedByAReplicaThatStoresNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := errors.New("the disk is ill")
		ill := false
		r, err := start(vfs.NewFault(vfs.NewMem(), func(op vfs.Op) error {
			if ill && op.Kind == vfs.OpSync {
				return bad
			}
			return nil
		}), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		<-r.m.led
		if err := r.propose("kept"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		snap := *r.log.Snapshot()
		snap.Index = r.log.Last()
		snap.Term, _ = r.log.Term(snap.Index)
		ill = true
		if err := r.log.WriteSnapshot(&snap); !errors.Is(err, bad) || r.log.Fenced() == nil {
			t.Fatalf("a snapshot on an ill disk: %v, the log: %v", err, r.log.Fenced())
		}
		ill = false
		time.Sleep(2 * replica.TickInterval)
		select {
		case err := <-r.m.failed:
			if !errors.Is(err, bad) {
				t.Errorf("told of %v", err)
			}
		default:
			t.Error("the replica goes on with a log that is fenced")
		}
		if err := r.stop(); !errors.Is(err, bad) {
			t.Errorf("the host ended with %v", err)
		}
	})
}

// until proposes commands until something is so.
func (r *running) until(t *testing.T, so func() bool) {
	t.Helper()
	for n := 0; !so(); n++ {
		if err := r.propose(commands(n, 1)...); err != nil || n == 10000 {
			t.Fatalf("after %d commands: %v", n, err)
		}
	}
}

// TestADamagedIndexIsMadeAnewWhereNothingIsStored sees a shard at rest whose scrub has
// found damage.
func TestADamagedIndexIsMadeAnewWhereNothingIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewMem()
		r, err := start(fs, 2000)
		if err != nil {
			t.Fatal(err)
		}
		<-r.m.led
		r.until(t, func() bool { return r.log.Segments()[0].Sealed })
		time.Sleep(time.Minute + time.Second/3) // and so not when the sealer looks
		name := "shard/" + strings.TrimSuffix(r.log.Segments()[0].Name, ".log") + ".idx"
		f, err := fs.OpenWrite(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("noise"), 100); err != nil {
			t.Fatal(err)
		}
		scrub := func() {
			s, err := r.log.Scrub()
			if err != nil {
				t.Fatal(err)
			}
			if _, done, err := s.Step(1, 1<<20); err != nil || !done {
				t.Fatalf("done: %v, %v", done, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		scrub()
		if !r.log.SealPending() {
			t.Fatal("the scrub has not found it")
		}
		time.Sleep(time.Minute)
		if r.log.SealPending() {
			t.Error("it waits for somebody to store something")
		}
		if scrub(); r.log.SealPending() {
			t.Error("it is damaged still")
		}
		if err := errors.Join(f.Close(), r.stop()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestTheLogIsWrittenWhileASegmentIsSealedUntilAFewWait has a disk that takes long for one
// index: entries are stored and acknowledged meanwhile, until too many indexes are in
// memory, and again when it is done.
func TestTheLogIsWrittenWhileASegmentIsSealedUntilAFewWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := make(chan struct{})
		fs := vfs.NewFault(vfs.NewMem(), func(op vfs.Op) error {
			if op.Kind == vfs.OpRename && strings.HasSuffix(op.NewName, ".idx") {
				<-slow
			}
			return nil
		})
		r, err := start(fs, 2000)
		if err != nil {
			t.Fatal(err)
		}
		<-r.m.led
		r.until(t, r.log.SealBehind)
		if s := r.log.Segments(); len(s) < 4 || s[0].Sealed {
			t.Errorf("of %d segments the first is sealed: %v", len(s), s[0].Sealed)
		}
		before := r.m.ackedCount()
		r.m.add(commands(0, 100)...)
		r.Wake()
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(r.log.Segments()); !r.log.SealBehind() || n > 5 {
			t.Errorf("there are %d segments", n)
		}
		close(slow)
		for r.m.ackedCount() < before+100 {
			<-r.m.more
		}
		synctest.Wait()
		if s := r.log.Segments(); r.log.SealPending() || !s[len(s)-2].Sealed {
			t.Errorf("not all is sealed: %+v", s)
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestTheLogIsWrittenWhereNothingCanBeSealed has a disk without room for an index: what is
// appended may be what frees some.
func TestTheLogIsWrittenWhereNothingCanBeSealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		full.Store(true)
		fs := vfs.NewFault(vfs.NewMem(), func(op vfs.Op) error {
			if op.Kind == vfs.OpCreate && strings.HasSuffix(op.Name, ".idx.tmp") && full.Load() {
				return vfs.ErrNoSpace
			}
			return nil
		})
		r, err := start(fs, 2000)
		if err != nil {
			t.Fatal(err)
		}
		<-r.m.led
		r.until(t, func() bool { return len(r.log.Segments()) == 8 })
		if r.log.Segments()[0].Sealed {
			t.Error("a segment is sealed")
		}
		full.Store(false)
		time.Sleep(time.Minute + time.Second/3)
		if r.log.SealPending() {
			t.Error("it is not tried again")
		}
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestASealThatFencesIsTold sees a sync of the directory fail since the disk is full:
// that is not waited out, as nobody knows what is on the disk.
func TestASealThatFencesIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sealing, failing atomic.Bool // the appender and the sealer both come through the hook
		fs := vfs.NewFault(vfs.NewMem(), func(op vfs.Op) error {
			if op.Kind == vfs.OpRename && strings.HasSuffix(op.NewName, ".idx") {
				sealing.Store(true)
			}
			if op.Kind == vfs.OpSyncDir && sealing.Load() && failing.CompareAndSwap(false, true) {
				return vfs.ErrNoSpace
			}
			return nil
		})
		r, err := start(fs, 2000)
		if err != nil {
			t.Fatal(err)
		}
		<-r.m.led
		for err == nil && !failing.Load() {
			err = r.propose("x")
			synctest.Wait()
		}
		if err == nil {
			select {
			case err = <-r.m.failed:
			default:
			}
		}
		if !errors.Is(err, commitlog.ErrFenced) || !strings.Contains(err.Error(), "writing the index") {
			t.Errorf("told %v", err)
		}
		if err := r.stop(); !errors.Is(err, commitlog.ErrFenced) {
			t.Errorf("ended with %v", err)
		}
	})
}
