package partition

import (
	"github.com/splashdam/splashdam/broker/record"
)

// Table is what is applied: all partitions of one shard. An idle partition costs
// a few hundred bytes.
type Table struct {
	// generation rises with every View. What was made under an older one may be
	// in use by an Encode and is copied before it is changed.
	generation uint64
	partitions record.ByPartition[*partition]
}

// NewTable returns a table without partitions.
func NewTable() *Table {
	return &Table{partitions: make(record.ByPartition[*partition])}
}

// find is nil for a partition that is not open.
func (t *Table) find(p record.PartitionID) *partition {
	q, _ := t.partitions.Get(p)
	return q
}

func (t *Table) put(p record.PartitionID, q *partition) {
	at, _ := t.partitions.At(p)
	*at = q
}

func (t *Table) open(p record.PartitionID, topic [16]byte, number int32) *partition {
	if q, ok := t.partitions.Get(p); ok {
		return q
	}
	q := &partition{
		generation:   t.generation,
		topic:        topic,
		number:       number,
		maxTimestamp: NoTimestamp,
		producers:    producers{maxExpired: noProducer},
	}
	t.put(p, q)
	return q
}

// own returns a partition's record as one that may be changed, nil if the
// partition is not open.
func (t *Table) own(p record.PartitionID) *partition {
	q := t.find(p)
	if q == nil || q.generation == t.generation {
		return q
	}
	c := *q
	c.generation = t.generation
	t.put(p, &c)
	return &c
}

// ApplyBatch takes note of a committed batch that has passed
// record.Batch.Validate, written under term; now is the time in its entry. A
// hidden partition is opened by its first batch. It reports whether the
// partition is open: a batch that was on its way when its topic was deleted
// belongs to nobody, and must not be indexed or shown.
//
// b is not kept.
func (t *Table) ApplyBatch(p record.PartitionID, b record.Batch, term record.Term, now int64) bool {
	q := t.own(p)
	if q == nil {
		if !p.Hidden() {
			return false
		}
		// Not 0 if the partition was closed while this batch was in flight.
		q = t.open(p, [16]byte{}, 0)
		q.logStart, q.end = b.BaseOffset(), b.BaseOffset()
	}
	q.append(t.generation, p, b, term, now)
	return true
}

// Bounds returns the bounds of an open partition.
func (t *Table) Bounds(p record.PartitionID) (Bounds, bool) {
	q, ok := t.partitions.Get(p)
	if !ok {
		return Bounds{}, false
	}
	return q.bounds(), true
}

// EpochEnd answers OffsetForLeaderEpoch (KIP-320) for an open partition: the
// largest leader epoch not above the given one under which it was written, and
// the offset behind the last batch of it. Where there is none it returns the
// given epoch and the offset at which what is known of the partition begins; a
// client that is not behind that has lost nothing. That epoch is not above the
// current one is for the caller to check. False for a negative epoch and for a
// partition that is not open.
func (t *Table) EpochEnd(p record.PartitionID, epoch int32) (int32, int64, bool) {
	q, ok := t.partitions.Get(p)
	if !ok || epoch < 0 {
		return -1, -1, false
	}
	e, end := q.epochs.end(epoch, q.end)
	return e, end, true
}

// Info returns which partition of which topic p is, as the command that opened
// it said. False for hidden partitions and those that are not open.
func (t *Table) Info(p record.PartitionID) (topic [16]byte, number int32, ok bool) {
	q, ok := t.partitions.Get(p)
	if !ok || p.Hidden() {
		return [16]byte{}, 0, false
	}
	return q.topic, q.number, true
}

// Len is the number of open partitions.
func (t *Table) Len() int { return t.partitions.Len() }

// Each calls do for every open partition, hidden ones included, in the order of
// their ids. It takes a copy of the ids first, so do may change the table.
func (t *Table) Each(do func(p record.PartitionID, b Bounds)) {
	for _, p := range t.partitions.IDs() {
		if q, ok := t.partitions.Get(p); ok {
			do(p, q.bounds())
		}
	}
}
