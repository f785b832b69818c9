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
	// LastStable bounds what a read_committed consumer may read. It equals
	// HighWatermark as long as no transaction is open.
	LastStable int64
	// MaxTimestamp is the highest timestamp ever appended, in ms; NoTimestamp if
	// nothing was.
	MaxTimestamp int64
}

// partition is one partition's state. A record whose generation is not the
// table's may be in the hands of a View and must not be changed.
type partition struct {
	generation uint64

	topic        [16]byte
	number       int32
	logStart     int64
	end          int64
	maxTimestamp int64
	epochs       epochs
	producers    producers
}

func (p *partition) bounds() Bounds {
	return Bounds{LogStart: p.logStart, HighWatermark: p.end, LastStable: p.end, MaxTimestamp: p.maxTimestamp}
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
	if b.IsIdempotent() {
		p.producers.append(generation, b.ProducerID(), b.ProducerEpoch(), appended{
			first:     b.BaseSequence(),
			count:     b.LastOffsetDelta() + 1,
			offset:    b.BaseOffset(),
			timestamp: b.MaxTimestamp(),
		}, now)
	}
}

// truncate moves the log start up to offset, at most to the end.
func (p *partition) truncate(offset int64) {
	p.logStart = max(p.logStart, min(offset, p.end))
	p.epochs = p.epochs.from(p.logStart)
}
