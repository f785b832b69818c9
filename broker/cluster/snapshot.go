package cluster

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kbin"

	"github.com/splashdam/splashdam/broker/record"
)

const stateVersion = 1

// Encode is the View as bytes, the same for equal Views. In the encoding of
// encoding.go:
//
//	i8      1, the version of this format
//	i64     version of the View
//	string  cluster id
//	u32     next partition id
//	i64     next producer id
//	list    data shards, rising: u32
//	list    nodes, by id: i32 id, string rack, list of (string listener, string host, i32 port)
//	list    topics, by name: string name, uuid, i8 internal, i16 factor,
//	        list of partitions (u32 id, u32 shard), list of settings (string, string), by name
//	list    users, by name: string name, list of credentials, by mechanism: string
//	        mechanism, i32 iterations, string salt, string stored key, string server key
//	list    bindings of the access control list, in order: acls.go
//	list    client quotas, by entity: quotas.go
//	list    settings of brokers and groups, by type and name of the resource: resources.go
func (v *View) Encode() []byte {
	dst := kbin.AppendInt8(nil, stateVersion)
	dst = kbin.AppendInt64(dst, int64(v.version))
	dst = kbin.AppendString(dst, v.clusterID)
	dst = kbin.AppendUint32(dst, uint32(v.nextPartition))
	dst = kbin.AppendInt64(dst, v.nextProducer)
	dst = appendShards(dst, v.shards)
	dst = kbin.AppendInt32(dst, int32(len(v.nodes)))
	for _, n := range v.nodes {
		dst = appendNode(dst, n)
	}
	dst = kbin.AppendInt32(dst, int32(len(v.byName)))
	for _, t := range v.byName {
		dst = appendTopic(dst, t)
	}
	dst = kbin.AppendInt32(dst, int32(len(v.users)))
	for _, u := range v.users {
		dst = appendUser(dst, u)
	}
	dst = appendACLs(dst, v.acls)
	dst = appendQuotas(dst, v.quotas)
	return appendAllConfigured(dst, v.configured)
}

func appendTopic(dst []byte, t *Topic) []byte {
	dst = kbin.AppendString(dst, t.Name)
	dst = kbin.AppendUuid(dst, t.ID)
	dst = kbin.AppendBool(dst, t.Internal)
	dst = kbin.AppendInt16(dst, t.ReplicationFactor)
	dst = kbin.AppendInt32(dst, int32(len(t.Partitions)))
	for _, p := range t.Partitions {
		dst = kbin.AppendUint32(dst, uint32(p.ID))
		dst = kbin.AppendUint32(dst, uint32(p.Shard))
	}
	return appendPairs(dst, pairsOf(t.Configs))
}

// Least encoded sizes, by which counts are checked before memory is taken.
const (
	minPartition = 8
	minTopic     = minString + 16 + 1 + 2 + 4 + 4
)

// Restore reads what Encode wrote. It accepts nothing else: the error wraps
// ErrState.
func Restore(data []byte) (*View, error) {
	r := &reader{Reader: kbin.Reader{Src: data}}
	if version := r.Int8(); version != stateVersion {
		return nil, fmt.Errorf("%w: format %d, this binary reads %d", ErrState, version, stateVersion)
	}
	v := &View{
		version:       uint64(r.Int64()),
		clusterID:     r.String(),
		nextPartition: record.PartitionID(r.Uint32()),
		nextProducer:  r.Int64(),
		shards:        r.shards(),
		nodes:         list(r, minNode, r.node),
		byName:        list(r, minTopic, r.topic),
		users:         list(r, minUser, r.user),
		acls:          r.acls(),
		quotas:        r.quotas(),
		configured:    r.allConfigured(),
	}
	if err := r.complete(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	if err := v.index(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	return v, nil
}

func (r *reader) topic() *Topic {
	t := &Topic{Name: r.String(), ID: r.Uuid(), Internal: r.flag(), ReplicationFactor: r.Int16()}
	t.Partitions = list(r, minPartition, func() Partition {
		return Partition{ID: record.PartitionID(r.Uint32()), Shard: record.ShardID(r.Uint32())}
	})
	configs := r.pairs()
	r.bad = r.bad || checkPairs(configs) != nil
	t.Configs = mapOf(configs)
	return t
}

// index checks what Restore has read and derives what is not stored.
func (v *View) index() error {
	if len(v.clusterID) > maxClusterID || v.nextProducer < 0 || v.nextPartition > record.FirstHidden {
		return fmt.Errorf("%w: head", errMalformed)
	}
	if len(v.shards) > 0 {
		if err := checkShards(v.shards); err != nil {
			return err
		}
		v.load = make([]int, len(v.shards))
	}
	if !rising(v.nodes, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) }) {
		return fmt.Errorf("%w: nodes are not in order", errMalformed)
	}
	for _, n := range v.nodes {
		if err := checkNode(n); err != nil {
			return err
		}
	}
	if err := checkUsers(v.users); err != nil {
		return err
	}
	return v.indexTopics()
}

func (v *View) indexTopics() error {
	if !rising(v.byName, compareNames) {
		return fmt.Errorf("%w: topics are not in order", errMalformed)
	}
	v.byID = slices.Clone(v.byName)
	slices.SortFunc(v.byID, compareIDs)
	if !rising(v.byID, compareIDs) {
		return fmt.Errorf("%w: two topics with one id", errMalformed)
	}
	for _, t := range v.byName {
		if nameFault(t.Name) != "" || t.ReplicationFactor < 1 || len(t.Partitions) == 0 {
			return fmt.Errorf("%w: topic %q", errMalformed, shortened(t.Name))
		}
		if err := v.indexPartitions(t); err != nil {
			return fmt.Errorf("topic %q: %w", t.Name, err)
		}
	}
	slices.SortFunc(v.runs, func(a, b run) int { return cmp.Compare(a.first, b.first) })
	for i := 1; i < len(v.runs); i++ {
		if v.runs[i-1].end() > v.runs[i].first {
			return fmt.Errorf("%w: two partitions with one id", errMalformed)
		}
	}
	return nil
}

// indexPartitions finds the runs of t, as place makes them: two that were handed
// out right behind each other are one.
func (v *View) indexPartitions(t *Topic) error {
	begin := len(v.runs)
	for number, p := range t.Partitions {
		i, ok := slices.BinarySearch(v.shards, p.Shard)
		if !ok || p.ID >= v.nextPartition {
			return fmt.Errorf("%w: partition %d", errMalformed, number)
		}
		v.load[i]++
		if n := len(v.runs); n > begin && v.runs[n-1].end() == p.ID {
			v.runs[n-1].count++
			continue
		} else if n > begin && v.runs[n-1].end() > p.ID {
			return fmt.Errorf("%w: partition %d: the ids fall", errMalformed, number)
		}
		v.runs = append(v.runs, run{first: p.ID, count: 1, number: int32(number), topic: t.ID})
	}
	return nil
}
