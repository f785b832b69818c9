package replica

import (
	"fmt"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/invariant"
)

// Arrival is a shipment that has arrived as a whole and is to be installed, and Raft's
// message about it.
type Arrival struct {
	Stage   *commitlog.Stage
	Message *raftpb.Message

	done bool // the appender has installed it
}

// index is that of its snapshot.
func (a *Arrival) index() record.Index {
	return record.Index(a.Message.GetSnapshot().GetMetadata().GetIndex())
}

// Arrived takes a shipment that has arrived as a whole. If Raft wants it, it is among
// what the next Turn wants stored. What became of it is among the Effects of a Turn.
func (r *Replica) Arrived(a *Arrival) {
	r.arrived = a
	// Raft's errors say that it has no use for the message.
	_ = r.node.Step(a.Message)
}

// accept takes the snapshot that Raft wants stored: its log begins behind it, and all
// that was before is gone.
func (r *Replica) accept(snap *raftpb.Snapshot) *Arrival {
	a := r.arrived
	at := record.Index(snap.GetMetadata().GetIndex())
	invariant.That(a != nil && a.index() == at, "snapshot %d is to be stored, and has not arrived", at)
	r.arrived = nil
	r.staging = newStaging()
	r.staging.low = at + 1
	r.last, r.written = at, at
	r.cuts++
	return a
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
