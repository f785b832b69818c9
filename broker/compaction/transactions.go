package compaction

import (
	"math"
	"sort"

	"github.com/splashdam/splashdam/broker/record"
)

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
