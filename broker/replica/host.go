package replica

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/invariant"
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
	// maxInbox and maxInboxBytes bound the messages from peers that wait for the loop.
	maxInbox      = 4096
	maxInboxBytes = 64 << 20
	// maxTransferInbox bounds those of transfers, of up to 256 KiB.
	maxTransferInbox = 256
	// noSpaceRetry is how long the appender waits before it tries a full disk again.
	noSpaceRetry = 100 * time.Millisecond
	// sealInterval is how often the sealer looks whether an index is to be made anew, or
	// a seal to be tried again, where nothing is stored.
	sealInterval = time.Second
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

// Config is what a Host needs. All fields are required, but for Transport in a group
// of one; Flush's zero value is FlushSync.
type Config struct {
	// ID of the replica in its group, not 0.
	ID           uint64
	Log          *commitlog.Log
	StateMachine Shell
	// SegmentSize is the size in bytes at which the leader ends a segment, to begin with.
	SegmentSize int64
	Flush       FlushPolicy
	Transport   Transport
	Logger      raft.Logger
}

// Host runs one Replica. Wake, Call, Do and Receive may be called concurrently with
// Run, before it, and after it.
type Host struct {
	cfg   Config
	r     *Replica
	wake  chan struct{}
	calls chan func()
	inbox inbox
	ended chan struct{}

	store queue[Work]
	done  chan stored
	ferry queue[func(*Transfers) TransferEffects]
	// Between the appender and the sealer: that there is something to be sealed, that
	// sealing was tried, and that the last try failed.
	sealDue, sealed chan struct{}
	sealFails       atomic.Bool
}

// stored is what the appender tells the loop.
type stored struct {
	work []Work
	full bool
	err  error
}

// NewHost starts Raft on the log; nothing moves until Run.
func NewHost(cfg Config) (*Host, error) {
	r, err := New(cfg.ID, cfg.Log, cfg.StateMachine, cfg.SegmentSize, cfg.Logger)
	if err != nil {
		return nil, err
	}
	return &Host{
		cfg: cfg, r: r,
		wake:  make(chan struct{}, 1),
		calls: make(chan func(), maxCalls),
		inbox: inbox{ready: make(chan struct{}, 1)},
		ended: make(chan struct{}),
		store: newQueue[Work](),
		done:  make(chan stored, 1),
		ferry: newQueue[func(*Transfers) TransferEffects](),

		sealDue: make(chan struct{}, 1),
		sealed:  make(chan struct{}, 1),
	}, nil
}

// Wake tells the loop that StateMachine.Next has something. It never blocks.
func (h *Host) Wake() { signal(h.wake) }

// signal leaves a note for whoever receives from c, which has room for one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
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

// Receive queues a message from a peer, and drops it if there is no room. It never
// blocks. The message may be called malformed only when its turn comes; the logger
// hears of it then.
func (h *Host) Receive(m Message) { h.inbox.push(m) }

// ConfState is the group's membership as of the last applied entry, encoded. It may
// be called in the loop only.
func (h *Host) ConfState() []byte { return h.r.ConfState() }

// LimitSegment is the replica's. It is called in the loop only.
func (h *Host) LimitSegment(size int64) { h.r.LimitSegment(size) }

// Group is the replica's. It is called in the loop only.
func (h *Host) Group() (committed record.Index, members []Member) { return h.r.Group() }

func (h *Host) carryOut(ctx context.Context, fx TransferEffects) {
	if len(fx.Send) > 0 {
		h.cfg.Transport.SendTransfers(fx.Send)
	}
	if fx.Failed != nil {
		h.cfg.Logger.Warningf("receiving a snapshot: %v", fx.Failed)
	}
	if len(fx.Ended) == 0 && fx.Arrived == nil {
		return
	}
	// It fails only at the end, where nobody waits for it.
	_ = h.Call(ctx, func() {
		for _, e := range fx.Ended {
			h.r.TransferEnded(e.To, e.Err == nil)
		}
		if fx.Arrived != nil {
			h.r.Arrived(fx.Arrived)
		}
	})
}

// ReceiveTransfer queues a message of a snapshot transfer from a peer, and drops it if
// there is no room. It never blocks.
func (h *Host) ReceiveTransfer(m TransferMessage) {
	h.ferry.pushUpTo(maxTransferInbox, func(t *Transfers) TransferEffects {
		fx, err := t.Step(m)
		if err != nil {
			h.cfg.Logger.Warningf("%v", err)
		}
		return fx
	})
}

func (h *Host) handOut(fx Effects) {
	if len(fx.Store) > 0 {
		h.store.push(fx.Store...)
	}
	if h.cfg.Transport == nil {
		invariant.That(len(fx.Send) == 0, "a message in a group of one")
		return
	}
	if len(fx.Send) > 0 {
		h.cfg.Transport.Send(fx.Send)
	}
	if fx.Follow {
		h.ferry.push((*Transfers).Follow)
	}
	for _, b := range fx.Ship {
		h.ferry.push(func(t *Transfers) TransferEffects { return t.Ship(b.To, b.Lead) })
	}
	for _, err := range fx.Installed {
		h.ferry.push(func(t *Transfers) TransferEffects { return t.Installed(err) })
	}
}

// receive steps what peers sent. There is a turn behind each message, which takes
// the payload.
func (h *Host) receive() error {
	for _, m := range h.inbox.takeAll() {
		if err := h.r.Step(m); err != nil {
			h.cfg.Logger.Warningf("%v", err)
			continue
		}
		if err := h.turn(); err != nil {
			return err
		}
	}
	return nil
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
		if err := h.r.Stored(w); err != nil {
			return err
		}
	}
	return nil
}
