package partition

import (
	"slices"
	"sort"

	"github.com/splashdam/splashdam/broker/record"
)

// transactions are the open and the aborted ones of a partition, by Kafka's rules
// (KIP-98): a producer's transaction begins with the first batch that says it is part
// of one, and ends with a control batch of that producer. All of it follows from the
// batches in the log.
//
// Elements are never changed, only appended and cut off in front, or the slice is
// made anew; so a copy of a slice is a snapshot.
type transactions struct {
	open    []int64   // first offsets of the open ones, rising
	aborted []Aborted // by their last offset
}

// Aborted is a transaction that was aborted. One costs 32 bytes until the log start
// has passed it.
type Aborted struct {
	Producer int64
	// First is the offset of its first batch, Last that of the marker that ended it.
	First, Last int64
	// Stable is the last stable offset behind its end.
	Stable int64
}

// noTransaction is the first offset of a transaction that there is not.
const noTransaction int64 = -1

// begin notes the first batch of a transaction.
func (t *transactions) begin(first int64) { t.open = append(t.open, first) }

// end notes that the marker at an offset ends the transaction that begins at first.
func (t *transactions) end(producer, first, last int64, committed bool) {
	i, _ := slices.BinarySearch(t.open, first)
	if i == 0 {
		t.open = t.open[1:]
	} else {
		t.open = slices.Delete(slices.Clone(t.open), i, i+1)
	}
	if !committed {
		t.aborted = append(t.aborted, Aborted{producer, first, last, t.stable(last + 1)})
	}
}

// stable is where what is decided ends, of what ends at an offset.
func (t *transactions) stable(end int64) int64 {
	if len(t.open) > 0 {
		return min(end, t.open[0])
	}
	return end
}

// from forgets the aborted transactions that end below a log start.
func (t *transactions) from(offset int64) {
	for len(t.aborted) > 0 && t.aborted[0].Last < offset {
		t.aborted = t.aborted[1:]
	}
}

// Aborted lists the aborted transactions of an open partition of which batches may lie
// at or behind from and below to, by their last offsets, as the answer to a fetch of
// read_committed wants them. What lies between is decided only below the partition's
// LastStable. The slice is the table's and must not be changed.
func (t *Table) Aborted(p record.PartitionID, from, to int64) []Aborted {
	q := t.find(p)
	if q == nil {
		return nil
	}
	list := q.transactions.aborted
	i := sort.Search(len(list), func(i int) bool { return list[i].Last >= from })
	list = list[i:]
	// Those that ended behind one whose stable offset is at to began behind it.
	n := slices.IndexFunc(list, func(a Aborted) bool { return a.Stable >= to })
	if n >= 0 {
		list = list[:n+1]
	}
	if !slices.ContainsFunc(list, func(a Aborted) bool { return a.First >= to }) {
		return list[:len(list):len(list)]
	}
	return slices.DeleteFunc(slices.Clone(list), func(a Aborted) bool { return a.First >= to })
}
