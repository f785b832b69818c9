package partition

import (
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/invariant"
)

// NoTimestamp is the maximum timestamp of a partition that was never written.
const NoTimestamp int64 = -1

// Bounds says which offsets of a partition there are.
type Bounds struct {
	// LogStart is the lowest offset that may be read. It never falls and is never
	// above HighWatermark.
	LogStart int64
	// HighWatermark is the offset behind the last committed batch.
	HighWatermark int64
	// LastStable bounds what a read_committed consumer may read: the first offset of
	// the oldest transaction that is open, or LogStart if that lies behind it;
	// HighWatermark if none is. It never falls.
	LastStable int64
	// MaxTimestamp is the highest timestamp ever appended, in ms; NoTimestamp if
	// nothing was.
	MaxTimestamp int64
}

// partition is one partition's state. A record whose generation is not the
// table's may be in the hands of a View and must not be changed.
type partition struct {
	// What every batch needs comes first: it lies in a line of the processor's cache, or
	// two, and there are thousands of partitions.
	generation   uint64
	logStart     int64
	end          int64
	maxTimestamp int64
	transactions transactions
	epochs       epochs
	producers    producers

	topic  [16]byte
	number int32
}

func (p *partition) bounds() Bounds {
	return Bounds{LogStart: p.logStart, HighWatermark: p.end, LastStable: max(p.logStart, p.transactions.stable(p.end)), MaxTimestamp: p.maxTimestamp}
}

// append takes note of a committed batch.
func (p *partition) append(generation uint64, id record.PartitionID, b record.Batch, term record.Term, now int64) {
	if b.BaseOffset() != p.end { // the arguments would be allocated for every batch
		invariant.That(false, "%v: a batch at offset %d behind the end %d", id, b.BaseOffset(), p.end)
	}
	if !id.Hidden() { // nobody asks for the epochs of what nobody sees
		p.epochs = p.epochs.begin(term.LeaderEpoch(), b.BaseOffset())
	}
	p.end = b.NextOffset()
	p.maxTimestamp = max(p.maxTimestamp, b.MaxTimestamp())
	switch {
	case !b.IsIdempotent():
	case b.IsControl():
		p.endTransaction(generation, b, now)
	default:
		p.producers.append(generation, b.ProducerID(), b.ProducerEpoch(), appended{
			first:     b.BaseSequence(),
			count:     b.LastOffsetDelta() + 1,
			offset:    b.BaseOffset(),
			timestamp: b.MaxTimestamp(),
		}, now)
		if s := p.producers.byID[b.ProducerID()]; b.IsTransactional() && s.transaction == noTransaction {
			s.transaction = b.BaseOffset() // the record is new, and no View has it
			p.transactions.begin(s.transaction)
		}
	}
}

// endTransaction takes note of a control batch. One that ends no transaction, of a
// newer version of Kafka or of nobody, only takes its offset.
func (p *partition) endTransaction(generation uint64, b record.Batch, now int64) {
	m, ok := b.Marker()
	if !ok {
		return
	}
	if first := p.producers.openTransaction(b.ProducerID()); first != noTransaction {
		p.transactions.end(b.ProducerID(), first, b.BaseOffset(), m.Commit)
	}
	p.producers.fence(generation, b, m.Coordinator, now)
}

// expires reports whether a producer may be forgotten that was last used at or before a
// time: not while its transaction is open, as in Kafka.
func (p *partition) expires(id, before int64) bool {
	s := p.producers.byID[id]
	return s != nil && s.lastUsed <= before && s.transaction == noTransaction
}

// truncate moves the log start up to offset, at most to the end.
func (p *partition) truncate(offset int64) {
	p.logStart = max(p.logStart, min(offset, p.end))
	p.epochs = p.epochs.from(p.logStart)
	p.transactions.from(p.logStart)
}
