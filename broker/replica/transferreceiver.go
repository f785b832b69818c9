package replica

import (
	"errors"
	"fmt"
	"hash/crc32"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/invariant"
)

const (
	// transferAbandonTicks is after how long without a piece a receiver stops to ask.
	// What has come stays, for a transfer that takes it up.
	transferAbandonTicks = 600
	// transferDiscardTicks is for how long it stays.
	transferDiscardTicks = 12_000
)

// receiver is the follower's end: it takes one shipment at a time. It writes to the
// log's Stage, and has no other I/O, no goroutine and no clock.
type receiver struct {
	id  uint64
	log *commitlog.Log

	// begin is the message that the leader of this transfer began it with; Kind is 0
	// if there is none.
	begin TransferMessage
	list  []byte           // as far as it has come
	stage *commitlog.Stage // when it has
	// installing is that the stage was handed out, and Installed will tell.
	installing bool

	lead    record.Term // the highest of a leader that began one
	asked   bool        // in this tick, for what was sent before
	silence int         // ticks since a piece was taken
	kept    int         // ticks since something may have been left on the disk
	cleared bool        // nothing is left
}

// received is what taking in a message or a tick has led to.
type received struct {
	out      []TransferMessage
	arrived  *Arrival
	failures error // what this disk, or the shipment, did wrong
}

func (r *receiver) active() bool { return r.begin.Kind != 0 }

// at is the place in the shipment up to which all has come.
func (r *receiver) at() commitlog.Cursor {
	if r.stage == nil {
		return commitlog.Cursor{Offset: uint64(len(r.list))}
	}
	return r.stage.Next()
}

func (r *receiver) want(again bool) TransferMessage {
	m := r.begin.answer(TransferWant)
	m.At, m.Again = r.at(), again
	if r.stage != nil {
		m.Through = r.stage.End().Object - 1
	}
	return m
}

// step takes a message from a leader.
func (r *receiver) step(m TransferMessage) received {
	if m.Lead < r.lead || r.installing {
		return received{}
	}
	switch m.Kind {
	case TransferBegin:
		return r.start(m)
	case TransferPiece:
		if r.active() && m.Key == r.begin.Key && m.Lead == r.begin.Lead && m.From == r.begin.From {
			return r.take(m)
		}
	}
	return received{}
}

// start begins a transfer, or goes on with the one that there is.
func (r *receiver) start(m TransferMessage) received {
	switch {
	case r.log.Snapshot() != nil && m.Key.Index <= r.log.Snapshot().Index:
		return received{out: []TransferMessage{m.answer(TransferDone)}} // the last answer was lost
	case r.active() && m.Key == r.begin.Key:
		r.begin = m // another leader, perhaps
	case r.active() && m.Lead == r.begin.Lead && m.Key.Index <= r.begin.Key.Index:
		return received{} // it was under way for long
	default:
		r.end()
		r.begin, r.list, r.silence = m, nil, 0
	}
	r.lead = m.Lead
	return received{out: []TransferMessage{r.want(true)}}
}

// take takes a piece in, if it is the one that comes next.
func (r *receiver) take(m TransferMessage) received {
	at := r.at()
	if m.At != at {
		if r.asked || m.At.Before(at) {
			return received{}
		}
		r.asked = true
		return received{out: []TransferMessage{r.want(true)}}
	}
	var err error
	if r.stage == nil {
		err = r.takeList(m)
	} else {
		err = r.stage.Write(m.Data, m.Last)
	}
	switch {
	case errors.Is(err, commitlog.ErrStale):
		return r.finish(nil)
	case err != nil:
		return r.finish(err)
	}
	r.silence = 0
	if r.stage != nil && r.stage.Complete() {
		r.installing = true
		return received{arrived: &Arrival{Stage: r.stage, Message: r.message()}}
	}
	return received{out: []TransferMessage{r.want(r.at().Before(at))}}
}

// takeList takes a piece of the list. When it is whole the rest begins.
func (r *receiver) takeList(m TransferMessage) error {
	r.list = append(r.list, m.Data...)
	if n := len(r.list); n > int(r.begin.Length) || m.Last != (n == int(r.begin.Length)) {
		return fmt.Errorf("%w: a list of %d bytes has %d", ErrTransfer, r.begin.Length, n)
	}
	if !m.Last {
		return nil
	}
	key := r.begin.Key
	list, err := commitlog.DecodeShipList(r.list)
	if err != nil {
		return err
	}
	if list.Index != key.Index || list.Term != key.Term || crc32.Checksum(r.list, castagnoli) != key.List {
		return fmt.Errorf("%w: the list is of another shipment: snapshot %d of term %d, not %d of term %d", ErrTransfer, list.Index, list.Term, key.Index, key.Term)
	}
	r.cleared, r.kept = false, 0
	r.stage, err = r.log.Stage(list)
	return err
}

// message is Raft's about the snapshot, as the leader would have sent it.
func (r *receiver) message() *raftpb.Message {
	snap := r.stage.Snapshot()
	var cs raftpb.ConfState
	// One that cannot be read, Raft refuses: this replica is not in it.
	_ = proto.Unmarshal(snap.ConfState, &cs)
	return &raftpb.Message{
		Type: raftpb.MsgSnap.Enum(), To: new(r.id), From: new(r.begin.From), Term: new(uint64(r.begin.Lead)),
		Snapshot: raftpb.EnsureSnapshot(&raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
			ConfState: &cs, Index: new(uint64(snap.Index)), Term: new(uint64(snap.Term)),
		}}),
	}
}

// installed is told what became of the shipment that was handed out.
func (r *receiver) installed(err error) received {
	invariant.That(r.installing, "told of an installation that was not asked for")
	r.installing = false
	if errors.Is(err, commitlog.ErrStale) {
		err = nil
	}
	got := r.finish(err)
	r.kept = transferDiscardTicks // what was not used is of no use
	return got
}

// finish ends the transfer and tells the leader how.
func (r *receiver) finish(err error) received {
	m := r.begin.answer(TransferDone)
	if err != nil {
		text := err.Error()
		m.Failed, m.Data = true, []byte(text[:min(len(text), 1<<10)])
	}
	r.end()
	return received{out: []TransferMessage{m}, failures: err}
}

// end lets go of the transfer; what has come stays on the disk.
func (r *receiver) end() {
	if r.stage != nil {
		r.stage.Close()
	}
	r.begin, r.list, r.stage, r.kept = TransferMessage{}, nil, nil, 0
}

// tick is called once a tick.
func (r *receiver) tick() received {
	r.asked = false
	if r.installing {
		return received{}
	}
	if !r.active() {
		r.kept++
		if r.cleared || r.kept < transferDiscardTicks {
			return received{}
		}
		r.cleared = true
		return received{failures: r.log.DiscardStage()}
	}
	r.silence++
	if r.silence >= transferAbandonTicks {
		r.end()
	}
	return received{} // what was lost the leader asks about
}
