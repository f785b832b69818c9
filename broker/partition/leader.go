package partition

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/invariant"
)

// Leading is what only the leader of a term knows: the offsets and sequences it
// has reserved for entries that are in flight. Entries are reserved for in the
// order of their indexes, applied in that order and dropped in the opposite one.
type Leading struct {
	table *Table
	epoch int32
	// flights are the reservations that are not applied, oldest first. They are
	// numbered for the whole term; before them were settled others.
	flights []reservation
	settled int
	tails   map[record.PartitionID]tail
	newest  map[producerKey]int // number of a producer's newest reservation in flight
	// refused remembers where a producer unknown to the table stood before a
	// batch that was undone, so that the next one cannot take its place.
	refused map[producerKey]standing
	closing map[record.PartitionID]record.Index // in flight
	idle    idleHeap
	crowd   crowd
	// transacting is how the transactions stand, what is in flight included.
	transacting transacting
}

// maxRefused bounds what is remembered of undone first batches. Above it all are
// forgotten, which is what a new leader knows anyway.
const maxRefused = 10_000

// tail is what of a partition is in flight; there is none without.
type tail struct {
	next    int64 // offset to give
	flights int
}

// reservation is a batch in flight.
type reservation struct {
	at        record.Index
	partition record.PartitionID
	next      int64 // offset to give without it
	producer  int64 // noProducer if the batch has none; then nothing follows but marks
	appended
	before, after standing
	// earlier is the number of the producer's reservation before this one. It is
	// below settled if that is applied, -1 if nothing was in flight.
	earlier int
	isNew   bool  // the table did not know the producer
	marks   int64 // the producer whose transaction a control batch ends, or noProducer
}

type producerKey struct {
	partition record.PartitionID
	id        int64
}

// Decision is the answer to a batch. It is accepted unless Duplicate.
type Decision struct {
	// BaseOffset is the offset of the first record; for a duplicate, of the
	// original's, -1 if that is not known. -1 for held messages.
	BaseOffset int64
	// Timestamp is the batch's max timestamp, for a duplicate the original's: what
	// a LogAppendTime topic answers. NoTimestamp if that is not known.
	Timestamp int64
	// Duplicate says that the batch was accepted before and must not be put into
	// the log again.
	Duplicate bool
	// LogStart is the partition's log start offset.
	LogStart int64
	// InFlight is the entry that carries the original of a duplicate, if it is not
	// applied yet: the answer must wait for it. Otherwise 0.
	InFlight record.Index
}

// Lead begins a term. The first entry of the term must have been applied to t,
// so nothing is in flight. The result is of no use after the term and must then
// not be called.
func Lead(t *Table, term record.Term) *Leading {
	return &Leading{
		table:   t,
		epoch:   term.LeaderEpoch(),
		tails:   make(map[record.PartitionID]tail),
		newest:  make(map[producerKey]int),
		refused: make(map[producerKey]standing),
		closing: make(map[record.PartitionID]record.Index),
		idle:    newIdleHeap(t),
		crowd:   newCrowd(t, MaxProducers),

		transacting: newTransacting(),
	}
}

// Append decides on a batch that has passed record.Batch.Validate. If it is
// accepted, its base offset and leader epoch are set and it must go into entry
// at, which is not below that of any reservation before; a topic's append time
// must have been stamped already. Hidden partitions need not be open.
//
// A batch of a transaction, that is not the first of it in the partition, needs no more;
// the first one needs AppendVerified.
//
// Errors: kerr.UnknownTopicOrPartition, and those of the package comment;
// kerr.InvalidRecord for a producer without epoch or sequence;
// kerr.ThrottlingQuotaExceeded for one that the partition has no room for. After an
// error nothing is reserved. A control batch, which is the broker's own, has no
// sequence and is always accepted.
func (l *Leading) Append(p record.PartitionID, b record.Batch, at record.Index) (Decision, error) {
	return l.AppendVerified(p, b, Unverified, at)
}

// AppendVerified is Append for a batch of which the transaction's coordinator says that
// it is part of it, asked when the partition's high watermark was at verified: a marker
// behind that may have ended what the coordinator spoke of, and the batch would begin a
// transaction that nobody ends. It errors with ErrUnverified then.
func (l *Leading) AppendVerified(p record.PartitionID, b record.Batch, verified int64, at record.Index) (Decision, error) {
	offset := l.NextOffset(p)
	if offset < 0 {
		return Decision{}, unknown(p)
	}
	k := producerKey{p, b.ProducerID()}
	begins := false
	if b.IsIdempotent() && !b.IsControl() {
		var err error
		if begins, err = l.begins(k, b.ProducerEpoch(), b.IsTransactional(), verified); err != nil {
			return Decision{}, err
		}
	}
	a := appended{first: b.BaseSequence(), count: b.LastOffsetDelta() + 1, offset: offset, timestamp: b.MaxTimestamp()}
	id := b.ProducerID()
	if b.IsControl() { // the broker's own, without a sequence
		id = noProducer
	}
	d, err := l.reserve(p, offset, id, b.ProducerEpoch(), a, at)
	if err != nil {
		return Decision{}, err
	}
	if q := l.table.find(p); q != nil {
		d.LogStart = q.logStart
	}
	if !d.Duplicate {
		b.SetBaseOffset(offset)
		b.SetLeaderEpoch(l.epoch)
		if r := &l.flights[len(l.flights)-1]; b.IsControl() && b.IsIdempotent() {
			r.marks, r.isNew = b.ProducerID(), l.applied(k) == nil
		}
		if begins {
			st := l.transaction(k)
			st.open, st.epoch = true, b.ProducerEpoch()
			l.transacting.fly(at, l.settled+len(l.flights)-1, k, st)
		}
	}
	return d, nil
}

// Sequence decides on a batch of held messages as Append would, without giving
// it an offset. If it is accepted, SequenceCommand must go into entry at. A batch
// without producer is always accepted and needs no command.
func (l *Leading) Sequence(p record.PartitionID, producer int64, epoch int16, first, count int32, now int64, at record.Index) (Decision, error) {
	next := l.NextOffset(p)
	if next < 0 {
		return Decision{}, unknown(p)
	}
	if producer < 0 {
		return Decision{BaseOffset: -1, Timestamp: now}, nil
	}
	return l.reserve(p, next, producer, epoch, appended{first: first, count: count, offset: -1, timestamp: now}, at)
}

// Close says that entry at closes a partition: nothing is accepted for it any more,
// so that nothing of it lies behind its end in the log.
func (l *Leading) Close(p record.PartitionID, at record.Index) { l.closing[p] = at }

func unknown(p record.PartitionID) error {
	return fmt.Errorf("partition %v is not open: %w", p, kerr.UnknownTopicOrPartition)
}

// reserve is Append and Sequence for a partition that is there, and whose next offset
// is next.
func (l *Leading) reserve(p record.PartitionID, next, id int64, epoch int16, a appended, at record.Index) (Decision, error) {
	if n := len(l.flights); n > 0 && at < l.flights[n-1].at { // the arguments would be allocated for every batch
		invariant.That(false, "reserving for entry %d behind entry %d", at, l.flights[n-1].at)
	}
	r := reservation{at: at, partition: p, next: next, producer: max(id, noProducer), appended: a, marks: noProducer}
	if r.producer != noProducer {
		if epoch < 0 || a.first < 0 || a.count <= 0 {
			return Decision{}, fmt.Errorf("partition %v producer %d: epoch %d, %d sequences from %d: %w", p, id, epoch, a.count, a.first, kerr.InvalidRecord)
		}
		if d, ok, err := l.follow(&r, epoch); ok || err != nil {
			return d, err
		}
		k := producerKey{p, id}
		l.newest[k] = l.settled + len(l.flights)
		delete(l.refused, k)
	}
	l.flights = append(l.flights, r)
	t := tail{next: r.next, flights: l.tails[p].flights + 1}
	if a.offset >= 0 {
		t.next = a.offset + int64(a.count)
	}
	l.tails[p] = t
	return Decision{BaseOffset: a.offset, Timestamp: a.timestamp}, nil
}

// follow places a batch behind those of its producer, unless it repeats one.
func (l *Leading) follow(r *reservation, epoch int16) (d Decision, repeats bool, err error) {
	k := producerKey{r.partition, r.producer}
	applied := l.applied(k)
	newest, flying := l.newest[k]
	if r.earlier = -1; flying {
		r.earlier = newest
	}
	r.isNew = applied == nil && !flying
	var known bool
	if r.before, known = l.standing(k); !known {
		if l.full(r.partition) {
			return Decision{}, false, fmt.Errorf("partition %v producer %d: %d producers are known, and none was idle: %w", r.partition, r.producer, 2*l.crowd.limit, kerr.ThrottlingQuotaExceeded)
		}
		r.before = l.first(k, epoch, r.first)
	}
	if epoch == r.before.epoch && r.first != r.before.next {
		for n := r.earlier; n >= l.settled; n = l.flight(n).earlier {
			if f := l.flight(n); f.after.epoch == epoch && f.first == r.first && f.count == r.count {
				return Decision{BaseOffset: f.offset, Timestamp: f.timestamp, Duplicate: true, InFlight: f.at}, true, nil
			}
		}
		if applied != nil {
			if f, ok := applied.find(epoch, r.first, r.count); ok {
				return Decision{BaseOffset: f.offset, Timestamp: f.timestamp, Duplicate: true}, true, nil
			}
		}
	}
	err = r.before.check(epoch, r.first, r.count)
	if flying && errors.Is(err, kerr.DuplicateSequenceNumber) {
		// It may yet be lost, so the answer waits.
		return Decision{BaseOffset: -1, Timestamp: NoTimestamp, Duplicate: true, InFlight: l.flight(newest).at}, true, nil
	}
	if err != nil {
		return Decision{}, false, fmt.Errorf("partition %v producer %d: %w", r.partition, r.producer, err)
	}
	r.after = r.before.follow(epoch, r.first, r.count)
	return Decision{}, false, nil
}

// full reports whether a partition takes no producer that it does not know.
func (l *Leading) full(p record.PartitionID) bool {
	q := l.table.find(p)
	return q != nil && len(q.producers.byID)+l.tails[p].flights >= 2*l.crowd.limit
}

// flight is the reservation of that number.
func (l *Leading) flight(n int) *reservation { return &l.flights[n-l.settled] }

// applied is what the table knows of a producer, nil for nothing.
func (l *Leading) applied(k producerKey) *producer {
	if q := l.table.find(k.partition); q != nil {
		return q.producers.byID[k.id]
	}
	return nil
}

// standing is how far a producer has come, what is in flight included.
func (l *Leading) standing(k producerKey) (standing, bool) {
	if n, ok := l.newest[k]; ok {
		return l.flight(n).after, true
	}
	if p := l.applied(k); p != nil {
		return p.standing, true
	}
	s, ok := l.refused[k]
	return s, ok
}

// first is the standing that a producer without one is held to: where it likes
// to begin if it may have been forgotten here, else at 0.
func (l *Leading) first(k producerKey, epoch int16, first int32) standing {
	if q := l.table.find(k.partition); q != nil && k.id <= q.producers.maxExpired {
		return standing{epoch: epoch, next: first}
	}
	return standing{epoch: epoch}
}

// NextOffset is the offset that the next batch for a partition will get, -1 if
// the partition is not open. A hidden partition that is not begins at 0.
func (l *Leading) NextOffset(p record.PartitionID) int64 {
	q := l.table.find(p)
	if _, closing := l.closing[p]; closing || q == nil && !p.Hidden() {
		return -1
	}
	if t, ok := l.tails[p]; ok {
		return t.next
	}
	if q == nil {
		return 0
	}
	return q.end
}

// Applied says that all entries up to at have been applied to the table, which
// now holds what was reserved for them. It must be told before the next decision.
func (l *Leading) Applied(at record.Index) {
	n := 0
	for n < len(l.flights) && l.flights[n].at <= at {
		r := &l.flights[n]
		l.release(r.partition)
		if k := (producerKey{r.partition, r.producer}); r.producer != noProducer {
			if l.newest[k] == l.settled+n {
				delete(l.newest, k)
			}
			l.met(r, k)
		} else if r.marks != noProducer {
			l.met(r, producerKey{r.partition, r.marks})
		}
		n++
	}
	l.transacting.applied(at)
	l.settled += n
	l.flights = slices.Delete(l.flights, 0, n)
	maps.DeleteFunc(l.closing, func(_ record.PartitionID, closed record.Index) bool { return closed <= at })
}

// met notes a producer that the table has come to know by a reservation.
func (l *Leading) met(r *reservation, k producerKey) {
	p := l.applied(k)
	if !r.isNew || p == nil {
		return
	}
	l.idle.add(p.lastUsed, k)
	l.crowd.met(k.partition, len(l.table.find(k.partition).producers.byID))
}

// Dropped says that entry at, the newest one, will never be: what was reserved
// for it is undone.
func (l *Leading) Dropped(at record.Index) {
	maps.DeleteFunc(l.closing, func(_ record.PartitionID, closed record.Index) bool { return closed == at })
	for len(l.flights) > 0 {
		newest := l.flights[len(l.flights)-1].at
		invariant.That(newest <= at, "entry %d dropped before entry %d", at, newest)
		if newest < at {
			return
		}
		l.undo()
	}
}

// Mark is a moment to which Undo can go back.
type Mark int

// Mark returns the present moment. It is good until the entry that is being
// gathered has been proposed.
func (l *Leading) Mark() Mark { return Mark(l.settled + len(l.flights)) }

// Undo takes back all reservations since a mark: a batch of several messages
// fails as a whole, whichever of them was refused.
func (l *Leading) Undo(m Mark) {
	keep := int(m) - l.settled
	invariant.That(0 <= keep && keep <= len(l.flights), "undoing to %d of %d+%d reservations", m, l.settled, len(l.flights))
	for len(l.flights) > keep {
		l.undo()
	}
}

// undo takes back the newest reservation.
func (l *Leading) undo() {
	last := len(l.flights) - 1
	r := l.flights[last]
	l.flights = l.flights[:last]
	l.transacting.undo(l.settled + last)
	if l.release(r.partition) {
		t := l.tails[r.partition]
		t.next = r.next
		l.tails[r.partition] = t
	}
	if r.producer == noProducer {
		return
	}
	k := producerKey{r.partition, r.producer}
	if r.earlier >= l.settled {
		l.newest[k] = r.earlier
	} else {
		delete(l.newest, k)
	}
	if _, known := l.standing(k); !known {
		if len(l.refused) >= maxRefused {
			clear(l.refused)
		}
		l.refused[k] = r.before
	}
}

// release counts a partition's reservations down and reports whether there are
// others.
func (l *Leading) release(p record.PartitionID) bool {
	t := l.tails[p]
	if t.flights--; t.flights == 0 {
		delete(l.tails, p)
		return false
	}
	l.tails[p] = t
	return true
}
