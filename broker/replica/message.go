package replica

import (
	"errors"
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/record"
)

// Message is what one replica sends to another one of its group: Raft's message
// and, where that is a MsgApp with an entry, what the entry stands for. Neither is
// changed once it was sent or received.
type Message struct {
	Raft *raftpb.Message
	// Payload is the entry of a MsgApp. It is nil where there is none, where it is
	// Raft's own, which every replica makes itself, and where Load must still get it.
	Payload record.Entry
}

// Transport carries messages to the other replicas of a group.
type Transport interface {
	// Send takes messages, to any of the group's replicas. The loop calls it, so it
	// never blocks: what it has no room for it drops, since Raft repeats what is
	// lost. What arrives at one peer should arrive in the order in which it was
	// sent; another order is survived and costs time. Before a message of which
	// Incomplete is true leaves, the transport calls Load, outside of the loop, and
	// drops the message if that fails.
	Send(messages []Message)
	// SendTransfers takes what the two ends of a snapshot transfer say. It is called
	// beside the loop and does not block either; order and loss are of no matter.
	SendTransfers(messages []TransferMessage)
}

// ErrMessage is a message from a peer that no working replica sends: nothing was
// done about it, and the peer or the line to it is not to be trusted.
var ErrMessage = errors.New("malformed message from a peer")

// entry is the only one of a MsgApp; nil if there is none.
func (m Message) entry() *raftpb.Entry {
	if entries := m.Raft.GetEntries(); m.Raft.GetType() == raftpb.MsgApp && len(entries) > 0 {
		return entries[0]
	}
	return nil
}

// Incomplete reports whether the payload must still be loaded.
func (m Message) Incomplete() bool {
	e := m.entry()
	return e != nil && hasPayload(e) && m.Payload == nil
}

// Load gets the payload from the log, if it is still there: an entry that was not
// committed may have been cut since, and then the message is worthless. It reads
// the disk, so nobody calls it in the loop.
func (m *Message) Load(log *commitlog.Log) error {
	e := m.entry()
	payload, err := log.Entry(record.Index(e.GetIndex()))
	if err != nil {
		return fmt.Errorf("loading the payload of a message: %w", err)
	}
	if !standsFor(e, payload) {
		return fmt.Errorf("loading the payload of a message: %w: %d was cut and written anew", commitlog.ErrNoEntry, e.GetIndex())
	}
	m.Payload = payload
	return nil
}

// hasPayload reports whether an entry of Raft stands for one that it did not make
// itself.
func hasPayload(e *raftpb.Entry) bool {
	return e.GetType() == raftpb.EntryNormal && len(e.GetData()) > 0
}

// standsFor says whether Raft's entry stands for this one. Raft's own have no
// handle: index and term decide.
func standsFor(pe *raftpb.Entry, e record.Entry) bool {
	return e != nil && uint64(e.Index()) == pe.GetIndex() && uint64(e.Term()) == pe.GetTerm() &&
		(!hasPayload(pe) || matches(pe.GetData(), e))
}

// check says whether a message may be stepped by replica id.
func (m Message) check(id uint64) error {
	r := m.Raft
	switch r.GetType() {
	case raftpb.MsgApp, raftpb.MsgAppResp, raftpb.MsgHeartbeat, raftpb.MsgHeartbeatResp, raftpb.MsgVote, raftpb.MsgVoteResp,
		raftpb.MsgPreVote, raftpb.MsgPreVoteResp, raftpb.MsgTimeoutNow:
	default:
		return fmt.Errorf("%w: a %v", ErrMessage, r.GetType())
	}
	if r.GetTo() != id || r.GetFrom() == id || r.GetFrom() == raft.None || raft.IsLocalMsgTarget(r.GetFrom()) {
		return fmt.Errorf("%w: from replica %d to %d, this is %d", ErrMessage, r.GetFrom(), r.GetTo(), id)
	}
	if n := len(r.GetEntries()); n > 1 || n == 1 && r.GetType() != raftpb.MsgApp {
		return fmt.Errorf("%w: a %v with %d entries", ErrMessage, r.GetType(), n)
	}
	e := m.entry()
	switch {
	case e == nil || !hasPayload(e):
		if m.Payload != nil {
			return fmt.Errorf("%w: a %v with a payload that nothing stands for", ErrMessage, r.GetType())
		}
		if e == nil {
			return nil
		}
	default:
		if err := m.Payload.Check(); err != nil {
			return fmt.Errorf("%w: payload of entry %d: %w", ErrMessage, e.GetIndex(), err)
		}
		if !standsFor(e, m.Payload) {
			return fmt.Errorf("%w: entry %d of term %d has another's payload: %d of term %d with checksum %08x", ErrMessage,
				e.GetIndex(), e.GetTerm(), m.Payload.Index(), m.Payload.Term(), m.Payload.Checksum())
		}
	}
	if e.GetIndex() != r.GetIndex()+1 || e.GetTerm() > r.GetTerm() || e.GetTerm() < r.GetLogTerm() {
		return fmt.Errorf("%w: entry %d of term %d behind %d of term %d, from a leader of term %d", ErrMessage,
			e.GetIndex(), e.GetTerm(), r.GetIndex(), r.GetLogTerm(), r.GetTerm())
	}
	return nil
}
