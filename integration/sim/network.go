package sim

import (
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/broker/replica"
)

// network is what happens to messages. A line goes one way. In most worlds it is a
// stream, as of TCP: what is lost is lost with all that is under way, until there is
// a new one, and what is late delays the rest. In the others each message has a fate
// of its own.
type network struct {
	w *World
	// Of a message: lost once in loss, doubled once in double, late once in late; 0
	// is never.
	loss, double, late int
	streams            bool
	cut                map[line2]bool
	arrival            map[line2]time.Duration // of the last message of a stream
	stream             map[line2]int           // its number
	free               map[line2]time.Duration // when the sender has sent all it was given
}

type line2 struct{ from, to uint64 }

func (t *network) begin(w *World) {
	*t = network{w: w, cut: make(map[line2]bool), arrival: make(map[line2]time.Duration), stream: make(map[line2]int), free: make(map[line2]time.Duration)}
	t.streams = w.rnd.IntN(3) > 0
	t.mood()
}

// mood makes the network as bad as it is for a while.
func (t *network) mood() {
	pick := func(values ...int) int { return values[t.w.rnd.IntN(len(values))] }
	t.loss, t.double, t.late = pick(0, 0, 1000, 100), pick(0, 0, 100), pick(0, 0, 1000, 100)
}

// heal makes the network good.
func (t *network) heal() {
	t.loss, t.double, t.late = 0, 0, 0
	clear(t.cut)
}

// send takes what a node sends, as a replica.Transport does: to each peer one sender,
// which reads the payloads that it needs, outside of the loop, and keeps the order.
func (t *network) send(from *node, messages []replica.Message) {
	for _, m := range messages {
		t.w.result.Messages++
		at := line2{from.id, m.Raft.GetTo()}
		free := max(t.free[at], t.w.now)
		if m.Incomplete() {
			free += t.w.between(5*time.Microsecond, 200*time.Microsecond)
			t.free[at] = free
		}
		if free == t.w.now {
			t.carry(m)
			continue
		}
		life := from.life
		t.w.after(free-t.w.now, func() {
			if from.life != life || from.m == nil {
				return
			}
			if m.Incomplete() {
				if err := m.Load(from.m.Log); err != nil {
					from.checkDisk()
					t.w.log(from.id, "drops a message to %d: %v", at.to, err)
					return
				}
			}
			t.carry(m)
		})
	}
}

func (t *network) carry(m replica.Message) {
	t.deliver(line2{m.Raft.GetFrom(), m.Raft.GetTo()}, func() { t.arrive(m) })
}

// transfer takes the messages of snapshot transfers, which go the same ways. They are
// encoded and decoded.
func (t *network) transfer(from *node, messages []replica.TransferMessage) {
	for _, m := range messages {
		t.w.result.Messages++
		b := m.Encode()
		t.deliver(line2{from.id, m.To}, func() {
			n := t.w.node(m.To)
			if n == nil || n.m == nil || n.fenced {
				return
			}
			m, err := replica.DecodeTransfer(b)
			if err != nil {
				t.w.fail(wellFormed, "node %d: %v", n.id, err)
			}
			n.beside(func() replica.TransferEffects {
				fx, err := n.transfers.Step(m)
				if err != nil {
					t.w.fail(wellFormed, "node %d: %v", n.id, err)
				}
				return fx
			})
		})
	}
}

// deliver lets something arrive, or not, once or twice, now or later.
func (t *network) deliver(at line2, arrive func()) {
	w := t.w
	if t.cut[at] || t.loss > 0 && w.chance(t.loss) {
		t.lose(at)
		return
	}
	copies := 1
	if t.double > 0 && w.chance(t.double) {
		copies = 2
	}
	for range copies {
		d := w.between(100*time.Microsecond, 2*time.Millisecond)
		if t.late > 0 && w.chance(t.late) {
			d += w.between(3*time.Millisecond, 800*time.Millisecond)
		}
		stream := t.stream[at]
		if t.streams {
			d = max(d, t.arrival[at]-w.now)
			t.arrival[at] = w.now + d
		}
		w.after(d, func() {
			if !t.cut[at] && (!t.streams || t.stream[at] == stream) {
				arrive()
			}
		})
	}
}

// lose loses a message, and the stream that it was part of.
func (t *network) lose(at line2) {
	if !t.streams {
		return
	}
	t.stream[at]++
	t.arrival[at] = t.w.now + t.w.between(time.Millisecond, 100*time.Millisecond) // when there is a new one
	if n := t.w.node(at.from); n.m != nil && !n.fenced && t.w.chance(2) {
		n.m.Replica.Unreachable(at.to) // a transport that notices says so
	}
}

func (t *network) arrive(m replica.Message) {
	n := t.w.node(m.Raft.GetTo())
	if n == nil || n.m == nil {
		return
	}
	if t := m.Raft.GetType(); t != raftpb.MsgHeartbeat && t != raftpb.MsgHeartbeatResp {
		n.w.log(n.id, "gets %s", describe(m))
	}
	if err := n.m.Replica.Step(m); err != nil {
		n.w.fail(wellFormed, "node %d: %v", n.id, err)
	}
	n.turn()
}

// described is a message in a trace, written out when asked.
type described struct{ m replica.Message }

func describe(m replica.Message) described { return described{m} }

func (d described) String() string {
	m := d.m.Raft
	s := m.GetType().String() + " from " + num(m.GetFrom()) + " of term " + num(m.GetTerm()) + " at " + num(m.GetIndex()) + "/" + num(m.GetLogTerm()) + ", commit " + num(m.GetCommit())
	for _, e := range m.GetEntries() {
		s += ", entry " + num(e.GetIndex()) + "/" + num(e.GetTerm())
	}
	if m.GetReject() {
		s += ", rejects"
	}
	return s
}

func entryName(i record.Index, t record.Term) string { return num(uint64(i)) + "/" + num(uint64(t)) }
