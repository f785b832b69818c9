package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/group"
	"github.com/splashdam/splashdam/broker/partition"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/broker/replica"
	"github.com/splashdam/splashdam/internal/vfs"
	"github.com/splashdam/splashdam/txn"
)

// Shard is the state machine of one Raft group: it hands each part of an entry to
// the part of the state that owns it, and, while it leads, decides what the next
// entry is.
//
// The applied half is changed by Apply only, in the loop, under mu; anybody may
// read it under mu. The leading half belongs to the loop alone. What the rest of
// the node wants decided comes as items through the queue (gather.go), or as calls
// into the loop (host.Call).
type Shard struct {
	id     record.ShardID
	cfg    shardConfig
	log    *commitlog.Log
	host   runner
	queue  *queue
	watch  watchers
	logger *slog.Logger

	mu         sync.RWMutex
	partitions *partition.Table
	groups     *group.State
	halves     *txn.Halves
	// transactions are those that the shard coordinates.
	transactions *txn.Transactions
	time         int64 // the leader's clock in the last entry applied, ms
	applied      record.Index
	appliedIn    record.Term

	// cluster is the metadata: of shard 0 only. Readers take the pointer.
	cluster atomic.Pointer[cluster.View]
	// changed is called, in the loop, after the metadata has changed, before who asked
	// for that is answered, or the lead was taken.
	changed func()

	// hurry is called, in the loop, when there is little room on the disk.
	hurry func()

	// status is what others may know of the lead.
	status atomic.Pointer[status]

	// The rest belongs to the loop.
	leading   *leading
	clock     clock
	gathered  []item
	inFlight  []proposal
	touched   []record.PartitionID
	waiting   map[group.Token]chan<- kmsg.Response // for a group's coordinator
	lastTok   group.Token
	since     growth // what was appended since the last snapshot
	captured  chan capture
	halfWork  chan []txn.Action
	roomDue   chan struct{}
	verifying verifying
	// peers are the shards that take part in transactions: nil of a Machine.
	peers transactionPeers
	// act carries out what is due about half messages.
	act    func(context.Context, []txn.Action)
	ticks  int
	unseen int // bytes written since the free room of the disk was looked at
	// The next entry, be it empty: wanted as such, or to end the segment.
	entryDue, rollDue bool
	segmentBegun      int64 // the leader's time in the segment's first entry; 0 before it, ms

	// deaths counts the commands that may have left something for the cleaner.
	deaths atomic.Uint64
}

// runner is what runs a shard's replica: a replica.Host or, of a Machine, nobody.
type runner interface {
	Run(ctx context.Context) error
	// Wake says that Next has something.
	Wake()
	// Call and Do run f in the loop; Call does not wait for it.
	Call(ctx context.Context, f func()) error
	Do(ctx context.Context, f func()) error
	// ConfState is the members of the group, encoded. It is called in the loop only.
	ConfState() []byte
	// LimitSegment changes the size at which a leader ends a segment. It is called in the
	// loop only.
	LimitSegment(size int64)
	// Group is the group's members as their leader knows them, and the last committed
	// entry. It is called in the loop only.
	Group() (committed record.Index, members []replica.Member)
}

// shardConfig is what a shard needs of the node's configuration.
type shardConfig struct {
	FS       vfs.FS
	Dir      string
	Replica  uint64 // this node's replica of the shard
	Voters   []uint64
	Settings func() *cluster.BrokerSettings // those that hold now
	Flush    replica.FlushPolicy
	Groups   group.Config
	Halves   txn.Policy
	// Transactions bounds what the shard coordinates.
	Transactions txn.CoordinatorConfig
	// RetentionOf gives a topic partition's retention.ms, for parked half messages.
	RetentionOf func(record.PartitionID) int64
	// Now is the node's clock.
	Now    func() time.Time
	Logger *slog.Logger
}

// level is the state's level: what a binary must understand to apply this log.
const level = 1

// status is the shard as the rest of the node sees it.
type status struct {
	leading bool
	term    record.Term
	full    bool  // a write found no room on the disk
	low     bool  // there is too little room for batches
	scarce  bool  // there is little room
	failed  error // the log cannot be written any more
}

// leading is the leading half of all parts: built when the first entry of a term
// is applied, dropped with the lead.
type leading struct {
	term       record.Term
	partitions *partition.Leading
	groups     *group.Coordinator
	halves     *txn.Leading
	// transactions are those that the shard coordinates, wherever their partitions are.
	transactions *txn.Coordinator
	cluster      *cluster.Controller // shard 0 only
}

func (l *leading) applied(at record.Index) {
	l.partitions.Applied(at)
	l.halves.Applied(at)
	l.transactions.Applied(at)
}

// mark is a moment to which undo takes all decisions back.
type mark struct {
	partitions partition.Mark
	halves     txn.Mark
}

func (l *leading) mark() mark { return mark{l.partitions.Mark(), l.halves.Mark()} }

func (l *leading) undo(m mark) {
	l.partitions.Undo(m.partitions)
	l.halves.Undo(m.halves)
}

func (l *leading) dropped(at record.Index) {
	l.partitions.Dropped(at)
	l.halves.Dropped(at)
	l.transactions.Dropped(at)
}

// openShard recovers the shard in cfg.Dir, or makes it. A Host will run it.
func openShard(id record.ShardID, cfg shardConfig) (*Shard, error) {
	s, err := recoverShard(id, cfg)
	if err != nil {
		return nil, err
	}
	s.host, err = replica.NewHost(replica.Config{
		ID:           s.cfg.Replica,
		Log:          s.log,
		StateMachine: s,
		SegmentSize:  s.cfg.Settings().SegmentBytes,
		Flush:        s.cfg.Flush,
		Logger:       raftLogger{s.logger},
	})
	if err != nil {
		s.log.Close()
		return nil, fmt.Errorf("starting shard %d in %s: %w", id, cfg.Dir, err)
	}
	return s, nil
}

// recoverShard opens or makes the log in cfg.Dir and sets the applied half to its
// newest snapshot. It lacks what runs it.
func recoverShard(id record.ShardID, cfg shardConfig) (*Shard, error) {
	s := &Shard{
		id: id, cfg: cfg,
		logger:    cfg.Logger.With("shard", id),
		clock:     clock{read: cfg.Now},
		captured:  make(chan capture, 1),
		halfWork:  make(chan []txn.Action, 1),
		roomDue:   make(chan struct{}, 1),
		waiting:   make(map[group.Token]chan<- kmsg.Response),
		verifying: verifying{lanes: make(map[producerOf]*lane)},
		changed:   func() {},
		hurry:     func() {},
	}
	log, err := commitlog.Open(cfg.FS, cfg.Dir, commitlog.Options{Damaged: s.damaged})
	if errors.Is(err, commitlog.ErrFutureVersion) {
		err = fmt.Errorf("%w: start that version: %w", ErrNewerVersion, err)
	}
	if _, ok := errors.AsType[*commitlog.CorruptionError](err); ok {
		err = fmt.Errorf("%w; splashdam verify --repair says what can be done about it", err)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the log of shard %d in %s: %w", id, cfg.Dir, err)
	}
	s.log = log
	s.status.Store(&status{})
	s.queue = newQueue(s.notLeader())
	if err := s.start(); err != nil {
		log.Close()
		return nil, fmt.Errorf("starting shard %d in %s: %w", id, cfg.Dir, err)
	}
	return s, nil
}

func (s *Shard) start() error {
	for _, w := range s.log.Warnings() {
		s.logger.Warn("recovering the log", "finding", w)
	}
	if s.log.Snapshot() == nil {
		if err := replica.Bootstrap(s.log, s.cfg.Voters, level); err != nil {
			return err
		}
	}
	return s.restore(s.log.Snapshot())
}

// submit queues an item and wakes the loop. On an error the item is not ended.
func (s *Shard) submit(it item) error {
	if err := s.queue.push(it); err != nil {
		return err
	}
	s.host.Wake()
	return nil
}

// call runs f in the loop, with the leading half, or errors if this node does not
// lead. It does not wait for f.
func (s *Shard) call(ctx context.Context, f func(l *leading)) error {
	if !s.status.Load().leading {
		return s.notLeader()
	}
	return s.host.Call(ctx, func() { f(s.leading) })
}

func (s *Shard) notLeader() error {
	return fmt.Errorf("shard %d is not led by this node: %w", s.id, kerr.NotLeaderForPartition)
}

// Lead builds the leading half.
func (s *Shard) Lead(term record.Term) {
	s.clock.set(s.time)
	now := s.clock.now()
	s.leading = &leading{
		term:       term,
		partitions: partition.Lead(s.partitions, term),
		groups:     group.Lead(s.groups, s.cfg.Groups, now),
		halves:     txn.Lead(s.halves, s.cfg.Halves, s.cfg.RetentionOf),

		transactions: txn.Coordinate(s.transactions, s.cfg.Transactions, term, now),
	}
	if s.id == record.MetadataShard {
		s.leading.cluster = cluster.Lead(s.cluster.Load())
	}
	s.queue.open()
	s.setStatus(func(st *status) { st.leading, st.term = true, term })
	s.watch.wakeAll()
	s.changed()
}

// Follow drops the leading half. Whoever waits is told to look for the leader.
func (s *Shard) Follow() {
	s.setStatus(func(st *status) { st.leading = false })
	s.carryOut(s.leading.groups.Resign(s.clock.now()))
	s.leading = nil
	s.queue.close(s.notLeader())
	s.abandon(s.notLeader(), everything)
	// What was in flight may be cut, and then others take these indexes.
	s.inFlight = nil
	s.watch.wakeAll()
}

// NoSpace refuses batches while the disk is full, and answers those that wait.
func (s *Shard) NoSpace(full bool) {
	s.setStatus(func(st *status) { st.full = full })
	if full {
		s.logger.Error("the disk is full: batches are refused, reads go on", "dir", s.cfg.Dir)
		s.abandon(errNoSpace, item.refusable)
	} else {
		s.logger.Info("there is room on the disk again", "dir", s.cfg.Dir)
	}
}

// errNoSpace is what a producer hears while the disk is full.
var errNoSpace = fmt.Errorf("the disk is full: %w", kerr.KafkaStorageError)

// Failed fences the shard: nothing is written any more, reads go on.
func (s *Shard) Failed(err error) {
	s.logger.Error("the shard is fenced: it takes no more writes until the node is started again", "cause", err)
	s.setStatus(func(st *status) { st.failed, st.leading = err, false })
	err = fmt.Errorf("shard %d: %w: %w", s.id, kerr.KafkaStorageError, err)
	s.queue.close(err)
	s.abandon(err, everything)
	s.watch.wakeAll()
}

func (s *Shard) setStatus(change func(*status)) {
	st := *s.status.Load()
	change(&st)
	s.status.Store(&st)
}

// Apply changes the applied half by one committed entry.
func (s *Shard) Apply(e record.Entry) error {
	before := s.cluster.Load()
	if err := s.applyParts(e); err != nil {
		return err
	}
	if s.leading != nil {
		s.leading.applied(e.Index())
	}
	if s.cluster.Load() != before {
		s.changed()
	}
	s.answer(e.Index())
	s.sendMarkers()
	s.watch.wake(s.touched)
	s.grown(e)
	s.follow(e)
	return nil
}

func (s *Shard) applyParts(e record.Entry) (err error) {
	s.touched = s.touched[:0]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.time = max(s.time, e.Time())
	e.Each(func(_ int, p record.Part) bool {
		switch p.Kind {
		case record.KindBatch:
			if s.partitions.ApplyBatch(p.Partition, record.Batch(p.Bytes), e.Term(), s.time) {
				s.touched = append(s.touched, p.Partition)
			}
		case record.KindCommand:
			err = s.applyCommand(p)
		case record.KindConfChange:
			// Raft's own, applied by the replica.
		default:
			err = fmt.Errorf("%w: part of unknown kind %d", record.ErrEntry, p.Kind)
		}
		return err == nil
	})
	s.applied, s.appliedIn = e.Index(), e.Term()
	return err
}

func (s *Shard) applyCommand(p record.Part) error {
	c, err := record.ParseCommand(p.Bytes)
	if err != nil {
		return err
	}
	switch c.Owner() {
	case record.OwnerPartition:
		before, _ := s.partitions.Bounds(p.Partition)
		if err := s.partitions.Apply(p.Partition, c, s.time); err != nil {
			return err
		}
		after, open := s.partitions.Bounds(p.Partition)
		if !open {
			s.halves.Close(p.Partition)
			s.log.Forget(p.Partition)
		}
		if !open || after.LogStart > before.LogStart {
			s.deaths.Add(1)
		}
		s.touched = append(s.touched, p.Partition)
		return nil
	case record.OwnerGroup:
		return s.groups.Apply(c, s.time)
	case record.OwnerTxn:
		if _, open := s.partitions.Bounds(p.Partition); !open {
			return nil // its topic was deleted while it was on its way
		}
		before := s.halves.Undecided()
		err := s.halves.Apply(p.Partition, c, s.time)
		if s.halves.Undecided() < before {
			s.deaths.Add(1)
		}
		return err
	case record.OwnerTransaction:
		return s.transactions.Apply(c, s.time)
	case record.OwnerCluster:
		v, err := s.cluster.Load().Apply(c, s.time)
		if err == nil {
			s.cluster.Store(v)
		}
		return err
	default:
		return fmt.Errorf("%w: command of unknown owner %d", record.ErrEntry, c.Owner())
	}
}

// commandItem is a command whose content was decided by a leading half that is
// called from decide.
type commandItem struct {
	about   record.PartitionID
	command func(l *leading, e *pending) (record.Command, error)
	done    func(error)
	refused error
}

func (it *commandItem) size() int       { return 256 }
func (it *commandItem) early() bool     { return false }
func (it *commandItem) refusable() bool { return false }

func (it *commandItem) decide(l *leading, e *pending) (verdict, error) {
	c, err := it.command(l, e)
	if err != nil || c == nil {
		// What this was decided on may be in flight: it is true when that is applied.
		it.refused = err
		return verdict{inFlight: e.newest()}, nil
	}
	e.addCommand(it.about, c)
	return verdict{added: true}, nil
}

func (it *commandItem) end(err error) {
	if err == nil {
		err = it.refused
	}
	it.done(err)
}

// propose submits a command and waits until it is applied. A nil command means
// that there is nothing to change; it returns when all that was decided before, and
// an error of the command too rests on, is applied.
func (s *Shard) propose(ctx context.Context, about record.PartitionID, command func(l *leading, e *pending) (record.Command, error)) error {
	done := make(chan error, 1)
	it := &commandItem{about: about, command: command, done: func(err error) { done <- err }}
	if err := s.submit(it); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("waiting for shard %d: %w", s.id, ctx.Err())
	}
}
