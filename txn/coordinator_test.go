package txn

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"pgregory.net/rapid"

	"github.com/splashdam/splashdam/broker/record"
)

func TestAProducerIDWhoseEpochsAreUsedUpIsReplaced(t *testing.T) {
	ts := NewTransactions()
	cfg := CoordinatorConfig{MaxTimeoutMs: 1000, Expiration: time.Hour, MaxIDs: 10}
	used := Transaction{Phase: Empty, Producer: 5, Epoch: math.MaxInt16 - 1, LastEpoch: -1, LastProducer: -1, NextProducer: -1, TimeoutMs: 100}
	who := Identity{5, math.MaxInt16 - 1}
	next := Identity{77, 0}
	at := record.Index(0)
	do := func(c *Coordinator, cmd record.Command, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if cmd != nil {
			if err := ts.Apply(cmd, 1); err != nil {
				t.Fatal(err)
			}
		}
		c.Applied(at)
		at++
	}
	begin := func() *Coordinator {
		c := Coordinate(ts, cfg, 1, 0)
		do(c, changedCommand("a", &used), nil)
		return c
	}

	// By InitProducerId, of a client that has it and of one that does not, and again.
	c := begin()
	if _, _, err := c.Init("a", InitRequest{100, who}, -1, 1, at); !errors.Is(err, ErrNeedsProducer) {
		t.Fatal(err)
	}
	cmd, got, err := c.Init("a", InitRequest{100, who}, 77, 1, at)
	if do(c, cmd, err); got != next {
		t.Errorf("it goes on with %v", got)
	}
	cmd, got, err = c.Init("a", InitRequest{100, who}, -1, 1, at)
	if do(c, cmd, err); got != next {
		t.Errorf("asked again it goes on with %v", got)
	}

	// By the end of a transaction.
	c = begin()
	cmd, err = c.Enlist("a", Enlistment{Identity: who, Partitions: []record.PartitionID{1}}, 1, at)
	do(c, cmd, err)
	if _, _, err := c.End("a", EndRequest{who, true, true}, -1, 1, at); !errors.Is(err, ErrNeedsProducer) {
		t.Fatal(err)
	}
	cmd, got, err = c.End("a", EndRequest{who, true, true}, 77, 1, at)
	if do(c, cmd, err); got != next {
		t.Errorf("it goes on with %v", got)
	}
	if _, err := c.Enlist("a", Enlistment{Identity: next, Partitions: []record.PartitionID{1}}, 1, at); err == nil {
		t.Error("the next transaction begins before the end of this one")
	}
	m := c.Markers(1)
	if len(m) != 1 || m[0].Producer != 5 || m[0].Epoch != math.MaxInt16 {
		t.Fatalf("%+v", m)
	}
	do(c, c.Written(m[0], 1, at), nil)
	if _, got, err := c.End("a", EndRequest{who, true, true}, -1, 1, at); err != nil || got != next {
		t.Errorf("its end again: %v, %v", got, err)
	}
	cmd, err = c.Enlist("a", Enlistment{Identity: next, Partitions: []record.PartitionID{1}}, 1, at)
	do(c, cmd, err)
	if _, _, err := c.End("a", EndRequest{who, true, true}, -1, 1, at); !errors.Is(err, kerr.InvalidProducerIDMapping) {
		t.Errorf("its end late, into the next transaction: %v", err)
	}
}

// world is a coordinator, the log it writes, and the partitions that it orders to end
// transactions.
type txnWorld struct {
	t        *rapid.T
	cfg      CoordinatorConfig
	ts       *Transactions
	c        *Coordinator
	term     record.Term
	now      int64
	next     record.Index
	inFlight []logged
	fresh    int64
	orders   []Marker // handed out, their fate is open
	known    map[string][]Identity

	// By transaction: how it was answered, and the markers that were written.
	answered map[txnKey]bool
	markers  map[txnKey]map[record.PartitionID]bool // committed or not
	enlisted map[txnKey]map[record.PartitionID]bool // answered and applied
	highest  map[int64]int16
}

// txnKey is one transaction of a client that bumps.
type txnKey struct {
	producer int64
	epoch    int16 // of its batches
}

func (w *txnWorld) log(cmd record.Command) {
	if cmd != nil {
		w.inFlight = append(w.inFlight, logged{at: w.next, command: cmd})
		w.next++
	}
}

func (w *txnWorld) apply() {
	for _, l := range w.inFlight {
		if err := w.ts.Apply(l.command, w.now); err != nil {
			w.t.Fatal(err)
		}
		w.c.Applied(l.at)
	}
	w.inFlight = nil
}

// predicted checks that what the leader thinks will be is what Apply makes of it.
func (w *txnWorld) predicted() {
	want := map[string]Transaction{}
	for id, f := range w.c.newest {
		if f.after != nil {
			want[id] = *f.after
		}
	}
	gone := maps.Clone(w.c.newest)
	w.apply()
	for id, t := range want {
		got := *w.ts.Get(id)
		got.Started, got.Updated, t.Started, t.Updated = 0, 0, 0, 0
		if len(got.Partitions)+len(t.Partitions) == 0 {
			got.Partitions, t.Partitions = nil, nil
		}
		if !reflect.DeepEqual(got, t) {
			w.t.Fatalf("%s became %+v, the leader has it as %+v", id, got, t)
		}
	}
	for id, f := range gone {
		if f.after == nil && w.ts.Get(id) != nil {
			w.t.Fatalf("%s was forgotten, and is known", id)
		}
	}
}

func (w *txnWorld) identity(id string) Identity {
	known := w.known[id]
	if len(known) == 0 {
		return Identity{1, 0}
	}
	// Mostly the newest.
	n := len(known) - 1 - max(0, rapid.IntRange(-4, min(2, len(known)-1)).Draw(w.t, "older"))
	return known[n]
}

func (w *txnWorld) learned(id string, who Identity) {
	if who.Epoch < w.highest[who.Producer] {
		w.t.Fatalf("%s is told %v, the epoch was %d before", id, who, w.highest[who.Producer])
	}
	w.highest[who.Producer] = who.Epoch
	w.known[id] = append(w.known[id], who)
}

func (w *txnWorld) step() {
	id := rapid.SampledFrom([]string{"a", "b"}).Draw(w.t, "id")
	switch rapid.IntRange(0, 11).Draw(w.t, "step") {
	case 0: // a producer comes, or wants the next epoch
		r := InitRequest{TimeoutMs: 1000, Identity: Identity{-1, -1}}
		if rapid.Bool().Draw(w.t, "has one") {
			r.Identity = w.identity(id)
		}
		w.fresh++
		cmd, who, err := w.c.Init(id, r, w.fresh, w.now, w.next)
		w.log(cmd)
		if err == nil {
			w.predicted() // the answer waits for it
			w.learned(id, who)
		}
	case 1, 2, 3:
		e := Enlistment{Identity: w.identity(id), Partitions: []record.PartitionID{record.PartitionID(rapid.IntRange(1, 4).Draw(w.t, "partition"))}}
		cmd, err := w.c.Enlist(id, e, w.now, w.next)
		w.log(cmd)
		if err == nil {
			w.predicted()
			k := txnKey{e.Producer, e.Epoch}
			if w.enlisted[k] == nil {
				w.enlisted[k] = map[record.PartitionID]bool{}
			}
			w.enlisted[k][e.Partitions[0]] = true
			if _, over := w.answered[k]; over {
				w.t.Fatalf("%s %v is over, and takes partitions", id, k)
			}
		}
	case 4, 5:
		r := EndRequest{w.identity(id), rapid.Bool().Draw(w.t, "commit"), true}
		w.fresh++
		cmd, who, err := w.c.End(id, r, w.fresh, w.now, w.next)
		w.log(cmd)
		if err == nil {
			w.predicted()
			k := txnKey{r.Producer, r.Epoch}
			if was, ok := w.answered[k]; ok && was != r.Commit {
				w.t.Fatalf("%s %v was answered with commit=%t and now with %t", id, k, was, r.Commit)
			}
			w.answered[k] = r.Commit
			w.learned(id, who)
		}
	case 6:
		w.predicted()
	case 7:
		w.orders = append(w.orders, w.c.Markers(w.now)...)
	case 8, 9:
		w.deliver()
	case 10: // another leader; what is in flight is there or not
		if rapid.Bool().Draw(w.t, "cut") {
			w.inFlight = nil
		}
		for _, l := range w.inFlight {
			if err := w.ts.Apply(l.command, w.now); err != nil {
				w.t.Fatal(err)
			}
		}
		w.inFlight = nil
		data := w.ts.View().Encode()
		var err error
		if w.ts, err = RestoreTransactions(data); err != nil || !bytes.Equal(w.ts.View().Encode(), data) {
			w.t.Fatalf("restored it is another state: %v", err)
		}
		w.term++
		w.c = Coordinate(w.ts, w.cfg, w.term, w.now)
	case 11:
		w.now += int64(rapid.IntRange(0, 700).Draw(w.t, "later"))
		timedOut, _ := w.c.Due(w.now, 10)
		slices.Sort(timedOut)
		for _, id := range timedOut {
			w.log(w.c.TimeOut(id, w.now, w.next))
		}
	}
}

// deliver carries out one order, or loses it on the way there or on the way back.
func (w *txnWorld) deliver() {
	if len(w.orders) == 0 {
		return
	}
	i := rapid.IntRange(0, len(w.orders)-1).Draw(w.t, "order")
	m := w.orders[i]
	w.orders = slices.Delete(w.orders, i, i+1)
	fate := rapid.IntRange(0, 5).Draw(w.t, "fate")
	if fate > 0 {
		w.write(m)
	}
	if fate <= 1 {
		w.c.Failed(m, w.now)
		return
	}
	w.log(w.c.Written(m, w.now, w.next))
}

func (w *txnWorld) write(m Marker) {
	k := txnKey{m.Producer, m.Epoch - 1}
	if !m.Bumped {
		w.t.Fatalf("an end without a new epoch: %+v", m)
	}
	if was, ok := w.markers[k][m.Partition]; ok && was != m.Commit {
		w.t.Fatalf("%v is ended with commit=%t and with %t", k, was, m.Commit)
	}
	if w.markers[k] == nil {
		w.markers[k] = map[record.PartitionID]bool{}
	}
	w.markers[k][m.Partition] = m.Commit
}

// settle lets everything come to its end, and looks at what has come of it.
func (w *txnWorld) settle() {
	for range 20 {
		w.now += 2000
		w.predicted()
		timedOut, _ := w.c.Due(w.now, 10)
		for _, id := range timedOut {
			w.log(w.c.TimeOut(id, w.now, w.next))
		}
		w.predicted()
		w.orders = append(w.orders, w.c.Markers(w.now)...)
		for _, m := range w.orders {
			w.write(m)
			w.log(w.c.Written(m, w.now, w.next))
		}
		w.orders = nil
	}
	w.predicted()
	bytes := 0
	w.ts.Each(func(id string, t *Transaction) { bytes += len(id) })
	if bytes != w.ts.idBytes {
		w.t.Fatalf("ids of %d bytes are counted as %d", bytes, w.ts.idBytes)
	}
	w.ts.Each(func(id string, t *Transaction) {
		if !t.Phase.idle() {
			w.t.Fatalf("%s hangs: %+v", id, t)
		}
	})
	for k, ps := range w.enlisted {
		for p := range ps {
			commit, ended := w.markers[k][p]
			if !ended {
				w.t.Fatalf("%v hangs in partition %v", k, p)
			}
			if want, ok := w.answered[k]; ok && want != commit {
				w.t.Fatalf("%v was answered with commit=%t, in partition %v it is %t", k, want, p, commit)
			}
			if _, ok := w.answered[k]; !ok && commit {
				w.t.Logf("%v: committed, and nobody heard of it", k)
			}
		}
	}
}

func TestEveryTransactionEndsEverywhereAsItWasAnswered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &txnWorld{
			t: t, cfg: CoordinatorConfig{MaxTimeoutMs: 10_000, Expiration: 1000 * time.Hour, MaxIDs: 10},
			ts: NewTransactions(), now: 1000, next: 1, fresh: 100, term: 1,
			known: map[string][]Identity{}, answered: map[txnKey]bool{}, highest: map[int64]int16{},
			markers: map[txnKey]map[record.PartitionID]bool{}, enlisted: map[txnKey]map[record.PartitionID]bool{},
		}
		w.c = Coordinate(w.ts, w.cfg, w.term, w.now)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			w.step()
		}
		w.settle()
	})
}

func FuzzTransactionCommand(f *testing.F) {
	f.Add([]byte(changedCommand("a", &Transaction{Producer: 1, LastEpoch: -1, LastProducer: -1, NextProducer: -1, TimeoutMs: 1})))
	f.Add([]byte(enlistedCommand("a", []record.PartitionID{1, 2})))
	f.Add([]byte(forgottenCommand("a")))
	f.Fuzz(func(t *testing.T, data []byte) {
		ts := NewTransactions()
		if err := ts.Apply(changedCommand("a", &Transaction{Producer: 1, LastEpoch: -1, LastProducer: -1, NextProducer: -1, TimeoutMs: 1}), 1); err != nil {
			t.Fatal(err)
		}
		before := ts.View().Encode()
		if err := ts.Apply(data, 2); err != nil {
			if !errors.Is(err, ErrTransactionCommand) || !bytes.Equal(ts.View().Encode(), before) {
				t.Fatalf("%v, and the state has changed", err)
			}
			return
		}
		ts.Each(func(id string, tx *Transaction) {
			if tx.Phase.idle() == (len(tx.Partitions) > 0) {
				return // a command that no coordinator gives
			}
			if r, err := RestoreTransactions((&TransactionsView{map[string]*Transaction{id: tx}}).Encode()); err != nil || r.Len() != 1 {
				t.Fatalf("%+v is not restored: %v", tx, err)
			}
		})
	})
}

func FuzzTransactionState(f *testing.F) {
	ts := NewTransactions()
	for i, c := range []record.Command{
		changedCommand("a", &Transaction{Producer: 1, LastEpoch: -1, LastProducer: -1, NextProducer: -1, TimeoutMs: 1}),
		changedCommand("b", &Transaction{Producer: 2, Epoch: 3, LastEpoch: 2, LastProducer: -1, NextProducer: -1, TimeoutMs: 1}),
		enlistedCommand("a", []record.PartitionID{2, 1}),
	} {
		if err := ts.Apply(c, int64(i)); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(ts.View().Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := RestoreTransactions(data)
		if err != nil {
			if !errors.Is(err, ErrTransactionState) {
				t.Fatal(err)
			}
			return
		}
		again, err := RestoreTransactions(r.View().Encode())
		if err != nil || !reflect.DeepEqual(r, again) {
			t.Fatalf("restored twice: %v", err)
		}
	})
}

func TestAStateOfTheFutureIsRefused(t *testing.T) {
	if _, err := RestoreTransactions([]byte{transactionStateVersion + 1}); !errors.Is(err, ErrTransactionState) {
		t.Error(err)
	}
	c := forgottenCommand("a")
	c[2]++
	if err := NewTransactions().Apply(c, 1); !errors.Is(err, ErrTransactionCommand) {
		t.Error(err)
	}
	for p := Empty; p <= CompleteAbort+1; p++ {
		if s := fmt.Sprint(p); s == "" {
			t.Errorf("phase %d has no name", uint8(p))
		}
	}
}
