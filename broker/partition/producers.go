package partition

import (
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/record"
)

// Window is how many of a producer's last batches a partition remembers, as
// Kafka does (KIP-98): clients keep at most five requests in flight.
const Window = 5

// noProducer is below every producer id.
const noProducer int64 = -1

// sequences is how many sequence numbers there are before they wrap to 0.
const sequences = 1 << 31

// standing is how far a producer has come in a partition.
type standing struct {
	epoch int16
	// next is the sequence its next batch must begin with.
	next int32
	// accepted counts the sequences accepted one after the other before next,
	// up to half of all there are: how far back a batch is known to be a repeat.
	accepted int32
}

// check says whether a batch that is none of the remembered ones may follow.
func (s standing) check(epoch int16, first, count int32) error {
	behind := (s.next - first) & (sequences - 1)
	switch {
	case epoch < s.epoch:
		return fmt.Errorf("producer epoch %d, the newest is %d: %w", epoch, s.epoch, kerr.InvalidProducerEpoch)
	case epoch > s.epoch && first == 0:
		return nil
	case epoch > s.epoch:
		return fmt.Errorf("producer epoch %d begins at sequence %d, not 0: %w", epoch, first, kerr.OutOfOrderSequenceNumber)
	case behind == 0:
		return nil
	case behind <= s.accepted && count <= behind:
		return fmt.Errorf("sequences %d to %d were accepted before, their offset is forgotten: %w",
			first, record.AddSequence(first, count-1), kerr.DuplicateSequenceNumber)
	default:
		return fmt.Errorf("sequence %d, %d must come next: %w", first, s.next, kerr.OutOfOrderSequenceNumber)
	}
}

// follow is where a producer stands behind an accepted batch.
func (s standing) follow(epoch int16, first, count int32) standing {
	accepted := int64(count)
	if epoch == s.epoch && first == s.next {
		accepted += int64(s.accepted)
	}
	return standing{
		epoch:    epoch,
		next:     record.AddSequence(first, count),
		accepted: int32(min(accepted, sequences/2)),
	}
}

// appended is a batch as a producer's window remembers it.
type appended struct {
	first     int32 // sequence of the first record
	count     int32
	offset    int64 // of the first record; -1 for held messages, which have none
	timestamp int64 // the batch's max timestamp; of held messages, when they came
}

// producer is what a partition knows of one idempotent producer. Records are
// replaced, never changed.
type producer struct {
	standing
	lastUsed int64 // the entry's time, ms
	// transaction is the first offset of the one that is open, or noTransaction.
	transaction int64
	// ended is the offset behind the last marker, 0 if there was none, and coordinator
	// the epoch of the coordinator that it came from.
	ended       int64
	coordinator int32
	n           int // how many of window are set; 0 behind a marker that fenced
	window      [Window]appended
}

// find looks for a remembered batch of the same epoch with the same sequences.
func (p *producer) find(epoch int16, first, count int32) (appended, bool) {
	if epoch == p.epoch {
		// The newest first, for sequences wrap.
		for _, a := range slices.Backward(p.window[:p.n]) {
			if a.first == first && a.count == count {
				return a, true
			}
		}
	}
	return appended{}, false
}

// producers are those of one partition. The map is shared with Views of an
// older generation.
type producers struct {
	generation uint64
	byID       map[int64]*producer
	// maxExpired is the highest id ever expired here: a producer above it that is
	// not in byID has never written to the partition.
	maxExpired int64
}

// own makes the map one that may be changed.
func (ps *producers) own(generation uint64) {
	if ps.byID == nil {
		ps.byID = make(map[int64]*producer)
	} else if ps.generation != generation {
		ps.byID = maps.Clone(ps.byID)
	}
	ps.generation = generation
}

// append notes a batch. The leader has checked it; whatever it let in is taken.
func (ps *producers) append(generation uint64, id int64, epoch int16, a appended, now int64) {
	ps.own(generation)
	next := producer{lastUsed: now, transaction: noTransaction}
	if old := ps.byID[id]; old != nil {
		next.transaction, next.ended, next.coordinator = old.transaction, old.ended, old.coordinator
		next.standing = old.follow(epoch, a.first, a.count)
		if epoch == old.epoch {
			kept := old.window[:old.n]
			kept = kept[max(0, len(kept)-Window+1):]
			next.n = copy(next.window[:], kept)
		}
	} else {
		next.standing = begin(epoch, a.first, a.count)
	}
	next.window[next.n] = a
	next.n++
	ps.byID[id] = &next
}

// fence notes the marker that ends a producer's transaction. One of a newer epoch
// fences what the producer sent under older ones (KIP-360, KIP-890): it begins anew,
// with sequence 0.
func (ps *producers) fence(generation uint64, marker record.Batch, coordinator int32, now int64) {
	ps.own(generation)
	id, epoch := marker.ProducerID(), marker.ProducerEpoch()
	next := producer{standing: standing{epoch: epoch}}
	if old := ps.byID[id]; old != nil && epoch <= old.epoch {
		next = *old
	}
	next.lastUsed, next.transaction = now, noTransaction
	next.ended, next.coordinator = marker.NextOffset(), coordinator
	ps.byID[id] = &next
}

// begin is where a producer stands behind its first batch.
func begin(epoch int16, first, count int32) standing {
	return standing{epoch: epoch, next: first}.follow(epoch, first, count)
}

// openTransaction is the first offset of the producer's, or noTransaction.
func (ps *producers) openTransaction(id int64) int64 {
	if p := ps.byID[id]; p != nil {
		return p.transaction
	}
	return noTransaction
}

// expire forgets the producer.
func (ps *producers) expire(generation uint64, id int64) {
	ps.own(generation)
	delete(ps.byID, id)
	ps.maxExpired = max(ps.maxExpired, id)
}
