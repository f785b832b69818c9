package cluster

import (
	"bytes"
	"maps"
	"slices"
	"strings"

	"github.com/splashdam/splashdam/broker/record"
)

// Apply carries out one command of the log and returns the View behind it, v
// itself if the command changes nothing. v stays as it is.
//
// A well-formed command never fails: the leader decided on the same state, so one
// that does not fit any more was overtaken, and is dropped alike on every node.
// An error (ErrCommand) means that this binary cannot follow the log any further.
//
// The second argument is the leader's time in the entry, as every part's Apply
// gets it. Nothing in the cluster's metadata depends on time yet.
func (v *View) Apply(c record.Command, _ int64) (*View, error) {
	ch, err := parseCommand(c)
	if err != nil {
		return nil, err
	}
	return ch.apply(v), nil
}

// next is the View to change: a copy that shares everything. What differs must be
// replaced in it, never written through it.
func (v *View) next() *View {
	n := *v
	n.version++
	return &n
}

func (b *bootstrap) apply(v *View) *View {
	if v.clusterID != "" {
		return v
	}
	n := v.next()
	n.clusterID = b.clusterID
	for _, s := range b.shards {
		n.insertShard(s)
	}
	return n
}

func (c *registerNode) apply(v *View) *View {
	i, ok := v.searchNode(c.node.ID)
	if ok && v.nodes[i].equal(c.node) {
		return v
	}
	n := v.next()
	if ok {
		n.nodes = slices.Clone(v.nodes)
		n.nodes[i] = c.node
	} else {
		n.nodes = inserted(v.nodes, i, c.node)
	}
	return n
}

func (c *addShard) apply(v *View) *View {
	if _, ok := slices.BinarySearch(v.shards, c.shard); ok {
		return v
	}
	n := v.next()
	n.insertShard(c.shard)
	return n
}

// insertShard adds a data shard unless it is there.
func (v *View) insertShard(s record.ShardID) {
	i, ok := slices.BinarySearch(v.shards, s)
	if ok {
		return
	}
	v.shards = inserted(v.shards, i, s)
	v.load = inserted(v.load, i, 0)
}

func (c *createTopic) apply(v *View) *View {
	i, named := v.searchName(c.name)
	j, known := v.searchID(c.id)
	if named || known || !v.canPlace(c.first, c.shards) {
		return v
	}
	t := &Topic{
		Name:              c.name,
		ID:                c.id,
		Internal:          c.internal,
		Partitions:        partitions(c.first, c.shards),
		ReplicationFactor: c.factor,
		Configs:           mapOf(c.configs),
	}
	n := v.next()
	n.byName = inserted(v.byName, i, t)
	n.byID = inserted(v.byID, j, t)
	n.place(t, 0)
	return n
}

func (c *deleteTopic) apply(v *View) *View {
	j, ok := v.searchID(c.id)
	if !ok {
		return v
	}
	t := v.byID[j]
	i, _ := v.searchName(t.Name)
	n := v.next()
	n.byID = deleted(v.byID, j)
	n.byName = deleted(v.byName, i)
	n.runs = make([]run, 0, len(v.runs))
	for _, r := range v.runs {
		if r.topic != t.ID {
			n.runs = append(n.runs, r)
		}
	}
	n.load = slices.Clone(v.load)
	for _, p := range t.Partitions {
		n.count(p.Shard, -1)
	}
	return n
}

func (c *addPartitions) apply(v *View) *View {
	old, ok := v.TopicByID(c.id)
	if !ok || len(old.Partitions) != int(c.number) || !v.canPlace(c.first, c.shards) {
		return v
	}
	t := *old
	t.Partitions = slices.Concat(old.Partitions, partitions(c.first, c.shards))
	n := v.next()
	n.replace(&t)
	n.place(&t, int(c.number))
	return n
}

func (c *setConfigs) apply(v *View) *View {
	old, ok := v.TopicByID(c.id)
	if !ok {
		return v
	}
	configs := maps.Clone(old.Configs)
	if configs == nil {
		configs = make(map[string]string, len(c.set))
	}
	for _, p := range c.set {
		configs[p.key] = p.value
	}
	for _, k := range c.delete {
		delete(configs, k)
	}
	if maps.Equal(configs, old.Configs) {
		return v
	}
	t := *old
	t.Configs = configs
	if len(configs) == 0 {
		t.Configs = nil
	}
	n := v.next()
	n.replace(&t)
	return n
}

func (c *allocateProducerIDs) apply(v *View) *View {
	if c.from < v.nextProducer {
		return v
	}
	n := v.next()
	n.nextProducer = c.to
	return n
}

// canPlace reports whether new partitions have ids that were never used, and
// shards that exist.
func (v *View) canPlace(first record.PartitionID, shards []record.ShardID) bool {
	if first < v.nextPartition {
		return false
	}
	for _, s := range shards {
		if _, ok := slices.BinarySearch(v.shards, s); !ok {
			return false
		}
	}
	return true
}

// place enters the partitions of t from number on, which were handed out together
// and canPlace allowed, into a View that is being made.
func (v *View) place(t *Topic, number int) {
	added := t.Partitions[number:]
	r := run{first: added[0].ID, count: uint32(len(added)), number: int32(number), topic: t.ID}
	v.nextPartition = r.end()
	if last := len(v.runs) - 1; last >= 0 && v.runs[last].topic == t.ID && v.runs[last].end() == r.first {
		v.runs = slices.Clone(v.runs)
		v.runs[last].count += r.count
	} else {
		v.runs = inserted(v.runs, last+1, r)
	}
	v.load = slices.Clone(v.load)
	for _, p := range added {
		v.count(p.Shard, 1)
	}
}

// count changes the load of a shard that exists; v.load must be v's own.
func (v *View) count(s record.ShardID, by int) {
	i, _ := slices.BinarySearch(v.shards, s)
	v.load[i] += by
}

// replace puts t where a topic of the same id and name is.
func (v *View) replace(t *Topic) {
	v.byName, v.byID = slices.Clone(v.byName), slices.Clone(v.byID)
	i, _ := v.searchName(t.Name)
	j, _ := v.searchID(t.ID)
	v.byName[i], v.byID[j] = t, t
}

func partitions(first record.PartitionID, shards []record.ShardID) []Partition {
	ps := make([]Partition, len(shards))
	for i, s := range shards {
		ps[i] = Partition{ID: first + record.PartitionID(i), Shard: s}
	}
	return ps
}

// inserted is a new slice with e at i.
func inserted[T any](s []T, i int, e T) []T {
	out := make([]T, 0, len(s)+1)
	out = append(out, s[:i]...)
	out = append(out, e)
	return append(out, s[i:]...)
}

// deleted is a new slice without the element at i.
func deleted[T any](s []T, i int) []T {
	out := make([]T, 0, len(s)-1)
	out = append(out, s[:i]...)
	return append(out, s[i+1:]...)
}

func compareNames(a, b *Topic) int { return strings.Compare(a.Name, b.Name) }
func compareIDs(a, b *Topic) int   { return bytes.Compare(a.ID[:], b.ID[:]) }
