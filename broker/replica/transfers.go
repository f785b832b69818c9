package replica

import (
	"maps"
	"slices"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/record"
)

// TransferRate is how many bytes a tick go to one follower, 100 MB/s: its disk, this
// one's and the line between them are also needed by others.
const TransferRate = 5 << 20

// Transfers are all snapshot transfers of one replica: those to its followers while
// it leads, and the one that it takes from a leader. It has no goroutine and no clock,
// but reads and writes the disk: so its owner is not the loop, but calls it one at a
// time, beside it, and carries out what each call returns.
type Transfers struct {
	id      uint64
	log     *commitlog.Log
	rate    int
	senders map[uint64]*sender
	from    receiver
}

// TransferEffects is what a call wants done.
type TransferEffects struct {
	// Send goes to the peers, in any order, and may be lost.
	Send []TransferMessage
	// Ended is for the replica's Raft: each transfer that was begun ends once.
	Ended []TransferEnd
	// Arrived is a shipment that has arrived as a whole. Its message is stepped into
	// this replica's Raft. If Raft wants the snapshot stored the appender calls
	// Log.Install, behind the hard state, and the state machine is restored from the
	// log's snapshot, before Raft hears of it. Installed is called in any case.
	Arrived *Arrival
	// Failed is why a shipment could not be taken; the leader was told, and sends
	// another one.
	Failed error
}

// TransferEnd is the end of a transfer to a follower; Err is nil if it has what was
// sent, or more.
type TransferEnd struct {
	To  uint64
	Err error
}

// NewTransfers of replica id; rate is in bytes a tick, for each follower.
func NewTransfers(id uint64, log *commitlog.Log, rate int) *Transfers {
	return &Transfers{id: id, log: log, rate: rate, senders: make(map[uint64]*sender), from: receiver{id: id, log: log}}
}

// Ship begins a transfer of the newest snapshot to a follower, which Raft has asked
// for by a MsgSnap while this replica leads the term. If one is under way already it
// goes on.
func (t *Transfers) Ship(to uint64, lead record.Term) TransferEffects {
	if s := t.senders[to]; s != nil {
		if s.begin.Lead == lead {
			return TransferEffects{}
		}
		s.stop() // and nobody waits for its end
	}
	s := &sender{begin: TransferMessage{From: t.id, To: to, Lead: lead}}
	if ship, err := t.log.Ship(); err != nil {
		s.fail(err)
	} else {
		s = newSender(t.id, to, lead, ship, t.rate)
	}
	t.senders[to] = s
	return TransferEffects{Send: s.tick()}
}

// Follow ends all transfers to followers: this replica does not lead any more.
func (t *Transfers) Follow() TransferEffects {
	for _, s := range t.senders {
		s.stop()
	}
	return TransferEffects{Ended: t.ended()}
}

// Step takes a message from a peer. It errors with ErrTransfer if no replica would
// send it.
func (t *Transfers) Step(m TransferMessage) (TransferEffects, error) {
	if err := m.check(); err != nil {
		return TransferEffects{}, err
	}
	if m.To != t.id {
		return TransferEffects{}, nil
	}
	var fx TransferEffects
	switch m.Kind {
	case TransferBegin, TransferPiece:
		fx = t.receive(t.from.step(m))
	default:
		if s := t.senders[m.From]; s != nil {
			fx.Send = s.step(m)
		}
	}
	fx.Ended = t.ended()
	return fx, nil
}

// Tick is called every TickInterval.
func (t *Transfers) Tick() TransferEffects {
	fx := t.receive(t.from.tick())
	for _, to := range t.followers() {
		fx.Send = append(fx.Send, t.senders[to].tick()...)
	}
	fx.Ended = t.ended()
	return fx
}

// Installed tells what became of the last Arrival: nil, or commitlog.ErrStale where
// Raft had no use for it, or what Log.Install returned.
func (t *Transfers) Installed(err error) TransferEffects { return t.receive(t.from.installed(err)) }

// Close ends everything; what has been received stays for the next start. Not
// between an Arrival and its Installed.
func (t *Transfers) Close() {
	t.Follow()
	t.from.end()
}

func (t *Transfers) receive(r received) TransferEffects {
	return TransferEffects{Send: r.out, Arrived: r.arrived, Failed: r.failures}
}

// followers are those that something is sent to, in the order of their ids, so that
// the same calls always have the same effects.
func (t *Transfers) followers() []uint64 { return slices.Sorted(maps.Keys(t.senders)) }

// ended takes out the transfers that have.
func (t *Transfers) ended() (list []TransferEnd) {
	for _, to := range t.followers() {
		if s := t.senders[to]; s.ended {
			list = append(list, TransferEnd{to, s.failed})
			delete(t.senders, to)
		}
	}
	return list
}
