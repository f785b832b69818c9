package replica

import (
	"fmt"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/invariant"
)

// Install takes a shipment that has arrived as a whole. If Raft wants it, it is among
// what the next Turn wants stored. What became of it is among the Effects of a Turn.
func (r *Replica) Install(in *Install) {
	r.arrived = in
	// Raft's errors say that it has no use for the message.
	_ = r.node.Step(in.Message)
}

// install takes the snapshot that Raft wants stored: its log begins behind it, and all
// that was before is gone.
func (r *Replica) install(snap *raftpb.Snapshot) *Install {
	in := r.arrived
	at := record.Index(snap.GetMetadata().GetIndex())
	invariant.That(in != nil && in.index() == at, "snapshot %d is to be stored, and has not arrived", at)
	r.arrived = nil
	r.staging = newStaging()
	r.staging.low = at + 1
	r.last, r.written = at, at
	r.cuts++
	return in
}

// restore takes the state from the snapshot that was installed, before Raft hears of it
// and hands out what is behind it.
func (r *Replica) restore() error {
	snap := r.log.Snapshot()
	_, cs, err := storage{log: r.log}.InitialState()
	if err != nil {
		return err
	}
	if err := r.sm.Restore(snap); err != nil {
		return fmt.Errorf("restoring the state of snapshot %d: %w", snap.Index, err)
	}
	r.confState, r.applied = cs, snap.Index
	r.installed = append(r.installed, nil)
	return nil
}
