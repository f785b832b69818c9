package sim

import (
	"slices"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// maxAdded bounds the replicas that join in one world.
const maxAdded = 4

// leader is the node that leads the highest term, nil if none does.
func (w *World) leader() *node {
	var best *node
	for _, n := range w.up() {
		if s := n.m.Replica.Status(); s.Leading && !s.Fenced && (best == nil || s.Term > best.m.Replica.Status().Term) {
			best = n
		}
	}
	return best
}

// changeMembers brings the group one step on its way from one replica to another: a
// learner joins, and once it is nearly as far as the others it takes the place of a
// voter, in one joint change. Now and then a learner is taken out again.
func (w *World) changeMembers() {
	l := w.leader()
	if l == nil {
		return
	}
	members := l.m.Replica.Members()
	if len(members.VotersOutgoing) > 0 {
		return // a joint change, of which the second half comes by itself
	}
	var change []*raftpb.ConfChangeSingle
	add := func(kind raftpb.ConfChangeType, id uint64) {
		change = append(change, &raftpb.ConfChangeSingle{Type: kind.Enum(), NodeId: new(id)})
	}
	switch {
	case len(members.Learners) == 0 && w.added < maxAdded:
		if w.joining == nil {
			w.added++
			w.joining = w.addNode(uint64(len(w.nodes)+1), w.nodes[0].voters)
		}
		add(raftpb.ConfChangeAddLearnerNode, w.joining.id)
	case len(members.Learners) == 0:
		return
	case w.chance(8):
		add(raftpb.ConfChangeRemoveNode, members.Learners[0])
	default:
		n := w.node(members.Learners[0])
		if n.m == nil || int(n.m.Log.Last())+50 < len(w.oracle.committed) {
			return
		}
		add(raftpb.ConfChangeAddNode, n.id)
		add(raftpb.ConfChangeRemoveNode, members.Voters[w.rnd.IntN(len(members.Voters))])
	}
	w.log(l.id, "members %v are to change: %v", members, change)
	// What Raft refuses is tried again.
	_ = l.m.Replica.ChangeMembers(&raftpb.ConfChangeV2{Changes: change})
	l.turn()
}

// changed looks at a membership that a node has applied: who is out is stopped, some
// time later.
func (w *World) changed(n *node, at int) {
	if at < w.changedAt {
		return // it is behind
	}
	w.changedAt = at
	members := n.m.Replica.Members()
	if w.joining != nil && (isVoter(members, w.joining.id) || slices.Contains(members.Learners, w.joining.id)) {
		w.joining.member = true
	}
	for _, o := range w.nodes {
		if isVoter(members, o.id) || slices.Contains(members.Learners, o.id) {
			o.member = true
			continue
		}
		if !o.member || o.leaving || slices.Contains(members.VotersOutgoing, o.id) || slices.Contains(members.LearnersNext, o.id) {
			continue
		}
		o.leaving = true
		if w.joining == o {
			w.joining = nil
		}
		w.result.Removed++
		w.after(w.between(0, 5*time.Second), o.remove)
	}
	if w.joining != nil && isVoter(members, w.joining.id) {
		w.joining = nil
	}
}

func isVoter(cs *raftpb.ConfState, id uint64) bool { return slices.Contains(cs.Voters, id) }

// remove ends a node for good.
func (n *node) remove() {
	n.w.log(n.id, "is switched off for good")
	n.gone = true
	if n.m != nil {
		n.crash(true)
	}
}
