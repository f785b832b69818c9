package partition

import (
	"fmt"
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
	tails map[record.PartitionID]*tail
	// flights are the reservations that are not applied, oldest first; before them
	// were settled others.
	flights []reservation
	settled int
	// refused remembers where a producer unknown to the table stood before a
	// batch that was undone, so that the next one cannot take its place.
	refused map[producerKey]standing
	idle    idleHeap
}

// maxRefused bounds what is remembered of undone first batches. Above it all are
// forgotten, which is what a new leader knows anyway.
const maxRefused = 10_000

// tail is what of a partition is in flight; there is none without.
type tail struct {
	next    int64 // offset to give
	flights int
	pending map[int64][]pending // by producer, oldest first
}

// pending is a producer's batch in flight.
type pending struct {
	appended
	epoch int16
	at    record.Index
	after standing
}

type reservation struct {
	at        record.Index
	partition record.PartitionID
	producer  int64 // noProducer if the batch has none
	next      int64 // of the partition before
	before    standing
}

type producerKey struct {
	partition record.PartitionID
	id        int64
}

// Decision is the answer to a batch. It is accepted unless Duplicate.
type Decision struct {
	// BaseOffset is the offset of the first record; for a duplicate, of the
	// original's. -1 for held messages.
	BaseOffset int64
	// Timestamp is the batch's max timestamp, for a duplicate the original's: what
	// a LogAppendTime topic answers.
	Timestamp int64
	// Duplicate says that the batch was accepted before and must not be put into
	// the log again.
	Duplicate bool
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
		tails:   make(map[record.PartitionID]*tail),
		refused: make(map[producerKey]standing),
		idle:    newIdleHeap(t),
	}
}

// Append decides on a batch that has passed record.Batch.Validate. If it is
// accepted, its base offset and leader epoch are set and it must go into entry
// at, which is not below that of any reservation before; a topic's append time
// must have been stamped already. Hidden partitions need not be open.
//
// Errors: kerr.UnknownTopicOrPartition, and those of the package comment;
// kerr.InvalidRecord for a producer without epoch or sequence. After an error
// nothing is reserved.
func (l *Leading) Append(p record.PartitionID, b record.Batch, now int64, at record.Index) (Decision, error) {
	offset := l.NextOffset(p)
	if offset < 0 {
		return Decision{}, unknown(p)
	}
	count := b.LastOffsetDelta() + 1
	a := appended{first: b.BaseSequence(), count: count, offset: offset, timestamp: b.MaxTimestamp()}
	d, err := l.reserve(p, b.ProducerID(), b.ProducerEpoch(), a, now, at)
	if err == nil && !d.Duplicate {
		b.SetBaseOffset(offset)
		b.SetLeaderEpoch(l.epoch)
	}
	return d, err
}

// Sequence decides on a batch of held messages as Append would, without giving
// it an offset. If it is accepted, SequenceCommand must go into entry at. A batch
// without producer is always accepted and needs no command.
func (l *Leading) Sequence(p record.PartitionID, producer int64, epoch int16, first, count int32, now int64, at record.Index) (Decision, error) {
	if l.NextOffset(p) < 0 {
		return Decision{}, unknown(p)
	}
	if producer < 0 {
		return Decision{BaseOffset: -1, Timestamp: now}, nil
	}
	return l.reserve(p, producer, epoch, appended{first: first, count: count, offset: -1, timestamp: now}, now, at)
}

func unknown(p record.PartitionID) error {
	return fmt.Errorf("partition %v is not open: %w", p, kerr.UnknownTopicOrPartition)
}

// reserve is Append and Sequence for a partition that is there.
func (l *Leading) reserve(p record.PartitionID, id int64, epoch int16, a appended, now int64, at record.Index) (Decision, error) {
	var before, after standing
	id = max(id, noProducer)
	if id != noProducer {
		if epoch < 0 || a.first < 0 || a.count <= 0 {
			return Decision{}, fmt.Errorf("partition %v producer %d: epoch %d, %d sequences from %d: %w", p, id, epoch, a.count, a.first, kerr.InvalidRecord)
		}
		if d, ok := l.repeats(p, id, epoch, a); ok {
			return d, nil
		}
		var known bool
		if before, known = l.standing(p, id); !known {
			before = l.first(p, id, epoch, a.first)
		}
		if err := before.check(epoch, a.first, a.count); err != nil {
			return Decision{}, fmt.Errorf("partition %v producer %d: %w", p, id, err)
		}
		if k := (producerKey{p, id}); !l.used(k) {
			l.idle.add(now, k)
		}
		after = before.follow(epoch, a.first, a.count)
	}

	if n := len(l.flights); n > 0 {
		invariant.That(at >= l.flights[n-1].at, "reserving for entry %d behind entry %d", at, l.flights[n-1].at)
	}
	t := l.tails[p]
	if t == nil {
		t = &tail{next: l.NextOffset(p)}
		l.tails[p] = t
	}
	l.flights = append(l.flights, reservation{at: at, partition: p, producer: id, next: t.next, before: before})
	t.flights++
	if a.offset >= 0 {
		t.next = a.offset + int64(a.count)
	}
	if id != noProducer {
		if t.pending == nil {
			t.pending = make(map[int64][]pending)
		}
		t.pending[id] = append(t.pending[id], pending{appended: a, epoch: epoch, at: at, after: after})
		delete(l.refused, producerKey{p, id})
	}
	return Decision{BaseOffset: a.offset, Timestamp: a.timestamp}, nil
}

// repeats finds the original of a batch, in flight or applied.
func (l *Leading) repeats(p record.PartitionID, id int64, epoch int16, a appended) (Decision, bool) {
	if current, known := l.standing(p, id); !known || current.epoch != epoch {
		return Decision{}, false // the window of an older epoch is gone
	}
	if t := l.tails[p]; t != nil {
		for _, f := range t.pending[id] {
			if f.epoch == epoch && f.first == a.first && f.count == a.count {
				return Decision{BaseOffset: f.offset, Timestamp: f.timestamp, Duplicate: true, InFlight: f.at}, true
			}
		}
	}
	if q := l.table.partitions[p]; q != nil {
		if known := q.producers.byID[id]; known != nil {
			if f, ok := known.find(epoch, a.first, a.count); ok {
				return Decision{BaseOffset: f.offset, Timestamp: f.timestamp, Duplicate: true}, true
			}
		}
	}
	return Decision{}, false
}

// standing is how far a producer has come, what is in flight included.
func (l *Leading) standing(p record.PartitionID, id int64) (standing, bool) {
	if t := l.tails[p]; t != nil {
		if f := t.pending[id]; len(f) > 0 {
			return f[len(f)-1].after, true
		}
	}
	if q := l.table.partitions[p]; q != nil {
		if known := q.producers.byID[id]; known != nil {
			return known.standing, true
		}
	}
	s, ok := l.refused[producerKey{p, id}]
	return s, ok
}

// first is the standing that a producer without one is held to: where it likes
// to begin if it may have been forgotten here, else at 0.
func (l *Leading) first(p record.PartitionID, id int64, epoch int16, first int32) standing {
	if q := l.table.partitions[p]; q != nil && id <= q.producers.maxExpired {
		return standing{epoch: epoch, next: first}
	}
	return standing{epoch: epoch}
}

// NextOffset is the offset that the next batch for a partition will get, -1 if
// the partition is not open. A hidden partition that is not begins at 0.
func (l *Leading) NextOffset(p record.PartitionID) int64 {
	q := l.table.partitions[p]
	if q == nil && !p.Hidden() {
		return -1
	}
	if t := l.tails[p]; t != nil {
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
		r := l.flights[n]
		if t := l.release(r); t != nil && r.producer != noProducer {
			t.drop(r.producer, 0)
		}
		n++
	}
	l.settled += n
	l.flights = slices.Delete(l.flights, 0, n)
}

// Dropped says that entry at, the newest one, will never be: what was reserved
// for it is undone.
func (l *Leading) Dropped(at record.Index) {
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
	r := l.flights[len(l.flights)-1]
	l.flights = l.flights[:len(l.flights)-1]
	t := l.release(r)
	if t != nil {
		t.next = r.next
	}
	if r.producer == noProducer {
		return
	}
	if t != nil {
		t.drop(r.producer, len(t.pending[r.producer])-1)
	}
	if _, known := l.standing(r.partition, r.producer); !known {
		if len(l.refused) >= maxRefused {
			clear(l.refused)
		}
		l.refused[producerKey{r.partition, r.producer}] = r.before
	}
}

// release counts a reservation down and returns the tail that is left, nil if it
// was the partition's last.
func (l *Leading) release(r reservation) *tail {
	t := l.tails[r.partition]
	if t.flights--; t.flights == 0 {
		delete(l.tails, r.partition)
		return nil
	}
	return t
}

// drop forgets a producer's pending batch i.
func (t *tail) drop(id int64, i int) {
	f := slices.Delete(t.pending[id], i, i+1)
	if len(f) == 0 {
		delete(t.pending, id)
		return
	}
	t.pending[id] = f
}
