package sim

import (
	"container/heap"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/splashdam/splashdam/broker/replica"
	"github.com/splashdam/splashdam/internal/vfs"
)

// Config is what a run depends on: the same Config is the same run.
type Config struct {
	Seed uint64
	// Nodes is how many voters the group begins with; 0 lets the seed decide, 3 or 5.
	Nodes int
	// Duration is how long things break, in virtual time. Then everything is made
	// whole, and the group must come to rest with all that it acknowledged.
	Duration time.Duration
	// Plant is a bug to be found.
	Plant Plant
}

// Plant is a bug: something between the product and the world that lies.
type Plant struct {
	// FS stands between a node and its disk.
	FS func(vfs.FS) vfs.FS
	// StateMachine stands between a replica and its shard. now is the node's clock.
	StateMachine func(sm replica.StateMachine, now func() time.Time) replica.StateMachine
	// Blind names checkers that do not look, so that others must find it.
	Blind []string
}

// Result is what a run saw.
type Result struct {
	Virtual  time.Duration
	Events   int
	Entries  int // committed
	Acked    int // batches
	Crashes  int
	Terms    int
	Messages int
	Cuts     int // suffixes of logs
	Installs int // snapshots
	Cleaned  int // segments
	Removed  int // replicas that were taken out of the group
}

// A Violation is a rule that was broken.
type Violation struct {
	Checker string
	Seed    uint64
	At      time.Duration
	What    string
	Trace   []string
}

func (v *Violation) Error() string {
	s := fmt.Sprintf("seed %d, %v: %s: %s", v.Seed, v.At, v.Checker, v.What)
	for _, line := range v.Trace {
		s += "\n\t" + line
	}
	return s + fmt.Sprintf("\nto repeat: SPLASHDAM_TEST_SEED=%d go test -run TheSeed ./integration/sim", v.Seed)
}

// World is one run.
type World struct {
	cfg    Config
	rnd    *mathrand.Rand
	now    time.Duration
	queue  events
	seq    int
	nodes  []*node
	net    network
	oracle oracle
	admin  *client
	people []*client
	trace  trace
	// joining is the node that was made last and is not a voter yet; changedAt is the
	// index of the last change of the members.
	joining   *node
	added     int
	changedAt int
	calm      bool // nothing breaks any more
	result    Result
	logger    *slog.Logger
	// flush is asynchronous in some worlds: there no node loses its power, since what
	// was only written survives the end of a process, and nothing else.
	flush replica.FlushPolicy
}

// epoch is the wall clock at the beginning of every world.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// event is something that will happen.
type event struct {
	at  time.Duration
	seq int
	do  func()
}

type events []event

func (q events) Len() int { return len(q) }
func (q events) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q events) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)   { *q = append(*q, x.(event)) }
func (q *events) Pop() any {
	old := *q
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*q = old[:len(old)-1]
	return e
}

// after lets something happen in d.
func (w *World) after(d time.Duration, do func()) {
	w.seq++
	heap.Push(&w.queue, event{w.now + d, w.seq, do})
}

// between is a duration from the seed.
func (w *World) between(low, high time.Duration) time.Duration {
	return low + time.Duration(w.rnd.Int64N(int64(high-low)))
}

// chance is true once in n.
func (w *World) chance(n int) bool { return w.rnd.IntN(n) == 0 }

func (w *World) fail(checker, format string, args ...any) {
	panic(&Violation{Checker: checker, Seed: w.cfg.Seed, At: w.now, What: fmt.Sprintf(format, args...), Trace: w.trace.lines()})
}

// seeded is what crypto/rand gives while a world runs: Raft takes its election
// timeouts from there. One world at a time, therefore.
type seeded struct{ *mathrand.ChaCha8 }

func (s seeded) Read(p []byte) (int, error) { return s.ChaCha8.Read(p) }

var oneWorld sync.Mutex

// Run runs a world to its end. The error is a *Violation.
func Run(cfg Config) (Result, error) {
	return play(cfg, func(w *World) {
		w.startClients()
		w.startTrouble()
		w.runUntil(cfg.Duration)
		w.rest()
	})
}

// play makes a world and lets a script play in it.
func play(cfg Config, script func(*World)) (result Result, err error) {
	oneWorld.Lock()
	defer oneWorld.Unlock()
	defer func(real io.Reader) { rand.Reader = real }(rand.Reader)
	var key [32]byte
	for i := range 8 {
		key[i] = byte(cfg.Seed >> (8 * i))
	}
	rand.Reader = seeded{mathrand.NewChaCha8(key)}

	w := &World{cfg: cfg, rnd: mathrand.New(mathrand.NewPCG(cfg.Seed, 1)), logger: slog.New(slog.DiscardHandler)}
	defer func() {
		result = w.result
		result.Virtual = w.now
		switch p := recover().(type) {
		case nil:
		case *Violation:
			err = p
		default:
			// A broken invariant of the product, or Raft's own.
			err = &Violation{noPanic, cfg.Seed, w.now, fmt.Sprintf("%v\n%s", p, debug.Stack()), w.trace.lines()}
		}
	}()
	w.begin()
	script(w)
	return result, nil
}

// runUntil lets happen what happens up to a moment.
func (w *World) runUntil(end time.Duration) {
	for len(w.queue) > 0 && w.queue[0].at <= end {
		w.step()
	}
	w.now = max(w.now, end)
}

// step lets the next thing happen.
func (w *World) step() {
	e := heap.Pop(&w.queue).(event)
	w.now = e.at
	w.result.Events++
	e.do()
}

// begin makes the group.
func (w *World) begin() {
	n := w.cfg.Nodes
	if n == 0 {
		n = 3 + 2*w.rnd.IntN(2)
	}
	if w.chance(4) && w.cfg.Plant.FS == nil {
		w.flush = replica.FlushAsync
	}
	w.oracle.begin(w)
	w.net.begin(w)
	var voters []uint64
	for i := range n {
		voters = append(voters, uint64(i+1))
	}
	for _, id := range voters {
		w.addNode(id, voters).member = true
	}
}

// rest makes everything whole, and demands that the group comes to rest.
func (w *World) rest() {
	const patience = 60 * time.Second
	w.calm = true
	w.net.heal()
	w.log(0, "everything is made whole")
	for _, n := range w.nodes {
		n.stopAt = 0
		n.full, n.ill = false, false
	}
	for _, c := range w.clients() {
		c.stop = true
	}
	end := w.now + patience
	for w.now < end {
		w.runUntil(w.now + time.Second)
		if w.oracle.atRest() {
			w.oracle.final()
			return
		}
	}
	w.fail(comesToRest, "not %v after everything was made whole: %s", patience, w.oracle.state())
}

func (w *World) clients() []*client { return append([]*client{w.admin}, w.people...) }

func (w *World) log(node uint64, format string, args ...any) {
	w.trace.add(w.now, node, format, args)
}
