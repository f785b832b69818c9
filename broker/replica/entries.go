package replica

import (
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/invariant"
)

// fill is about how many bytes the segment has that the next entry goes to: what
// the log has, and what is on its way there.
func (r *Replica) fill() int64 {
	n := r.log.OpenSegmentSize()
	for i := max(r.written, r.log.Last()) + 1; i <= r.last; i++ {
		e := r.staging.get(i)
		n += int64(len(e) + frameOverhead)
		if e != nil && e.Rolls() {
			n = 0
		}
	}
	return n
}

// toStore turns a message to Raft's append thread into work for the appender.
func (r *Replica) toStore(m *raftpb.Message) Work {
	var arrival *Arrival
	if m.GetSnapshot() != nil {
		arrival = r.accept(m.GetSnapshot())
	}
	if entries := m.GetEntries(); len(entries) > 0 {
		if first := record.Index(entries[0].GetIndex()); first <= r.last && !r.proposed(entries[0]) {
			r.cut(first)
		}
	}
	w := Work{responses: m.GetResponses(), cuts: r.cuts, arrival: arrival}
	if m.Term != nil && m.Commit != nil {
		w.hard = &commitlog.HardState{Term: record.Term(m.GetTerm()), Vote: m.GetVote(), Commit: record.Index(m.GetCommit())}
	}
	for _, pe := range m.GetEntries() {
		e := r.entryFor(pe)
		w.entries = append(w.entries, e)
		r.last = e.Index()
	}
	return w
}

// proposed reports whether an entry that Raft wants stored is one that this leader
// has proposed, and so is in staging and not in the log.
func (r *Replica) proposed(pe *raftpb.Entry) bool {
	i := record.Index(pe.GetIndex())
	return i > r.written && standsFor(pe, r.staging.get(i))
}

// cut forgets the entries from first on, in whose place others come.
func (r *Replica) cut(first record.Index) {
	for i := first; i <= r.last; i++ {
		r.staging.drop(i)
	}
	r.last = first - 1
	r.written = min(r.written, r.last)
	r.cuts++
}

// entryFor finds or makes the entry that a Raft entry stands for, when it is to be
// stored. Raft's own entries (the empty one that begins a term, changes of
// membership) are made here, the same on every replica: they carry no time and end
// no segment.
func (r *Replica) entryFor(pe *raftpb.Entry) record.Entry {
	i := record.Index(pe.GetIndex())
	if hasPayload(pe) {
		if e := r.staging.get(i); standsFor(pe, e) {
			return e
		}
		invariant.That(standsFor(pe, r.received), "entry %d is to be stored, and neither proposed nor received", i)
		r.staging.put(r.received)
		return r.received
	}
	var b record.EntryBuilder
	if pe.GetType() != raftpb.EntryNormal {
		b.Add(record.KindConfChange, 0, pe.GetData())
	}
	e := b.Finish(i, record.Term(pe.GetTerm()), 0, false)
	if e.IsConfChange() {
		r.storage.addChange(e)
	}
	r.staging.put(e)
	if r.leader {
		r.openBytes += int64(len(e) + frameOverhead)
	}
	return e
}

// apply hands committed entries to the state machine, in order. Raft commits here
// what is stored here, so what is not in memory any more is in the log.
func (r *Replica) apply(entries []*raftpb.Entry) error {
	for _, pe := range entries {
		i := record.Index(pe.GetIndex())
		e := r.staging.get(i)
		if !standsFor(pe, e) {
			var err error
			if e, err = r.log.Entry(i); err != nil {
				return fmt.Errorf("reading entry %d to apply it: %w", i, err)
			}
			invariant.That(standsFor(pe, e), "entry %d of term %d is committed, the log has another of term %d", i, pe.GetTerm(), e.Term())
		}
		r.staging.forget(i)
		if pe.GetType() != raftpb.EntryNormal {
			if err := r.applyChange(pe); err != nil {
				return err
			}
		}
		r.log.Committed(e)
		if err := r.sm.Apply(e); err != nil {
			return fmt.Errorf("applying entry %d: %w", i, err)
		}
		r.applied = i
		if r.leader && !r.leading && record.Term(pe.GetTerm()) == r.term {
			r.leading = true
			r.sm.Lead(r.term)
		}
	}
	return nil
}

// Stored tells Raft that the appender has done its work. The Turn behind it sends
// what others may hear now.
func (r *Replica) Stored(w Work) error {
	if r.fenced {
		return nil
	}
	if w.arrival != nil {
		if err := r.restore(); err != nil {
			return err
		}
	}
	if w.hard != nil {
		r.termStored = w.hard.Term
		for _, m := range r.early {
			if record.Term(m.Raft.GetTerm()) <= r.termStored {
				r.out = append(r.out, m)
			}
		}
		r.early = slices.DeleteFunc(r.early, func(m Message) bool { return record.Term(m.Raft.GetTerm()) <= r.termStored })
	}
	// What was cut meanwhile counts for nothing.
	if n := len(w.entries); n > 0 && w.cuts == r.cuts {
		r.written = w.entries[n-1].Index()
		r.sm.Written(r.written)
	}
	for _, m := range w.responses {
		if m.GetTo() != r.id {
			r.out = append(r.out, Message{Raft: m})
			continue
		}
		// Who was taken out of the group meanwhile is no peer of its own any more.
		if err := r.node.Step(m); err != nil && !errors.Is(err, raft.ErrStepPeerNotFound) {
			return fmt.Errorf("stepping a stored message: %w", err)
		}
	}
	return nil
}
