package broker

import (
	"context"
	"errors"
	"time"

	"github.com/splashdam/splashdam/broker/commitlog"
)

// This file reads what lies on the disk before somebody needs it: one shard after the
// other, no faster than log.scrub.io.max.bytes.per.second.

const (
	// scrubStep is how much is read at once, in bytes.
	scrubStep = 256 << 10
	// scrubPeriod is from the beginning of a pass over a shard to that of the next.
	scrubPeriod = 24 * time.Hour
	// scrubDelay leaves the first moments of a node to others. As often it is looked
	// whether a pass is due.
	scrubDelay = time.Minute
)

// scrub goes through the shards again and again until the context ends.
func (b *Broker) scrub(ctx context.Context) {
	shards := []*Shard{b.meta}
	for _, s := range b.shards {
		shards = append(shards, s)
	}
	scrubbers := make([]*commitlog.Scrubber, len(shards))
	for i, s := range shards {
		var err error
		if scrubbers[i], err = s.log.Scrub(); err != nil {
			s.logs.log.Warn("the log is not scrubbed", "cause", err)
			continue
		}
		defer scrubbers[i].Close() // nothing is lost with it
	}
	for pause(ctx, scrubDelay) {
		for i, s := range shards {
			if scrubbers[i] == nil {
				continue
			}
			if err := s.scrub(ctx, scrubbers[i]); err != nil && !errors.Is(err, commitlog.ErrClosed) {
				s.logs.log.Warn("scrubbing", "cause", err)
			}
		}
	}
}

// scrub makes a pass, or ends the one that was begun, if one is due.
func (s *Shard) scrub(ctx context.Context, c *commitlog.Scrubber) error {
	for c.Due(time.Now().UnixMilli(), scrubPeriod.Milliseconds()) {
		rate := s.cfg.Settings().ScrubBytesPerSecond
		n, done, err := c.Step(time.Now().UnixMilli(), min(scrubStep, rate))
		if err != nil || done {
			return err
		}
		if !pause(ctx, time.Duration(float64(n)/float64(rate)*float64(time.Second))) {
			return nil
		}
	}
	return nil
}

// pause waits. It reports false if the context has ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// damaged tells of a damaged place on the disk, once for each.
func (s *Shard) damaged(c *commitlog.CorruptionError) {
	s.logs.log.Error("damage on the disk: what is in that place cannot be read, all else can; splashdam verify says what to do",
		"dir", s.cfg.Dir, "file", c.Segment, "address", c.Address.String(), "cause", c.Err)
}
