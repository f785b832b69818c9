package sim

import (
	"maps"
	"math"
	"slices"

	"github.com/splashdam/splashdam/broker/record"
)

// acked is told what a client heard: its batch lies at an offset.
func (o *oracle) acked(p record.PartitionID, offset int64, crc uint32) {
	o.w.result.Acked++
	list := o.batches[p]
	i, found := slices.BinarySearchFunc(list, offset, func(b committedBatch, at int64) int { return int(b.base - at) })
	if !found || list[i].crc != crc {
		o.fail(ackedSurvives, "a client was told that its batch is at offset %d of %v, where there is none or another", offset, p)
	}
}

// cleans takes a node that is about to delete what is dead for it.
func (o *oracle) cleans(n *node) {
	for p := range o.batches {
		if b, open := n.m.Bounds(p); open {
			o.deleted[p] = max(o.deleted[p], b.LogStart)
		} else if o.closed[p] {
			o.deleted[p] = math.MaxInt64
		}
	}
}

func (o *oracle) checkAllReads(n *node) {
	for _, p := range slices.Sorted(maps.Keys(o.batches)) {
		o.checkReads(n, p)
	}
}

// checkReads reads a partition on a node and compares it with what was committed.
func (o *oracle) checkReads(n *node, p record.PartitionID) {
	b, open := n.m.Bounds(p)
	if !open || o.closed[p] {
		return
	}
	// A node that has started again, or has got another's log, may stand in front of a
	// command for which something was deleted. It leads, and is read, only behind it.
	start := max(b.LogStart, o.deleted[p])
	list := o.batches[p]
	i, found := slices.BinarySearchFunc(list, start, func(c committedBatch, at int64) int { return int(c.base - at) })
	if !found && i > 0 && list[i-1].next > start {
		i-- // the log start lies inside a batch
	}
	for at := start; at < b.HighWatermark; {
		data, err := n.m.Log.Read(nil, nil, p, at, b.HighWatermark, 64<<10, true)
		if n.stopped {
			return
		}
		if err != nil || len(data) == 0 {
			o.fail(indexesTrue, "node %d: reading %v at %d of %d to %d: %d bytes, %v", n.id, p, at, b.LogStart, b.HighWatermark, len(data), err)
			return
		}
		for len(data) > 0 {
			first, rest, err := record.SplitBatch(data)
			if err != nil || i >= len(list) || first.BaseOffset() != list[i].base || first.CRC() != list[i].crc {
				o.fail(indexesTrue, "node %d: of %v, from %d to %d, batch %d to %d with CRC %08x comes at offset %d, of those committed it would be %v (%v)", n.id, p, start, b.HighWatermark,
					first.BaseOffset(), first.NextOffset(), first.CRC(), at, list[min(i, len(list)-1)], err)
				return
			}
			at, data, i = first.NextOffset(), rest, i+1
		}
	}
}

// checkOnce looks for batches of idempotent producers that are there twice, or out
// of order.
func (o *oracle) checkOnce() {
	type stream struct {
		producer int64
		p        record.PartitionID
	}
	next := make(map[stream]int32)
	for p, list := range o.batches {
		end := int64(0)
		for _, b := range list {
			if b.base != end {
				o.fail(appliedEqual, "%v: a batch at offset %d behind %d", p, b.base, end)
			}
			end = b.next
			if b.producer < 0 {
				continue
			}
			s := stream{b.producer, p}
			if b.sequence != next[s] {
				o.fail(ackedSurvives, "producer %d, %v: sequence %d at offset %d, %d was next", b.producer, p, b.sequence, b.base, next[s])
			}
			next[s] = b.sequence + int32(b.next-b.base)
		}
	}
}
