package replica

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/seeds"
	"github.com/splashdam/splashdam/internal/vfs"
)

// end is one replica as far as transfers go: its log, and a Raft that does as it is
// told.
type end struct {
	id      uint64
	disk    *vfs.Mem
	log     *commitlog.Log
	t       *Transfers
	lead    record.Term
	ended   []TransferEnd
	failed  []error
	sent    int   // bytes of pieces
	perTick []int // of them
	useless bool  // Raft has no use for a snapshot
}

const partition record.PartitionID = 5

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newEnd(t *testing.T, id uint64) *end {
	t.Helper()
	e := &end{id: id, disk: vfs.NewMem()}
	must(t, e.open())
	return e
}

func (e *end) open() error {
	var err error
	if e.log, err = commitlog.Open(e.disk, "shard", commitlog.Options{}); err != nil {
		return err
	}
	if from := e.log.Snapshot(); from != nil {
		for i := from.Index + 1; i <= e.log.HardState().Commit; i++ {
			entry, err := e.log.Entry(i)
			if err != nil {
				return err
			}
			e.log.Committed(entry)
		}
	}
	e.t = NewTransfers(e.id, e.log, 3000)
	return nil
}

// sharedEntry is entry i of the history that all replicas share. Every fifth ends a segment.
func sharedEntry(i record.Index) record.Entry {
	var b record.EntryBuilder
	b.Add(record.KindBatch, partition, record.Build(record.BuildOptions{
		BaseOffset: 2 * int64(i-1), LeaderEpoch: 1, BaseTimestamp: int64(1000 * i), ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1,
	}, []record.Record{{Value: bytes.Repeat([]byte{byte(i)}, 300)}, {Value: fmt.Append(nil, i)}}))
	return slices.Clone(b.Finish(i, 1, int64(1000*i), i%5 == 0))
}

// grow appends and commits entries up to one, and takes a snapshot there.
func (e *end) grow(to record.Index) error {
	if err := e.log.SetHardState(commitlog.HardState{Term: max(1, e.log.HardState().Term), Commit: to}); err != nil {
		return err
	}
	for i := e.log.Last() + 1; i <= to; i++ {
		if err := e.log.Append([]record.Entry{sharedEntry(i)}); err != nil {
			return err
		}
		e.log.Committed(sharedEntry(i))
	}
	for e.log.SealPending() {
		if err := e.log.Seal(); err != nil {
			return err
		}
	}
	cs, err := proto.Marshal(&raftpb.ConfState{Voters: []uint64{1, 2, 3}, AutoLeave: new(false)})
	if err != nil {
		return err
	}
	return e.log.WriteSnapshot(&commitlog.Snapshot{
		Index: to, Term: 1, ConfState: cs, Sections: []commitlog.Section{{Name: "all", Data: fmt.Appendf(nil, "state at %d", to)}},
	})
}

// carryOut does what is wanted, and returns what is to be sent.
func (e *end) carryOut(fx TransferEffects) []TransferMessage {
	out := fx.Send
	for {
		e.ended = append(e.ended, fx.Ended...)
		if fx.Failed != nil {
			e.failed = append(e.failed, fx.Failed)
		}
		if fx.Arrived == nil {
			break
		}
		var err error
		m := fx.Arrived.Message
		if e.useless || record.Index(m.GetSnapshot().GetMetadata().GetIndex()) <= e.log.HardState().Commit {
			err = commitlog.ErrStale
		}
		if err == nil {
			// As the appender does it: the term first, the commit index with the installation.
			hs := commitlog.HardState{Term: max(e.log.HardState().Term, record.Term(m.GetTerm())), Commit: e.log.HardState().Commit}
			if err = e.log.SetHardState(hs); err == nil {
				err = e.log.Install(fx.Arrived.Stage)
			}
		}
		fx = e.t.Installed(err)
		out = append(out, fx.Send...)
	}
	for _, m := range out {
		if m.Kind == TransferPiece {
			e.sent += len(m.Data)
		}
	}
	return out
}

// network carries messages, and does harm to them.
type network struct {
	rnd    *rand.Rand
	ends   map[uint64]*end
	queue  []TransferMessage
	harm   int // percent of the messages that are lost, doubled or late
	change func(*TransferMessage)
	lose   func(TransferMessage) bool
}

func newNetwork(rnd *rand.Rand, ends ...*end) *network {
	n := &network{rnd: rnd, ends: make(map[uint64]*end)}
	for _, e := range ends {
		n.ends[e.id] = e
	}
	return n
}

func (n *network) send(list []TransferMessage) {
	for _, m := range list {
		switch k := n.rnd.IntN(100); {
		case k >= n.harm:
			n.queue = append(n.queue, m)
		case k%3 == 0:
			n.queue = append(n.queue, m, m)
		case k%3 == 1 && len(n.queue) > 0:
			n.queue = slices.Insert(n.queue, n.rnd.IntN(len(n.queue)), m)
		}
	}
}

// tick lets the time go on by one, and delivers what is under way.
func (n *network) tick() error {
	for _, id := range []uint64{1, 2, 3} {
		if e := n.ends[id]; e != nil {
			before := e.sent
			n.send(e.carryOut(e.t.Tick()))
			e.perTick = append(e.perTick, e.sent-before)
		}
	}
	for k := len(n.queue); k > 0; k-- {
		m := n.queue[0]
		n.queue = n.queue[1:]
		if n.lose != nil && n.lose(m) {
			continue
		}
		if n.change != nil {
			n.change(&m)
		}
		got, err := DecodeTransfer(m.Encode())
		if err != nil {
			return err
		}
		if e := n.ends[m.To]; e != nil {
			fx, err := e.t.Step(got)
			if err != nil {
				return err
			}
			n.send(e.carryOut(fx))
		}
	}
	return nil
}

// until ticks until something is so.
func (n *network) until(t *testing.T, limit int, so func() bool) int {
	t.Helper()
	for i := range limit {
		if so() {
			return i
		}
		must(t, n.tick())
	}
	t.Fatalf("not after %d ticks", limit)
	return 0
}

func (n *network) ship(from, to *end, lead record.Term) {
	from.lead = lead
	n.send(from.carryOut(from.t.Ship(to.id, lead)))
}

// equal compares what can be read of two logs up to an entry.
func (e *end) equal(o *end, to record.Index) error {
	mine, err1 := e.log.Read(nil, nil, partition, 0, 2*int64(to), 1<<30, false)
	others, err2 := o.log.Read(nil, nil, partition, 0, 2*int64(to), 1<<30, false)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if len(mine) == 0 || !bytes.Equal(mine, others) {
		return fmt.Errorf("replica %d has %d bytes, %d has %d", e.id, len(mine), o.id, len(others))
	}
	r, err := commitlog.Verify(e.disk, "shard")
	if err == nil && len(r.Problems) > 0 {
		err = fmt.Errorf("verify: %v", r.Problems)
	}
	return err
}

// whole is the bytes of everything that can be shipped.
func (e *end) whole(t *testing.T) (n int) {
	t.Helper()
	ship, err := e.log.Ship()
	must(t, err)
	defer ship.Close()
	for at := (commitlog.Cursor{}); at != ship.List().End(); {
		var b []byte
		b, at, err = ship.Read(nil, at, 1<<20)
		must(t, err)
		n += len(b)
	}
	return n
}

func (e *end) at(i record.Index) func() bool {
	return func() bool { s := e.log.Snapshot(); return s != nil && s.Index >= i }
}

func TestATransferBringsAFollowerWhatTheLeaderHas(t *testing.T) {
	a, b := newEnd(t, 1), newEnd(t, 2)
	must(t, a.grow(57))
	must(t, b.grow(11))
	n := newNetwork(rand.New(rand.NewPCG(1, 1)), a, b)
	n.ship(a, b, 4)
	n.until(t, 200, func() bool { return len(a.ended) > 0 })
	if !b.at(57)() || a.ended[0] != (TransferEnd{To: 2}) {
		t.Errorf("ended as %v", a.ended)
	}
	must(t, b.equal(a, 57))
	if s, _ := b.log.Snapshot().Section("all"); string(s) != "state at 57" {
		t.Errorf("the snapshot says %q", s)
	}
	// The two segments that both had were not sent.
	if whole := a.whole(t); a.sent > whole-3000 || a.sent < whole/2 {
		t.Errorf("%d bytes of %d were sent", a.sent, whole)
	}
	// At the pace that was asked for, but for one segment's worth, which is a piece.
	sent := 0
	for i, n := range a.perTick {
		if sent += n; sent > (i+1)*3000+3000 {
			t.Errorf("%d bytes in %d ticks", sent, i+1)
		}
	}
}

// One bad line after the other, a follower that dies, a leader that does, snapshots
// that become newer: in the end the follower has it.
func TestATransferComesToItsEndWhateverHappens(t *testing.T) {
	first, count := seeds.Range(t, 60, 500)
	for seed := first; seed != first+count; seed++ {
		if err := chaos(t, rand.New(rand.NewPCG(seed, 2))); err != nil {
			t.Fatalf("SPLASHDAM_TEST_SEED=%d: %v", seed, err)
		}
	}
}

func chaos(t *testing.T, rnd *rand.Rand) error {
	a, b, c := newEnd(t, 1), newEnd(t, 2), newEnd(t, 3)
	top := record.Index(40 + rnd.IntN(30))
	for _, err := range []error{a.grow(top), c.grow(top - record.Index(rnd.IntN(3))), b.grow(1 + record.Index(rnd.IntN(20)))} {
		if err != nil {
			return err
		}
	}
	n := newNetwork(rnd, a, b, c)
	n.harm = rnd.IntN(60)
	lead, leader := record.Term(2), a
	begun := map[*end]int{}
	ship := func() {
		begun[leader]++
		n.ship(leader, b, lead)
	}
	ship()
	for range rnd.IntN(6) {
		for range rnd.IntN(12) {
			if err := n.tick(); err != nil {
				return err
			}
		}
		switch rnd.IntN(4) {
		case 0: // another leader
			n.send(leader.carryOut(leader.t.Follow()))
			lead++
			if leader = c; rnd.IntN(3) == 0 {
				leader = a
			}
			ship()
		case 1: // the follower loses its power
			b.t.Close()
			b.disk = b.disk.Crash(rnd)
			if err := b.open(); err != nil {
				return err
			}
		case 2: // it only ends, and begins again
			b.t.Close()
			if err := errors.Join(b.log.Close(), b.open()); err != nil {
				return err
			}
		case 3: // the leader goes on
			for range 1 + rnd.IntN(3) {
				if err := leader.grow(leader.log.Last() + 3); err != nil {
					return err
				}
			}
		}
	}
	n.harm = min(n.harm, 30)
	for i := 0; !b.at(top - 3)(); i++ {
		if i > 5000 {
			return errors.New("the transfer has no end")
		}
		if len(leader.t.senders) == 0 {
			ship() // as Raft would
		}
		if err := n.tick(); err != nil {
			return err
		}
	}
	for i := 0; len(leader.t.senders) > 0; i++ {
		if i > 5000 {
			return errors.New("the leader was never told")
		}
		if err := n.tick(); err != nil {
			return err
		}
	}
	for _, e := range []*end{a, c} {
		if len(e.ended) != begun[e] {
			return fmt.Errorf("replica %d has begun %d transfers, and %d have ended", e.id, begun[e], len(e.ended))
		}
	}
	if len(b.failed) > 0 {
		return fmt.Errorf("failures: %v", b.failed)
	}
	from := a
	if from.log.Last() < c.log.Last() {
		from = c
	}
	return errors.Join(b.equal(from, b.log.Snapshot().Index), b.log.Close(), b.open(), b.equal(from, b.log.Snapshot().Index))
}

func TestANewLeaderGoesOnWhereTheLastOneWas(t *testing.T) {
	a, b, c := newEnd(t, 1), newEnd(t, 2), newEnd(t, 3)
	must(t, a.grow(60))
	must(t, c.grow(60))
	n := newNetwork(rand.New(rand.NewPCG(1, 1)), a, b, c)
	n.ship(a, b, 4)
	n.until(t, 100, func() bool { return a.sent > 12000 })
	at := b.t.from.at()
	n.send(a.carryOut(a.t.Follow()))
	if len(a.ended) != 1 || !errors.Is(a.ended[0].Err, ErrTransferFailed) {
		t.Fatalf("ended as %v", a.ended)
	}
	n.ship(c, b, 5)
	n.until(t, 200, func() bool {
		if now := b.t.from.at(); b.t.from.active() && now.Before(at) {
			t.Fatalf("it was at %v and is at %v", at, now)
		}
		return len(c.ended) > 0
	})
	must(t, b.equal(c, 60))
	if at.Object < 4 || a.sent+c.sent > a.whole(t)+4000 {
		t.Errorf("%d bytes from one, up to %v, and %d from the other", a.sent, at, c.sent)
	}
}

func TestALostMessageIsMadeUpFor(t *testing.T) {
	for lost := range 60 {
		a, b := newEnd(t, 1), newEnd(t, 2)
		must(t, a.grow(30))
		n := newNetwork(rand.New(rand.NewPCG(1, 1)), a, b)
		k := 0
		n.lose = func(m TransferMessage) bool {
			k++
			return k == lost+1
		}
		n.ship(a, b, 4)
		if ticks := n.until(t, 200, func() bool { return len(a.ended) > 0 }); a.ended[0].Err != nil {
			t.Fatalf("message %d lost: it ended after %d ticks as %v", lost, ticks, a.ended)
		}
		must(t, b.equal(a, 30))
	}
}

func TestAFollowerThatStartsAnewGoesOnInTheSameTransfer(t *testing.T) {
	a, b := newEnd(t, 1), newEnd(t, 2)
	must(t, a.grow(60))
	n := newNetwork(rand.New(rand.NewPCG(1, 1)), a, b)
	n.ship(a, b, 4)
	n.until(t, 50, func() bool { return a.sent > 12000 })
	b.disk = b.disk.CrashClean()
	must(t, b.open())
	n.until(t, 200, func() bool { return b.t.from.stage != nil })
	if at := b.t.from.at(); at.Object < 3 {
		t.Errorf("it goes on at %v", at)
	}
	n.until(t, 200, func() bool { return len(a.ended) > 0 })
	if a.ended[0].Err != nil {
		t.Errorf("ended as %v", a.ended)
	}
	must(t, b.equal(a, 60))
}

func TestALeaderOfAnOlderTermIsNotHeard(t *testing.T) {
	a, b, c := newEnd(t, 1), newEnd(t, 2), newEnd(t, 3)
	must(t, a.grow(60))
	must(t, c.grow(61))
	n := newNetwork(rand.New(rand.NewPCG(1, 1)), a, b, c)
	n.ship(c, b, 5)
	n.until(t, 50, func() bool { return c.sent > 10000 })
	n.ship(a, b, 4)
	n.until(t, 100, func() bool { return len(c.ended) > 0 })
	if c.ended[0].Err != nil || a.sent > 0 {
		t.Errorf("ended as %v, and %d bytes came from the older leader", c.ended, a.sent)
	}
}

func TestATransferToADeadFollowerEndsAndHoldsNothing(t *testing.T) {
	a, b := newEnd(t, 1), newEnd(t, 2)
	must(t, a.grow(30))
	n := newNetwork(rand.New(rand.NewPCG(1, 1)), a)
	n.ship(a, b, 2)
	ticks := n.until(t, 1000, func() bool { return len(a.ended) > 0 })
	if ticks < transferIdleTicks || !errors.Is(a.ended[0].Err, ErrTransferFailed) {
		t.Errorf("after %d ticks it ended as %v", ticks, a.ended)
	}
	must(t, a.grow(40))
	must(t, a.grow(50))
	if first := a.log.First(); first != 41 {
		t.Errorf("the window begins at %d", first)
	}
}

func TestWhatIsNotTheLeadersIsRefusedAndTheLeaderHearsOfIt(t *testing.T) {
	a, b := newEnd(t, 1), newEnd(t, 2)
	must(t, a.grow(30))
	must(t, b.grow(3))
	n := newNetwork(rand.New(rand.NewPCG(1, 1)), a, b)
	n.change = func(m *TransferMessage) {
		if m.Kind == TransferPiece && m.At.Object == 3 && len(m.Data) > 100 {
			m.Data = bytes.Clone(m.Data)
			m.Data[100] ^= 1
		}
	}
	n.ship(a, b, 2)
	n.until(t, 200, func() bool { return len(a.ended) > 0 })
	if !errors.Is(a.ended[0].Err, ErrTransferFailed) || len(b.failed) == 0 || !errors.Is(b.failed[0], commitlog.ErrShipment) {
		t.Errorf("ended as %v, failed for %v", a.ended, b.failed)
	}
	if b.log.Last() != 3 {
		t.Errorf("the log ends at %d", b.log.Last())
	}
	n.change = nil
	n.ship(a, b, 2)
	n.until(t, 200, func() bool { return len(a.ended) > 1 })
	must(t, b.equal(a, 30))
}

func TestASnapshotThatRaftHasNoUseForIsDiscarded(t *testing.T) {
	a, b := newEnd(t, 1), newEnd(t, 2)
	must(t, a.grow(30))
	must(t, b.grow(3))
	b.useless = true
	before, err := b.disk.List("shard")
	must(t, err)
	n := newNetwork(rand.New(rand.NewPCG(1, 1)), a, b)
	n.ship(a, b, 2)
	n.until(t, 200, func() bool { return len(a.ended) > 0 })
	must(t, n.tick())
	after, err := b.disk.List("shard")
	must(t, err)
	if a.ended[0].Err != nil || b.log.Last() != 3 || !slices.Equal(before, after) {
		t.Errorf("ended as %v, last is %d, the directory was %v and is %v", a.ended, b.log.Last(), before, after)
	}
}

func TestWhatNobodyGoesOnWithIsDeletedInTheEnd(t *testing.T) {
	a, b := newEnd(t, 1), newEnd(t, 2)
	must(t, a.grow(60))
	n := newNetwork(rand.New(rand.NewPCG(1, 1)), a, b)
	before, err := b.disk.List("shard")
	must(t, err)
	n.ship(a, b, 2)
	n.until(t, 50, func() bool { return a.sent > 12000 })
	a.t.Close()
	delete(n.ends, 1)
	n.until(t, transferAbandonTicks+1, func() bool { return !b.t.from.active() })
	b.t.Close() // and a start comes between
	must(t, b.log.Close())
	must(t, b.open())
	n.until(t, transferDiscardTicks+2, func() bool { return b.t.from.cleared })
	after, err := b.disk.List("shard")
	must(t, err)
	if !slices.Equal(before, after) {
		t.Errorf("the directory was %v and is %v", before, after)
	}
}

func TestInflightIsBounded(t *testing.T) {
	a, b := newEnd(t, 1), newEnd(t, 2)
	must(t, a.grow(400))
	a.t.rate = 1 << 30
	n := newNetwork(rand.New(rand.NewPCG(1, 1)), a, b)
	n.ship(a, b, 2)
	n.until(t, 10, func() bool { return b.t.from.stage != nil })
	delete(n.ends, 2) // it is heard no more
	for range 30 {
		must(t, n.tick())
	}
	s := a.t.senders[2]
	if len(s.inflight) > maxTransferPieces || s.bytes > maxTransferInflight+transferPiece || len(s.inflight) < 10 {
		t.Errorf("%d pieces of %d bytes are on their way", len(s.inflight), s.bytes)
	}
}

func someMessages() []TransferMessage {
	key := TransferKey{7, 3, 0xabcdef}
	return []TransferMessage{
		{Kind: TransferBegin, From: 1, To: 2, Lead: 4, Key: key, Length: 96},
		{Kind: TransferWant, From: 2, To: 1, Lead: 4, Key: key, At: commitlog.Cursor{Object: 2, Offset: 9}, Through: 5, Again: true},
		{Kind: TransferPiece, From: 1, To: 2, Lead: 4, Key: key, At: commitlog.Cursor{Object: 2, Offset: 9}, Last: true, Data: []byte("bytes")},
		{Kind: TransferDone, From: 2, To: 1, Lead: 4, Key: key, Failed: true, Data: []byte("why")},
	}
}

func TestATransferMessageReadsBackTheSameAndNoOtherDoes(t *testing.T) {
	for _, m := range someMessages() {
		b := m.Encode()
		got, err := DecodeTransfer(b)
		if len(got.Data) == 0 {
			got.Data = nil
		}
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%+v, want %+v: %v", got, m, err)
		}
		for i := range b {
			c := m.Encode()
			c[i] ^= 4
			if _, err := DecodeTransfer(c); !errors.Is(err, ErrTransfer) && !errors.Is(err, commitlog.ErrFutureVersion) {
				t.Errorf("kind %d, byte %d flipped: %v", m.Kind, i, err)
			}
			if _, err := DecodeTransfer(b[:i]); !errors.Is(err, ErrTransfer) {
				t.Errorf("kind %d, cut off at %d: %v", m.Kind, i, err)
			}
		}
	}
}

func FuzzTransferMessage(f *testing.F) {
	for _, m := range someMessages() {
		f.Add(m.Encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := DecodeTransfer(b)
		if err != nil {
			if !errors.Is(err, ErrTransfer) && !errors.Is(err, commitlog.ErrFutureVersion) {
				t.Fatal(err)
			}
			return
		}
		again, err := DecodeTransfer(m.Encode())
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("written and read again it is %+v, not %+v: %v", again, m, err)
		}
	})
}
