package broker

import (
	"time"

	"github.com/splashdam/splashdam/broker/replica"
)

// This file is what only the leader of a shard does, by the clock.

const (
	ticksPerSecond = int(time.Second / replica.TickInterval)
	ticksPerMinute = 60 * ticksPerSecond
	// maxActions bounds what is done about undecided half messages at a time.
	maxActions = 1024
	// maxExpired bounds the producers that are forgotten at a time.
	maxExpired = 4096
	// scarce is how many times disk.min.free.bytes must be free, so that the cleaner
	// need not hurry.
	scarce = 8
	// unseenLimit is how much a shard writes until it looks again how much of the disk is
	// free; whatever it writes, it looks every second.
	unseenLimit = 2 << 20
)

// Tick does what is due.
func (s *Shard) Tick(time.Time) {
	s.ticks++
	if s.ticks%ticksPerSecond == 0 {
		s.checkSpace()
	}
	s.dueRoom()
	s.host.LimitSegment(s.cfg.Settings().SegmentBytes)
	l := s.leading
	if l == nil {
		return
	}
	now := s.clock.now()
	s.rollByAge(now)
	s.carryOut(l.groups.Tick(now))
	s.dueHalves(l, now)
	s.sendMarkers()
	if s.ticks%ticksPerSecond == 0 {
		s.dueVerifications(now)
		s.dueTransactions(l, now)
	}
	if s.ticks%ticksPerMinute == 0 {
		s.expireProducers(l, now)
	}
}

// checkSpace refuses batches before the disk is full to the last byte: commands that
// make room must still find some. Before that the cleaner hurries.
func (s *Shard) checkSpace() {
	s.unseen = 0
	free, err := s.cfg.FS.Free(s.cfg.Dir)
	if err != nil {
		s.logger.Warn("asking how much room the disk has", "dir", s.cfg.Dir, "cause", err)
		return
	}
	st, minFree := s.status.Load(), s.cfg.Settings().MinFreeBytes
	if scarce := free/scarce < minFree; scarce != st.scarce {
		s.setStatus(func(st *status) { st.scarce = scarce })
		if scarce {
			s.hurry()
		}
	}
	if low := free < minFree; low != st.low {
		s.setStatus(func(st *status) { st.low = low })
		if low {
			s.logger.Error("the disk is nearly full: batches are refused, reads and deletions go on", "dir", s.cfg.Dir, "free_bytes", free, "limit_bytes", minFree)
		} else {
			s.logger.Info("there is room on the disk again", "dir", s.cfg.Dir, "free_bytes", free)
		}
	}
}

// dueRoom has the log's next segment prepared. With async flush nobody waits for a
// sync, which is all that prepared room makes faster, and the bytes would be written
// twice for nothing.
func (s *Shard) dueRoom() {
	if s.cfg.Flush != replica.FlushSync || s.status.Load().failed != nil || !s.log.PreparePending() {
		return
	}
	select {
	case s.roomDue <- struct{}{}:
	default: // at work
	}
}

// dueHalves hands what is due about half messages to its worker, unless that is
// still busy with the last lot. As long as nothing is due it costs next to nothing.
func (s *Shard) dueHalves(l *leading, now int64) {
	if len(s.halfWork) > 0 {
		return
	}
	if actions := l.halves.Due(now, maxActions); len(actions) > 0 {
		s.halfWork <- actions
	}
}

// expireProducers forgets producers that have not been heard of for long.
func (s *Shard) expireProducers(l *leading, now int64) {
	var changes []partitionChange
	for _, e := range l.partitions.ExpiredProducers(now, s.cfg.Settings().ProducerIDExpirationMs, maxExpired) {
		changes = append(changes, partitionChange{id: e.Partition, command: e.Command})
	}
	if len(changes) == 0 {
		return
	}
	// What fails is found expired again in a minute.
	if err := s.queue.pushNow(&partitionItem{changes: changes, done: func(error) {}}); err != nil {
		s.logger.Debug("expiring producers", "cause", err)
	}
}
