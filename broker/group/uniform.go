package group

import (
	"cmp"
	"container/heap"
	"encoding/binary"
	"maps"
	"slices"
)

// balancePasses bounds how often all classes are looked at for balance. One pass
// is enough where all members subscribe to the same topics; where subscriptions
// overlap, each pass about halves what is uneven, as in Kafka.
const balancePasses = 16

// class is the topics that the same members subscribe to. Its partitions can be
// given to each of these, so members trade inside of classes: a group whose
// members subscribe alike has one.
type class struct {
	readers []int // indexes of the members
	free    []partition
	// held is what each reader has of the class; it parallels readers.
	held [][]partition
}

// assignUniform leaves every member what it has and still subscribes to, gives the
// rest to those who have the least, and then moves single partitions from those
// who have the most.
func assignUniform(subs []subscriber, counts map[[16]byte]int32) []partitions {
	classes, of := classify(subs, counts)
	load := make([]int, len(subs))
	taken := map[partition]bool{}
	for i := range subs {
		for _, p := range subs[i].has {
			c := of[p.topic]
			if c == nil || p.number >= counts[p.topic] || taken[p] {
				continue
			}
			if at, ok := slices.BinarySearch(c.readers, i); ok {
				c.held[at] = append(c.held[at], p)
				taken[p] = true
				load[i]++
			}
		}
	}
	for _, t := range slices.SortedFunc(maps.Keys(of), compareTopics) {
		for n := range counts[t] {
			if p := (partition{t, n}); !taken[p] {
				of[t].free = append(of[t].free, p)
			}
		}
	}
	for _, c := range classes {
		c.fill(load)
	}
	for range balancePasses {
		moved := false
		for _, c := range classes {
			moved = c.balance(load) || moved
		}
		if !moved {
			break
		}
	}
	out := make([][]partition, len(subs))
	for _, c := range classes {
		for at, i := range c.readers {
			out[i] = append(out[i], c.held[at]...)
		}
	}
	return sets(out)
}

func compareTopics(a, b [16]byte) int { return partition{topic: a}.compare(partition{topic: b}) }

// classify finds the classes, those with the fewest readers first: they have the
// least choice.
func classify(subs []subscriber, counts map[[16]byte]int32) ([]*class, map[[16]byte]*class) {
	readers := map[[16]byte][]int{}
	for i := range subs {
		for _, t := range subs[i].topics {
			readers[t] = append(readers[t], i)
		}
	}
	byReaders := map[string]*class{}
	of := make(map[[16]byte]*class, len(readers))
	var classes []*class
	var key []byte
	for _, t := range slices.SortedFunc(maps.Keys(readers), compareTopics) {
		if counts[t] == 0 {
			continue
		}
		key = key[:0]
		for _, i := range readers[t] {
			key = binary.BigEndian.AppendUint32(key, uint32(i))
		}
		c := byReaders[string(key)]
		if c == nil {
			c = &class{readers: readers[t], held: make([][]partition, len(readers[t]))}
			byReaders[string(key)] = c
			classes = append(classes, c)
		}
		of[t] = c
	}
	slices.SortStableFunc(classes, func(a, b *class) int { return cmp.Compare(len(a.readers), len(b.readers)) })
	return classes, of
}

// fill gives what nobody has to those who have the least.
func (c *class) fill(load []int) {
	if len(c.free) == 0 {
		return
	}
	least := c.heap(load, false)
	for _, p := range c.free {
		at := least.order[0]
		c.held[at] = append(c.held[at], p)
		load[c.readers[at]]++
		heap.Fix(least, 0)
	}
	c.free = nil
}

// balance moves partitions of the class until no reader has two more, of whatever
// it could give, than another. It reports whether it moved any.
func (c *class) balance(load []int) (moved bool) {
	least, most := c.heap(load, false), c.heap(load, true)
	for len(most.order) > 0 {
		from, to := most.order[0], least.order[0]
		if len(c.held[from]) == 0 {
			heap.Pop(most) // it has much, but nothing of this class
			continue
		}
		if load[c.readers[from]]-load[c.readers[to]] < 2 {
			return moved
		}
		last := len(c.held[from]) - 1
		c.held[to] = append(c.held[to], c.held[from][last])
		c.held[from] = c.held[from][:last]
		load[c.readers[from]]--
		load[c.readers[to]]++
		moved = true
		// Each heap also holds, deeper down, the one that the other moved. That does
		// no harm: a giver is within one of the most and a receiver within one of the
		// least, so neither hides one that may still have to trade.
		heap.Fix(least, 0)
		heap.Fix(most, 0)
	}
	return moved
}

func (c *class) heap(load []int, most bool) *loads {
	h := &loads{c: c, load: load, most: most, order: make([]int, len(c.readers))}
	for i := range h.order {
		h.order[i] = i
	}
	heap.Init(h)
	return h
}

// loads orders a class's readers by how much they have in all, equal ones by their
// place.
type loads struct {
	c     *class
	load  []int
	order []int // indexes into the class's readers
	most  bool
}

func (h *loads) Len() int { return len(h.order) }
func (h *loads) Less(i, j int) bool {
	a, b := h.order[i], h.order[j]
	d := h.load[h.c.readers[a]] - h.load[h.c.readers[b]]
	if h.most {
		d = -d
	}
	return d < 0 || d == 0 && a < b
}
func (h *loads) Swap(i, j int) { h.order[i], h.order[j] = h.order[j], h.order[i] }
func (h *loads) Push(x any)    { h.order = append(h.order, x.(int)) }
func (h *loads) Pop() any {
	n := len(h.order) - 1
	x := h.order[n]
	h.order = h.order[:n]
	return x
}
