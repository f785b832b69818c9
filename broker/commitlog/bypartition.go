package commitlog

import (
	"iter"
	"maps"
	"math/bits"
	"slices"

	"github.com/splashdam/splashdam/broker/record"
)

// byPartition maps partitions to values, those of neighbouring ids side by side: a
// topic's partitions have ids in a row. A batch is of another partition than the one
// before it, so what is looked up for each batch is not in the processor's caches
// unless it is small; the map of the pages is.
//
// Like a map it is a reference, is made with make, and may be read when nil. A page
// costs 32 values and 8 bytes however few of them there are.
type byPartition[T any] map[record.PartitionID]*page[T] // by id / pageIDs

const pageIDs = 32

type page[T any] struct {
	here   uint32 // a bit for each that there is
	values [pageIDs]T
}

// get is the zero value where there is none.
func (m byPartition[T]) get(p record.PartitionID) (v T, ok bool) {
	if g := m[p/pageIDs]; g != nil && g.here>>(p%pageIDs)&1 == 1 {
		return g.values[p%pageIDs], true
	}
	return v, false
}

// at is where a partition's value lies, until it is deleted; a new one is made for a
// partition that has none.
func (m byPartition[T]) at(p record.PartitionID) (v *T, isNew bool) {
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

func (m byPartition[T]) delete(p record.PartitionID) {
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

// all goes through the partitions in no order.
func (m byPartition[T]) all() iter.Seq2[record.PartitionID, T] {
	return func(do func(record.PartitionID, T) bool) {
		for number, g := range m {
			for here := g.here; here != 0; here &= here - 1 {
				i := record.PartitionID(bits.TrailingZeros32(here))
				if !do(number*pageIDs+i, g.values[i]) {
					return
				}
			}
		}
	}
}

func (m byPartition[T]) len() int {
	n := 0
	for _, g := range m {
		n += bits.OnesCount32(g.here)
	}
	return n
}

// partitions lists those that have a value, sorted.
func (m byPartition[T]) partitions() []record.PartitionID {
	list := make([]record.PartitionID, 0, m.len())
	for p := range m.all() {
		list = append(list, p)
	}
	slices.Sort(list)
	return list
}

// clone copies the values, not what they refer to.
func (m byPartition[T]) clone() byPartition[T] {
	c := maps.Clone(m)
	for number, g := range c {
		again := *g
		c[number] = &again
	}
	return c
}
