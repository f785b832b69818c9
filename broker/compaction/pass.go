package compaction

import (
	"math"

	"github.com/splashdam/splashdam/broker/record"
)

// maxInflated bounds what a compressed batch may become when its records are looked at, in
// bytes. One that becomes more stays as it is.
const maxInflated = 256 << 20

// Pass is one partition in a pass of the compaction: which of its records go. "Newest" is
// by the keys of the pass, which are those of the records from where the partition was
// clean up to End. What is at or behind End stays as it is.
type Pass struct {
	policy    Policy
	partition record.PartitionID
	keys      *Keys
	end       int64
	now       int64
	txns      transactions
	// partial is that something could not be compacted, in this pass or in one before:
	// there may be records that a delete marker still has to hide.
	partial bool
	// noHorizon is that batches must not grow.
	noHorizon bool
	// horizon is the first time at which there is a delete marker to be taken away.
	horizon int64
}

// NewPass begins a pass over what is dirty of a partition, up to d.End at most, beside
// others that share the keys. partial is that something could not be compacted before.
func NewPass(d *Dirt, keys *Keys, partial bool) *Pass {
	return &Pass{policy: d.Policy, partition: d.Partition, keys: keys, end: d.End, now: d.now, horizon: math.MaxInt64, partial: partial, txns: newTransactions()}
}

// Partition is the one that the pass is over.
func (c *Pass) Partition() record.PartitionID { return c.partition }

// End is the offset in front of which the partition is compacted.
func (c *Pass) End() int64 { return c.end }

// Horizon is the first time, ms, at which there is a delete marker to be taken away, as
// far as batches were filtered.
func (c *Pass) Horizon() int64 { return c.horizon }

// Partial reports whether something could not be compacted.
func (c *Pass) Partial() bool { return c.partial }

// KeepDeletes notes that something cannot be compacted: no delete marker goes any more.
func (c *Pass) KeepDeletes() { c.partial = true }

// StopAt ends the pass in front of an offset.
func (c *Pass) StopAt(offset int64) { c.end = min(c.end, offset) }

// MayGrow says whether a batch may become longer, by the time at which its delete markers
// go, as at first. Where it may not they stay.
func (c *Pass) MayGrow(may bool) { c.noHorizon = !may }

// AddTransactional takes the next transactional batch or marker of the partition, from its
// beginning on. It reports false where there are too many transactions, and stops there.
func (c *Pass) AddTransactional(b record.Batch) bool {
	if !c.txns.add(b) {
		c.StopAt(b.BaseOffset())
		return false
	}
	return true
}

// EndTransactions is called behind the last of them: the pass stops in front of the first
// transaction of which it is not known how it ended.
func (c *Pass) EndTransactions() { c.StopAt(c.txns.end()) }

// AddKeys takes the keys of the next dirty batch. If there is no room for one it reports
// false and stops in front of the batch. If it must not, since it would come nowhere, it
// stops behind it: those keys count that had room, and the partition's delete markers stay,
// for they may be of the others.
func (c *Pass) AddKeys(b record.Batch, must bool) (whole bool) {
	if b.IsControl() || b.IsTransactional() && c.txns.aborted(b.ProducerID(), b.BaseOffset()) {
		return true
	}
	whole = true
	err := b.Iterate(maxInflated, func(r record.Record) bool {
		whole = r.Key == nil || c.keys.put(c.partition, r.Key, b.BaseOffset()+int64(r.OffsetDelta))
		return whole
	})
	if err != nil {
		c.partial = true // it stays as it is, and its keys have no say
	}
	switch {
	case whole:
	case must:
		c.end, c.partial = b.NextOffset(), true
	default:
		c.end = b.BaseOffset()
	}
	return whole
}

// Filter returns what stays of a batch: b itself, another one, or nil.
func (c *Pass) Filter(b record.Batch) (record.Batch, error) {
	switch {
	case b.NextOffset() > c.end:
		return b, nil
	case b.IsControl():
		return c.filterMarker(b)
	case b.IsTransactional() && c.txns.aborted(b.ProducerID(), b.BaseOffset()):
		return c.none(b), nil
	}
	horizon, set := b.DeleteHorizon()
	expired := set && c.now >= horizon && !c.partial
	var keep []bool
	kept, deletes := 0, false
	err := b.Iterate(maxInflated, func(r record.Record) bool {
		stays := r.Key != nil && c.keys.newest(c.partition, r.Key) <= b.BaseOffset()+int64(r.OffsetDelta) && (r.Value != nil || !expired)
		keep = append(keep, stays)
		if stays {
			kept++
			deletes = deletes || r.Value == nil
		}
		return true
	})
	if err != nil { // too long, or a client compressed something else: nobody can say what goes
		c.partial = true
		return b, nil
	}
	next := int64(-1)
	if deletes && !set {
		if horizon, set = c.newHorizon(); set {
			next = horizon
		}
	}
	if deletes && set && !c.partial {
		c.horizon = min(c.horizon, horizon)
	}
	if kept == len(keep) && next < 0 && kept > 0 {
		return b, nil
	}
	if kept == 0 {
		return c.none(b), nil
	}
	i := -1
	out, _, err := b.Retain(maxInflated, next, func(record.Record) bool { i++; return keep[i] })
	return out, err
}

// newHorizon is the delete horizon for a batch that is cleaned for the first time, in
// ms; false if it gets none: then its delete markers stay.
func (c *Pass) newHorizon() (int64, bool) {
	if c.noHorizon || c.policy.DeleteRetention > math.MaxInt64-c.now {
		return 0, false
	}
	return c.now + c.policy.DeleteRetention, true
}

// none is what stays of a batch without records: nothing, or, of the last one, its
// offsets, so that a reader comes to the end.
func (c *Pass) none(b record.Batch) record.Batch {
	switch {
	case b.NextOffset() < c.end:
		return nil
	case b.Records() == 0:
		return b
	}
	return b.Emptied()
}

// filterMarker is Filter for the marker that ends a transaction.
func (c *Pass) filterMarker(b record.Batch) (record.Batch, error) {
	if !c.txns.empty[b.BaseOffset()] || b.NextOffset() == c.end {
		return b, nil
	}
	horizon, set := b.DeleteHorizon()
	switch {
	case set && c.now >= horizon:
		return nil, nil
	case set:
		c.horizon = min(c.horizon, horizon)
		return b, nil
	}
	if horizon, set = c.newHorizon(); !set {
		return b, nil
	}
	c.horizon = min(c.horizon, horizon)
	out, _, err := b.Retain(maxInflated, horizon, func(record.Record) bool { return true })
	return out, err
}
