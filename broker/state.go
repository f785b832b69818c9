package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kbin"

	"github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/group"
	"github.com/splashdam/splashdam/broker/partition"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/txn"
)

// The sections of a shard's snapshot, one per part of the state.
const (
	sectionShard     = "shard"
	sectionPartition = "partition"
	sectionGroup     = "group"
	sectionTxn       = "txn"
	sectionCluster   = "cluster"
	// sectionTransaction has Kafka's transactions, where sectionTxn has half messages.
	sectionTransaction = "transaction"
)

const (
	// A snapshot is taken when snapshotGrowth times its size has been appended
	// since the last one, or snapshotEntries entries: so a start scans a rest that
	// is bounded by the size of the state, never the log.
	snapshotGrowth  = 4
	snapshotMinimum = 64 << 20
	snapshotEntries = 1_000_000
)

// growth is what was appended since the last snapshot, and how large that was.
type growth struct {
	bytes, entries, last int64
	running              bool
	wanted               bool // with the next entry, by the cleaner
}

// capture is the state at one moment: views that no longer change.
type capture struct {
	snapshot     commitlog.Snapshot // but for its sections
	time         int64
	partitions   *partition.View
	groups       *group.View
	halves       *txn.View
	transactions *txn.TransactionsView
	cluster      *cluster.View
}

// grown counts an applied entry and, when it is time, captures the state for the
// snapshot writer. Capturing copies pointers and stops nobody.
func (s *Shard) grown(e record.Entry) {
	s.since.bytes += int64(len(e))
	s.since.entries++
	if e.IsConfChange() {
		// A new member can be sent only a snapshot that names it.
		s.since.wanted = true
	}
	due := s.since.wanted || s.since.bytes >= max(snapshotMinimum, snapshotGrowth*s.since.last) || s.since.entries >= snapshotEntries
	if due && !s.since.running {
		s.takeSnapshot()
	}
}

func (s *Shard) takeSnapshot() {
	s.since.bytes, s.since.entries, s.since.running, s.since.wanted = 0, 0, true, false
	s.captured <- s.capture()
}

func (s *Shard) capture() capture {
	return capture{
		snapshot:     commitlog.Snapshot{Index: s.applied, Term: s.appliedIn, Level: level, ConfState: s.host.ConfState(), Time: s.time},
		partitions:   s.partitions.View(),
		groups:       s.groups.View(),
		halves:       s.halves.View(),
		transactions: s.transactions.View(),
		cluster:      s.cluster.Load(),
	}
}

// encode makes the snapshot of a capture. It runs outside the loop.
func (c capture) encode() *commitlog.Snapshot {
	snap := c.snapshot
	snap.Sections = []commitlog.Section{
		{Name: sectionShard, Data: kbin.AppendInt64(nil, snap.Time)},
		{Name: sectionPartition, Data: c.partitions.Encode()},
		{Name: sectionGroup, Data: c.groups.Encode()},
		{Name: sectionTxn, Data: c.halves.Encode()},
		{Name: sectionTransaction, Data: c.transactions.Encode()},
		{Name: sectionCluster, Data: c.cluster.Encode()},
	}
	return &snap
}

// writeSnapshot writes what was captured and tells the loop. It is called by the
// shard's snapshot writer.
func (s *Shard) writeSnapshot(ctx context.Context, c capture) error {
	snap := c.encode()
	var size int64
	for _, sec := range snap.Sections {
		size += int64(len(sec.Data))
	}
	err := s.log.WriteSnapshot(snap)
	if ended := s.host.Call(ctx, func() {
		s.since.running = false
		if err == nil {
			s.since.last = size
		}
	}); ended != nil {
		return nil // the loop has ended, and nobody counts any more
	}
	if errors.Is(err, commitlog.ErrStale) {
		return nil // a newer one has come from the leader
	}
	if err != nil {
		return fmt.Errorf("writing the snapshot of shard %d at index %d: %w", s.id, snap.Index, err)
	}
	return nil
}

// writeLastSnapshot writes one of all that was applied, so that the next start scans
// nothing, and needs no entry: a shard that is seldom written has no other. It is called at
// an orderly end, behind the loop and the snapshot writer.
func (s *Shard) writeLastSnapshot() {
	if newest := s.log.Snapshot(); s.status.Load().failed != nil || s.applied <= newest.Index {
		return
	}
	if err := s.log.WriteSnapshot(s.capture().encode()); err != nil {
		s.logs.log.Warn("writing a snapshot at the end: the next start scans the log instead", "cause", err)
	}
}

// Restore sets the applied half to a snapshot that a leader has sent.
func (s *Shard) Restore(snap *commitlog.Snapshot) error {
	s.mu.Lock()
	err := s.restore(snap)
	s.mu.Unlock()
	s.watch.wakeAll()
	s.changed()
	return err
}

// restore sets the applied half to a snapshot's. Sections that it does not have
// are empty: so begins a new shard.
func (s *Shard) restore(snap *commitlog.Snapshot) error {
	if snap.Level > level {
		return fmt.Errorf("%w: start that version: the state is of level %d, this one understands %d", ErrNewerVersion, snap.Level, level)
	}
	s.partitions, s.groups, s.halves = partition.NewTable(), group.NewState(), txn.NewHalves()
	s.transactions = txn.NewTransactions()
	s.cluster.Store(cluster.Empty())
	s.applied, s.appliedIn = snap.Index, snap.Term
	s.since.bytes, s.since.entries, s.since.last = 0, 0, 0
	for _, sec := range snap.Sections {
		var err error
		switch sec.Name {
		case sectionShard:
			r := kbin.Reader{Src: sec.Data}
			s.time = r.Int64()
			err = r.Complete()
		case sectionPartition:
			s.partitions, err = partition.Restore(sec.Data)
		case sectionGroup:
			s.groups, err = group.Restore(sec.Data)
		case sectionTxn:
			s.halves, err = txn.RestoreHalves(sec.Data)
		case sectionTransaction:
			s.transactions, err = txn.RestoreTransactions(sec.Data)
		case sectionCluster:
			var v *cluster.View
			v, err = cluster.Restore(sec.Data)
			s.cluster.Store(v)
		default:
			err = fmt.Errorf("unknown section")
		}
		if err != nil {
			return fmt.Errorf("section %q of snapshot %d: %w", sec.Name, snap.Index, err)
		}
		s.since.last += int64(len(sec.Data))
	}
	return nil
}
