package partition

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"pgregory.net/rapid"

	"github.com/splashdam/splashdam/broker/record"
)

// TestRandomProducers drives Leading and three replicas of Table with producers that
// send, retry and go wrong at random, over a log that loses entries and a lead that
// moves, and holds them to a model that keeps nothing but a list of what happened and
// looks through all of it for every answer.
func TestRandomProducers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// The seed decides everything, so that all steps are equally likely; what
		// rapid shrinks is their number.
		steps := rapid.IntRange(100, 600).Draw(t, "steps")
		w := newWorld(t, rapid.Uint64().Draw(t, "seed"))
		for range steps {
			w.step()
			w.check()
		}
		w.settle()
	})
}

// event is a part of an entry, as the model sees it.
type event struct {
	kind      string // batch, hold, marker, open, close, log start or expire
	entry     record.Index
	term      record.Term
	time      int64 // of the entry
	partition record.PartitionID

	sent                // of a batch, and of what is held; of a marker, producer and epoch
	transactional bool  // of a batch
	commit        bool  // of a marker
	offset        int64 // of a batch or a marker, -1 of what is held; of a log start
	timestamp     int64
	before        progress // of the producer, when it was decided
	after         progress
	producers     []int64 // to expire, if not used since
	since         int64

	batch   record.Batch
	command record.Command
}

// sent is what identifies a producer's batch.
type sent struct {
	producer int64 // -1 for none
	epoch    int16
	first    int32
	count    int32
}

// progress is where a producer stands: next is the sequence that must come, accepted
// how many before it are known to have come.
type progress struct {
	epoch    int16
	next     int32
	accepted int64
}

func (p progress) add(s sent) progress {
	n := int64(s.count)
	if s.epoch == p.epoch && s.first == p.next {
		n += p.accepted
	}
	return progress{s.epoch, int32((int64(s.first) + int64(s.count)) % (1 << 31)), min(n, 1<<30)}
}

// contents is what a partition holds by the log.
type contents struct {
	number    int32
	logStart  int64
	end       int64
	newest    int64
	epochs    []epochStart
	producers map[int64][]event // what they sent since they were expired last
	expired   int64
	open      map[int64]int64 // first offsets of producers' transactions
	aborted   []Aborted
}

// stable is the last stable offset, if the log ends there.
func (c *contents) stable(end int64) int64 {
	for _, first := range c.open {
		end = min(end, first)
	}
	return end
}

// read goes through the log from its beginning; nil if the partition is not open.
func (w *world) read(p record.PartitionID) *contents {
	var c *contents
	for _, e := range w.applied {
		if e.partition != p {
			continue
		}
		fresh := &contents{number: int32(p), newest: -1, producers: map[int64][]event{}, expired: -1, open: map[int64]int64{}}
		if e.kind == "open" || e.kind == "batch" && p.Hidden() {
			if c == nil {
				c = fresh
			}
		}
		if c == nil {
			continue
		}
		switch e.kind {
		case "close":
			c = nil
		case "batch", "marker":
			if n := len(c.epochs); !p.Hidden() && (n == 0 || c.epochs[n-1].epoch < int32(e.term)) {
				c.epochs = append(c.epochs, epochStart{int32(e.term), e.offset})
			}
			c.end, c.newest = e.offset+int64(e.count), max(c.newest, e.timestamp)
			first, open := c.open[e.producer]
			switch {
			case e.transactional && !open:
				c.open[e.producer] = e.offset
			case e.kind == "marker" && open:
				delete(c.open, e.producer)
				if !e.commit {
					c.aborted = append(c.aborted, Aborted{e.producer, first, e.offset, c.stable(c.end)})
				}
			}
			fallthrough
		case "hold":
			if e.producer >= 0 {
				c.producers[e.producer] = append(c.producers[e.producer], e)
			}
		case "log start":
			c.logStart = max(c.logStart, min(c.end, e.offset))
			c.aborted = slices.DeleteFunc(c.aborted, func(a Aborted) bool { return a.Last < c.logStart })
			for len(c.epochs) > 1 && c.epochs[1].start <= c.logStart {
				c.epochs = c.epochs[1:]
			}
		case "expire":
			for _, id := range e.producers {
				if _, open := c.open[id]; open {
					continue
				}
				if sent := c.producers[id]; len(sent) > 0 && sent[len(sent)-1].time <= e.since {
					delete(c.producers, id)
					c.expired = max(c.expired, id)
				}
			}
		}
	}
	return c
}

// transacts reports whether a producer's transaction is open, what is in flight
// included.
func (w *world) transacts(p record.PartitionID, id int64) (open bool) {
	if c := w.read(p); c != nil {
		_, open = c.open[id]
	}
	for _, e := range w.inFlight {
		if e.partition == p && e.producer == id && (e.kind == "marker" || e.transactional) {
			open = e.kind != "marker"
		}
	}
	return open
}

// flying are a producer's batches in flight.
func (w *world) flying(p record.PartitionID, id int64) []event {
	var out []event
	for _, e := range w.inFlight {
		if (e.kind == "batch" || e.kind == "hold") && e.partition == p && e.producer == id {
			out = append(out, e)
		}
	}
	return out
}

// progress says where a producer stands, what is in flight included, if it is known.
func (w *world) progress(p record.PartitionID, id int64) (progress, bool) {
	if f := w.flying(p, id); len(f) > 0 {
		return f[len(f)-1].after, true
	}
	if c := w.read(p); c != nil && len(c.producers[id]) > 0 {
		all := c.producers[id]
		at := progress{all[0].epoch, all[0].first, 0}
		for i, e := range all {
			switch {
			case e.kind != "marker":
				at = at.add(e.sent)
			case i == 0 || e.epoch > at.epoch:
				at = progress{epoch: e.epoch}
			}
		}
		return at, true
	}
	at, ok := w.refused[producerKey{p, id}]
	return at, ok
}

// decide says what must become of a batch. offset is the one that it would get.
func (w *world) decide(p record.PartitionID, s sent, offset, timestamp int64) (Decision, progress, error) {
	accepted := Decision{BaseOffset: offset, Timestamp: timestamp}
	c := w.read(p)
	if c == nil && !p.Hidden() {
		return Decision{}, progress{}, kerr.UnknownTopicOrPartition
	}
	if s.producer < 0 {
		return accepted, progress{}, nil
	}
	at, known := w.progress(p, s.producer)
	if !known {
		at = progress{epoch: s.epoch}
		if c != nil && s.producer <= c.expired {
			at.next = s.first // nobody knows any more where it was
		}
	}
	switch {
	case s.epoch < at.epoch:
		return Decision{}, progress{}, kerr.InvalidProducerEpoch
	case s.epoch > at.epoch && s.first == 0:
		return accepted, at, nil
	case s.epoch > at.epoch:
		return Decision{}, progress{}, kerr.OutOfOrderSequenceNumber
	case s.first == at.next:
		return accepted, at, nil
	}
	flying := w.flying(p, s.producer)
	for _, e := range slices.Backward(flying) {
		if e.sent == s {
			return Decision{BaseOffset: e.offset, Timestamp: e.timestamp, Duplicate: true, InFlight: e.entry}, at, nil
		}
	}
	if c != nil {
		all := slices.DeleteFunc(slices.Clone(c.producers[s.producer]), func(e event) bool { return e.kind == "marker" })
		for _, e := range slices.Backward(all[max(0, len(all)-5):]) {
			if e.sent == s {
				return Decision{BaseOffset: e.offset, Timestamp: e.timestamp, Duplicate: true}, at, nil
			}
		}
	}
	behind := int64(at.next) - int64(s.first)
	if behind < 0 {
		behind += 1 << 31
	}
	switch {
	case behind > at.accepted || int64(s.count) > behind:
		return Decision{}, progress{}, kerr.OutOfOrderSequenceNumber
	case len(flying) > 0:
		return Decision{BaseOffset: -1, Timestamp: -1, Duplicate: true, InFlight: flying[len(flying)-1].entry}, at, nil
	}
	return Decision{}, progress{}, kerr.DuplicateSequenceNumber
}

// world is the implementation, the model, and what drives both.
type world struct {
	t   *rapid.T
	rng *rand.Rand

	table    *Table
	replicas []*Table // the same log, one of them from a snapshot
	l        *Leading
	view     *View // of some moment, and what it was
	viewed   string

	applied  []event
	inFlight []event
	queued   []event // expiries
	refused  map[producerKey]progress
	named    map[producerKey]int64 // when their expiry was proposed, by the present leader

	now     int64
	term    record.Term
	next    record.Index // the entry that is being gathered
	opened  int64        // its time, 0 if there is nothing in it
	opening record.PartitionID
	open    []record.PartitionID
}

func pick[T any](w *world, from ...T) T { return from[w.rng.IntN(len(from))] }

func newWorld(t *rapid.T, seed uint64) *world {
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 0)), table: NewTable(), replicas: []*Table{NewTable(), NewTable()},
		now: start, next: 1,
	}
	w.lead()
	w.openOne()
	w.propose()
	w.apply()
	return w
}

func (w *world) lead() {
	w.term++
	w.l = Lead(w.table, w.term)
	w.queued = nil
	w.refused, w.named = map[producerKey]progress{}, map[producerKey]int64{}
}

func (w *world) step() {
	switch n := w.rng.IntN(100); {
	case n < 40:
		w.send()
	case n < 45:
		w.mark()
	case n < 52:
		w.request()
	case n < 67:
		w.propose()
	case n < 82:
		for range 1 + w.rng.IntN(3) {
			w.apply()
		}
	case n < 86:
		w.pass(w.rng.Int64N(1000))
	case n < 88:
		w.pass(w.rng.Int64N(100_000))
	case n < 90:
		w.openOne()
	case n < 91:
		w.close()
	case n < 93:
		w.add(event{kind: "log start", partition: w.target(), offset: w.rng.Int64N(300)})
	case n < 94:
		w.expire()
	case n < 96:
		w.addQueued()
	case n < 98:
		w.loseLead()
	case n < 99:
		if w.view != nil && string(w.view.Encode()) != w.viewed {
			w.t.Fatal("a view has changed")
		}
		w.view, w.viewed = w.table.View(), string(w.table.View().Encode())
	default:
		w.replicas[1] = must(Restore(w.table.View().Encode()))
	}
}

func (w *world) add(e event) {
	if w.opened == 0 {
		w.opened = w.now
	}
	e.entry, e.term, e.time = w.next, w.term, w.opened
	switch e.kind {
	case "open":
		e.command = OpenCommand([16]byte{byte(e.partition)}, int32(e.partition))
	case "close":
		e.command = CloseCommand()
	case "log start":
		e.command = LogStartCommand(e.offset)
	}
	w.inFlight = append(w.inFlight, e)
}

func (w *world) openOne() {
	w.opening++
	w.open = append(w.open, w.opening)
	w.add(event{kind: "open", partition: w.opening})
}

func (w *world) close() {
	if len(w.open) < 2 {
		return
	}
	p := w.open[0] // it may still be written to
	w.open = w.open[1:]
	w.add(event{kind: "close", partition: p})
}

// target is a partition, mostly an open one.
func (w *world) target() record.PartitionID {
	if w.rng.IntN(10) == 0 {
		return pick(w, record.Halves, 1, w.opening+1)
	}
	return w.open[w.rng.IntN(len(w.open))]
}

// request sends several batches that are taken or refused together.
func (w *world) request() {
	mark, events, opened := w.l.Mark(), len(w.inFlight), w.opened
	failed := false
	for range 1 + w.rng.IntN(3) {
		failed = !w.send() || failed
	}
	if failed {
		w.l.Undo(mark)
		w.undo(events)
		w.opened = opened
	}
}

// send sends one batch, mostly a sensible one.
func (w *world) send() bool {
	p := w.target()
	s := sent{producer: pick[int64](w, -1, 1, 2, 3, 7), count: 1 + w.rng.Int32N(5)}
	hold := !p.Hidden() && w.rng.IntN(6) == 0
	if hold && w.rng.IntN(2) == 0 {
		s.count = 1 << (28 + w.rng.IntN(3)) // so that sequences wrap
	}
	if s.producer < 0 {
		s.epoch, s.first = -1, -1
	} else {
		s = w.plausible(p, s)
	}
	hold = hold || s.count > 5 // a retry
	offset, timestamp := w.nextOffset(p), w.now-w.rng.Int64N(1000)
	if hold {
		offset = -1
		if timestamp = w.opened; w.opened == 0 {
			timestamp = w.now
		}
	}
	want, before, wantErr := w.decide(p, s, offset, timestamp)
	var got Decision
	var err error
	var batch record.Batch
	transactional := s.producer >= 0 && !hold && w.rng.IntN(3) == 0
	if hold {
		got, err = w.l.Sequence(p, s.producer, s.epoch, s.first, s.count, timestamp, w.next)
	} else {
		batch = record.Build(record.BuildOptions{
			BaseTimestamp: timestamp, ProducerID: s.producer, ProducerEpoch: s.epoch, BaseSequence: s.first, Transactional: transactional,
		}, make([]record.Record, s.count))
		verified := Unverified
		open := s.producer >= 0 && w.transacts(p, s.producer) && !errors.Is(wantErr, kerr.InvalidProducerEpoch) && !errors.Is(wantErr, kerr.UnknownTopicOrPartition)
		if transactional {
			verified = math.MaxInt64
			if at, _ := w.progress(p, s.producer); open && s.epoch > at.epoch {
				want, wantErr = Decision{}, ErrUnverified // it is of the next transaction
			}
		} else if open {
			want, wantErr = Decision{}, kerr.InvalidTxnState
		}
		got, err = w.l.AppendVerified(p, batch, verified, w.next)
		if c := w.read(p); c != nil && wantErr == nil {
			want.LogStart = c.logStart
		}
	}
	if got != want || (err == nil) != (wantErr == nil) || !errors.Is(err, wantErr) {
		w.t.Fatalf("%v %+v: %+v, %v; the model says %+v, %v", p, s, got, err, want, wantErr)
	}
	if err != nil || got.Duplicate {
		return err == nil
	}
	e := event{kind: "batch", partition: p, sent: s, transactional: transactional, offset: offset, timestamp: timestamp, before: before, batch: batch}
	if hold {
		if e.kind = "hold"; s.producer < 0 {
			return true // there is nothing to count
		}
		e.command = SequenceCommand(s.producer, s.epoch, s.first, s.count)
	}
	if s.producer >= 0 {
		e.after = before.add(s)
		delete(w.refused, producerKey{p, s.producer})
	}
	if batch != nil && (batch.BaseOffset() != offset || batch.LeaderEpoch() != int32(w.term)) {
		w.t.Fatalf("a batch for offset %d in term %d got %d and %d", offset, w.term, batch.BaseOffset(), batch.LeaderEpoch())
	}
	w.add(e)
	return true
}

// mark ends a producer's transaction, if there is one. Mostly under the epoch of the
// producer, else under the next, which fences what it has in flight: the leader has
// seen to it that there is nothing.
func (w *world) mark() {
	p, producer := w.target(), pick[int64](w, 1, 2, 3, 7)
	if p.Hidden() || w.nextOffset(p) < 0 {
		return
	}
	at, _ := w.progress(p, producer)
	fences := len(w.flying(p, producer)) == 0 && w.rng.IntN(3) == 0
	if fences {
		at.epoch++
	}
	e := event{
		kind: "marker", partition: p, sent: sent{producer, at.epoch, -1, 1}, commit: w.rng.IntN(2) == 0,
		offset: w.nextOffset(p), timestamp: w.now,
	}
	var err error
	e.batch, err = w.l.End(p, End{Producer: producer, Epoch: at.epoch, Commit: e.commit, Coordinator: int32(w.term)}, w.now, w.next)
	if err != nil || e.batch.BaseOffset() != e.offset {
		w.t.Fatalf("%v: a marker for offset %d: %x, %v", p, e.offset, e.batch, err)
	}
	w.add(e)
	if fences {
		w.propose()
		for len(w.inFlight) > 0 && w.inFlight[0].entry != w.next {
			w.apply()
		}
	}
}

// plausible gives a batch a place behind what its producer has sent, or another one.
func (w *world) plausible(p record.PartitionID, s sent) sent {
	at, _ := w.progress(p, s.producer)
	s.epoch, s.first = at.epoch, at.next
	var before []event
	if c := w.read(p); c != nil {
		before = slices.DeleteFunc(slices.Clone(c.producers[s.producer]), func(e event) bool { return e.kind == "marker" })
	}
	before = append(slices.Clone(before), w.flying(p, s.producer)...)
	switch n := w.rng.IntN(20); {
	case n < 5 && len(before) > 0: // a retry
		return before[max(0, len(before)-1-w.rng.IntN(8))].sent
	case n < 7: // anything near
		s.first = max(0, s.first-10+w.rng.Int32N(20))
	case n < 8:
		s.first = w.rng.Int32()
	case n < 9:
		s.epoch, s.first = s.epoch+1, pick[int32](w, 0, 0, 0, 5)
	case n < 10:
		s.epoch = max(0, s.epoch-1)
	}
	return s
}

func (w *world) nextOffset(p record.PartitionID) int64 {
	c := w.read(p)
	if c == nil && !p.Hidden() {
		return -1
	}
	for _, e := range slices.Backward(w.inFlight) {
		if (e.kind == "batch" || e.kind == "marker") && e.partition == p {
			return e.offset + int64(e.count)
		}
	}
	if c == nil {
		return 0
	}
	return c.end
}

// propose ends the entry that is being gathered, or loses it.
func (w *world) propose() {
	if w.opened == 0 {
		return
	}
	w.opened = 0 // before undo, which may begin the next entry
	if w.rng.IntN(6) == 0 {
		w.l.Dropped(w.next)
		w.undo(slices.IndexFunc(w.inFlight, func(e event) bool { return e.entry == w.next }))
	} else {
		w.next++
	}
}

// undo takes back what is in flight but for the first events.
func (w *world) undo(events int) {
	for len(w.inFlight) > events {
		last := len(w.inFlight) - 1
		e := w.inFlight[last]
		w.inFlight = w.inFlight[:last]
		switch e.kind {
		case "open":
			w.open = slices.DeleteFunc(w.open, func(p record.PartitionID) bool { return p == e.partition })
		case "close":
			w.open = slices.Insert(w.open, 0, e.partition)
		case "batch", "hold":
			if _, known := w.progress(e.partition, e.producer); e.producer >= 0 && !known {
				w.refused[producerKey{e.partition, e.producer}] = e.before
			}
		}
	}
	if len(w.open) == 0 {
		w.openOne()
	}
}

// apply commits the oldest entry in flight, which is not the one being gathered.
func (w *world) apply() {
	if len(w.inFlight) == 0 || w.inFlight[0].entry == w.next {
		return
	}
	at := w.inFlight[0].entry
	for len(w.inFlight) > 0 && w.inFlight[0].entry == at {
		w.log(w.inFlight[0])
		w.inFlight = w.inFlight[1:]
	}
	w.l.Applied(at)
}

// log applies an event on all replicas; commands that may be doubled once or twice.
func (w *world) log(e event) {
	w.applied = append(w.applied, e)
	open := w.read(e.partition) != nil
	for _, table := range append(w.replicas, w.table) {
		if e.batch != nil {
			if shown := table.ApplyBatch(e.partition, e.batch, e.term, e.time); shown != open {
				w.t.Fatalf("a batch for %v is shown: %v, it is open: %v", e.partition, shown, open)
			}
			continue
		}
		if err := table.Apply(e.partition, e.command, e.time); err != nil {
			w.t.Fatal(err)
		}
	}
	if e.batch != nil || e.kind == "hold" || w.rng.IntN(3) > 0 {
		return
	}
	once := string(w.table.View().Encode())
	if err := w.table.Apply(e.partition, e.command, e.time+1); err != nil {
		w.t.Fatal(err)
	}
	if string(w.table.View().Encode()) != once {
		w.t.Fatalf("%s of %v changed something when it was applied again", e.kind, e.partition)
	}
}

// pass lets time pass, which ends an entry.
func (w *world) pass(ms int64) {
	w.propose()
	w.now += ms
}

const idleAfter = int64(60_000)

// expire proposes to forget producers, and checks that it is the right ones: all that
// are idle and were not named in the last minute, and only such.
func (w *world) expire() {
	before := w.now - idleAfter
	for p := range w.table.partitions.All() { // whose transaction is open is looked at again, too
		for id := range w.read(p).open {
			w.named[producerKey{p, id}] = w.now
		}
	}
	for _, e := range w.inFlight {
		w.named[producerKey{e.partition, e.producer}] = w.now // left alone for a minute
	}
	limit := pick(w, 1, 100)
	n := 0
	for _, x := range w.l.ExpiredProducers(w.now, idleAfter, limit) {
		e := event{kind: "expire", partition: x.Partition, command: x.Command, since: before}
		e.producers = expired(x.Command)
		c := w.read(x.Partition)
		for _, id := range e.producers {
			n++
			w.named[producerKey{x.Partition, id}] = w.now
			if c == nil || len(c.producers[id]) == 0 {
				w.t.Fatalf("%v: producer %d is expired and not known", x.Partition, id)
			}
			sent := c.producers[id]
			if _, open := c.open[id]; open || sent[len(sent)-1].time > before || len(w.flying(x.Partition, id)) > 0 {
				w.t.Fatalf("%v: producer %d is expired, it was used at %d of %d", x.Partition, id, sent[len(sent)-1].time, w.now)
			}
		}
		w.queued = append(w.queued, e)
	}
	if n > limit {
		w.t.Fatalf("%d are expired at a time, %d were asked for", n, limit)
	}
	if n == limit {
		return
	}
	for p := range w.table.partitions.All() {
		for id, sent := range w.read(p).producers {
			if _, open := w.read(p).open[id]; open || sent[len(sent)-1].time > before {
				continue
			}
			if at, ok := w.named[producerKey{p, id}]; !ok || at < w.now-60_000 {
				w.t.Fatalf("%v: producer %d is not expired at %d, though not used since %d", p, id, w.now, sent[len(sent)-1].time)
			}
		}
	}
}

// addQueued makes expiries part of the log, which may have waited long in the queue.
func (w *world) addQueued() {
	for _, e := range w.queued {
		w.add(e)
	}
	w.queued = nil
}

func expired(c record.Command) []int64 {
	table := NewTable()
	var ids []int64
	for id := range int64(10) {
		table.open(1, [16]byte{}, 0).producers.append(table.generation, id, 0, appended{count: 1}, math.MinInt64)
	}
	if err := table.Apply(1, c, 0); err != nil {
		panic(err)
	}
	for id := range int64(10) {
		if table.find(1).producers.byID[id] == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// loseLead keeps a part of what was proposed; the rest never was.
func (w *world) loseLead() {
	w.propose()
	last := w.next - record.Index(w.rng.IntN(4))
	for len(w.inFlight) > 0 && w.inFlight[0].entry < last {
		w.log(w.inFlight[0])
		w.inFlight = w.inFlight[1:]
	}
	if w.rng.IntN(2) == 0 {
		w.table = must(Restore(w.table.View().Encode()))
		w.view = nil
	}
	lost := w.inFlight
	w.inFlight, w.opened = nil, 0
	w.lead()
	for _, e := range lost {
		switch e.kind {
		case "open":
			w.open = slices.DeleteFunc(w.open, func(p record.PartitionID) bool { return p == e.partition })
		case "close":
			w.open = append(w.open, e.partition)
		}
	}
	if len(w.open) == 0 {
		w.openOne()
	}
}

// check compares everything.
func (w *world) check() {
	n := 0
	for _, p := range append(w.everyPartition(), record.Halves) {
		c := w.read(p)
		b, open := w.table.Bounds(p)
		if open != (c != nil) {
			w.t.Fatalf("%v is open: %v, for the model: %v", p, open, c != nil)
		}
		if got := w.l.NextOffset(p); got != w.nextOffset(p) {
			w.t.Fatalf("%v: the next offset is %d, for the model %d", p, got, w.nextOffset(p))
		}
		if c == nil {
			continue
		}
		n++
		if want := (Bounds{c.logStart, c.end, max(c.logStart, c.stable(c.end)), c.newest}); b != want {
			w.t.Fatalf("%v: %+v, the model has %+v", p, b, want)
		}
		if topic, number, ok := w.table.Info(p); ok == p.Hidden() || ok && (number != c.number || topic[0] != byte(p)) {
			w.t.Fatalf("%v: is %d of %v, %v", p, number, topic, ok)
		}
		w.checkEpochs(p, c)
		w.checkAborted(p, c)
	}
	if w.table.Len() != n {
		w.t.Fatalf("%d partitions, the model has %d", w.table.Len(), n)
	}
	encoded := string(w.table.View().Encode())
	for i, r := range w.replicas {
		if string(r.View().Encode()) != encoded {
			w.t.Fatalf("replica %d has another state", i)
		}
	}
}

func (w *world) everyPartition() []record.PartitionID {
	var ps []record.PartitionID
	for p := record.PartitionID(1); p <= w.opening+1; p++ {
		ps = append(ps, p)
	}
	return ps
}

func (w *world) checkAborted(p record.PartitionID, c *contents) {
	from := w.rng.Int64N(c.end + 1)
	to := from + w.rng.Int64N(c.end-from+1)
	var want []Aborted
	for _, a := range c.aborted {
		if a.Last >= from && a.First < to {
			want = append(want, a)
		}
	}
	if got := w.table.Aborted(p, from, to); !slices.Equal(got, want) {
		w.t.Fatalf("%v: between %d and %d %v are aborted, for the model %v", p, from, to, got, want)
	}
}

func (w *world) checkEpochs(p record.PartitionID, c *contents) {
	asked := w.rng.Int32N(int32(w.term) + 1)
	wantEpoch, wantEnd := asked, c.end
	for _, e := range slices.Backward(c.epochs) {
		if e.epoch <= asked {
			wantEpoch = e.epoch
			break
		}
		wantEnd = e.start
	}
	if epoch, end, ok := w.table.EpochEnd(p, asked); !ok || epoch != wantEpoch || end != wantEnd {
		w.t.Fatalf("%v: of epochs up to %d, %d ends at %d (%v); for the model %d at %d", p, asked, epoch, end, ok, wantEpoch, wantEnd)
	}
}

// settle applies what is left and sees that nothing stays of it with the leader.
func (w *world) settle() {
	for w.opened != 0 || len(w.inFlight) > 0 {
		w.propose() // what replaces a topic that was lost
		w.apply()
		w.check()
	}
	if len(w.l.flights)+len(w.l.tails)+len(w.l.newest) != 0 {
		w.t.Fatalf("in flight are still %d, %d and %d", len(w.l.flights), len(w.l.tails), len(w.l.newest))
	}
	w.now += 2 * idleAfter
	w.expire()
}
