package group

import (
	"cmp"
	"slices"
)

// Assignor is a server-side assignor (KIP-848), by the name that
// group.consumer.assignors and members use.
type Assignor string

// The assignors, as Kafka has them.
const (
	// Uniform balances: no two members that could trade have counts of partitions
	// that differ by more than one. Of the assignments that do, it takes one near
	// the present: partitions move only where balance needs it.
	Uniform Assignor = "uniform"
	// Range gives each member a run of each topic's partitions, so that topics of
	// equally many partitions are assigned alike. It keeps nothing but the order of
	// the members.
	Range Assignor = "range"
)

// assignors are all there are.
var assignors = map[Assignor]func([]subscriber, map[[16]byte]int32) []partitions{
	Uniform: assignUniform,
	Range:   assignRange,
}

// subscriber is a member as an assignor sees it.
type subscriber struct {
	id       string
	instance *string
	// topics are those it subscribes to, rising by id; they exist.
	topics [][16]byte
	// has is its assignment by the last target.
	has partitions
}

// assignRange orders members by their instance, those without one last and by
// their id, and hands out runs whose lengths differ by at most one.
func assignRange(subs []subscriber, counts map[[16]byte]int32) []partitions {
	order := make([]int, len(subs))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return compareStatic(&subs[a], &subs[b]) })
	readers := map[[16]byte]int32{}
	for i := range subs {
		for _, t := range subs[i].topics {
			readers[t]++
		}
	}
	next := map[[16]byte]int32{} // how many readers of a topic are served
	out := make([][]partition, len(subs))
	for _, i := range order {
		for _, t := range subs[i].topics {
			each, more := counts[t]/readers[t], counts[t]%readers[t]
			k := next[t]
			next[t]++
			first := k*each + min(k, more)
			last := first + each
			if k < more {
				last++
			}
			for n := first; n < last; n++ {
				out[i] = append(out[i], partition{t, n})
			}
		}
	}
	return sets(out)
}

func compareStatic(a, b *subscriber) int {
	switch {
	case a.instance != nil && b.instance != nil:
		return cmp.Compare(*a.instance, *b.instance)
	case a.instance != nil:
		return -1
	case b.instance != nil:
		return 1
	}
	return cmp.Compare(a.id, b.id)
}

func sets(lists [][]partition) []partitions {
	out := make([]partitions, len(lists))
	for i, l := range lists {
		out[i] = newPartitions(l)
	}
	return out
}
