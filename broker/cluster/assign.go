package cluster

import "github.com/splashdam/splashdam/broker/record"

// assign chooses the data shards of n new partitions, one after the other: each
// goes to the shard with the fewest partitions, among equals to the lowest id.
// shards rise and are not empty; load[i] is how many partitions shards[i] has.
//
// Shards stay as even as what is there allows, whatever was created or deleted
// before, and the partitions of one topic spread over all of them. Internal topics
// are placed by the same rule.
func assign(shards []record.ShardID, load []int, n int) []record.ShardID {
	h := make(shardHeap, len(shards))
	for i, s := range shards {
		h[i] = shardLoad{partitions: load[i], shard: s}
	}
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
	chosen := make([]record.ShardID, n)
	for i := range chosen {
		chosen[i] = h[0].shard
		h[0].partitions++
		h.down(0)
	}
	return chosen
}

type shardLoad struct {
	partitions int
	shard      record.ShardID
}

func (a shardLoad) before(b shardLoad) bool {
	if a.partitions != b.partitions {
		return a.partitions < b.partitions
	}
	return a.shard < b.shard
}

// shardHeap has the shard that is next on top.
type shardHeap []shardLoad

// down moves the element at i to its place below.
func (h shardHeap) down(i int) {
	for {
		least := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < len(h) && h[child].before(h[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
