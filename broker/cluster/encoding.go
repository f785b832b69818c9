package cluster

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kbin"

	"github.com/splashdam/splashdam/broker/record"
)

// What commands and snapshots have in common: numbers are big-endian and of fixed
// width, strings have a 16-bit and lists a 32-bit count. Lists with a natural
// order are written in it and refused in any other, so that there is one encoding.

// Bounds of what a string may be, in bytes: far above what the rules of the
// leading half admit, far below the 32 KiB that the encoding could carry.
const (
	maxClusterID = 64
	maxText      = 1024
)

// Least encoded sizes, by which counts are checked before memory is taken.
const (
	minString   = 2
	minPair     = 2 * minString
	minShard    = 4
	minEndpoint = 2*minString + 4
	minNode     = 4 + minString + 4
)

var errMalformed = errors.New("malformed")

// reader adds to kbin's what is needed to trust nothing.
type reader struct {
	kbin.Reader
	bad bool
}

// complete demands that all was read, and nothing was missing.
func (r *reader) complete() error {
	if err := r.Complete(); err != nil || r.bad || len(r.Src) > 0 {
		return errMalformed
	}
	return nil
}

// flag reads a bool that is written in one way only.
func (r *reader) flag() bool {
	b := r.Int8()
	r.bad = r.bad || b != 0 && b != 1
	return b == 1
}

// list reads a count and that many elements of at least size bytes. No elements
// are nil.
func list[T any](r *reader, size int, read func() T) []T {
	n := r.Int32()
	if n == 0 {
		return nil
	}
	if n < 0 || int64(n)*int64(size) > int64(len(r.Src)) {
		r.bad = true
		return nil
	}
	out := make([]T, n)
	for i := range out {
		out[i] = read()
	}
	return out
}

func (r *reader) shards() []record.ShardID {
	return list(r, minShard, func() record.ShardID { return record.ShardID(r.Uint32()) })
}

func (r *reader) pairs() []pair {
	return list(r, minPair, func() pair { return pair{key: r.String(), value: r.String()} })
}

func (r *reader) node() Node {
	return Node{
		ID:   r.Int32(),
		Rack: r.String(),
		Endpoints: list(r, minEndpoint, func() Endpoint {
			return Endpoint{Listener: r.String(), Host: r.String(), Port: r.Int32()}
		}),
	}
}

func appendShards(dst []byte, shards []record.ShardID) []byte {
	dst = kbin.AppendInt32(dst, int32(len(shards)))
	for _, s := range shards {
		dst = kbin.AppendUint32(dst, uint32(s))
	}
	return dst
}

func appendPairs(dst []byte, ps []pair) []byte {
	dst = kbin.AppendInt32(dst, int32(len(ps)))
	for _, p := range ps {
		dst = kbin.AppendString(dst, p.key)
		dst = kbin.AppendString(dst, p.value)
	}
	return dst
}

func appendNode(dst []byte, n Node) []byte {
	dst = kbin.AppendInt32(dst, n.ID)
	dst = kbin.AppendString(dst, n.Rack)
	dst = kbin.AppendInt32(dst, int32(len(n.Endpoints)))
	for _, e := range n.Endpoints {
		dst = kbin.AppendString(dst, e.Listener)
		dst = kbin.AppendString(dst, e.Host)
		dst = kbin.AppendInt32(dst, e.Port)
	}
	return dst
}

func checkClusterID(id string) error {
	if id == "" || len(id) > maxClusterID {
		return fmt.Errorf("a cluster id has 1 to %d characters, not %d", maxClusterID, len(id))
	}
	return nil
}

// checkShards holds a list of data shards to: at least one, rising, none of them
// the metadata shard.
func checkShards(shards []record.ShardID) error {
	if len(shards) == 0 {
		return errors.New("no data shards")
	}
	if shards[0] == record.MetadataShard {
		return errors.New("the metadata shard cannot be a data shard")
	}
	if !rising(shards, cmp.Compare[record.ShardID]) {
		return errors.New("data shards are not in order")
	}
	return nil
}

// checkPartitions holds new partitions to: at least one, none hidden, all in data
// shards.
func checkPartitions(first record.PartitionID, shards []record.ShardID) error {
	if len(shards) == 0 {
		return errors.New("no partitions")
	}
	if uint64(first)+uint64(len(shards)) > uint64(record.FirstHidden) {
		return fmt.Errorf("%d partition ids from %v reach the hidden ones", len(shards), first)
	}
	for _, s := range shards {
		if s == record.MetadataShard {
			return errors.New("a partition in the metadata shard")
		}
	}
	return nil
}

func checkNode(n Node) error {
	if n.ID < 0 {
		return fmt.Errorf("node id %d is negative", n.ID)
	}
	if len(n.Rack) > maxText {
		return fmt.Errorf("node %d: the rack has more than %d characters", n.ID, maxText)
	}
	if len(n.Endpoints) == 0 {
		return fmt.Errorf("node %d has no endpoint", n.ID)
	}
	for i, e := range n.Endpoints {
		if i > 0 && n.Endpoints[i-1].Listener >= e.Listener {
			return fmt.Errorf("node %d: listeners are not in order, or one is there twice", n.ID)
		}
		if e.Listener == "" || len(e.Listener) > maxText || e.Host == "" || len(e.Host) > maxText {
			return fmt.Errorf("node %d: listener and host have 1 to %d characters", n.ID, maxText)
		}
		if e.Port < 1 || e.Port > 65535 {
			return fmt.Errorf("node %d: listener %s: port %d is not in 1..65535", n.ID, shortened(e.Listener), e.Port)
		}
	}
	return nil
}

func checkPairs(ps []pair) error {
	if !rising(ps, comparePairs) {
		return errors.New("settings are not in order")
	}
	for _, p := range ps {
		if p.key == "" || len(p.key) > maxText || len(p.value) > maxText {
			return fmt.Errorf("setting %q: name or value too long", shortened(p.key))
		}
	}
	return nil
}
