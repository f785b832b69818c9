package sdk

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// This file holds every goroutine of the package.

// Run joins the group and handles messages until ctx ends; then it lets running
// handlers end (WithDrainTimeout), commits what is finished, leaves the group and
// returns nil. It returns an error if it cannot go on, for instance for want of
// permission, or if it could not end in good order. It runs once.
func (c *Consumer) Run(ctx context.Context) error {
	select {
	case c.started <- struct{}{}:
	default:
		return fmt.Errorf("group %q: Run was called before; make another consumer", c.group)
	}
	if ctx.Err() != nil {
		return nil
	}
	// The group's callbacks need c.client, and may come before NewClient returns.
	c.mu.Lock()
	client, err := kgo.NewClient(c.options...)
	c.client = client
	c.mu.Unlock()
	if err != nil {
		return fmt.Errorf("group %q: %w", c.group, err)
	}

	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	work := make(chan *delivery)
	var loops, handlers sync.WaitGroup
	loops.Go(func() {
		if err := c.poll(ctx); err != nil {
			stop(err)
		}
	})
	loops.Go(func() { c.commitRegularly(ctx) })
	loops.Go(func() { c.handOut(ctx, work); close(work) })
	for range c.config.concurrency {
		handlers.Go(func() { c.handle(work) })
	}
	loops.Wait()
	abandoned, err := c.leave()
	if !abandoned {
		handlers.Wait()
	}
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		err = errors.Join(cause, err)
	}
	if err != nil {
		return fmt.Errorf("group %q: %w", c.group, err)
	}
	return nil
}

// poll fetches while there is room. It returns an error that no waiting can mend.
func (c *Consumer) poll(ctx context.Context) error {
	for ctx.Err() == nil {
		n := c.room()
		if n == 0 {
			select {
			case <-c.wakePoll:
			case <-ctx.Done():
			}
			continue
		}
		fetches := c.client.PollRecords(ctx, n)
		c.admit(fetches.Records())
		c.client.AllowRebalance()
		for _, e := range fetches.Errors() {
			if ctx.Err() != nil {
				return nil
			}
			if fatal(e.Err) {
				return fetchError(e)
			}
			c.fetchFailed(e)
		}
	}
	return nil
}

// handOut gives messages to the handlers, at the rate that is allowed.
func (c *Consumer) handOut(ctx context.Context, work chan<- *delivery) {
	for {
		d, wait := c.take(time.Now())
		if d == nil {
			var due <-chan time.Time
			if wait > 0 {
				due = time.After(wait)
			}
			select {
			case <-c.wakeHandlers:
			case <-due:
			case <-ctx.Done():
				return
			}
			continue
		}
		if c.limiter != nil && c.limiter.Wait(ctx) != nil {
			return
		}
		select {
		case work <- d:
		case <-ctx.Done():
			return
		}
	}
}

func (c *Consumer) handle(work <-chan *delivery) {
	for d := range work {
		if c.begin(d) {
			err := c.handler(d.owner.ctx, d.message)
			c.end(d, err, time.Now())
		}
	}
}

func (c *Consumer) commitRegularly(ctx context.Context) {
	tick := time.NewTicker(commitInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.commit(ctx, c.owned())
		case <-ctx.Done():
			return
		}
	}
}

// leave ends the membership in good order, if the handlers let it: some that do
// not return are abandoned.
func (c *Consumer) leave() (abandoned bool, err error) {
	c.mu.Lock()
	c.stopping = true
	all := map[string][]int32{}
	for tp := range c.assigned {
		all[tp.topic] = append(all[tp.topic], tp.partition)
	}
	c.mu.Unlock()

	ps := c.closePartitions(all)
	n := c.drain(ps, c.config.drain)
	err = c.commit(context.Background(), ps)
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	c.client.AllowRebalance()
	if lerr := c.client.LeaveGroupContext(ctx); lerr != nil {
		err = errors.Join(err, fmt.Errorf("leaving: %w", lerr))
	}
	c.client.Close()
	if n > 0 {
		err = errors.Join(err, fmt.Errorf("%d handlers did not return within %v and a moment: their messages will be delivered again", n, c.config.drain))
	}
	return n > 0, err
}

func (c *Consumer) owned() []*partition {
	c.mu.Lock()
	defer c.mu.Unlock()
	ps := make([]*partition, 0, len(c.assigned))
	for _, p := range c.assigned {
		if !p.closing {
			ps = append(ps, p)
		}
	}
	return ps
}

// fatal says whether a fetch error is one that only people can mend.
func fatal(err error) bool {
	for _, e := range []error{
		kgo.ErrClientClosed, kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed,
		kerr.SaslAuthenticationFailed, kerr.UnsupportedSaslMechanism, kerr.InvalidTopicException, kerr.InvalidGroupID,
		kerr.InvalidSessionTimeout, kerr.InconsistentGroupProtocol, kerr.UnsupportedVersion,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func fetchError(e kgo.FetchError) error {
	if e.Topic == "" {
		return e.Err
	}
	return fmt.Errorf("reading topic %q partition %d: %w", e.Topic, e.Partition, e.Err)
}

// fetchFailed tells the listener, once for a topic that is not there.
func (c *Consumer) fetchFailed(e kgo.FetchError) {
	if errors.Is(e.Err, kerr.UnknownTopicOrPartition) {
		c.mu.Lock()
		known := c.missing[e.Topic]
		c.missing[e.Topic] = true
		c.mu.Unlock()
		if known {
			return
		}
	}
	c.config.listen(FetchFailed{Group: c.group, Topic: e.Topic, Partition: e.Partition, Err: e.Err})
}

// answerQuestions starts the member of the check-back group; Close ends it.
func (p *TransactionProducer) answerQuestions() {
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	go func() {
		defer close(p.stopped)
		err := p.asked.Run(ctx)
		p.mu.Lock()
		p.failed = err
		p.mu.Unlock()
	}()
}
