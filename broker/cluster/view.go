package cluster

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/splashdam/splashdam/broker/acl"
	"github.com/splashdam/splashdam/broker/quota"
	"github.com/splashdam/splashdam/broker/record"
)

// View is the cluster's metadata as of one place in the metadata shard's log. It
// is immutable, with all that it returns: what is reached through a View must not
// be changed by anyone, and may be read by any number of goroutines.
//
// Lookups are binary searches over sorted slices. Maps would be a little faster
// to read and far slower to copy, and every new topic copies them.
type View struct {
	version   uint64
	clusterID string
	nodes     []Node           // by id
	shards    []record.ShardID // data shards, rising
	load      []int            // partitions of each of them
	byName    []*Topic
	byID      []*Topic
	runs      []run  // by first
	users     []User // by name

	nextPartition record.PartitionID
	nextProducer  int64

	acls       *acl.List    // nil if it is empty
	quotas     quota.Table  // likewise
	configured []configured // by type and name
}

// run is a range of partition ids that are the partitions of one topic from a
// number on, as long as it can be.
type run struct {
	first  record.PartitionID
	count  uint32
	number int32
	topic  [16]byte
}

func (r run) end() record.PartitionID { return r.first + record.PartitionID(r.count) }

// Node is a registered broker.
type Node struct {
	ID        int32
	Rack      string     // "" if it has none
	Endpoints []Endpoint // by listener
}

// Endpoint is where the clients of one listener reach a node.
type Endpoint struct {
	Listener string
	Host     string
	Port     int32
}

// Endpoint finds the node's address for the clients of a listener.
func (n Node) Endpoint(listener string) (Endpoint, bool) {
	i, ok := slices.BinarySearchFunc(n.Endpoints, listener, func(e Endpoint, l string) int {
		return strings.Compare(e.Listener, l)
	})
	if !ok {
		return Endpoint{}, false
	}
	return n.Endpoints[i], true
}

func (n Node) equal(o Node) bool {
	return n.ID == o.ID && n.Rack == o.Rack && slices.Equal(n.Endpoints, o.Endpoints)
}

// Topic is a topic and where its partitions are. Like a View it never changes: a
// change of the topic makes another Topic.
type Topic struct {
	Name string
	ID   [16]byte
	// Internal topics are the broker's own; clients may read them.
	Internal   bool
	Partitions []Partition // by number
	// ReplicationFactor is what the topic was created with.
	ReplicationFactor int16
	// Configs holds the settings that were set for this topic, in canonical form,
	// and nothing else. It may be nil.
	Configs map[string]string
}

// Partition says where a partition lives. Both fields are fixed for its lifetime.
type Partition struct {
	ID    record.PartitionID
	Shard record.ShardID
}

// firstPartition is the lowest id: 0 names no partition.
const firstPartition record.PartitionID = 1

// Empty is the View before the first command: a cluster that has no id yet.
func Empty() *View { return &View{nextPartition: firstPartition} }

// Version counts the commands that changed something since Empty. It is the same
// on every node at the same place in the log.
func (v *View) Version() uint64 { return v.version }

// ClusterID is "" until the cluster is bootstrapped.
func (v *View) ClusterID() string { return v.clusterID }

// Nodes lists the registered brokers by id.
func (v *View) Nodes() []Node { return v.nodes }

// Node finds a registered broker.
func (v *View) Node(id int32) (Node, bool) {
	i, ok := v.searchNode(id)
	if !ok {
		return Node{}, false
	}
	return v.nodes[i], true
}

// Shards lists the data shards, rising. The metadata shard is not among them.
func (v *View) Shards() []record.ShardID { return v.shards }

// Topics lists all topics by name.
func (v *View) Topics() []*Topic { return v.byName }

// Topic finds a topic by its name.
func (v *View) Topic(name string) (*Topic, bool) {
	i, ok := v.searchName(name)
	if !ok {
		return nil, false
	}
	return v.byName[i], true
}

// TopicByID finds a topic by its id.
func (v *View) TopicByID(id [16]byte) (*Topic, bool) {
	i, ok := v.searchID(id)
	if !ok {
		return nil, false
	}
	return v.byID[i], true
}

// Partition finds the topic that a partition id belongs to, and the partition's
// number in it. The ids of deleted topics, and hidden ones, belong to none.
func (v *View) Partition(id record.PartitionID) (t *Topic, number int32, ok bool) {
	// The last run that begins at or before id.
	i, _ := slices.BinarySearchFunc(v.runs, id, func(r run, id record.PartitionID) int {
		if r.first <= id {
			return -1
		}
		return 1
	})
	if i == 0 || id >= v.runs[i-1].end() {
		return nil, 0, false
	}
	r := v.runs[i-1]
	t, ok = v.TopicByID(r.topic)
	return t, r.number + int32(id-r.first), ok
}

// PartitionsOf is how many partitions a data shard has; 0 for an unknown one.
func (v *View) PartitionsOf(s record.ShardID) int {
	i, ok := slices.BinarySearch(v.shards, s)
	if !ok {
		return 0
	}
	return v.load[i]
}

// NextPartitionID is the lowest partition id that was never handed out. It is
// record.FirstHidden when they are used up.
func (v *View) NextPartitionID() record.PartitionID { return v.nextPartition }

// NextProducerID is the lowest producer id that was never handed out.
func (v *View) NextProducerID() int64 { return v.nextProducer }

func (v *View) searchNode(id int32) (int, bool) {
	return slices.BinarySearchFunc(v.nodes, id, func(n Node, id int32) int { return cmp.Compare(n.ID, id) })
}

func (v *View) searchName(name string) (int, bool) {
	return slices.BinarySearchFunc(v.byName, name, func(t *Topic, n string) int { return strings.Compare(t.Name, n) })
}

func (v *View) searchID(id [16]byte) (int, bool) {
	return slices.BinarySearchFunc(v.byID, id, func(t *Topic, id [16]byte) int { return bytes.Compare(t.ID[:], id[:]) })
}
