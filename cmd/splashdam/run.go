package main

import (
	"context"
	"errors"
	"os/exec"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// runUntilReady runs the node and, once it answers clients, ready. When ctx ends, so
// does ready's context, and the node serves until ready has returned: what works with
// it ends in good order. A ready that fails ends the node, and a node that fails ends
// ready's context. It returns what failed when both have ended.
func runUntilReady(ctx context.Context, n node, ready func(context.Context) error) error {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	using, stop := context.WithCancel(ctx)
	defer stop()
	used := make(chan error, 1)
	go func() {
		var err error
		select {
		case <-n.Ready():
			err = ready(using)
		case <-using.Done():
		}
		if err == nil {
			<-using.Done()
		}
		end()
		used <- err
	}()
	err := n.Run(life)
	stop()
	return errors.Join(err, <-used)
}

// together runs functions at the same time. The first one that fails ends the
// others' context, and its error is returned when all have returned.
func together(ctx context.Context, all ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		running sync.WaitGroup
		once    sync.Once
		first   error
	)
	for _, f := range all {
		running.Go(func() {
			if err := f(ctx); err != nil {
				once.Do(func() { first = err; cancel() })
			}
		})
	}
	running.Wait()
	return first
}

// input is one record read, or the reason why there are no more.
type input struct {
	record *kgo.Record
	err    error
}

// readInputs reads records in the background until the first error, io.EOF
// included, which it sends too. A read of a terminal or a pipe cannot be
// interrupted: when ctx ends in the middle of one, the goroutine lives until the
// read returns or the process ends.
func readInputs(ctx context.Context, next func() (*kgo.Record, error)) <-chan input {
	all := make(chan input, 64)
	go func() {
		defer close(all)
		for {
			r, err := next()
			select {
			case all <- input{r, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return all
}

// exitOf waits for the end of a started process: its result comes once.
func exitOf(cmd *exec.Cmd) <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return ended
}
