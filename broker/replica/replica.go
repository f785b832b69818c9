package replica

import (
	"errors"
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/record"
)

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
	// Restore sets the state to a snapshot's, which was installed in place of the log.
	// Its error is as Apply's. Never called while leading.
	Restore(snap *commitlog.Snapshot) error
	// Lead is called when the first entry of the term is applied here and this
	// replica still leads, Follow when it no longer does.
	Lead(term record.Term)
	Follow()
}

// Replica is one member of one Raft group. It has no goroutine and no clock: its
// owner, the loop, calls Tick, Step, Stored and the others, one at a time, and Turn
// after each of them, and carries out what Turn returns.
type Replica struct {
	id      uint64
	node    *raft.RawNode
	log     *commitlog.Log
	storage storage
	sm      StateMachine
	builder record.EntryBuilder

	cursors
	staging staging
	// received is the payload of the message that was stepped last. The Turn behind
	// it takes it to staging if Raft wants it, and forgets it if not.
	received record.Entry
	// arrived is the shipment whose message was stepped last; as received.
	arrived *Arrival

	leader      bool        // Raft says so
	leading     bool        // and the first entry of the term is applied
	term        record.Term // of which this replica is the leader
	fenced      bool        // the log takes nothing any more
	confState   *raftpb.ConfState
	flows       map[uint64]*flow // while this replica is the leader
	installed   []error          // for the next Turn's effects
	termStored  record.Term      // durable
	early       []Message        // of a term that is not
	out         []Message        // what the next Turn sends first
	lost        bool             // the lead, since the last Turn
	segmentSize int64
	openBytes   int64 // of the segment that the next entry goes to, kept by the leader
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

// New starts Raft on the log. The state machine has already been restored from the
// log's newest snapshot; everything behind it will be applied again. The leader
// ends a segment when it has segmentSize bytes.
func New(id uint64, log *commitlog.Log, sm StateMachine, segmentSize int64, logger raft.Logger) (*Replica, error) {
	snap := log.Snapshot()
	if snap == nil {
		return nil, errors.New("the shard has no snapshot to start from: it was never bootstrapped")
	}
	r := &Replica{
		id: id, log: log, sm: sm, segmentSize: segmentSize,
		staging: newStaging(),
		cursors: cursors{applied: snap.Index, written: log.Last(), last: log.Last()},
	}
	r.staging.low = snap.Index + 1
	r.termStored = log.HardState().Term
	_, cs, err := storage{log: log}.InitialState()
	if err != nil {
		return nil, err
	}
	r.confState = cs
	r.storage = storage{log: log, members: r.Members, changes: make(map[record.Index]record.Entry)}
	if err := r.storage.readChanges(); err != nil {
		return nil, err
	}
	r.node, err = raft.NewRawNode(&raft.Config{
		ID:                        id,
		ElectionTick:              electionTicks,
		HeartbeatTick:             heartbeatTicks,
		Storage:                   r.storage,
		Applied:                   uint64(snap.Index),
		AsyncStorageWrites:        true,
		MaxSizePerMsg:             0, // one entry per message: handles are small, payloads are not
		MaxCommittedSizePerReady:  1 << 20,
		MaxInflightMsgs:           maxInflightMessages,
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

// Campaign stands for election without waiting for a timeout.
func (r *Replica) Campaign() error {
	if err := r.node.Campaign(); err != nil {
		return fmt.Errorf("standing for election: %w", err)
	}
	return nil
}

// Tick is called every TickInterval.
func (r *Replica) Tick() { r.node.Tick() }

// Step takes a message from a peer. It errors with ErrMessage if no replica would
// send it. A message that this replica has no room or no use for is dropped.
func (r *Replica) Step(m Message) error {
	if err := m.check(r.id); err != nil {
		return err
	}
	if m.Payload != nil && !r.staging.takes(len(m.Payload), r.written) {
		return nil
	}
	r.received = m.Payload
	if f := r.flows[m.Raft.GetFrom()]; f != nil && m.Raft.GetType() == raftpb.MsgAppResp {
		for _, free := range f.answered(m.Raft) {
			r.out = append(r.out, r.withPayload(free))
		}
	}
	// Raft's errors say that it has no use for the message.
	_ = r.node.Step(m.Raft)
	return nil
}

// Effects is what a Turn wants done.
type Effects struct {
	// Store goes to the appender, in order; then Stored is called with each.
	Store []Work
	// Send goes to the transport at once.
	Send []Message
	// Follow is that this replica does not lead any more, and ships nothing
	// (Transfers.Follow).
	Follow bool
	// Ship is for Transfers.Ship. TransferEnded is called for each in the end.
	Ship []Behind
	// More is that Turn is to be called again: there may be more to propose, while what
	// is here is already stored and sent.
	More bool
	// Installed is the shipments that Arrived was called with and of which it is known
	// what became, for Transfers.Installed: nil, or commitlog.ErrStale.
	Installed []error
}

// Behind is a follower that is behind the Raft window of the leader of a term: it
// needs a snapshot transfer.
type Behind struct {
	To   uint64
	Lead record.Term
}

// Turn moves Raft on until it waits for the disk, for a peer, for the clock or for
// work. What is committed is applied meanwhile, and while this replica leads, one entry
// is proposed of what waits. The error is final: this binary cannot go on with the log.
func (r *Replica) Turn() (Effects, error) {
	fx := Effects{Send: r.out, Installed: r.installed}
	r.out, r.installed = nil, nil
	err := r.ready(&fx)
	r.received = nil
	if err != nil {
		return fx, err
	}
	if r.leading && !r.fenced && r.unwritten() < maxUnwritten && !r.staging.full() && r.propose() {
		fx.More = true
		if err := r.ready(&fx); err != nil {
			return fx, err
		}
	}
	if r.arrived != nil {
		r.arrived = nil // Raft has no use for it
		fx.Installed = append(fx.Installed, commitlog.ErrStale)
	}
	fx.Follow, r.lost = r.lost, false
	r.cursors.check(&r.staging)
	return fx, nil
}

// propose asks the state machine for one entry and puts it into Raft's log. It
// reports whether there may be more.
func (r *Replica) propose() bool {
	r.builder = record.EntryBuilder{} // the last entry has its memory
	at := r.last + 1
	now, more := r.sm.Next(&r.builder, at)
	if !more {
		return false
	}
	size := int64(r.builder.Size() + frameOverhead)
	roll := r.openBytes+size >= r.segmentSize || r.builder.Rolls()
	e := r.builder.Finish(at, r.term, now, roll)
	r.staging.put(e)
	err := r.node.Propose(handle(uint32(len(e)), e.Checksum()))
	if err != nil {
		// Raft drops the proposals of a replica that is no leader, which the next
		// Ready will tell, and those while it hands the lead over.
		r.staging.drop(at)
		r.sm.Proposed(at, true)
		return false
	}
	r.last = at
	r.openBytes += size
	if roll {
		r.openBytes = 0
	}
	r.sm.Proposed(at, false)
	return true
}

// LimitSegment changes the size at which a leader ends a segment, in bytes. One that is
// larger already ends with the next entry.
func (r *Replica) LimitSegment(size int64) { r.segmentSize = size }

// unwritten is how many entries are in Raft's log and not yet stored.
func (r *Replica) unwritten() int { return int(r.last) - int(r.written) }

// ready takes what Raft wants done, until it wants nothing more.
func (r *Replica) ready(fx *Effects) error {
	for r.node.HasReady() {
		rd := r.node.Ready()
		if rd.SoftState != nil {
			r.follow(rd.SoftState)
		}
		for _, m := range rd.Messages {
			switch m.GetTo() {
			case raft.LocalAppendThread:
				w := r.toStore(m)
				if !r.fenced {
					fx.Store = append(fx.Store, w)
				}
			case raft.LocalApplyThread:
				if r.fenced {
					continue
				}
				if err := r.apply(m.GetEntries()); err != nil {
					return err
				}
				for _, resp := range m.GetResponses() {
					if err := r.node.Step(resp); err != nil {
						return fmt.Errorf("stepping an applied message: %w", err)
					}
				}
			default:
				r.send(fx, m)
			}
		}
	}
	return nil
}

// send lets a message to a peer go, or holds it until there is room.
func (r *Replica) send(fx *Effects, pm *raftpb.Message) {
	if pm.GetType() == raftpb.MsgSnap {
		fx.Ship = append(fx.Ship, Behind{pm.GetTo(), r.term})
		return
	}
	m := Message{Raft: pm}
	if r.isEarly(pm) {
		if len(r.early) < maxEarly {
			r.early = append(r.early, m)
		}
		return
	}
	e := m.entry()
	if e == nil || !hasPayload(e) {
		fx.Send = append(fx.Send, m)
		return
	}
	if !r.leader {
		fx.Send = append(fx.Send, r.withPayload(m)) // the last words of a leader
		return
	}
	f := r.flows[pm.GetTo()]
	if f == nil {
		f = new(flow)
		r.flows[pm.GetTo()] = f
	}
	if f.admit(m) {
		fx.Send = append(fx.Send, r.withPayload(m))
	}
}

// maxEarly bounds the messages that wait for their term to be durable. Raft repeats
// what is beyond.
const maxEarly = 1024

// isEarly reports whether a message speaks of a term that this replica would not know
// any more after a crash (F1). Raft holds back answers only; but a candidate that has
// forgotten its term may be elected in it a second time, by others than the first time.
// A MsgPreVote speaks of a term that does not begin by it.
func (r *Replica) isEarly(pm *raftpb.Message) bool {
	switch pm.GetType() {
	case raftpb.MsgPreVote, raftpb.MsgPreVoteResp:
		return false
	}
	return record.Term(pm.GetTerm()) > r.termStored
}

// withPayload adds the payload if it is in memory.
func (r *Replica) withPayload(m Message) Message {
	e := m.entry()
	if staged := r.staging.get(record.Index(e.GetIndex())); standsFor(e, staged) {
		m.Payload = staged
	}
	return m
}

// follow takes Raft's word on who leads.
func (r *Replica) follow(s *raft.SoftState) {
	leader := s.RaftState == raft.StateLeader
	term := record.Term(r.node.BasicStatus().GetTerm())
	if r.leader && (!leader || term != r.term) {
		r.stepDown()
	}
	if leader && !r.leader {
		r.term = term
		r.flows = make(map[uint64]*flow)
		r.openBytes = r.fill()
	}
	r.leader = leader
}

func (r *Replica) stepDown() {
	if r.leading {
		r.leading = false
		r.sm.Follow()
	}
	r.lost = r.lost || r.leader
	r.leader, r.flows = false, nil
}
