package commitlog

import (
	"math"
	"sort"

	"github.com/splashdam/splashdam/broker/record"
)

// Compaction is how a partition is compacted: Kafka's topic settings of these names
// (KIP-58, KIP-354, KIP-534). Times are in ms.
type Compaction struct {
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

// compacting is one partition in a pass of the compaction: which of its records go.
//
// Of each key the newest record stays; "newest" is by the map of the pass, which
// knows the keys of the records from where the partition was clean up to end. What is
// at or behind end stays as it is. A record without a value, a delete marker, stays
// until the delete horizon of its batch, which is set when it is first cleaned.
// Records without a key go, and so do those of aborted transactions. The marker that
// commits a transaction of which nothing is left goes as a delete marker does; one
// that aborts stays, for readers are told of aborted transactions by the shard's
// state, and take the marker for their end. The last batch stays, be it empty.
//
// Kafka also keeps the last batch of each producer, empty, because it finds the
// producer's sequence there. Here that is in the snapshots, both of which are ahead of
// all that is cleaned.
type compacting struct {
	Compaction
	partition record.PartitionID
	keys      *keyMap
	end       int64
	now       int64
	txns      transactions
	// keepDeletes is that something could not be compacted, in this pass or in one
	// before: there may be records that a delete marker still has to hide.
	keepDeletes bool
	// noHorizon is that batches must not grow.
	noHorizon bool
	// horizon is the first time at which there is a delete marker to be taken away.
	horizon int64
}

// filter returns what stays of a batch: b itself, another one, or nil.
func (c *compacting) filter(b record.Batch) (record.Batch, error) {
	switch {
	case b.NextOffset() > c.end:
		return b, nil
	case b.IsControl():
		return c.filterMarker(b)
	case b.IsTransactional() && c.txns.aborted(b.ProducerID(), b.BaseOffset()):
		return c.none(b), nil
	}
	horizon, set := b.DeleteHorizon()
	expired := set && c.now >= horizon && !c.keepDeletes
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
		c.keepDeletes = true
		return b, nil
	}
	next := int64(-1)
	if deletes && !set {
		if horizon, set = c.newHorizon(); set {
			next = horizon
		}
	}
	if deletes && set && !c.keepDeletes {
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
func (c *compacting) newHorizon() (int64, bool) {
	if c.noHorizon || c.DeleteRetention > math.MaxInt64-c.now {
		return 0, false
	}
	return c.now + c.DeleteRetention, true
}

// none is what stays of a batch without records: nothing, or, of the last one, its
// offsets, so that a reader comes to the end.
func (c *compacting) none(b record.Batch) record.Batch {
	switch {
	case b.NextOffset() < c.end:
		return nil
	case b.Records() == 0:
		return b
	}
	return b.Emptied()
}

// filterMarker is filter for the marker that ends a transaction.
func (c *compacting) filterMarker(b record.Batch) (record.Batch, error) {
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

// transactions is what the markers in a partition say of the batches before them.
type transactions struct {
	open  map[int64]int64  // producer to the first offset of a transaction that has not ended
	spans map[int64][]span // of a producer's aborted transactions, in order
	empty map[int64]bool   // offsets of markers that commit nothing
	known int
}

// span is a transaction from its first offset to that of its marker.
type span struct{ first, marker int64 }

// maxTransactions bounds what is kept of a partition's transactions: it is not
// compacted further than to where there are so many.
const maxTransactions = 1 << 20

func newTransactions() transactions {
	return transactions{open: make(map[int64]int64), spans: make(map[int64][]span), empty: make(map[int64]bool)}
}

// add takes the next transactional batch or marker of the partition. It reports false
// if that is one too many.
func (t *transactions) add(b record.Batch) bool {
	if t.known == maxTransactions {
		return false
	}
	id := b.ProducerID()
	first, open := t.open[id]
	if !b.IsControl() {
		if !open {
			t.open[id] = b.BaseOffset()
			t.known++
		}
		return true
	}
	m, ok := b.Marker()
	if !ok {
		return true
	}
	delete(t.open, id)
	switch {
	case !m.Commit && open:
		t.spans[id] = append(t.spans[id], span{first, b.BaseOffset()})
	case m.Commit && !open:
		t.empty[b.BaseOffset()] = true
		t.known++
	case open:
		t.known--
	}
	return true
}

// end is the first offset of those that have not ended.
func (t *transactions) end() int64 {
	end := int64(math.MaxInt64)
	for _, first := range t.open {
		end = min(end, first)
	}
	return end
}

func (t *transactions) aborted(id, offset int64) bool {
	spans := t.spans[id]
	i := sort.Search(len(spans), func(i int) bool { return spans[i].marker > offset })
	return i < len(spans) && spans[i].first <= offset
}
