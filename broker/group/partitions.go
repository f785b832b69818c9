package group

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/twmb/franz-go/pkg/kbin"
)

// partition is one of a topic, which goes by its id: a topic that is created anew
// under the same name is another.
type partition struct {
	topic  [16]byte
	number int32
}

func (p partition) compare(q partition) int {
	return cmp.Or(bytes.Compare(p.topic[:], q.topic[:]), cmp.Compare(p.number, q.number))
}

// partitions is a set: in rising order, each once, never changed once it is made.
type partitions []partition

// newPartitions makes a set of a list, which it takes over.
func newPartitions(ps []partition) partitions {
	slices.SortFunc(ps, partition.compare)
	return slices.Compact(ps)
}

func (ps partitions) has(p partition) bool {
	_, ok := slices.BinarySearchFunc(ps, p, partition.compare)
	return ok
}

// and is what is in both.
func (ps partitions) and(qs partitions) partitions { return ps.filter(qs.has) }

// minus is what is in ps alone.
func (ps partitions) minus(qs partitions) partitions {
	return ps.filter(func(p partition) bool { return !qs.has(p) })
}

func (ps partitions) filter(keep func(partition) bool) partitions {
	var out partitions
	for _, p := range ps {
		if keep(p) {
			out = append(out, p)
		}
	}
	return out
}

// or is what is in one or both.
func (ps partitions) or(qs partitions) partitions {
	switch {
	case len(ps) == 0:
		return qs
	case len(qs) == 0:
		return ps
	}
	return newPartitions(slices.Concat(ps, qs))
}

// byTopic calls f for each topic, in order, with its part of the set.
func (ps partitions) byTopic(f func(topic [16]byte, part partitions)) {
	for len(ps) > 0 {
		n := 1
		for n < len(ps) && ps[n].topic == ps[0].topic {
			n++
		}
		f(ps[0].topic, ps[:n])
		ps = ps[n:]
	}
}

func (ps partitions) numbers() []int32 {
	out := make([]int32, len(ps))
	for i, p := range ps {
		out[i] = p.number
	}
	return out
}

// appendPartitions encodes a set: topics x {id 16 bytes, numbers x i32}, rising.
func appendPartitions(b []byte, ps partitions) []byte {
	topics := 0
	ps.byTopic(func([16]byte, partitions) { topics++ })
	b = kbin.AppendCompactArrayLen(b, topics)
	ps.byTopic(func(topic [16]byte, part partitions) {
		b = append(b, topic[:]...)
		b = kbin.AppendCompactArrayLen(b, len(part))
		for _, p := range part {
			b = kbin.AppendInt32(b, p.number)
		}
	})
	return b
}

// readPartitions makes the reader fail where the order is not the one of a set.
func readPartitions(r *kbin.Reader) partitions {
	var out partitions
	for range count(r) {
		topic := r.Uuid()
		for range count(r) {
			p := partition{topic, r.Int32()}
			if !r.Ok() {
				return nil
			}
			if n := len(out); n > 0 && out[n-1].compare(p) >= 0 {
				r.Span(-1)
				return nil
			}
			out = append(out, p)
		}
		if !r.Ok() {
			return nil
		}
	}
	return out
}
