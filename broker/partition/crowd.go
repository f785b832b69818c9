package partition

import (
	"maps"
	"slices"

	"github.com/splashdam/splashdam/broker/record"
)

// MaxProducers is how many producers a partition remembers, at 200 bytes or so each.
// Kafka knows no such limit. Where more write than that, those that have been idle for
// the longest are forgotten before their time, a hundredth of all at once; one that
// comes back goes on, and only a retry of what it sent before is not recognized. At
// twice as many, none of them idle, a producer that is not known is told to try later.
const MaxProducers = 100_000

// crowdMs is after how long a crowded partition is looked at again: what was proposed
// need not have come to anything.
const crowdMs = 1000

// crowd is the partitions that know too many producers, and when to look at each.
type crowd struct {
	limit int
	due   map[record.PartitionID]int64
}

func newCrowd(t *Table, limit int) crowd {
	c := crowd{limit: limit, due: make(map[record.PartitionID]int64)}
	for id, p := range t.partitions.All() {
		c.met(id, len(p.producers.byID))
	}
	return c
}

// met is told how many producers a partition knows.
func (c *crowd) met(p record.PartitionID, n int) {
	if _, known := c.due[p]; n > c.limit && !known {
		c.due[p] = 0
	}
}

// crowded returns commands that forget the producers that have been idle for the
// longest, where there are too many, at most max of them.
func (l *Leading) crowded(now int64, max int) []Expiry {
	var out []Expiry
	for _, id := range slices.Sorted(maps.Keys(l.crowd.due)) {
		q := l.table.find(id)
		if q == nil || len(q.producers.byID) <= l.crowd.limit {
			delete(l.crowd.due, id)
			continue
		}
		if l.crowd.due[id] > now || max <= 0 {
			continue
		}
		l.crowd.due[id] = now + crowdMs
		oldest := l.oldest(id, min(max, len(q.producers.byID)-l.crowd.limit+l.crowd.limit/100))
		if len(oldest) == 0 {
			continue
		}
		var ids []int64
		for _, o := range oldest {
			ids = append(ids, o.id)
		}
		slices.Sort(ids)
		out = append(out, Expiry{id, ExpireProducersCommand(oldest[len(oldest)-1].lastUsed, ids...)})
		max -= len(ids)
	}
	return out
}

// oldest are the n producers of a partition that have been idle for the longest and may
// be forgotten, fewer if there are not so many.
func (l *Leading) oldest(p record.PartitionID, n int) []idleProducer {
	var list []idleProducer
	for id, s := range l.table.find(p).producers.byID {
		o := idleProducer{s.lastUsed, producerKey{p, id}}
		if len(list) == n && compareIdle(o, list[n-1]) > 0 || l.busy(o.producerKey) {
			continue
		}
		i, _ := slices.BinarySearchFunc(list, o, compareIdle)
		list = slices.Insert(list, i, o)
		list = list[:min(n, len(list))]
	}
	return list
}
