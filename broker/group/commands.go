package group

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kbin"

	"github.com/splashdam/splashdam/broker/record"
)

// The commands that change a State. Each payload begins with the group's id.
// Strings, byte strings and counts have Kafka's compact form, numbers are
// big-endian.
//
//	offsetsCommitted  retention i64 (ms, -1: the broker's), topics x {
//	                    name, partitions x {i32, offset i64, leader epoch i32, metadata}}
//	groupChanged      protocol type, generation i32, protocol?, leader?, members x {
//	                    id, instance?, client id, client host, rebalance timeout i32,
//	                    session timeout i32, subscription, assignment}
//	groupDeleted      (nothing more: the group and its offsets are gone)
//	offsetsDeleted    topics x {name, partitions x i32}
//	offsetsPending    producer id i64, producer epoch i16, topics as in offsetsCommitted:
//	                  committed when the producer's transaction is
//	transactionEnded  (the group's id is empty) producer id i64, producer epoch i16,
//	                  committed u8: the producer's pending offsets of all groups are
//	                  committed or dropped
//	consumerChanged   group epoch i32, assignment epoch i32, hash of topics u64,
//	                    assignor, members x (see appendMember), gone x id
//
// groupChanged makes a group one of the classic protocol, consumerChanged one of
// the consumer protocol, whatever it was before: so a change of the protocol is one
// command.
//
// Times are not carried: they are the time of the log's entry.
const (
	offsetsCommitted uint8 = 1
	groupChanged     uint8 = 2
	groupDeleted     uint8 = 3
	offsetsDeleted   uint8 = 4
	offsetsPending   uint8 = 5
	transactionEnded uint8 = 6
	consumerChanged  uint8 = 8

	commandVersion uint8 = 1
)

// ErrCommand is a command that this binary cannot apply, by its owner, kind,
// version or payload. It is fatal for the shard: going on would make replicas
// differ.
var ErrCommand = errors.New("group command that cannot be applied")

// topicOffsets is a topic in a commit.
type topicOffsets struct {
	topic      string
	partitions []partitionOffset
}

type partitionOffset struct {
	partition   int32
	offset      int64
	leaderEpoch int32
	metadata    string
}

// topicPartitions is a topic in a deletion of offsets.
type topicPartitions struct {
	topic      string
	partitions []int32
}

func begin(kind uint8, group string) []byte {
	return kbin.AppendCompactString(record.NewCommand(record.OwnerGroup, kind, commandVersion), group)
}

func commitCommand(group string, retention int64, topics []topicOffsets) record.Command {
	return appendOffsets(kbin.AppendInt64(begin(offsetsCommitted, group), retention), topics)
}

func appendOffsets(b []byte, topics []topicOffsets) []byte {
	b = kbin.AppendCompactArrayLen(b, len(topics))
	for _, t := range topics {
		b = kbin.AppendCompactString(b, t.topic)
		b = kbin.AppendCompactArrayLen(b, len(t.partitions))
		for _, p := range t.partitions {
			b = kbin.AppendInt32(b, p.partition)
			b = kbin.AppendInt64(b, p.offset)
			b = kbin.AppendInt32(b, p.leaderEpoch)
			b = kbin.AppendCompactString(b, p.metadata)
		}
	}
	return b
}

func changeCommand(group string, m *metadata) record.Command {
	return appendMetadata(begin(groupChanged, group), m)
}

func deleteCommand(group string) record.Command { return begin(groupDeleted, group) }

func deleteOffsetsCommand(group string, topics []topicPartitions) record.Command {
	b := kbin.AppendCompactArrayLen(begin(offsetsDeleted, group), len(topics))
	for _, t := range topics {
		b = kbin.AppendCompactString(b, t.topic)
		b = kbin.AppendCompactArrayLen(b, len(t.partitions))
		for _, p := range t.partitions {
			b = kbin.AppendInt32(b, p)
		}
	}
	return b
}

// appendMetadata encodes everything but the time.
func appendMetadata(b []byte, m *metadata) []byte {
	b = kbin.AppendCompactString(b, m.protocolType)
	b = kbin.AppendInt32(b, m.generation)
	b = kbin.AppendCompactNullableString(b, m.protocol)
	b = kbin.AppendCompactNullableString(b, m.leader)
	b = kbin.AppendCompactArrayLen(b, len(m.members))
	for i := range m.members {
		x := &m.members[i]
		b = kbin.AppendCompactString(b, x.id)
		b = kbin.AppendCompactNullableString(b, x.instance)
		b = kbin.AppendCompactString(b, x.clientID)
		b = kbin.AppendCompactString(b, x.clientHost)
		b = kbin.AppendInt32(b, x.rebalance)
		b = kbin.AppendInt32(b, x.session)
		b = kbin.AppendCompactBytes(b, x.subscription)
		b = kbin.AppendCompactBytes(b, x.assignment)
	}
	return b
}

func readMetadata(r *kbin.Reader, since int64) *metadata {
	m := &metadata{
		protocolType: r.CompactString(),
		generation:   r.Int32(),
		protocol:     r.CompactNullableString(),
		leader:       r.CompactNullableString(),
		since:        since,
	}
	n := count(r)
	for range n {
		x := memberMetadata{
			id:           r.CompactString(),
			instance:     r.CompactNullableString(),
			clientID:     r.CompactString(),
			clientHost:   r.CompactString(),
			rebalance:    r.Int32(),
			session:      r.Int32(),
			subscription: bytes.Clone(r.CompactBytes()),
			assignment:   bytes.Clone(r.CompactBytes()),
		}
		if !r.Ok() {
			return nil
		}
		m.members = append(m.members, x)
	}
	if !r.Ok() {
		return nil
	}
	return m
}

// count reads a number of elements and makes the reader fail where fewer bytes
// than elements are left. Callers still check Ok after each element, and let
// slices grow as elements arrive, so that a count costs no memory by itself.
func count(r *kbin.Reader) int {
	n := r.CompactArrayLen()
	if n < 0 {
		r.Span(-1)
		return 0
	}
	return int(n)
}

// Apply changes the state as a command from the log says; now is the time of the
// entry, in ms. It refuses nothing that is well formed, and on an error, which is
// always an ErrCommand, it has changed nothing.
func (s *State) Apply(c record.Command, now int64) error {
	if len(c) < record.CommandHeaderSize || c.Owner() != record.OwnerGroup {
		return fmt.Errorf("%w: %d bytes that are not a group's", ErrCommand, len(c))
	}
	if c.Version() != commandVersion {
		return fmt.Errorf("%w: version %d of kind %d, this binary knows version %d", ErrCommand, c.Version(), c.Kind(), commandVersion)
	}
	r := kbin.Reader{Src: c.Payload()}
	group := r.CompactString()
	var change func()
	switch c.Kind() {
	case offsetsCommitted:
		change = s.readCommit(&r, group, now)
	case groupChanged:
		m := readMetadata(&r, now)
		change = func() {
			g := s.group(group)
			g.meta, g.consumer = m, nil
		}
	case consumerChanged:
		change = s.readConsumerChange(&r, group, now)
	case groupDeleted:
		change = func() {
			s.dropPending(group)
			delete(s.groups, group)
		}
	case offsetsDeleted:
		change = s.readDelete(&r, group)
	case offsetsPending:
		change = s.readPending(&r, group, now)
	case transactionEnded:
		change = s.readEnded(&r)
	default:
		return fmt.Errorf("%w: unknown kind %d", ErrCommand, c.Kind())
	}
	if err := r.Complete(); err != nil {
		return fmt.Errorf("%w: kind %d of group %q: %w", ErrCommand, c.Kind(), group, err)
	}
	if len(r.Src) != 0 {
		return fmt.Errorf("%w: kind %d of group %q: %d bytes behind its end", ErrCommand, c.Kind(), group, len(r.Src))
	}
	change()
	return nil
}

func (s *State) readCommit(r *kbin.Reader, group string, now int64) (change func()) {
	retention := r.Int64()
	expires := int64(-1)
	if retention >= 0 {
		expires = now + retention
	}
	topics := readOffsets(r)
	return func() {
		s.group(group)
		s.commits++
		for _, t := range topics {
			for _, p := range t.partitions {
				s.commit(group, t.topic, p.partition, &Offset{
					Offset: p.offset, LeaderEpoch: p.leaderEpoch, Metadata: p.metadata,
					Committed: now, Expires: expires, order: s.commits,
				})
			}
		}
	}
}

func readOffsets(r *kbin.Reader) (topics []topicOffsets) {
	for range count(r) {
		t := topicOffsets{topic: r.CompactString()}
		for range count(r) {
			p := partitionOffset{
				partition: r.Int32(), offset: r.Int64(), leaderEpoch: r.Int32(), metadata: r.CompactString(),
			}
			if !r.Ok() {
				return nil
			}
			t.partitions = append(t.partitions, p)
		}
		if !r.Ok() {
			return nil
		}
		topics = append(topics, t)
	}
	return topics
}

func (s *State) readDelete(r *kbin.Reader, group string) (change func()) {
	var topics []topicPartitions
	for range count(r) {
		t := topicPartitions{topic: r.CompactString()}
		for range count(r) {
			p := r.Int32()
			if !r.Ok() {
				return nil
			}
			t.partitions = append(t.partitions, p)
		}
		if !r.Ok() {
			return nil
		}
		topics = append(topics, t)
	}
	return func() {
		for _, t := range topics {
			for _, p := range t.partitions {
				s.forget(group, t.topic, p)
				s.forgetPending(group, topicPartition{t.topic, p})
			}
		}
	}
}
