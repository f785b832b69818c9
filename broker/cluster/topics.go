package cluster

import (
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/invariant"
)

// NewTopic is a topic to create, as a client asks for it. Partitions and
// ReplicationFactor of -1 mean the broker's defaults.
type NewTopic struct {
	Name              string
	Partitions        int32
	ReplicationFactor int16
	// Assignment, if not empty, gives the replicas of every partition by number.
	Assignment map[int32][]int32
	Configs    map[string]*string
}

// ConfigChange is one step of a change of a topic's settings (KIP-339). Append and
// Subtract are for lists.
type ConfigChange struct {
	Name  string
	Op    kmsg.IncrementalAlterConfigOp
	Value *string
}

// CreateTopic decides a client's request. newID makes a random id; it is called
// again should the id be taken. The Topic is as it will be once the command is
// committed. The errors are Kafka's, among them
//
//	InvalidTopicException     the name is not allowed, is internal, or differs from
//	                          another topic's only by '.' and '_'
//	TopicAlreadyExists
//	InvalidPartitions, InvalidReplicationFactor, InvalidReplicaAssignment
//	InvalidRequest            numbers and an assignment at once
//	InvalidConfig             with key, value and range
func (c *Controller) CreateTopic(r NewTopic, s *BrokerSettings, newID func() [16]byte) (record.Command, *Topic, error) {
	if IsInternal(r.Name) {
		if _, ok := c.view.Topic(r.Name); ok {
			return nil, nil, fmt.Errorf("topic %q: %w", r.Name, kerr.TopicAlreadyExists)
		}
		return nil, nil, fmt.Errorf("topic %q is internal, the broker creates it when it is needed: %w", r.Name, kerr.InvalidTopicException)
	}
	return c.create(r, false, s, newID)
}

// CreateInternal decides to make one of the internal topics, with the broker's
// number of partitions for it. Its messages are kept by key.
func (c *Controller) CreateInternal(name string, s *BrokerSettings, newID func() [16]byte) (record.Command, *Topic, error) {
	r := NewTopic{Name: name, ReplicationFactor: -1}
	switch name {
	case ConsumerOffsets:
		r.Partitions = s.OffsetsTopicPartitions
	case TransactionState:
		r.Partitions = s.TransactionStatePartitions
	default:
		return nil, nil, fmt.Errorf("topic %q is not internal: %w", shortened(name), kerr.InvalidTopicException)
	}
	compact := policyCompact
	r.Configs = map[string]*string{cleanupPolicy: &compact}
	return c.create(r, true, s, newID)
}

func (c *Controller) create(r NewTopic, internal bool, s *BrokerSettings, newID func() [16]byte) (record.Command, *Topic, error) {
	if err := c.checkNewName(r.Name); err != nil {
		return nil, nil, err
	}
	partitions, factor, err := c.shape(r, s)
	if err != nil {
		return nil, nil, fmt.Errorf("topic %q: %w", r.Name, err)
	}
	configs, err := newConfigs(r.Configs, s)
	if err != nil {
		return nil, nil, fmt.Errorf("topic %q: %w", r.Name, err)
	}
	ch := &createTopic{
		name:     r.Name,
		id:       c.freshID(newID),
		internal: internal,
		factor:   factor,
		first:    c.view.nextPartition,
		shards:   assign(c.view.shards, c.view.load, int(partitions)),
		configs:  pairsOf(configs),
	}
	cmd := c.decide(ch)
	t, ok := c.view.TopicByID(ch.id)
	invariant.That(ok, "topic %q was decided and is not there", r.Name)
	return cmd, t, nil
}

// checkNewName refuses names that are not allowed, taken or too like another. The
// internal topics count as there, so that nothing can stand in their way.
func (c *Controller) checkNewName(name string) error {
	if err := CheckTopicName(name); err != nil {
		return err
	}
	if _, ok := c.view.Topic(name); ok {
		return fmt.Errorf("topic %q: %w", name, kerr.TopicAlreadyExists)
	}
	other := c.colliding(name)
	if other == "" {
		return nil
	}
	return fmt.Errorf("topic %q differs from topic %q only by '.' and '_', which Kafka's metrics do not tell apart: %w",
		name, other, kerr.InvalidTopicException)
}

func (c *Controller) colliding(name string) string {
	for _, internal := range [2]string{ConsumerOffsets, TransactionState} {
		if name != internal && collide(name, internal) {
			return internal
		}
	}
	for _, t := range c.view.byName {
		if collide(name, t.Name) {
			return t.Name
		}
	}
	return ""
}

// shape finds the number of partitions and of replicas.
func (c *Controller) shape(r NewTopic, s *BrokerSettings) (partitions int32, factor int16, err error) {
	partitions, factor = r.Partitions, r.ReplicationFactor
	if len(r.Assignment) > 0 {
		if partitions != -1 || factor != -1 {
			return 0, 0, fmt.Errorf("with an assignment, partitions and replication factor must be -1, not %d and %d: %w",
				partitions, factor, kerr.InvalidRequest)
		}
		if factor, err = c.checkAssignment(r.Assignment); err != nil {
			return 0, 0, err
		}
		partitions = int32(len(r.Assignment))
	}
	if partitions == -1 {
		partitions = s.NumPartitions
	}
	if factor == -1 {
		factor = s.DefaultReplicationFactor
	}
	if err := c.checkFactor(factor); err != nil {
		return 0, 0, err
	}
	return partitions, factor, c.checkRoom(int(partitions), int(partitions))
}

func (c *Controller) checkFactor(factor int16) error {
	if factor < 1 {
		return fmt.Errorf("replication factor %d: it must be at least 1, or -1 for the broker's default: %w", factor, kerr.InvalidReplicationFactor)
	}
	if n := len(c.view.nodes); int(factor) > n {
		return fmt.Errorf("replication factor %d: the cluster has %d broker(s): %w", factor, n, kerr.InvalidReplicationFactor)
	}
	return nil
}

// checkRoom reports whether a topic may have total partitions, added of which are
// new.
func (c *Controller) checkRoom(total, added int) error {
	if total < 1 {
		return fmt.Errorf("%d partitions: there must be at least 1, or -1 for the broker's default: %w", total, kerr.InvalidPartitions)
	}
	if total > MaxPartitionsPerTopic {
		return fmt.Errorf("%d partitions: a topic has at most %d: %w", total, MaxPartitionsPerTopic, kerr.InvalidPartitions)
	}
	if uint64(c.view.nextPartition)+uint64(added) > uint64(record.FirstHidden) {
		return fmt.Errorf("%d partitions: the cluster has %d partition ids left: %w", added, record.FirstHidden-c.view.nextPartition, kerr.InvalidPartitions)
	}
	if len(c.view.shards) == 0 {
		return fmt.Errorf("the cluster has no data shard: %w", kerr.BrokerNotAvailable)
	}
	return nil
}

// checkAssignment checks a client's choice of replicas and returns their number. A
// partition is where its shard is, so only a choice that leaves nothing to choose,
// every broker for every partition, can be kept.
func (c *Controller) checkAssignment(assignment map[int32][]int32) (factor int16, err error) {
	if len(assignment) > MaxPartitionsPerTopic {
		return 0, c.checkRoom(len(assignment), 0)
	}
	for number := range int32(len(assignment)) {
		replicas, ok := assignment[number]
		if !ok {
			return 0, fmt.Errorf("%d partitions are assigned, but partition %d is not: %w", len(assignment), number, kerr.InvalidReplicaAssignment)
		}
		if err := c.checkReplicas(replicas); err != nil {
			return 0, fmt.Errorf("partition %d: %w", number, err)
		}
	}
	return int16(len(c.view.nodes)), nil
}

func (c *Controller) checkReplicas(replicas []int32) error {
	if len(replicas) == 0 {
		return fmt.Errorf("no replicas: %w", kerr.InvalidReplicaAssignment)
	}
	for i, id := range replicas {
		if _, ok := c.view.searchNode(id); !ok {
			return fmt.Errorf("there is no broker %d: %w", id, kerr.InvalidReplicaAssignment)
		}
		if slices.Contains(replicas[:i], id) {
			return fmt.Errorf("broker %d is assigned twice: %w", id, kerr.InvalidReplicaAssignment)
		}
	}
	if len(replicas) != len(c.view.nodes) {
		return fmt.Errorf("replicas %v: partitions live in shards, whose brokers cannot be chosen per topic: %w", replicas, kerr.InvalidReplicaAssignment)
	}
	return nil
}

// freshID calls newID until the id is one that no topic has. The zero id means
// "none" in the protocol.
func (c *Controller) freshID(newID func() [16]byte) [16]byte {
	const attempts = 10
	for range attempts {
		id := newID()
		if _, taken := c.view.TopicByID(id); !taken && id != [16]byte{} {
			return id
		}
	}
	panic("topic ids are not random")
}

func newConfigs(asked map[string]*string, s *BrokerSettings) (map[string]string, error) {
	configs := make(map[string]string, len(asked))
	for name, v := range asked {
		if v == nil {
			return nil, fmt.Errorf("setting %q has no value: %w", shortened(name), kerr.InvalidConfig)
		}
		configs[name] = *v
	}
	return s.checkTopicConfigs(configs)
}

// existing finds the topic of a client's request.
func (c *Controller) existing(name string) (*Topic, error) {
	t, ok := c.view.Topic(name)
	if !ok {
		return nil, fmt.Errorf("topic %q: %w", shortened(name), kerr.UnknownTopicOrPartition)
	}
	return t, nil
}

// DeleteTopic decides a client's request. Internal topics stay
// (kerr.InvalidTopicException), and all do where delete.topic.enable is false
// (kerr.TopicDeletionDisabled).
func (c *Controller) DeleteTopic(name string, s *BrokerSettings) (record.Command, *Topic, error) {
	t, err := c.existing(name)
	if err != nil {
		return nil, nil, err
	}
	if t.Internal {
		return nil, nil, fmt.Errorf("topic %q is internal and cannot be deleted: %w", name, kerr.InvalidTopicException)
	}
	if !s.DeleteTopics {
		return nil, nil, fmt.Errorf("topic %q: delete.topic.enable is false: %w", name, kerr.TopicDeletionDisabled)
	}
	return c.decide(&deleteTopic{id: t.ID}), t, nil
}

// AddPartitions decides to give a topic total partitions, which must be more than
// it has (kerr.InvalidPartitions). Internal topics keep theirs, since groups and
// transactional ids hash to them (kerr.InvalidTopicException). The assignment, if
// any, gives the replicas of each new partition, as for a new topic
// (kerr.InvalidReplicaAssignment).
func (c *Controller) AddPartitions(name string, total int32, assignment [][]int32) (record.Command, *Topic, error) {
	t, err := c.existing(name)
	if err != nil {
		return nil, nil, err
	}
	if t.Internal {
		return nil, nil, fmt.Errorf("topic %q is internal, its number of partitions is fixed: %w", name, kerr.InvalidTopicException)
	}
	added := int(total) - len(t.Partitions)
	if added <= 0 {
		return nil, nil, fmt.Errorf("topic %q has %d partition(s), %d would not be more: %w", name, len(t.Partitions), total, kerr.InvalidPartitions)
	}
	if err := c.checkRoom(int(total), added); err != nil {
		return nil, nil, fmt.Errorf("topic %q: %w", name, err)
	}
	if assignment != nil && len(assignment) != added {
		return nil, nil, fmt.Errorf("topic %q: %d partitions are new, replicas are assigned to %d: %w", name, added, len(assignment), kerr.InvalidReplicaAssignment)
	}
	for i, replicas := range assignment {
		if err := c.checkReplicas(replicas); err != nil {
			return nil, nil, fmt.Errorf("topic %q partition %d: %w", name, len(t.Partitions)+i, err)
		}
	}
	cmd := c.decide(&addPartitions{
		id:     t.ID,
		number: int32(len(t.Partitions)),
		first:  c.view.nextPartition,
		shards: assign(c.view.shards, c.view.load, added),
	})
	t, _ = c.view.TopicByID(t.ID)
	return cmd, t, nil
}

// AlterConfigs decides to change some of a topic's settings. All changes are made,
// or none. Append and Subtract start from what holds now, the broker's value if the
// topic has none.
func (c *Controller) AlterConfigs(name string, changes []ConfigChange, s *BrokerSettings) (record.Command, *Topic, error) {
	t, err := c.existing(name)
	if err != nil {
		return nil, nil, err
	}
	ch, err := s.alter(t, changes)
	if err != nil {
		return nil, nil, fmt.Errorf("topic %q: %w", name, err)
	}
	cmd := c.decide(ch)
	t, _ = c.view.TopicByID(t.ID)
	return cmd, t, nil
}

// ReplaceConfigs decides to make some settings all that a topic has: what it has
// besides goes back to the broker's value. As AlterConfigs otherwise.
func (c *Controller) ReplaceConfigs(name string, changes []ConfigChange, s *BrokerSettings) (record.Command, *Topic, error) {
	t, err := c.existing(name)
	if err != nil {
		return nil, nil, err
	}
	return c.AlterConfigs(name, replacing(known(t.Configs), changes), s)
}

// known are those of a topic's settings that this binary knows.
func known(configs map[string]string) map[string]string {
	out := maps.Clone(configs)
	maps.DeleteFunc(out, func(name, _ string) bool { _, ok := topicSettingNamed(name); return !ok })
	return out
}

// alter works out what changes make of a topic's settings.
func (s *BrokerSettings) alter(t *Topic, changes []ConfigChange) (*setConfigs, error) {
	configs, touched, err := stepped(t.Configs, changes, func(name string) (*Setting, string, error) {
		d, ok := topicSettingNamed(name)
		if !ok {
			return nil, "", unknownTopicSetting(name)
		}
		now, ok := t.Configs[name]
		if !ok {
			now, _ = s.topicValue(d)
		}
		return &d.Setting, now, nil
	})
	if err != nil {
		return nil, err
	}
	configs, err = s.checkTopicConfigs(configs)
	if err != nil {
		return nil, err
	}
	if was, is := s.Topic(t).MessageType, s.Topic(&Topic{Configs: configs}).MessageType; was != is {
		return nil, fmt.Errorf("%s: it is %s since the topic was created and cannot become %s: %w", messageType, was, is, kerr.InvalidConfig)
	}
	ch := &setConfigs{id: t.ID}
	for _, name := range touched {
		if v, ok := configs[name]; ok {
			ch.set = append(ch.set, pair{name, v})
		} else {
			ch.delete = append(ch.delete, name)
		}
	}
	return ch, nil
}
