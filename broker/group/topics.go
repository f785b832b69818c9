package group

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"iter"
	"maps"
	"slices"
	"strings"
)

// Topics is what the cluster has at one moment. It never changes and is cheap to
// ask.
type Topics interface {
	// Version differs where anything else does, and never comes back.
	Version() uint64
	// Topic finds a topic by its name.
	Topic(name string) (id [16]byte, partitions int32, ok bool)
	// TopicName finds it by its id.
	TopicName(id [16]byte) (string, bool)
	// TopicNames are all there are, in rising order, the internal ones too.
	TopicNames() iter.Seq[string]
	// Sight is what a client may know of: who has the same key may know of the same
	// topics. A nil function means all of them.
	Sight(c Client) (key string, mayKnow func(topic string) bool)
}

// noTopics is a cluster without any.
type noTopics struct{}

func (noTopics) Version() uint64                          { return 0 }
func (noTopics) Topic(string) ([16]byte, int32, bool)     { return [16]byte{}, 0, false }
func (noTopics) TopicName([16]byte) (string, bool)        { return "", false }
func (noTopics) TopicNames() iter.Seq[string]             { return func(func(string) bool) {} }
func (noTopics) Sight(Client) (string, func(string) bool) { return "", nil }

// refreshPause is how long a group leaves a change of the cluster's topics
// unnoticed at most, in ms, counted from its last look: each look costs time in
// proportion to what the group subscribes to.
const refreshPause = 1000

// topicCount is a topic that the group subscribes to and that exists.
type topicCount struct {
	id    [16]byte
	count int32
}

// subscriptions is what a group's members subscribe to in the cluster of one
// moment.
type subscriptions struct {
	known   bool
	version uint64 // of the Topics
	until   int64  // no look is needed before, ms
	topics  map[string]topicCount
	// regexes are those of the members, with the names that they match, and shown has of
	// these what a member may know of.
	regexes map[string][]string
	shown   map[lookout][]string
	// lookouts are the members', by their ids, of those that have a regular expression.
	lookouts map[string]lookout
}

// lookout is a regular expression and the sight of who has it: a member is shown only
// topics that its principal may describe.
type lookout struct{ regex, sight string }

// resolve finds out what the members subscribe to, if they subscribe to something
// new, or the cluster has changed since the last look. What differs then raises the
// group's epoch (KIP-848; the hash is KIP-1101's idea).
func (c *Coordinator) resolve(g *group) {
	k := g.consumer
	topics := c.cfg.Topics()
	same := k.subs.version == topics.Version()
	if k.subs.known && (same || c.now < k.subs.until) {
		return
	}
	next := subscriptions{
		known: true, version: topics.Version(), until: c.now + refreshPause,
		topics: map[string]topicCount{}, regexes: map[string][]string{},
		shown: map[lookout][]string{}, lookouts: map[string]lookout{},
	}
	for _, m := range k.members {
		for _, name := range m.topics {
			next.add(topics, name)
		}
		if m.regex == "" {
			continue
		}
		names, matched := next.regexes[m.regex]
		if !matched {
			if names, matched = k.subs.regexes[m.regex]; !matched || !same {
				names = matching(m.regex, topics)
			}
			next.regexes[m.regex] = names
		}
		for _, name := range next.show(topics, m, names) {
			next.add(topics, name)
		}
	}
	k.subs = next
	if h := next.hash(); h != k.topics {
		k.topics = h
		k.bump = true
	}
}

// show is what a member may know of the names that its regular expression matches.
func (s *subscriptions) show(topics Topics, m *consumerMember, names []string) []string {
	key, mayKnow := topics.Sight(m.client)
	at := lookout{m.regex, key}
	s.lookouts[m.id] = at
	shown, known := s.shown[at]
	if !known {
		shown = names
		if mayKnow != nil {
			shown = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !mayKnow(name) })
		}
		s.shown[at] = shown
	}
	return shown
}

// matches are the topics that a member is shown by its regular expression.
func (s *subscriptions) matches(m *consumerMember) []string { return s.shown[s.lookouts[m.id]] }

func (s *subscriptions) add(topics Topics, name string) {
	if id, n, ok := topics.Topic(name); ok {
		s.topics[name] = topicCount{id, n}
	}
}

func (s *subscriptions) hash() uint64 {
	h := fnv.New64a()
	text := func(s string) {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(s))))
		h.Write([]byte(s))
	}
	for _, name := range slices.Sorted(maps.Keys(s.topics)) {
		t := s.topics[name]
		text(name)
		h.Write(t.id[:])
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(t.count)))
	}
	// Two members may match what only one of them matched before.
	for _, at := range slices.SortedFunc(maps.Keys(s.shown), func(a, b lookout) int {
		return cmp.Or(strings.Compare(a.regex, b.regex), strings.Compare(a.sight, b.sight))
	}) {
		text(at.regex)
		text(at.sight)
		for _, name := range s.shown[at] {
			text(name)
		}
	}
	return h.Sum64()
}

// of is the topics that a member may be assigned partitions of, rising by id.
func (s *subscriptions) of(m *consumerMember) [][16]byte {
	var out [][16]byte
	for _, names := range [][]string{m.topics, s.matches(m)} {
		for _, name := range names {
			if t, ok := s.topics[name]; ok {
				out = append(out, t.id)
			}
		}
	}
	slices.SortFunc(out, compareTopics)
	return slices.Compact(out)
}
