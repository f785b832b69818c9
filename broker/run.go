package broker

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/splashdam/splashdam/broker/commitlog"
)

// Run serves until the context ends: then it stops taking connections, answers
// what is in flight, and stores what was handed over. It returns what failed, nil
// after an orderly end, also of a node that was not ready yet. The listeners are
// closed then. Close comes after it.
func (b *Broker) Run(ctx context.Context) error {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var ts tasks
	err := b.begin(ctx, func(s *Shard) { ts.start(func() error { return s.run(running) }) })
	switch {
	case err == nil:
		ts.start(func() error { b.keepReconciled(running); return nil })
		ts.start(func() error { b.createTopics(running); return nil })
		ts.start(func() error { b.scrub(running); return nil })
		ts.start(func() error { b.keepClean(running); return nil })
		for _, k := range b.keySets {
			ts.start(func() error { k.Run(running); return nil })
		}
		close(b.ready)
		err = b.server.Run(ctx)
	case errors.Is(err, context.Canceled):
		err = b.closeListeners()
	default:
		err = errors.Join(err, b.closeListeners())
	}
	stop()
	return errors.Join(err, ts.wait())
}

// run runs a shard's loop and what works beside it.
func (s *Shard) run(ctx context.Context) error {
	var ts tasks
	ts.start(func() error { return s.host.Run(ctx) })
	ts.start(func() error { s.writeSnapshots(ctx); return nil })
	ts.start(func() error { s.workOnHalves(ctx); return nil })
	ts.start(func() error { s.prepareSegments(ctx); return nil })
	err := ts.wait()
	if err == nil {
		s.writeLastSnapshot()
	}
	return err
}

// writeSnapshots writes what the loop captures, one at a time.
func (s *Shard) writeSnapshots(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-s.captured:
			// A snapshot that fails costs time at the next start, nothing else: the
			// next one is due after as much growth again.
			if err := s.writeSnapshot(ctx, c); err != nil {
				s.logs.log.Warn("writing a snapshot", "cause", err)
			}
		}
	}
}

// workOnHalves puts questions and ends half messages that nobody decides.
func (s *Shard) workOnHalves(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case actions := <-s.halfWork:
			s.act(ctx, actions)
		}
	}
}

// roomPause is how long the disk is left alone between two pieces of room. So it is
// made at up to 100 MB a second: a shard that writes no more than that finds all its
// segments prepared; one that writes much more, for which the disk's bandwidth counts
// and not its latency, gives little of it away.
const roomPause = 10 * time.Millisecond

// prepareSegments makes room for the log's next segment when the loop asks for it.
func (s *Shard) prepareSegments(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.roomDue:
		}
		for s.log.PreparePending() {
			if err := s.log.Prepare(); err != nil {
				// The log does without, and a log that is fenced has said so.
				if !errors.Is(err, commitlog.ErrFenced) && !errors.Is(err, commitlog.ErrClosed) {
					s.logs.log.Warn("preparing the next segment", "cause", err)
				}
				break
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(roomPause):
			}
		}
	}
}

// keepReconciled opens and closes partitions as the metadata says, whenever it or
// a lead has changed; what failed is tried again.
func (b *Broker) keepReconciled(ctx context.Context) {
	const again = time.Second
	var retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.viewChanged:
		case <-retry:
		}
		retry = nil
		if err := b.reconcile(ctx); err != nil && ctx.Err() == nil {
			b.loggers.Of(brokerLogger).Warn("opening and closing partitions", "cause", err)
			retry = time.After(again)
		}
	}
}

// createTopics makes the topics that clients asked for by naming them.
func (b *Broker) createTopics(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case name := <-b.creations:
			b.createAutomatically(ctx, name)
		}
	}
}

// keepClean carries out retention and cleans the logs, one shard after the other.
func (b *Broker) keepClean(ctx context.Context) {
	c := newCleaner(b)
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.hurry:
		case <-time.After(c.pause()):
		}
		c.round(ctx)
	}
}

// tasks are goroutines that end together with their owner.
type tasks struct {
	wg   sync.WaitGroup
	mu   sync.Mutex
	errs []error
}

func (t *tasks) start(f func() error) {
	t.wg.Add(1)
	go func() {
		defer t.wg.Done()
		if err := f(); err != nil {
			t.mu.Lock()
			t.errs = append(t.errs, err)
			t.mu.Unlock()
		}
	}()
}

func (t *tasks) wait() error {
	t.wg.Wait()
	return errors.Join(t.errs...)
}
