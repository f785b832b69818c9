package replica

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/invariant"
)

// ErrNotLeader says that this replica may not decide anything now.
var ErrNotLeader = errors.New("not the leader of the shard")

// Status is a replica as its group sees it.
type Status struct {
	// Leader is set from the election on, Leading from the moment when the state
	// machine decides.
	Leader, Leading bool
	Term            uint64
	Commit, Applied uint64
	Fenced          bool
}

// Status is of this moment; it allocates nothing.
func (r *Replica) Status() Status {
	s := r.node.BasicStatus()
	return Status{
		Leader: r.leader, Leading: r.leading, Fenced: r.fenced,
		Term: s.GetTerm(), Commit: s.GetCommit(), Applied: uint64(r.applied),
	}
}

// Member is a replica of the group, as its leader knows it.
type Member struct {
	ID    uint64
	Voter bool // else a learner
	// Match is the last entry that it is known to have stored.
	Match record.Index
}

// Group lists the members by id, and gives the last committed entry. Of who does not
// lead it has no members.
func (r *Replica) Group() (committed record.Index, members []Member) {
	committed = record.Index(r.Status().Commit)
	if !r.leader {
		return committed, nil
	}
	r.node.WithProgress(func(id uint64, kind raft.ProgressType, p tracker.Progress) {
		members = append(members, Member{ID: id, Voter: kind == raft.ProgressTypePeer, Match: record.Index(p.Match)})
	})
	slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	return committed, members
}

// ConfState is the group's members as of the last applied entry, encoded.
func (r *Replica) ConfState() []byte {
	cs, err := proto.Marshal(r.confState)
	invariant.That(err == nil, "encoding the membership: %v", err)
	return cs
}

// Members is the group's members as of the last applied entry. It is not changed.
func (r *Replica) Members() *raftpb.ConfState { return r.confState }

// SoleVoter reports whether this replica needs nobody else's vote.
func (r *Replica) SoleVoter() bool {
	return len(r.confState.Voters) == 1 && r.confState.Voters[0] == r.id && len(r.confState.VotersOutgoing) == 0
}

// ChangeMembers proposes a change of the members. One at a time: while another one
// is in the log and not applied, or a joint one not left, Raft turns this one into
// an entry without content. It is done when Members says so.
func (r *Replica) ChangeMembers(cc *raftpb.ConfChangeV2) error {
	if !r.leading || r.fenced {
		return ErrNotLeader
	}
	if err := r.node.ProposeConfChange(cc); err != nil {
		return fmt.Errorf("proposing a change of the members: %w", err)
	}
	return nil
}

// applyChange changes the members by a committed entry.
func (r *Replica) applyChange(pe *raftpb.Entry) error {
	var cc raftpb.ConfChangeV2
	if err := proto.Unmarshal(pe.GetData(), &cc); err != nil {
		return fmt.Errorf("reading the membership change at index %d: %w", pe.GetIndex(), err)
	}
	r.confState = r.node.ApplyConfChange(&cc)
	for to := range r.flows {
		if !isMember(r.confState, to) {
			delete(r.flows, to)
		}
	}
	return nil
}

// namesAll says whether all members of a group are in a snapshot's.
func namesAll(snapshot, group *raftpb.ConfState) bool {
	for _, ids := range [][]uint64{group.Voters, group.Learners, group.VotersOutgoing, group.LearnersNext} {
		for _, id := range ids {
			if !isMember(snapshot, id) {
				return false
			}
		}
	}
	return true
}

func isMember(cs *raftpb.ConfState, id uint64) bool {
	return slices.Contains(cs.Voters, id) || slices.Contains(cs.Learners, id) ||
		slices.Contains(cs.VotersOutgoing, id) || slices.Contains(cs.LearnersNext, id)
}

// TransferLead begins to hand the lead to another voter; nothing is proposed until
// that is done, or given up after an election timeout.
func (r *Replica) TransferLead(to uint64) {
	if r.leader {
		r.node.TransferLeader(to)
	}
}

// Fence says that the log takes nothing any more. Nothing is stored, applied,
// decided or answered from now on; a leader hands the lead to the follower that has
// most, for which its owner keeps calling Tick, Step and Turn while HandingOver.
func (r *Replica) Fence() {
	lead := r.leader
	r.stepDown()
	r.fenced = true
	if !lead {
		return
	}
	r.leader, r.flows = true, make(map[uint64]*flow)
	var best, match uint64
	r.node.WithProgress(func(id uint64, kind raft.ProgressType, p tracker.Progress) {
		voter := slices.Contains(r.confState.Voters, id)
		if id != r.id && voter && p.RecentActive && (p.Match > match || p.Match == match && (best == 0 || id < best)) {
			best, match = id, p.Match
		}
	})
	if best != 0 {
		r.node.TransferLeader(best)
	}
}

// HandingOver reports whether a fenced replica still leads.
func (r *Replica) HandingOver() bool { return r.fenced && r.leader && !r.SoleVoter() }

// Unreachable tells that messages to a peer were lost, as far as the transport knows:
// Raft then feels its way instead of sending on.
func (r *Replica) Unreachable(to uint64) { r.node.ReportUnreachable(to) }

// TransferEnded tells what became of a transfer to a follower: whether it has the
// snapshot. Raft sends it nothing until then.
func (r *Replica) TransferEnded(to uint64, ok bool) {
	status := raft.SnapshotFailure
	if ok {
		status = raft.SnapshotFinish
	}
	r.node.ReportSnapshot(to, status)
}
