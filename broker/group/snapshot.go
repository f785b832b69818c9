package group

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kbin"
)

// The groups' part of a shard's snapshot. Strings, byte strings and counts have
// Kafka's compact form, numbers are big-endian, groups, topics and partitions are
// in rising order: equal states have equal bytes.
//
//	u8 version, 1
//	commits so far i64
//	groups x {
//	  id
//	  u8 0, or
//	     1 of the classic protocol {since i64, the fields of groupChanged}, or
//	     2 of the consumer protocol {since i64, group epoch i32, assignment epoch i32,
//	       hash of topics i64, assignor, members x (see appendMember)}
//	  topics x {name, partitions x {
//	    i32, offset i64, leader epoch i32, metadata, committed i64, expires i64, order i64}}
//	  pending x {producer id i64, producer epoch i16, offsets x {topic, the fields of a partition}}}
const snapshotVersion = 1

// Errors of Restore.
var (
	// ErrSnapshotVersion is a snapshot of a newer format: another binary wrote it.
	ErrSnapshotVersion = errors.New("unknown version of the groups' snapshot")
	// ErrSnapshot is a snapshot whose bytes do not hold a state.
	ErrSnapshot = errors.New("malformed snapshot of groups")
)

// View is a State as it was at one moment. It is immutable and may be used from
// any goroutine.
type View struct {
	groups  map[string]*groupState
	commits int64
}

// View takes the state as it is. It copies one pointer per group; what the state
// changes afterwards it copies first.
func (s *State) View() *View {
	s.epoch++
	return &View{groups: maps.Clone(s.groups), commits: s.commits}
}

// Encode returns the state's bytes, for Restore.
func (v *View) Encode() []byte {
	b := kbin.AppendInt64([]byte{snapshotVersion}, v.commits)
	b = kbin.AppendCompactArrayLen(b, len(v.groups))
	for _, id := range slices.Sorted(maps.Keys(v.groups)) {
		g := v.groups[id]
		b = kbin.AppendCompactString(b, id)
		switch {
		case g.meta != nil:
			b = kbin.AppendInt64(append(b, 1), g.meta.since)
			b = appendMetadata(b, g.meta)
		case g.consumer != nil:
			b = appendConsumers(append(b, 2), g.consumer)
		default:
			b = append(b, 0)
		}
		b = kbin.AppendCompactArrayLen(b, len(g.topics))
		for _, topic := range slices.Sorted(maps.Keys(g.topics)) {
			b = appendTopic(b, topic, g.topics[topic])
		}
		b = g.appendPending(b)
	}
	return b
}

func appendTopic(b []byte, name string, t *topicState) []byte {
	b = kbin.AppendCompactString(b, name)
	b = kbin.AppendCompactArrayLen(b, len(t.partitions))
	for _, p := range slices.Sorted(maps.Keys(t.partitions)) {
		o := t.partitions[p]
		b = appendOffset(kbin.AppendInt32(b, p), o)
	}
	return b
}

func appendOffset(b []byte, o *Offset) []byte {
	b = kbin.AppendInt64(b, o.Offset)
	b = kbin.AppendInt32(b, o.LeaderEpoch)
	b = kbin.AppendCompactString(b, o.Metadata)
	b = kbin.AppendInt64(b, o.Committed)
	return kbin.AppendInt64(kbin.AppendInt64(b, o.Expires), o.order)
}

func readOffset(r *kbin.Reader) *Offset {
	return &Offset{
		Offset: r.Int64(), LeaderEpoch: r.Int32(), Metadata: r.CompactString(),
		Committed: r.Int64(), Expires: r.Int64(), order: r.Int64(),
	}
}

// Restore is the inverse of Encode. It keeps nothing of data. It errors with
// ErrSnapshotVersion or ErrSnapshot.
func Restore(data []byte) (*State, error) {
	r := kbin.Reader{Src: data}
	version := r.Int8()
	if !r.Ok() {
		return nil, fmt.Errorf("%w: it is empty", ErrSnapshot)
	}
	if version != snapshotVersion {
		return nil, fmt.Errorf("%w: %d, this binary knows %d", ErrSnapshotVersion, uint8(version), snapshotVersion)
	}
	s := NewState()
	s.commits = r.Int64()
	for i := range count(&r) {
		id, g := readGroup(&r)
		if r.Ok() {
			s.readPendings(&r, id, g)
		}
		if !r.Ok() {
			return nil, fmt.Errorf("%w: group %d, %q: %w", ErrSnapshot, i, id, kbin.ErrNotEnoughData)
		}
		if s.groups[id] != nil {
			return nil, fmt.Errorf("%w: group %q is there twice", ErrSnapshot, id)
		}
		s.groups[id] = g
	}
	if err := r.Complete(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	if len(r.Src) != 0 {
		return nil, fmt.Errorf("%w: %d bytes behind its end", ErrSnapshot, len(r.Src))
	}
	return s, nil
}

func readGroup(r *kbin.Reader) (string, *groupState) {
	id := r.CompactString()
	g := &groupState{topics: map[string]*topicState{}}
	switch r.Int8() {
	case 0:
	case 1:
		since := r.Int64()
		g.meta = readMetadata(r, since)
	case 2:
		g.consumer = readConsumers(r)
	default:
		r.Span(-1)
	}
	for range count(r) {
		name := r.CompactString()
		t := &topicState{partitions: map[int32]*Offset{}}
		for range count(r) {
			p := r.Int32()
			o := readOffset(r)
			if !r.Ok() {
				return id, nil
			}
			t.partitions[p] = o
		}
		if !r.Ok() {
			return id, nil
		}
		if g.topics[name] != nil {
			r.Span(-1)
			return id, nil
		}
		g.topics[name] = t
		g.offsets += len(t.partitions)
	}
	return id, g
}
