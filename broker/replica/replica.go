package replica

import (
	"errors"
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/invariant"
)

// ErrNotLeader says that this replica may not decide anything now.
var ErrNotLeader = errors.New("not the leader of the shard")

// Raft's clock, in ticks of TickInterval (reliability over speed: two cores stall
// easily, and a needless election costs more than a late one).
const (
	heartbeatTicks = 2
	electionTicks  = 20
)

// StateMachine is what a shard does with its log. The loop calls every method,
// one at a time.
type StateMachine interface {
	// Next fills b with the next entry to propose, to be index at of the term, and
	// returns the leader's time for it; false if nothing waits. The entry may be
	// empty; b.Roll ends the segment with it. Called only while leading.
	Next(b *record.EntryBuilder, at record.Index) (now int64, more bool)
	// Proposed tells what became of the entry that Next filled: in Raft's log as
	// index at, or dropped, and then everything decided for it is undone.
	Proposed(at record.Index, dropped bool)
	// Written tells that this replica has stored all entries up to i.
	Written(i record.Index)
	// Apply changes the state by a committed entry. An error means that this
	// binary does not understand the log: the replica stops for good.
	Apply(e record.Entry) error
	// Lead is called when the first entry of the term is applied here and this
	// replica still leads, Follow when it no longer does.
	Lead(term record.Term)
	Follow()
}

// Replica is one voter of one Raft group. Not safe for concurrent use: it belongs
// to the loop of its Host.
type Replica struct {
	id      uint64
	node    *raft.RawNode
	log     *commitlog.Log
	sm      StateMachine
	builder record.EntryBuilder

	// staging holds the entries from the moment they are proposed (or received)
	// until they are applied, so that storing and applying need not read them.
	staging map[record.Index]record.Entry
	written record.Index // what the appender has stored
	last    record.Index // the last index in Raft's log, stored or not

	leader      bool        // Raft says so
	leading     bool        // and the first entry of the term is applied
	term        record.Term // of which this replica is the leader
	confState   *raftpb.ConfState
	segmentSize int64
	openBytes   int64 // of the segment that the last entry went to
}

// frameOverhead bounds what the log adds to an entry.
const frameOverhead = 40

// Bootstrap makes a log without a snapshot one that a group of the given voters may
// start from: a snapshot at index 0 that names them. The log is empty, or all of it
// is there and its snapshots were damaged; then the voters are those of the first
// time.
func Bootstrap(log *commitlog.Log, voters []uint64, level uint32) error {
	if log.Snapshot() != nil || log.First() != 1 {
		return errors.New("bootstrapping a shard that has a snapshot already")
	}
	cs, err := proto.Marshal(&raftpb.ConfState{Voters: voters, AutoLeave: new(false)})
	if err != nil {
		return fmt.Errorf("encoding the first members: %w", err)
	}
	return log.WriteSnapshot(&commitlog.Snapshot{Level: level, ConfState: cs})
}

// newReplica starts Raft on the log. The state machine has already been restored
// from the log's newest snapshot; everything behind it will be applied again.
func newReplica(id uint64, log *commitlog.Log, sm StateMachine, segmentSize int64, logger raft.Logger) (*Replica, error) {
	snap := log.Snapshot()
	if snap == nil {
		return nil, errors.New("the shard has no snapshot to start from: it was never bootstrapped")
	}
	r := &Replica{
		id: id, log: log, sm: sm, segmentSize: segmentSize,
		staging: make(map[record.Index]record.Entry),
		written: log.Last(), last: log.Last(),
		openBytes: log.OpenSegmentSize(),
	}
	_, cs, err := storage{log}.InitialState()
	if err != nil {
		return nil, err
	}
	r.confState = cs
	r.node, err = raft.NewRawNode(&raft.Config{
		ID:                        id,
		ElectionTick:              electionTicks,
		HeartbeatTick:             heartbeatTicks,
		Storage:                   storage{log},
		Applied:                   uint64(snap.Index),
		AsyncStorageWrites:        true,
		MaxSizePerMsg:             0, // one entry per message: handles are small, payloads are not
		MaxCommittedSizePerReady:  1 << 20,
		MaxInflightMsgs:           128,
		CheckQuorum:               true,
		PreVote:                   true,
		StepDownOnRemoval:         true,
		DisableProposalForwarding: true, // the leader decides; a forwarded decision would be another's
		Logger:                    logger,
	})
	if err != nil {
		return nil, fmt.Errorf("starting Raft: %w", err)
	}
	return r, nil
}

// soleVoter reports whether this replica needs nobody else's vote.
func (r *Replica) soleVoter() bool {
	return len(r.confState.Voters) == 1 && r.confState.Voters[0] == r.id && len(r.confState.VotersOutgoing) == 0
}

// propose asks the state machine for one entry and puts it into Raft's log. It
// reports whether there may be more.
func (r *Replica) propose() bool {
	r.builder.Reset()
	at := r.last + 1
	now, more := r.sm.Next(&r.builder, at)
	if !more {
		return false
	}
	size := int64(r.builder.Size() + frameOverhead)
	roll := r.openBytes+size >= r.segmentSize || r.builder.Rolls()
	e := append(record.Entry(nil), r.builder.Finish(at, r.term, now, roll)...)
	r.staging[at] = e
	err := r.node.Propose(handle(uint32(len(e)), e.Checksum()))
	if err != nil {
		// Raft drops proposals of a replica that is no leader, which the next Ready
		// will tell; there is no other reason here, since no size limit is set.
		delete(r.staging, at)
		r.sm.Proposed(at, true)
		return false
	}
	r.last = at
	r.countFrame(size, roll)
	r.sm.Proposed(at, false)
	return true
}

// countFrame follows how full the segment is that the next entry goes to.
func (r *Replica) countFrame(size int64, roll bool) {
	if roll {
		r.openBytes = 0
		return
	}
	r.openBytes += size
}

// unwritten is how many entries are in Raft's log and not yet stored.
func (r *Replica) unwritten() int { return int(r.last - r.written) }

// appendWork is one message to the appender: what to store, and what Raft hears
// when it is stored.
type appendWork struct {
	hard      *commitlog.HardState
	entries   []record.Entry
	responses []*raftpb.Message
}

// ready takes what Raft wants done: what to store goes to the appender, what is
// committed is applied at once. It returns nil work if there is nothing to store.
func (r *Replica) ready() (work []appendWork, err error) {
	for r.node.HasReady() {
		rd := r.node.Ready()
		if rd.SoftState != nil {
			r.follow(rd.SoftState)
		}
		for _, m := range rd.Messages {
			switch m.GetTo() {
			case raft.LocalAppendThread:
				w, err := r.toStore(m)
				if err != nil {
					return nil, err
				}
				work = append(work, w)
			case raft.LocalApplyThread:
				if err := r.apply(m.GetEntries()); err != nil {
					return nil, err
				}
				for _, resp := range m.GetResponses() {
					if err := r.node.Step(resp); err != nil {
						return nil, fmt.Errorf("stepping an applied message: %w", err)
					}
				}
			default:
				invariant.That(false, "a message to replica %d in a group of one", m.GetTo())
			}
		}
	}
	return work, nil
}

// follow takes Raft's word on who leads.
func (r *Replica) follow(s *raft.SoftState) {
	leader := s.RaftState == raft.StateLeader
	if r.leader && !leader {
		r.stepDown()
	}
	r.leader = leader
	if leader {
		r.term = record.Term(r.node.BasicStatus().GetTerm())
	}
}

func (r *Replica) stepDown() {
	if r.leading {
		r.leading = false
		r.sm.Follow()
	}
	r.leader = false
}

// toStore turns a message to Raft's append thread into work for the appender.
func (r *Replica) toStore(m *raftpb.Message) (appendWork, error) {
	w := appendWork{responses: m.GetResponses()}
	if m.Term != nil && m.Commit != nil {
		w.hard = &commitlog.HardState{Term: record.Term(m.GetTerm()), Vote: m.GetVote(), Commit: record.Index(m.GetCommit())}
	}
	for _, pe := range m.GetEntries() {
		e, err := r.entryFor(pe)
		if err != nil {
			return w, err
		}
		w.entries = append(w.entries, e)
		r.last = e.Index()
	}
	return w, nil
}

// entryFor finds or makes the entry that a Raft entry stands for. Raft's own
// entries (the empty one that begins a term, changes of membership) are made
// here, the same on every replica: they carry no time.
func (r *Replica) entryFor(pe *raftpb.Entry) (record.Entry, error) {
	i := record.Index(pe.GetIndex())
	if pe.GetType() == raftpb.EntryNormal && len(pe.GetData()) > 0 {
		e, ok := r.staging[i]
		invariant.That(ok && matches(pe.GetData(), e), "entry %d is not staged", i)
		return e, nil
	}
	var b record.EntryBuilder
	if pe.GetType() != raftpb.EntryNormal {
		b.Add(record.KindConfChange, 0, pe.GetData())
	}
	e := b.Finish(i, record.Term(pe.GetTerm()), 0, false)
	r.staging[i] = e
	r.countFrame(int64(len(e)+frameOverhead), false)
	return e, nil
}

// apply hands committed entries to the state machine, in order.
func (r *Replica) apply(entries []*raftpb.Entry) error {
	for _, pe := range entries {
		i := record.Index(pe.GetIndex())
		e, ok := r.staging[i]
		if ok {
			delete(r.staging, i)
		} else {
			var err error
			if e, err = r.log.Entry(i); err != nil {
				return fmt.Errorf("reading entry %d to apply it: %w", i, err)
			}
		}
		if pe.GetType() == raftpb.EntryConfChangeV2 {
			var cc raftpb.ConfChangeV2
			if err := proto.Unmarshal(pe.GetData(), &cc); err != nil {
				return fmt.Errorf("reading the membership change at index %d: %w", i, err)
			}
			r.confState = r.node.ApplyConfChange(&cc)
		}
		r.log.Committed(e)
		if err := r.sm.Apply(e); err != nil {
			return fmt.Errorf("applying entry %d: %w", i, err)
		}
		if r.leader && !r.leading && record.Term(pe.GetTerm()) == r.term {
			r.leading = true
			r.sm.Lead(r.term)
		}
	}
	return nil
}

// stored tells Raft that the appender has done its work.
func (r *Replica) stored(w appendWork) error {
	if n := len(w.entries); n > 0 {
		r.written = w.entries[n-1].Index()
		r.sm.Written(r.written)
	}
	for _, m := range w.responses {
		if m.GetTo() != r.id {
			continue // no peers yet; Raft repeats what is lost
		}
		if err := r.node.Step(m); err != nil {
			return fmt.Errorf("stepping a stored message: %w", err)
		}
	}
	return nil
}
