package replica

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"go.etcd.io/raft/v3"

	"github.com/splashdam/splashdam/broker/commitlog"
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
	// maxInbox and maxInboxBytes bound the messages from peers that wait for the loop.
	maxInbox      = 4096
	maxInboxBytes = 64 << 20
	// maxTransferInbox bounds those of transfers, of up to 256 KiB.
	maxTransferInbox = 256
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

// Config is what a Host needs. All fields are required, but for Transport in a group
// of one; Flush's zero value is FlushSync.
type Config struct {
	// ID of the replica in its group, not 0.
	ID           uint64
	Log          *commitlog.Log
	StateMachine Shell
	// SegmentSize is the size in bytes at which the leader ends a segment.
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

// Receive queues a message from a peer, and drops it if there is no room. It never
// blocks. The message may be called malformed only when its turn comes; the logger
// hears of it then.
func (h *Host) Receive(m Message) { h.inbox.push(m) }

// ConfState is the group's membership as of the last applied entry, encoded. It may
// be called in the loop only.
func (h *Host) ConfState() []byte { return h.r.ConfState() }

// Run is the loop. It returns when the context ends and everything that was handed
// to the appender is stored. A failing log does not end it: the state machine is
// told, and reads go on.
func (h *Host) Run(ctx context.Context) error {
	defer close(h.ended)
	appending := make(chan error, 1)
	go func() { appending <- h.appendAll(ctx) }()
	if h.cfg.Transport == nil {
		err := h.loop(ctx)
		return errors.Join(err, <-appending)
	}
	transfers := NewTransfers(h.cfg.ID, h.cfg.Log, TransferRate)
	carrying := make(chan struct{})
	go func() { h.carry(ctx, transfers); close(carrying) }()
	err := errors.Join(h.loop(ctx), <-appending)
	<-carrying
	transfers.Close()
	return err
}

// carry runs the snapshot transfers, beside the loop, since they read and write the
// disk.
func (h *Host) carry(ctx context.Context, t *Transfers) {
	ticker := time.NewTicker(TickInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			h.carryOut(ctx, t.Tick())
		case <-h.ferry.ready:
			for _, do := range h.ferry.takeAll() {
				h.carryOut(ctx, do(t))
			}
		}
	}
}

func (h *Host) carryOut(ctx context.Context, fx TransferEffects) {
	if len(fx.Send) > 0 {
		h.cfg.Transport.SendTransfers(fx.Send)
	}
	if fx.Failed != nil {
		h.cfg.Logger.Warningf("receiving a snapshot: %v", fx.Failed)
	}
	if len(fx.Ended) == 0 && fx.Install == nil {
		return
	}
	// It fails only at the end, where nobody waits for it.
	_ = h.Call(ctx, func() {
		for _, e := range fx.Ended {
			h.r.TransferEnded(e.To, e.Err == nil)
		}
		if fx.Install != nil {
			h.r.Install(fx.Install)
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

func (h *Host) loop(ctx context.Context) error {
	ticker := time.NewTicker(TickInterval)
	defer ticker.Stop()
	err := h.begin()
	for {
		if err != nil {
			h.r.Fence()
			if h.cfg.Transport != nil {
				h.ferry.push((*Transfers).Follow)
			}
			h.cfg.StateMachine.Failed(err)
			return h.drain(ctx, ticker.C)
		}
		select {
		case <-ctx.Done():
			h.r.stepDown()
			return nil
		case now := <-ticker.C:
			h.r.Tick()
			h.cfg.StateMachine.Tick(now)
		case <-h.wake:
		case f := <-h.calls:
			f()
		case <-h.inbox.ready:
			err = h.receive()
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
	if h.r.SoleVoter() {
		if err := h.r.Campaign(); err != nil {
			return err
		}
	}
	return h.turn()
}

// turn moves the replica on and hands out what it wants done.
func (h *Host) turn() error {
	for {
		fx, err := h.r.Turn()
		if err != nil {
			return err
		}
		h.handOut(fx)
		if !fx.More {
			return nil
		}
	}
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

// drain serves calls after a failure, so that nobody waits for an answer, and hands
// the lead over, for which it has an election timeout.
func (h *Host) drain(ctx context.Context, tick <-chan time.Time) error {
	ticks := 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case f := <-h.calls:
			f()
		case <-h.wake:
		case <-h.done:
		case <-h.inbox.ready:
			if messages := h.inbox.takeAll(); h.r.HandingOver() && ticks < electionTicks {
				for _, m := range messages {
					// Who leads next is known soon; what is malformed need not be told now.
					_ = h.r.Step(m)
				}
			}
		case <-tick:
			if ticks++; h.r.HandingOver() && ticks < electionTicks {
				h.r.Tick()
			}
		}
		if h.r.HandingOver() && ticks < electionTicks {
			if fx, err := h.r.Turn(); err == nil && len(fx.Send) > 0 {
				h.cfg.Transport.Send(fx.Send)
			}
		}
	}
}

// queue is what waits for another goroutine. What waits for the appender is bounded by
// what Raft has in flight: maxUnwritten entries of a leader, maxStaged bytes of a
// follower, and the hard states between them.
type queue[T any] struct {
	mu    sync.Mutex
	items []T
	ready chan struct{}
}

func newQueue[T any]() queue[T] { return queue[T]{ready: make(chan struct{}, 1)} }

func (q *queue[T]) push(items ...T) { q.pushUpTo(math.MaxInt, items...) }

// pushUpTo drops the items where there would be more than most.
func (q *queue[T]) pushUpTo(most int, items ...T) {
	q.mu.Lock()
	if len(q.items)+len(items) <= most {
		q.items = append(q.items, items...)
	}
	q.mu.Unlock()
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

func (q *queue[T]) takeAll() []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.items
	q.items = nil
	return items
}

// inbox is what peers sent and the loop has not stepped.
type inbox struct {
	mu       sync.Mutex
	messages []Message
	bytes    int
	ready    chan struct{}
}

func (b *inbox) push(m Message) {
	b.mu.Lock()
	if len(b.messages) < maxInbox && b.bytes <= maxInboxBytes {
		b.messages = append(b.messages, m)
		b.bytes += len(m.Payload)
	}
	b.mu.Unlock()
	select {
	case b.ready <- struct{}{}:
	default:
	}
}

func (b *inbox) takeAll() []Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.messages
	b.messages, b.bytes = nil, 0
	return m
}

// appendAll is the appender: everything that waits is written, then synced once.
func (h *Host) appendAll(ctx context.Context) error {
	a := NewAppender(h.cfg.Log, h.cfg.Flush)
	var flush <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return h.lastSync(a)
		case <-flush:
			if err := a.Sync(); err != nil {
				return h.fail(ctx, err)
			}
			flush = nil
			continue
		case <-h.store.ready:
		}
		a.Take(h.store.takeAll())
		if a.Idle() {
			continue
		}
		work, err := h.storeRetrying(ctx, a)
		if err != nil {
			return h.fail(ctx, err)
		}
		switch {
		case !a.Unsynced():
			flush = nil
		case flush == nil:
			flush = time.After(asyncDelay)
		}
		if !h.send(ctx, stored{work: work}) {
			return h.lastSync(a)
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

// storeRetrying stores what the appender has taken. On a full disk it waits until
// there is room: the entries are in Raft's log, so they cannot be taken back.
// Nothing is acknowledged meanwhile, and the state machine refuses new ones.
func (h *Host) storeRetrying(ctx context.Context, a *Appender) ([]Work, error) {
	full := false
	for {
		work, err := a.Store()
		if !errors.Is(err, vfs.ErrNoSpace) || errors.Is(err, commitlog.ErrFenced) {
			if full && err == nil {
				h.send(ctx, stored{full: false})
			}
			return work, err
		}
		if !full {
			full = true
			h.send(ctx, stored{full: true})
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
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
func (h *Host) lastSync(a *Appender) error {
	a.Take(h.store.takeAll())
	if _, err := a.Store(); err != nil {
		return err
	}
	return h.cfg.Log.Sync()
}
