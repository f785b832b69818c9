package sdk

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// room is how many messages may be fetched now.
func (c *Consumer) room() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.paused || c.held >= maxHeldBytes {
		return 0
	}
	return max(0, maxWaiting-len(c.backlog.fresh))
}

// admit takes fetched records over. Between the fetch and this the group does not
// rebalance (kgo.BlockRebalanceOnPoll), so the records belong to what is assigned.
func (c *Consumer) admit(records []*kgo.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range records {
		p := c.assigned[topicPartition{r.Topic, r.Partition}]
		if p == nil || p.closing || !p.tracker.deliver(r.Offset, r.LeaderEpoch) {
			continue
		}
		d := &delivery{message: received(r), owner: p}
		c.held += d.bytes()
		c.backlog.push(d)
		if !p.paused && p.tracker.span() >= maxSpan {
			p.paused = true
			c.client.PauseFetchPartitions(p.asMap())
		}
	}
	wake(c.wakeHandlers)
}

// take is the next message for a handler. If there is none now, wait is when to
// look again, 0 if only a wake-up can bring one.
func (c *Consumer) take(now time.Time) (d *delivery, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.paused {
		return nil, 0
	}
	for {
		d, wait = c.backlog.pop(now)
		if d == nil || !d.owner.closing {
			break
		}
		c.held -= d.bytes()
	}
	wake(c.wakePoll)
	return d, wait
}

// begin says whether a handler may run: not if the partition was taken away since.
func (c *Consumer) begin(d *delivery) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.owner.closing {
		c.held -= d.bytes()
		return false
	}
	d.owner.running++
	d.message.Attempt++
	return true
}

// end notes what a handler made of a message.
func (c *Consumer) end(d *delivery, err error, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := d.owner
	p.running--
	if p.closing && p.running == 0 {
		close(p.drained)
	}
	switch {
	case err == nil:
		p.tracker.finish(d.message.Offset)
		c.held -= d.bytes()
		if p.paused && !p.closing && p.tracker.span() < maxSpan/2 {
			p.paused = false
			c.client.ResumeFetchPartitions(p.asMap())
		}
	case p.closing:
		c.held -= d.bytes()
	default:
		delay := retryDelay(d.message.Attempt)
		c.config.listen(HandlerFailed{Message: d.message, Err: err, RetryIn: delay})
		c.backlog.rest(d, now.Add(delay))
		wake(c.wakeHandlers)
	}
	wake(c.wakePoll)
}

func (p *partition) asMap() map[string][]int32 {
	return map[string][]int32{p.topic: {p.topicPartition.partition}}
}
