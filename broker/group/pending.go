package group

import (
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kbin"

	"github.com/splashdam/splashdam/broker/record"
)

// This file is the applied half of transactional commits (KIP-98, KIP-447): offsets
// that wait for the marker of the transaction that commits them.

type topicPartition struct {
	topic     string
	partition int32
}

func (a topicPartition) compare(b topicPartition) int {
	if c := strings.Compare(a.topic, b.topic); c != 0 {
		return c
	}
	return int(a.partition) - int(b.partition)
}

// pendingOffsets are what one producer's open transaction commits to a group.
type pendingOffsets struct {
	epoch   int16 // the producer's newest
	offsets map[topicPartition]Offset
}

func pendingCommand(group string, producer int64, epoch int16, topics []topicOffsets) record.Command {
	return appendOffsets(kbin.AppendInt16(kbin.AppendInt64(begin(offsetsPending, group), producer), epoch), topics)
}

// EndCommand ends a producer's transaction in all groups of the shard. Pending offsets
// of a newer epoch belong to a later transaction and stay.
func EndCommand(producer int64, epoch int16, commit bool) record.Command {
	return kbin.AppendBool(kbin.AppendInt16(kbin.AppendInt64(begin(transactionEnded, ""), producer), epoch), commit)
}

func (s *State) readPending(r *kbin.Reader, group string, now int64) (change func()) {
	producer, epoch := r.Int64(), r.Int16()
	topics := readOffsets(r)
	return func() {
		g := s.group(group)
		s.commits++
		n := &pendingOffsets{epoch: epoch, offsets: map[topicPartition]Offset{}}
		if old := g.pending[producer]; old != nil {
			n.epoch = max(epoch, old.epoch)
			n.offsets = maps.Clone(old.offsets)
		}
		for _, t := range topics {
			for _, p := range t.partitions {
				n.offsets[topicPartition{t.topic, p.partition}] = Offset{
					Offset: p.offset, LeaderEpoch: p.leaderEpoch, Metadata: p.metadata, Committed: now, Expires: -1, order: s.commits,
				}
			}
		}
		if len(n.offsets) > 0 {
			s.setPending(group, g, producer, n)
		}
	}
}

func (s *State) setPending(group string, g *groupState, producer int64, n *pendingOffsets) {
	if g.pending == nil {
		g.pending = map[int64]*pendingOffsets{}
	}
	g.pending[producer] = n
	if s.pending[producer] == nil {
		s.pending[producer] = map[string]bool{}
	}
	s.pending[producer][group] = true
}

func (s *State) readEnded(r *kbin.Reader) (change func()) {
	producer, epoch, commit := r.Int64(), r.Int16(), r.Bool()
	return func() {
		for _, group := range slices.Sorted(maps.Keys(s.pending[producer])) {
			if p := s.groups[group].pending[producer]; p.epoch <= epoch {
				s.endPending(group, producer)
				if commit {
					s.commitPending(group, p)
				}
			}
		}
	}
}

// commitPending commits offsets that were pending, but where something else was
// committed later.
func (s *State) commitPending(group string, p *pendingOffsets) {
	for at, o := range p.offsets {
		if old, ok := s.Offset(group, at.topic, at.partition); !ok || old.order < o.order {
			s.commit(group, at.topic, at.partition, &o)
		}
	}
}

// endPending forgets what a producer has pending for a group.
func (s *State) endPending(group string, producer int64) {
	g := s.group(group)
	if delete(g.pending, producer); len(g.pending) == 0 {
		g.pending = nil
	}
	if delete(s.pending[producer], group); len(s.pending[producer]) == 0 {
		delete(s.pending, producer)
	}
}

// dropPending forgets all that is pending for a group.
func (s *State) dropPending(group string) {
	if g := s.groups[group]; g != nil {
		for _, producer := range slices.Collect(maps.Keys(g.pending)) {
			s.endPending(group, producer)
		}
	}
}

// forgetPending forgets what is pending for a partition.
func (s *State) forgetPending(group string, at topicPartition) {
	gs := s.groups[group]
	if gs == nil {
		return
	}
	for _, producer := range slices.Collect(maps.Keys(gs.pending)) {
		old := gs.pending[producer]
		if _, ok := old.offsets[at]; !ok {
			continue
		}
		if len(old.offsets) == 1 {
			s.endPending(group, producer)
			continue
		}
		n := &pendingOffsets{epoch: old.epoch, offsets: maps.Clone(old.offsets)}
		delete(n.offsets, at)
		s.group(group).pending[producer] = n
	}
}

// Pending reports whether an open transaction commits an offset for a partition.
func (s *State) Pending(group, topic string, partition int32) bool {
	if g := s.groups[group]; g != nil {
		for _, p := range g.pending {
			if _, ok := p.offsets[topicPartition{topic, partition}]; ok {
				return true
			}
		}
	}
	return false
}

// pendingPartitions counts what is pending for a group.
func (g *groupState) pendingPartitions() (n int) {
	for _, p := range g.pending {
		n += len(p.offsets)
	}
	return n
}

func (g *groupState) appendPending(b []byte) []byte {
	b = kbin.AppendCompactArrayLen(b, len(g.pending))
	for _, producer := range slices.Sorted(maps.Keys(g.pending)) {
		p := g.pending[producer]
		b = kbin.AppendInt16(kbin.AppendInt64(b, producer), p.epoch)
		b = kbin.AppendCompactArrayLen(b, len(p.offsets))
		for _, at := range slices.SortedFunc(maps.Keys(p.offsets), topicPartition.compare) {
			o := p.offsets[at]
			b = kbin.AppendInt32(kbin.AppendCompactString(b, at.topic), at.partition)
			b = appendOffset(b, &o)
		}
	}
	return b
}

// readPendings reads what appendPending wrote; where it is malformed the reader fails.
func (s *State) readPendings(r *kbin.Reader, group string, g *groupState) {
	for range count(r) {
		producer, p := r.Int64(), &pendingOffsets{epoch: r.Int16(), offsets: map[topicPartition]Offset{}}
		for range count(r) {
			at := topicPartition{r.CompactString(), r.Int32()}
			o := readOffset(r)
			if !r.Ok() {
				return
			}
			p.offsets[at] = *o
		}
		if g.pending[producer] != nil || len(p.offsets) == 0 {
			r.Span(-1)
		}
		if !r.Ok() {
			return
		}
		s.setPending(group, g, producer, p)
	}
}
