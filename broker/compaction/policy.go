package compaction

import "github.com/splashdam/splashdam/broker/record"

// Policy is how a partition is compacted: Kafka's topic settings of these names
// (KIP-58, KIP-354, KIP-534). Times are in ms.
type Policy struct {
	// MinDirtyRatio is the share of bytes not compacted yet from which on it is done.
	MinDirtyRatio float64
	// MinLag is how old a record must be to be touched, MaxLag how old one may
	// become before it is compacted whatever the ratio.
	MinLag, MaxLag int64
	// DeleteRetention is how long a delete marker stays after it was first cleaned.
	DeleteRetention int64
	// Stable is the last stable offset: what lies behind it is not touched.
	Stable int64
}

// Fresh reports whether a batch with that highest timestamp is too young to be touched.
func (p Policy) Fresh(maxTime, now int64) bool { return p.MinLag > 0 && maxTime > now-p.MinLag }

// Overdue reports whether a batch must be compacted whatever the ratio. One without a time
// never must.
func (p Policy) Overdue(maxTime, now int64) bool { return maxTime >= 0 && maxTime < now-p.MaxLag }

// Extent is what is known of a batch without reading it.
type Extent struct {
	Base, Next    int64
	Size          int64 // bytes
	MaxTime       int64 // ms
	Transactional bool
}

// Dirt measures what there is to be compacted in a partition.
type Dirt struct {
	Partition record.PartitionID
	Policy    Policy
	// Start is where the partition begins, From up to where it is compacted, and End up
	// to where it may be, as far as the batches have been added.
	Start, From, End int64
	// Records bounds how many there are between From and End.
	Records int64
	// Transactional is that there are batches or markers of transactions.
	Transactional bool

	now          int64
	clean, dirty int64 // bytes
	oldest       int64 // time of the first dirty batch; below 0 while there is none
}

// NewDirt is of a partition that begins at start and was compacted up to an offset, 0 for
// never. now is in ms.
func NewDirt(id record.PartitionID, p Policy, start, compacted, now int64) Dirt {
	from := max(start, compacted)
	return Dirt{Partition: id, Policy: p, Start: start, From: from, End: from, now: now, oldest: -1}
}

// Add takes the next batch of the partition. It reports false for one that must not be
// touched: then End is in front of it.
func (d *Dirt) Add(b Extent) bool {
	if b.Next > d.Policy.Stable || d.Policy.Fresh(b.MaxTime, d.now) {
		return false
	}
	d.Transactional = d.Transactional || b.Transactional
	if b.Base < d.From {
		d.clean += b.Size
		return true
	}
	if d.oldest < 0 {
		d.oldest = b.MaxTime
	}
	d.dirty += b.Size
	d.Records += b.Next - b.Base
	d.End = b.Next
	return true
}

// Due reports whether the partition is to be compacted. horizon is the first time, ms, at
// which there is a delete marker to be taken away.
func (d *Dirt) Due(horizon int64) bool {
	due := d.dirty > 0 && (float64(d.dirty) > d.Policy.MinDirtyRatio*float64(d.clean+d.dirty) || d.Policy.Overdue(d.oldest, d.now))
	return due || d.clean > 0 && d.now >= horizon
}
