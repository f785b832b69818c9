package broker

import (
	"context"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/compaction"
	"github.com/splashdam/splashdam/broker/record"
)

// cleaner deletes what is of no use any more from the logs of a node's shards. There is
// one for all of them, on one goroutine: it shares the disk with everybody else.
type cleaner struct {
	b     *Broker
	pace  pace
	known map[*Shard]*cleanedShard
}

// cleanedShard is what the cleaner remembers of a shard.
type cleanedShard struct {
	sizes    retention
	retained time.Time
	seen     standing
	seenAt   time.Time     // when it was looked at last
	took     time.Duration // how long that took
}

// standing is all that decides what can be cleaned, but for the time, by which delete
// markers go and compaction becomes due: if it is as it was the last time, and that is not
// long ago, there is nothing to do.
type standing struct {
	deaths   uint64
	metadata uint64
	snapshot record.Index
	segments int
	urgent   bool
}

// wasteShare of a segment is how much must be dead in what cannot be cleaned yet before
// it is made so that it can: the open segment ended, a snapshot taken.
const wasteShare = 16

// restShare is how many times as long as it took to look at a shard the cleaner leaves
// it alone: where deaths are many and the log is long, it would do nothing else.
const restShare = 5

// urgentWaste is the same while the disk is low, in bytes.
const urgentWaste = 1 << 20

func newCleaner(b *Broker) *cleaner {
	return &cleaner{b: b, known: make(map[*Shard]*cleanedShard)}
}

// pause is how long to wait for the next round.
func (c *cleaner) pause() time.Duration {
	ms := min(c.b.settings().CleanerBackoffMs, maxWaitMs)
	for s := range c.known {
		if s.status.Load().hurry() {
			ms = min(ms, urgentBackoffMs)
		}
	}
	return time.Duration(ms) * time.Millisecond
}

const (
	// maxWaitMs is the longest time that a time.Duration holds, in ms.
	maxWaitMs = int64(math.MaxInt64 / time.Millisecond)
	// urgentBackoffMs is how long the cleaner rests while the disk is low, in ms.
	urgentBackoffMs = int64(1000)
)

// hurry reports whether what may be deleted should be at once.
func (st *status) hurry() bool { return st.scarce || st.low || st.full }

// round looks at every shard once. What fails is logged, and tried again in the next.
func (c *cleaner) round(ctx context.Context) {
	shards := []*Shard{c.b.meta}
	for _, id := range c.b.view().Shards() {
		if s := c.b.shards[id]; s != nil {
			shards = append(shards, s)
		}
	}
	for _, s := range shards {
		k := c.known[s]
		if k == nil {
			k = &cleanedShard{sizes: retention{}}
			c.known[s] = k
		}
		every := c.b.settings().RetentionCheckMs
		if k.retained.IsZero() || time.Since(k.retained).Milliseconds() >= every || s.status.Load().hurry() {
			k.retained = time.Now()
			if err := c.b.retain(ctx, s, k.sizes); err != nil && ctx.Err() == nil {
				s.logs.cleaner.Warn("moving the log starts of partitions by their retention", "cause", err)
			}
		}
		if err := c.clean(ctx, s, k); err != nil && ctx.Err() == nil {
			s.logs.cleaner.Warn("cleaning the log", "dir", s.cfg.Dir, "cause", err)
		}
		if ctx.Err() != nil {
			return
		}
	}
}

func (c *cleaner) clean(ctx context.Context, s *Shard, k *cleanedShard) error {
	st := s.status.Load()
	if st.failed != nil {
		return nil // fenced: nothing is written any more
	}
	now := standing{deaths: s.deaths.Load(), metadata: c.b.view().Version(), segments: len(s.log.Segments()), urgent: st.hurry()}
	if snap := s.log.Snapshot(); snap != nil {
		now.snapshot = snap.Index
	}
	rested := time.Since(k.seenAt)
	if k.seen == now && rested.Milliseconds() < s.cfg.Settings().RetentionCheckMs || rested < restShare*k.took && !now.urgent {
		return nil
	}
	begin := time.Now()
	clock, err := s.leaderTime(ctx)
	if err != nil {
		return err
	}
	done, err := s.log.Clean(c.judge(s), commitlog.CleanOptions{
		SegmentSize: s.cfg.Settings().SegmentBytes,
		KeyMapBytes: s.cfg.Settings().CleanerKeyMapBytes,
		Now:         clock,
		Pace:        func(n int) error { return c.pace.wait(ctx, n, c.b.settings().CleanerBytesPerSecond) },
		Urgent:      now.urgent,
		MinFree:     s.cfg.Settings().MinFreeBytes,
	})
	k.took, k.seenAt = time.Since(begin), time.Now()
	if err != nil {
		return err
	}
	enough, share := s.cfg.Settings().SegmentBytes/wasteShare, int64(2)
	if now.urgent {
		enough, share = min(enough, urgentWaste), wasteShare
	}
	roll := done.OpenOverdue || done.OpenWaste >= enough && share*done.OpenWaste >= s.log.OpenSegmentSize()
	snapshot := done.SealedOverdue || done.SealedWaste >= enough
	if !roll && !snapshot && done.Removed+done.Rewritten == 0 {
		k.seen = now
		return nil
	}
	return s.host.Call(ctx, func() { s.tidy(roll, snapshot) })
}

// tidy makes that more can be cleaned: what is full and behind two snapshots. A
// snapshot needs an entry of its own, and where nobody writes an empty one will do.
func (s *Shard) tidy(roll, snapshot bool) {
	s.rollDue = s.rollDue || roll && s.leading != nil
	if snapshot && !s.since.running {
		if newest := s.log.Snapshot(); newest == nil || newest.Index < s.applied {
			s.takeSnapshot()
		} else {
			s.since.wanted = true
			s.entryDue = s.leading != nil
		}
	}
	s.host.Wake()
}

// rollByAge ends a segment that is log.roll.ms old, so that what is in it can be
// deleted though little is written.
func (s *Shard) rollByAge(now int64) {
	if s.segmentBegun > 0 && now-s.segmentBegun >= s.cfg.Settings().RollMs {
		s.rollDue = true
		s.segmentBegun = now
		s.host.Wake()
	}
}

// follow keeps account of the open segment's age. Entries of Raft's own have no time.
func (s *Shard) follow(e record.Entry) {
	switch {
	case e.Rolls():
		s.segmentBegun = 0
	case s.segmentBegun == 0:
		s.segmentBegun = e.Time()
	}
}

// judge says what of a shard's log is of use, by what was applied.
type judge struct {
	*Shard
	compacted map[record.PartitionID]cluster.TopicSettings
}

// judge reads which partitions are compacted now.
func (c *cleaner) judge(s *Shard) judge {
	j := judge{s, make(map[record.PartitionID]cluster.TopicSettings)}
	for _, t := range c.b.view().Topics() {
		set := c.b.settings().Topic(t)
		if !set.Compacted {
			continue
		}
		for _, p := range t.Partitions {
			if p.Shard == s.id {
				j.compacted[p.ID] = set
			}
		}
	}
	return j
}

func (j judge) Compacted() []record.PartitionID {
	return slices.Sorted(maps.Keys(j.compacted))
}

func (j judge) Judge(p record.PartitionID) commitlog.Verdict {
	j.mu.RLock()
	defer j.mu.RUnlock()
	bounds, open := j.partitions.Bounds(p)
	switch {
	case p == record.Halves:
		held := make([]int64, 0, j.halves.Undecided())
		j.halves.EachHeld(func(offset int64) { held = append(held, offset) })
		slices.Sort(held)
		return commitlog.Verdict{Holds: func(base int64) bool { _, ok := slices.BinarySearch(held, base); return ok }}
	case p.Hidden():
		return commitlog.Verdict{} // of a kind that this version does not know
	case !open:
		return commitlog.Verdict{Start: math.MaxInt64, Closed: true}
	}
	v := commitlog.Verdict{Start: bounds.LogStart}
	if set, ok := j.compacted[p]; ok {
		v.Compaction = &compaction.Policy{
			MinDirtyRatio: set.MinCleanableDirtyRatio, MinLag: set.MinCompactionLagMs, MaxLag: set.MaxCompactionLagMs,
			DeleteRetention: set.DeleteRetentionMs, Stable: bounds.LastStable,
		}
	}
	return v
}

// pace spreads bytes over time.
type pace struct{ next time.Time }

// wait returns when it is the turn of n more bytes.
func (p *pace) wait(ctx context.Context, n int, perSecond int64) error {
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	ahead := p.next.Sub(now)
	p.next = p.next.Add(time.Duration(float64(n) / float64(perSecond) * float64(time.Second)))
	if ahead < paceSlice {
		return ctx.Err()
	}
	select {
	case <-time.After(ahead):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// paceSlice is how far ahead of its turn anything may be: many short sleeps cost
// more than they even out.
const paceSlice = 10 * time.Millisecond
