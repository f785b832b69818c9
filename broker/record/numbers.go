package record

import (
	"fmt"
	"time"
)

// PartitionID names a partition inside a cluster. The metadata shard hands the
// ids out in rising order and never uses one again, so what the log holds under
// an id of a deleted topic can never be taken for a new topic's.
//
// Ids from FirstHidden up are not handed out: they name the hidden partitions in
// which a shard keeps messages that wait for something.
type PartitionID uint32

const (
	// FirstHidden is the lowest id of a hidden partition.
	FirstHidden PartitionID = 1 << 31
	// Halves is the hidden partition of a shard's half messages.
	Halves PartitionID = FirstHidden
)

// Hidden reports whether the partition is one that clients never see.
func (p PartitionID) Hidden() bool { return p >= FirstHidden }

func (p PartitionID) String() string {
	if p.Hidden() {
		return fmt.Sprintf("h%d", uint32(p-FirstHidden))
	}
	return fmt.Sprintf("p%d", uint32(p))
}

// ShardID names a shard: 0 holds the metadata, data shards begin at 1.
type ShardID uint32

// MetadataShard is the shard that holds the cluster's metadata and nothing else.
const MetadataShard ShardID = 0

// Index is the place of an entry in a shard's Raft log; the first is 1.
type Index uint64

// Term is a Raft term of a shard. Clients see it as the leader epoch of all the
// shard's partitions.
type Term uint64

// LeaderEpoch is the term as Kafka's protocol carries it.
func (t Term) LeaderEpoch() int32 { return int32(t) }

// Millis is a time as the log and Kafka's protocol carry it: milliseconds since
// the Unix epoch.
func Millis(t time.Time) int64 { return t.UnixMilli() }
