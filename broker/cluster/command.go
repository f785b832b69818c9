package cluster

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kbin"

	"github.com/splashdam/splashdam/broker/record"
)

// ErrCommand is a command of the metadata shard that this binary does not know,
// or that is malformed. Nothing behind it in the log can be applied.
var ErrCommand = errors.New("bad cluster command")

// ErrState is a snapshot section that Encode did not write.
var ErrState = errors.New("bad cluster state")

// Kinds of commands and the version of each that this binary writes. They are in
// logs on disks: a kind is never given another meaning.
const (
	kindBootstrap           uint8 = 1
	kindRegisterNode        uint8 = 2
	kindAddShard            uint8 = 3
	kindCreateTopic         uint8 = 4
	kindDeleteTopic         uint8 = 5
	kindAddPartitions       uint8 = 6
	kindSetConfigs          uint8 = 7
	kindAllocateProducerIDs uint8 = 8
	kindSetCredential       uint8 = 9
	kindDeleteCredential    uint8 = 10
	kindAddACLs             uint8 = 11
	kindRemoveACLs          uint8 = 12
	kindSetQuotas           uint8 = 13
	kindConfigure           uint8 = 14

	commandVersion uint8 = 1
)

// change is a decoded command. check says what is wrong with it whatever the
// state is; apply is called on checked ones only.
type change interface {
	kind() uint8
	append(dst []byte) []byte
	read(r *reader)
	check() error
	apply(v *View) *View
	fmt.Stringer
}

// command encodes a change for the log.
func command(c change) record.Command {
	return c.append(record.NewCommand(record.OwnerCluster, c.kind(), commandVersion))
}

// parseCommand decodes and checks a command.
func parseCommand(c record.Command) (change, error) {
	if len(c) < record.CommandHeaderSize || c.Owner() != record.OwnerCluster {
		return nil, fmt.Errorf("%w: not of this owner", ErrCommand)
	}
	ch := newChange(c.Kind())
	if ch == nil {
		return nil, fmt.Errorf("%w: kind %d", ErrCommand, c.Kind())
	}
	if c.Version() != commandVersion {
		return nil, fmt.Errorf("%w: kind %d in version %d", ErrCommand, c.Kind(), c.Version())
	}
	r := &reader{Reader: kbin.Reader{Src: c.Payload()}}
	ch.read(r)
	if err := r.complete(); err != nil {
		return nil, fmt.Errorf("%w: kind %d: %w", ErrCommand, c.Kind(), err)
	}
	if err := ch.check(); err != nil {
		return nil, fmt.Errorf("%w: kind %d: %w", ErrCommand, c.Kind(), err)
	}
	return ch, nil
}

// Describe is a command in words, for tools and transcripts.
func Describe(c record.Command) string {
	ch, err := parseCommand(c)
	if err != nil {
		return err.Error()
	}
	return ch.String()
}

func newChange(kind uint8) change {
	switch kind {
	case kindBootstrap:
		return &bootstrap{}
	case kindRegisterNode:
		return &registerNode{}
	case kindAddShard:
		return &addShard{}
	case kindCreateTopic:
		return &createTopic{}
	case kindDeleteTopic:
		return &deleteTopic{}
	case kindAddPartitions:
		return &addPartitions{}
	case kindSetConfigs:
		return &setConfigs{}
	case kindAllocateProducerIDs:
		return &allocateProducerIDs{}
	case kindSetCredential:
		return &setCredential{}
	case kindDeleteCredential:
		return &deleteCredential{}
	case kindAddACLs:
		return &addACLs{}
	case kindRemoveACLs:
		return &removeACLs{}
	case kindSetQuotas:
		return &setQuotas{}
	case kindConfigure:
		return &configure{}
	}
	return nil
}

// bootstrap gives the cluster its id and its first data shards.
type bootstrap struct {
	clusterID string
	shards    []record.ShardID // rising
}

func (*bootstrap) kind() uint8 { return kindBootstrap }

func (b *bootstrap) append(dst []byte) []byte {
	return appendShards(kbin.AppendString(dst, b.clusterID), b.shards)
}

func (b *bootstrap) read(r *reader) { b.clusterID, b.shards = r.String(), r.shards() }

func (b *bootstrap) check() error {
	if err := checkClusterID(b.clusterID); err != nil {
		return err
	}
	return checkShards(b.shards)
}

func (b *bootstrap) String() string {
	return fmt.Sprintf("bootstrap cluster %s, shards %v", b.clusterID, b.shards)
}

// registerNode adds a node or replaces what is known of it.
type registerNode struct{ node Node }

func (*registerNode) kind() uint8                { return kindRegisterNode }
func (c *registerNode) append(dst []byte) []byte { return appendNode(dst, c.node) }
func (c *registerNode) read(r *reader)           { c.node = r.node() }
func (c *registerNode) check() error             { return checkNode(c.node) }

func (c *registerNode) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "register node %d", c.node.ID)
	if c.node.Rack != "" {
		fmt.Fprintf(&b, " in rack %s", c.node.Rack)
	}
	for _, e := range c.node.Endpoints {
		fmt.Fprintf(&b, ", %s at %s:%d", e.Listener, e.Host, e.Port)
	}
	return b.String()
}

// addShard makes a further data shard known.
type addShard struct{ shard record.ShardID }

func (*addShard) kind() uint8                { return kindAddShard }
func (c *addShard) append(dst []byte) []byte { return kbin.AppendUint32(dst, uint32(c.shard)) }
func (c *addShard) read(r *reader)           { c.shard = record.ShardID(r.Uint32()) }
func (c *addShard) check() error             { return checkShards([]record.ShardID{c.shard}) }
func (c *addShard) String() string           { return fmt.Sprintf("add shard %d", c.shard) }

// createTopic makes a topic. Its partitions have the ids from first on.
type createTopic struct {
	name     string
	id       [16]byte
	internal bool
	factor   int16
	first    record.PartitionID
	shards   []record.ShardID // of each partition
	configs  []pair
}

func (*createTopic) kind() uint8 { return kindCreateTopic }

func (c *createTopic) append(dst []byte) []byte {
	dst = kbin.AppendString(dst, c.name)
	dst = kbin.AppendUuid(dst, c.id)
	dst = kbin.AppendBool(dst, c.internal)
	dst = kbin.AppendInt16(dst, c.factor)
	dst = kbin.AppendUint32(dst, uint32(c.first))
	dst = appendShards(dst, c.shards)
	return appendPairs(dst, c.configs)
}

func (c *createTopic) read(r *reader) {
	c.name, c.id, c.internal, c.factor = r.String(), r.Uuid(), r.flag(), r.Int16()
	c.first, c.shards = record.PartitionID(r.Uint32()), r.shards()
	c.configs = r.pairs()
}

func (c *createTopic) check() error {
	if why := nameFault(c.name); why != "" {
		return fmt.Errorf("topic name %q: %s", shortened(c.name), why)
	}
	if c.factor < 1 {
		return fmt.Errorf("topic %q: replication factor %d", c.name, c.factor)
	}
	if err := checkPartitions(c.first, c.shards); err != nil {
		return fmt.Errorf("topic %q: %w", c.name, err)
	}
	return checkPairs(c.configs)
}

func (c *createTopic) String() string {
	return fmt.Sprintf("create topic %s %x, factor %d, %s%s",
		c.name, c.id[:4], c.factor, placement(c.first, c.shards), configWords(c.configs, nil))
}

// deleteTopic removes a topic. It names the id, so that it never hits a later
// topic of the same name.
type deleteTopic struct{ id [16]byte }

func (*deleteTopic) kind() uint8                { return kindDeleteTopic }
func (c *deleteTopic) append(dst []byte) []byte { return kbin.AppendUuid(dst, c.id) }
func (c *deleteTopic) read(r *reader)           { c.id = r.Uuid() }
func (c *deleteTopic) check() error             { return nil }
func (c *deleteTopic) String() string           { return fmt.Sprintf("delete topic %x", c.id[:4]) }

// addPartitions gives a topic that has number partitions more of them.
type addPartitions struct {
	id     [16]byte
	number int32
	first  record.PartitionID
	shards []record.ShardID
}

func (*addPartitions) kind() uint8 { return kindAddPartitions }

func (c *addPartitions) append(dst []byte) []byte {
	dst = kbin.AppendUuid(dst, c.id)
	dst = kbin.AppendInt32(dst, c.number)
	dst = kbin.AppendUint32(dst, uint32(c.first))
	return appendShards(dst, c.shards)
}

func (c *addPartitions) read(r *reader) {
	c.id, c.number = r.Uuid(), r.Int32()
	c.first, c.shards = record.PartitionID(r.Uint32()), r.shards()
}

func (c *addPartitions) check() error {
	if c.number < 1 || int64(c.number)+int64(len(c.shards)) > math.MaxInt32 {
		return fmt.Errorf("partitions from number %d", c.number)
	}
	return checkPartitions(c.first, c.shards)
}

func (c *addPartitions) String() string {
	return fmt.Sprintf("add partitions to %x from number %d, %s", c.id[:4], c.number, placement(c.first, c.shards))
}

// setConfigs sets some of a topic's settings and resets others.
type setConfigs struct {
	id     [16]byte
	set    []pair
	delete []string // rising
}

func (*setConfigs) kind() uint8 { return kindSetConfigs }

func (c *setConfigs) append(dst []byte) []byte {
	dst = appendPairs(kbin.AppendUuid(dst, c.id), c.set)
	dst = kbin.AppendInt32(dst, int32(len(c.delete)))
	for _, k := range c.delete {
		dst = kbin.AppendString(dst, k)
	}
	return dst
}

func (c *setConfigs) read(r *reader) {
	c.id, c.set = r.Uuid(), r.pairs()
	c.delete = list(r, minString, func() string { return r.String() })
}

func (c *setConfigs) check() error {
	if !rising(c.delete, strings.Compare) {
		return errors.New("settings to reset are not in order")
	}
	return checkPairs(c.set)
}

func (c *setConfigs) String() string {
	return fmt.Sprintf("configure %x%s", c.id[:4], configWords(c.set, c.delete))
}

// allocateProducerIDs gives a node the producer ids in [from, to).
type allocateProducerIDs struct {
	node     int32
	from, to int64
}

func (*allocateProducerIDs) kind() uint8 { return kindAllocateProducerIDs }

func (c *allocateProducerIDs) append(dst []byte) []byte {
	return kbin.AppendInt64(kbin.AppendInt64(kbin.AppendInt32(dst, c.node), c.from), c.to)
}

func (c *allocateProducerIDs) read(r *reader) { c.node, c.from, c.to = r.Int32(), r.Int64(), r.Int64() }

func (c *allocateProducerIDs) check() error {
	if c.from < 0 || c.to <= c.from {
		return fmt.Errorf("producer ids [%d, %d)", c.from, c.to)
	}
	return nil
}

func (c *allocateProducerIDs) String() string {
	return fmt.Sprintf("producer ids [%d, %d) to node %d", c.from, c.to, c.node)
}

// placement prints partitions and their shards.
func placement(first record.PartitionID, shards []record.ShardID) string {
	return fmt.Sprintf("partitions from %v in shards %v", first, shards)
}

func configWords(set []pair, del []string) string {
	var b strings.Builder
	for _, p := range set {
		fmt.Fprintf(&b, " %s=%s", p.key, p.value)
	}
	for _, k := range del {
		fmt.Fprintf(&b, " -%s", k)
	}
	return b.String()
}

// rising reports whether a is in strictly rising order.
func rising[T any](a []T, compare func(a, b T) int) bool {
	for i := 1; i < len(a); i++ {
		if compare(a[i-1], a[i]) >= 0 {
			return false
		}
	}
	return true
}

// pair is one setting and its value.
type pair struct{ key, value string }

func pairsOf(m map[string]string) []pair {
	if len(m) == 0 {
		return nil
	}
	ps := make([]pair, 0, len(m))
	for k, v := range m {
		ps = append(ps, pair{k, v})
	}
	slices.SortFunc(ps, comparePairs)
	return ps
}

func mapOf(ps []pair) map[string]string {
	if len(ps) == 0 {
		return nil
	}
	m := make(map[string]string, len(ps))
	for _, p := range ps {
		m[p.key] = p.value
	}
	return m
}

func comparePairs(a, b pair) int { return strings.Compare(a.key, b.key) }
