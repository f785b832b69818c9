package broker

import (
	"context"
	"fmt"
	"hash/crc32"
	"log/slog"
	"time"

	"github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/kafka"
	"github.com/splashdam/splashdam/broker/partition"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/broker/replica"
	"github.com/splashdam/splashdam/internal/invariant"
	"github.com/splashdam/splashdam/internal/loggers"
	"github.com/splashdam/splashdam/internal/vfs"
	"github.com/splashdam/splashdam/txn"
)

// Machine is a shard that nobody runs: the state machine, the log and the replica of
// a node's Shard, without its goroutines, timers and sockets. Who has it calls one
// method at a time, of it and of its parts, and carries out what Replica.Turn
// returns: so a whole group can live in one goroutine (integration/sim).
type Machine struct {
	// StateMachine is the shard as its replica sees it.
	replica.StateMachine
	Replica *replica.Replica
	Log     *commitlog.Log

	s *Shard
}

// MachineConfig is what a Machine needs. All fields are required.
type MachineConfig struct {
	FS  vfs.FS
	Dir string
	// ID of the replica, and the voters that the group began with.
	ID     uint64
	Voters []uint64
	// SegmentBytes is the size at which a leader ends a segment.
	SegmentBytes int64
	// Now is the node's clock.
	Now    func() time.Time
	Logger *slog.Logger
}

// unrun is the runner of a Machine: its owner does what a Host would.
type unrun struct{ r *replica.Replica }

func (unrun) Run(context.Context) error {
	invariant.That(false, "running a shard that is driven")
	return nil
}
func (unrun) Wake()                                     {}
func (unrun) Call(_ context.Context, f func()) error    { f(); return nil }
func (u unrun) Do(_ context.Context, f func()) error    { f(); return nil }
func (u unrun) ConfState() []byte                       { return u.r.ConfState() }
func (u unrun) LimitSegment(size int64)                 { u.r.LimitSegment(size) }
func (u unrun) Group() (record.Index, []replica.Member) { return u.r.Group() }

// OpenMachine recovers the shard in cfg.Dir, or makes it. wrap, where it is not nil,
// puts something between the replica and the state machine.
func OpenMachine(id record.ShardID, cfg MachineConfig, wrap func(replica.StateMachine) replica.StateMachine) (*Machine, error) {
	settings := *cluster.DefaultBrokerSettings()
	settings.SegmentBytes = cfg.SegmentBytes
	s, err := recoverShard(id, shardConfig{
		FS: cfg.FS, Dir: cfg.Dir, Replica: cfg.ID, Voters: cfg.Voters, Settings: func() *cluster.BrokerSettings { return &settings },
		Groups: groupConfig(&settings), Halves: txn.DefaultPolicy(),
		RetentionOf: func(record.PartitionID) int64 { return -1 },
		Now:         cfg.Now,
		Loggers:     loggers.New(cfg.Logger.Handler(), loggers.Trace, parts...),
	})
	if err != nil {
		return nil, err
	}
	m := &Machine{StateMachine: s, Log: s.log, s: s}
	if wrap != nil {
		m.StateMachine = wrap(s)
	}
	m.Replica, err = replica.New(cfg.ID, s.log, m.StateMachine, cfg.SegmentBytes, raftLogger{s.logs.raft})
	if err != nil {
		s.log.Close()
		return nil, fmt.Errorf("starting shard %d in %s: %w", id, cfg.Dir, err)
	}
	s.host = unrun{m.Replica}
	return m, nil
}

// Tick is called every replica.TickInterval, beside the replica's.
func (m *Machine) Tick(now time.Time) { m.s.Tick(now) }

// Fenced tells the shard that its log can not be written any more.
func (m *Machine) Fenced(err error) { m.s.Failed(err) }

// NoSpace tells the shard that the disk is full, and when that has passed.
func (m *Machine) NoSpace(full bool) { m.s.NoSpace(full) }

// Produce queues a batch for a partition. done is called once, when it is written
// (acks 1), or committed (acks -1), or failed, unless Produce errors.
func (m *Machine) Produce(p record.PartitionID, b record.Batch, acks int16, done func(offset int64, err error)) error {
	return m.s.submit(&appendItem{partition: p, batch: b, acks: acks, done: func(a kafka.Appended) { done(a.BaseOffset, a.Err) }})
}

// OpenPartition, ClosePartition and MoveLogStart queue a command. done is called
// once, when it is committed or failed, unless they error.
func (m *Machine) OpenPartition(p record.PartitionID, done func(error)) error {
	return m.change(partitionChange{id: p, command: partition.OpenCommand([16]byte{byte(p)}, 0)}, done)
}

func (m *Machine) ClosePartition(p record.PartitionID, done func(error)) error {
	return m.change(partitionChange{id: p, command: partition.CloseCommand(), closes: true}, done)
}

func (m *Machine) MoveLogStart(p record.PartitionID, offset int64, done func(error)) error {
	return m.change(partitionChange{id: p, command: partition.LogStartCommand(offset)}, done)
}

func (m *Machine) change(c partitionChange, done func(error)) error {
	return m.s.submit(&partitionItem{changes: []partitionChange{c}, done: done})
}

// Bounds is where a partition begins and ends, false if it is not open.
func (m *Machine) Bounds(p record.PartitionID) (partition.Bounds, bool) {
	m.s.mu.RLock()
	defer m.s.mu.RUnlock()
	return m.s.partitions.Bounds(p)
}

// TakeSnapshot captures the state of this moment, unless a snapshot is being written
// or there is nothing new; then it is Due.
func (m *Machine) TakeSnapshot() {
	if !m.s.since.running && m.s.applied > m.s.log.Snapshot().Index {
		m.s.takeSnapshot()
	}
}

// Due is a snapshot that was captured: write writes it, once, at any time later.
func (m *Machine) Due() (write func() error, due bool) {
	select {
	case c := <-m.s.captured:
		return func() error { return m.s.writeSnapshot(context.Background(), c) }, true
	default:
		return nil, false
	}
}

// Clean deletes what is dead, as the node's cleaner does. No partition is compacted.
func (m *Machine) Clean() (commitlog.Cleaned, error) {
	return m.s.log.Clean(judge{m.s, nil}, commitlog.CleanOptions{
		SegmentSize: m.s.cfg.Settings().SegmentBytes,
		Pace:        func(int) error { return nil },
	})
}

// StateSum is a checksum over all of the applied half, which is equal on all replicas
// that have applied the same entries.
func (m *Machine) StateSum() uint32 {
	var sum uint32
	for _, sec := range m.s.capture().encode().Sections {
		sum = crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), sec.Data)
	}
	return sum
}
