package record

import (
	"iter"
	"maps"
	"math/bits"
	"slices"
)

// ByPartition maps partitions to values, those of neighbouring ids side by side: a
// topic's partitions have ids in a row. A batch is of another partition than the one
// before it, so what is looked up for each batch is not in the processor's caches
// unless it is small; the map of the pages is.
//
// Like a map it is a reference, is made with make, and may be read when nil. A page
// costs 32 values and 8 bytes however few of them there are. Not safe for concurrent use
// while it is changed.
type ByPartition[T any] map[PartitionID]*page[T] // by id / pageIDs

const pageIDs = 32

type page[T any] struct {
	here   uint32 // a bit for each that there is
	values [pageIDs]T
}

// Get is the zero value where there is none.
func (m ByPartition[T]) Get(p PartitionID) (v T, ok bool) {
	if g := m[p/pageIDs]; g != nil && g.here>>(p%pageIDs)&1 == 1 {
		return g.values[p%pageIDs], true
	}
	return v, false
}

// At is where a partition's value lies, until it is deleted; a zero one is made for a
// partition that has none, which is new.
func (m ByPartition[T]) At(p PartitionID) (v *T, isNew bool) {
	g := m[p/pageIDs]
	if g == nil {
		g = new(page[T])
		m[p/pageIDs] = g
	}
	bit := uint32(1) << (p % pageIDs)
	isNew = g.here&bit == 0
	g.here |= bit
	return &g.values[p%pageIDs], isNew
}

// Delete forgets a partition's value, if it has one.
func (m ByPartition[T]) Delete(p PartitionID) {
	g := m[p/pageIDs]
	if g == nil {
		return
	}
	g.here &^= 1 << (p % pageIDs)
	g.values[p%pageIDs] = *new(T)
	if g.here == 0 {
		delete(m, p/pageIDs)
	}
}

// All goes through the partitions in no order.
func (m ByPartition[T]) All() iter.Seq2[PartitionID, T] {
	return func(do func(PartitionID, T) bool) {
		for number, g := range m {
			for here := g.here; here != 0; here &= here - 1 {
				i := PartitionID(bits.TrailingZeros32(here))
				if !do(number*pageIDs+i, g.values[i]) {
					return
				}
			}
		}
	}
}

// Len is how many partitions have a value.
func (m ByPartition[T]) Len() int {
	n := 0
	for _, g := range m {
		n += bits.OnesCount32(g.here)
	}
	return n
}

// IDs lists those that have a value, sorted.
func (m ByPartition[T]) IDs() []PartitionID {
	list := make([]PartitionID, 0, m.Len())
	for p := range m.All() {
		list = append(list, p)
	}
	slices.Sort(list)
	return list
}

// Clone copies the values, not what they refer to.
func (m ByPartition[T]) Clone() ByPartition[T] {
	c := maps.Clone(m)
	for number, g := range c {
		again := *g
		c[number] = &again
	}
	return c
}
