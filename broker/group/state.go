package group

import (
	"maps"
)

// State is the applied half: what the shard's log says of its groups. It is the
// same on every replica that has applied the same commands.
//
// One goroutine at a time may use a State. A View that it gave out may be used by
// another at the same time: everything a View can reach is never written again,
// but copied first.
type State struct {
	groups map[string]*groupState
	// pending has the groups to which open transactions commit offsets, by producer id.
	pending map[int64]map[string]bool
	// commits counts the commands that committed offsets, or made some pending.
	commits int64
	// epoch counts the views. What carries a smaller one may be in a view and is
	// copied before it is changed.
	epoch uint64
}

// groupState is what is known of a group. Members and offsets are independent: a
// simple consumer only ever commits, so its group has neither meta nor consumer. A
// group of the classic protocol has meta, one of the consumer protocol consumer.
type groupState struct {
	epoch    uint64
	meta     *metadata // nil or immutable
	consumer *consumerState
	topics   map[string]*topicState
	// offsets is the number of partitions in all topics.
	offsets int
	// pending are the offsets that open transactions commit, by producer id; the values
	// are immutable. nil if there are none.
	pending map[int64]*pendingOffsets
}

type topicState struct {
	epoch      uint64
	partitions map[int32]*Offset // the values are immutable
}

// Offset is a committed offset.
type Offset struct {
	Offset      int64
	LeaderEpoch int32 // of the record before it, -1 if the client did not say
	Metadata    string
	Committed   int64 // when, by the log's time, ms
	// Expires is when it expires whatever the group does, ms, or -1: only commits
	// of versions 2 to 4 say so.
	Expires int64
	// order is its place among all commits, of which many have the same time.
	order int64
}

// metadata is a group as it is persisted when a generation becomes stable, or
// empty: the fields of Kafka's GroupMetadataValue.
type metadata struct {
	protocolType string
	generation   int32
	protocol     *string
	leader       *string
	since        int64 // when the group became so, by the log's time, ms
	members      []memberMetadata
}

type memberMetadata struct {
	id           string
	instance     *string
	clientID     string
	clientHost   string
	rebalance    int32 // ms
	session      int32 // ms
	subscription []byte
	assignment   []byte
}

// NewState returns the state before the first command.
func NewState() *State {
	return &State{groups: map[string]*groupState{}, pending: map[int64]map[string]bool{}}
}

// Offset returns what a group has committed for a partition.
func (s *State) Offset(group, topic string, partition int32) (Offset, bool) {
	g := s.groups[group]
	if g == nil || g.topics[topic] == nil {
		return Offset{}, false
	}
	o := g.topics[topic].partitions[partition]
	if o == nil {
		return Offset{}, false
	}
	return *o, true
}

// Groups is how many groups there are.
func (s *State) Groups() int { return len(s.groups) }

// group returns a group for changing, made if need be.
func (s *State) group(id string) *groupState {
	g := s.groups[id]
	switch {
	case g == nil:
		g = &groupState{epoch: s.epoch, topics: map[string]*topicState{}}
	case g.epoch != s.epoch:
		g = &groupState{epoch: s.epoch, meta: g.meta, consumer: g.consumer, topics: maps.Clone(g.topics), offsets: g.offsets, pending: maps.Clone(g.pending)}
	default:
		return g
	}
	s.groups[id] = g
	return g
}

// topic returns a topic of a group that is being changed, for changing too.
func (s *State) topic(g *groupState, name string) *topicState {
	t := g.topics[name]
	switch {
	case t == nil:
		t = &topicState{epoch: s.epoch, partitions: map[int32]*Offset{}}
	case t.epoch != s.epoch:
		t = &topicState{epoch: s.epoch, partitions: maps.Clone(t.partitions)}
	default:
		return t
	}
	g.topics[name] = t
	return t
}

func (s *State) commit(group, topic string, partition int32, o *Offset) {
	g := s.group(group)
	t := s.topic(g, topic)
	if t.partitions[partition] == nil {
		g.offsets++
	}
	t.partitions[partition] = o
}

func (s *State) forget(group, topic string, partition int32) {
	if _, ok := s.Offset(group, topic, partition); !ok {
		return
	}
	g := s.group(group)
	t := s.topic(g, topic)
	delete(t.partitions, partition)
	g.offsets--
	if len(t.partitions) == 0 {
		delete(g.topics, topic)
	}
}
