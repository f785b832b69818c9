package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// All goroutines of this package start here: one per listener, one per accepted
// connection (which becomes its reader), one writer per connection.

// Run accepts connections until ctx ends, then lets what is in flight be answered
// (see ServeConn) and returns nil once everything it started has ended. It
// returns early, with the cause, when a listener fails for good.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for _, l := range s.listeners {
		stop := context.AfterFunc(ctx, func() { l.Listener.Close() })
		defer stop()
		all.Add(1)
		go func() {
			defer all.Done()
			if err := s.accept(ctx, l, &all); err != nil {
				cancel(err)
			}
		}()
	}
	<-ctx.Done()
	all.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// accept hands every connection of a listener a goroutine. A failure that may
// pass (no file descriptors are left) is waited out.
func (s *Server) accept(ctx context.Context, l ListenerConfig, all *sync.WaitGroup) error {
	pause := firstAcceptPause
	for {
		nc, err := l.Listener.Accept()
		if err == nil {
			pause = firstAcceptPause
			all.Add(1)
			go func() {
				defer all.Done()
				_ = s.ServeConn(ctx, nc, l.Name) // told by Events.Disconnected
			}()
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("listener %s: %w", l.Name, err)
		}
		s.events.refused(Peer{Listener: l.Name}, err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, lastAcceptPause)
	}
}

// startWriter runs the writer; the channel is closed when it has ended.
func (c *conn) startWriter() (done <-chan struct{}) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.write()
	}()
	return ended
}
