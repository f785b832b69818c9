package replica

import (
	"context"
	"errors"
	"time"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/internal/vfs"
)

// Run is the loop. It returns when the context ends and everything that was handed
// to the appender is stored. A failing log does not end it: the state machine is
// told, and reads go on.
func (h *Host) Run(ctx context.Context) error {
	defer close(h.ended)
	appending, sealing := make(chan error, 1), make(chan error, 1)
	go func() { appending <- h.appendAll(ctx) }()
	go func() { sealing <- h.sealAll(ctx) }()
	if h.cfg.Transport == nil {
		err := h.loop(ctx)
		return errors.Join(err, <-appending, <-sealing)
	}
	transfers := NewTransfers(h.cfg.ID, h.cfg.Log, TransferRate)
	carrying := make(chan struct{})
	go func() { h.carry(ctx, transfers); close(carrying) }()
	err := errors.Join(h.loop(ctx), <-appending, <-sealing)
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
			// A replica to which nothing comes, for it is behind, would not notice at a write.
			if err = h.cfg.Log.Fenced(); err != nil {
				continue
			}
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
		h.awaitSeal(ctx)
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
		if h.cfg.Log.SealPending() {
			signal(h.sealDue)
		}
	}
}

// awaitSeal waits while too many full segments are not sealed, unless sealing fails.
func (h *Host) awaitSeal(ctx context.Context) {
	for h.cfg.Log.SealBehind() && !h.sealFails.Load() {
		signal(h.sealDue)
		select {
		case <-ctx.Done():
			return
		case <-h.sealed:
		}
	}
}

// sealAll is the sealer: it seals what is full, and has indexes in which somebody found
// damage made anew. A sealed segment spares the next start a scan; until it is sealed its
// index is in memory. So a full disk is waited out, and damage, which the log tells of
// itself, is no end. A log that is fenced is one, whatever the cause.
func (h *Host) sealAll(ctx context.Context) error {
	look := time.NewTicker(sealInterval)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		case <-h.sealDue:
		}
		var err error
		for err == nil && ctx.Err() == nil && h.cfg.Log.SealPending() {
			err = h.cfg.Log.Seal()
			h.sealFails.Store(err != nil)
			signal(h.sealed)
		}
		_, damaged := errors.AsType[*commitlog.CorruptionError](err)
		if err != nil && (!damaged && !errors.Is(err, vfs.ErrNoSpace) || errors.Is(err, commitlog.ErrFenced)) {
			return h.fail(ctx, err)
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
