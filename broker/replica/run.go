package replica

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/raft/v3"
	"google.golang.org/protobuf/proto"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/invariant"
	"github.com/splashdam/splashdam/internal/vfs"
)

// FlushPolicy says when a stored entry counts as stored.
type FlushPolicy int

const (
	// FlushSync: when it is durable (fdatasync). The default.
	FlushSync FlushPolicy = iota
	// FlushAsync: when it is written. A power loss may take what was written in
	// the last asyncDelay or the last asyncBytes; a crash of the process takes nothing.
	FlushAsync
)

const (
	// TickInterval is Raft's unit of time.
	TickInterval = 50 * time.Millisecond
	// maxUnwritten is how many entries may wait for the disk. While one is synced
	// the next few gather; more would only cut what waits into smaller entries.
	maxUnwritten = 4
	// maxCalls bounds the calls that wait for the loop.
	maxCalls = 1024
	// asyncBytes and asyncDelay bound what FlushAsync may lose with the power.
	asyncBytes = 4 << 20
	asyncDelay = 50 * time.Millisecond
	// noSpaceRetry is how long the appender waits before it tries a full disk again.
	noSpaceRetry = 100 * time.Millisecond
)

// Shell is what the Host tells the state machine beside its log's content. Like
// StateMachine, it is called by the loop.
type Shell interface {
	StateMachine
	// Tick is called every TickInterval.
	Tick(now time.Time)
	// NoSpace tells that the disk is full (nothing is stored until it is not), and
	// when that has passed.
	NoSpace(full bool)
	// Failed is the last call that changes anything: the log cannot be written, or
	// cannot be understood. Reads may go on.
	Failed(err error)
}

// Config is what a Host needs. All fields are required; Flush's zero value is FlushSync.
type Config struct {
	// ID of the replica in its group, not 0.
	ID           uint64
	Log          *commitlog.Log
	StateMachine Shell
	// SegmentSize is the size in bytes at which the leader ends a segment.
	SegmentSize int64
	Flush       FlushPolicy
	Logger      raft.Logger
}

// Host runs one Replica. Wake and Call may be called concurrently with Run, before
// it, and after it.
type Host struct {
	cfg   Config
	r     *Replica
	wake  chan struct{}
	calls chan func()
	ended chan struct{}

	store storeQueue
	done  chan stored
}

// stored is what the appender tells the loop.
type stored struct {
	work []appendWork
	full bool
	err  error
}

// NewHost starts Raft on the log; nothing moves until Run.
func NewHost(cfg Config) (*Host, error) {
	r, err := newReplica(cfg.ID, cfg.Log, cfg.StateMachine, cfg.SegmentSize, cfg.Logger)
	if err != nil {
		return nil, err
	}
	return &Host{
		cfg: cfg, r: r,
		wake:  make(chan struct{}, 1),
		calls: make(chan func(), maxCalls),
		ended: make(chan struct{}),
		store: storeQueue{ready: make(chan struct{}, 1)},
		done:  make(chan stored, 1),
	}, nil
}

// Wake tells the loop that StateMachine.Next has something. It never blocks.
func (h *Host) Wake() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// ErrStopped is a call to a Host that has ended.
var ErrStopped = errors.New("the shard has stopped")

// Call runs f in the loop, where the leading half may be used. It returns when f is
// queued; it waits while the queue is full. f is not run if the Host ends first.
func (h *Host) Call(ctx context.Context, f func()) error {
	select {
	case h.calls <- f:
		return nil
	case <-h.ended:
		return ErrStopped
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Do runs f in the loop and returns when it has run.
func (h *Host) Do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	if err := h.Call(ctx, func() { f(); close(done) }); err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-h.ended:
		return ErrStopped
	}
}

// ConfState is the group's membership as of the last applied entry, encoded. It may
// be called in the loop only.
func (h *Host) ConfState() []byte {
	cs, err := proto.Marshal(h.r.confState)
	invariant.That(err == nil, "encoding the membership: %v", err)
	return cs
}

// Run is the loop. It returns when the context ends and everything that was handed
// to the appender is stored. A failing log does not end it: the state machine is
// told, and reads go on.
func (h *Host) Run(ctx context.Context) error {
	defer close(h.ended)
	appending := make(chan error, 1)
	go func() { appending <- h.appendAll(ctx) }()
	err := h.loop(ctx)
	return errors.Join(err, <-appending)
}

func (h *Host) loop(ctx context.Context) error {
	ticker := time.NewTicker(TickInterval)
	defer ticker.Stop()
	err := h.begin()
	for {
		if err != nil {
			h.r.stepDown()
			h.cfg.StateMachine.Failed(err)
			return h.drain(ctx)
		}
		select {
		case <-ctx.Done():
			h.r.stepDown()
			return nil
		case now := <-ticker.C:
			h.r.node.Tick()
			h.cfg.StateMachine.Tick(now)
		case <-h.wake:
		case f := <-h.calls:
			f()
		case s := <-h.done:
			err = h.take(s)
		}
		if err == nil {
			err = h.turn()
		}
	}
}

// begin elects a replica that needs nobody's vote without waiting for a timeout.
func (h *Host) begin() error {
	if h.r.soleVoter() {
		if err := h.r.node.Campaign(); err != nil {
			return fmt.Errorf("standing for election: %w", err)
		}
	}
	return h.turn()
}

// turn moves Raft on until it waits for the disk, for the clock or for work.
func (h *Host) turn() error {
	for {
		work, err := h.r.ready()
		if err != nil {
			return err
		}
		if len(work) > 0 {
			h.store.push(work)
		}
		if !h.r.leading || h.r.unwritten() >= maxUnwritten || !h.r.propose() {
			return nil
		}
	}
}

func (h *Host) take(s stored) error {
	if s.err != nil {
		return s.err
	}
	if len(s.work) == 0 {
		h.cfg.StateMachine.NoSpace(s.full)
		return nil
	}
	for _, w := range s.work {
		if err := h.r.stored(w); err != nil {
			return err
		}
	}
	return nil
}

// drain serves calls after a failure, so that nobody waits for an answer.
func (h *Host) drain(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case f := <-h.calls:
			f()
		case <-h.wake:
		case <-h.done:
		}
	}
}

// storeQueue is what waits for the appender. Its length is bounded by what Raft
// has in flight: maxUnwritten entries and the hard states between them.
type storeQueue struct {
	mu    sync.Mutex
	work  []appendWork
	ready chan struct{}
}

func (q *storeQueue) push(w []appendWork) {
	q.mu.Lock()
	q.work = append(q.work, w...)
	q.mu.Unlock()
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

func (q *storeQueue) takeAll() []appendWork {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := q.work
	q.work = nil
	return w
}

// appendAll is the appender: everything that waits is written, then synced once.
func (h *Host) appendAll(ctx context.Context) error {
	var flush <-chan time.Time
	var unsynced int
	for {
		select {
		case <-ctx.Done():
			return h.lastSync()
		case <-flush:
			if err := h.cfg.Log.Sync(); err != nil {
				return h.fail(ctx, err)
			}
			flush, unsynced = nil, 0
			continue
		case <-h.store.ready:
		}
		work := h.store.takeAll()
		if len(work) == 0 {
			continue
		}
		n, err := h.write(ctx, work)
		if err != nil {
			return h.fail(ctx, err)
		}
		unsynced += n
		if n > 0 && (h.cfg.Flush == FlushSync || unsynced >= asyncBytes) {
			if err := h.cfg.Log.Sync(); err != nil {
				return h.fail(ctx, err)
			}
			flush, unsynced = nil, 0
		} else if unsynced > 0 && flush == nil {
			flush = time.After(asyncDelay)
		}
		if !h.send(ctx, stored{work: work}) {
			return h.lastSync()
		}
		// A sealed segment spares the next start a scan; until it is sealed its index
		// is in memory. So a failure here is tried again, not an end.
		if h.cfg.Log.SealPending() {
			if err := h.cfg.Log.Seal(); err != nil && !errors.Is(err, vfs.ErrNoSpace) {
				return h.fail(ctx, err)
			}
		}
	}
}

// write stores work in order and returns how many bytes of entries it wrote.
func (h *Host) write(ctx context.Context, work []appendWork) (int, error) {
	var pending []record.Entry
	var size int
	flushPending := func() error {
		if len(pending) == 0 {
			return nil
		}
		err := h.appendRetrying(ctx, pending)
		pending = pending[:0]
		return err
	}
	for _, w := range work {
		if w.hard != nil {
			// F1: the term is durable before the first frame of the term.
			if err := h.retrying(ctx, func() error { return h.cfg.Log.SetHardState(*w.hard) }); err != nil {
				return size, err
			}
		}
		if len(w.entries) > 0 {
			first := w.entries[0].Index()
			last := h.cfg.Log.Last()
			if n := len(pending); n > 0 {
				last = pending[n-1].Index()
			}
			if first <= last {
				if err := flushPending(); err != nil {
					return size, err
				}
				if err := h.retrying(ctx, func() error { return h.cfg.Log.TruncateSuffix(first - 1) }); err != nil {
					return size, err
				}
			}
			pending = append(pending, w.entries...)
			for _, e := range w.entries {
				size += len(e)
			}
		}
	}
	return size, flushPending()
}

func (h *Host) appendRetrying(ctx context.Context, entries []record.Entry) error {
	return h.retrying(ctx, func() error { return h.cfg.Log.Append(entries) })
}

// retrying repeats a write that finds the disk full until there is room: the
// entries are in Raft's log, so they cannot be taken back. Nothing is acknowledged
// meanwhile, and the state machine refuses new ones.
func (h *Host) retrying(ctx context.Context, write func() error) error {
	full := false
	for {
		err := write()
		if !errors.Is(err, vfs.ErrNoSpace) {
			if full && err == nil {
				h.send(ctx, stored{full: false})
			}
			return err
		}
		if !full {
			full = true
			h.send(ctx, stored{full: true})
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(noSpaceRetry):
		}
	}
}

// send gives the loop what is done, unless the loop has ended.
func (h *Host) send(ctx context.Context, s stored) bool {
	select {
	case h.done <- s:
		return true
	case <-ctx.Done():
		return false
	}
}

func (h *Host) fail(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	h.send(ctx, stored{err: err})
	return err
}

// lastSync leaves nothing to chance at an orderly end.
func (h *Host) lastSync() error {
	work := h.store.takeAll()
	for _, w := range work {
		if w.hard != nil {
			if err := h.cfg.Log.SetHardState(*w.hard); err != nil {
				return err
			}
		}
		if len(w.entries) > 0 && w.entries[0].Index() == h.cfg.Log.Last()+1 {
			if err := h.cfg.Log.Append(w.entries); err != nil {
				return err
			}
		}
	}
	return h.cfg.Log.Sync()
}
