package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/broker/kafka"
	"github.com/splashdam/splashdam/broker/partition"
	"github.com/splashdam/splashdam/broker/record"
)

// This file is the node as kafka.Cluster: what there is, and its changes. A change
// is a command in the metadata shard; what follows from it in the data shards
// (partitions to open and to close) is reconciled here, after it and at every start.

func (b *Broker) ClusterID() string { return b.view().ClusterID() }
func (b *Broker) NodeID() int32     { return b.cfg.NodeID }

func (b *Broker) ControllerID() int32 {
	if b.meta.status.Load().leading {
		return b.cfg.NodeID
	}
	return -1
}

func (b *Broker) Nodes(listener string) []kafka.Node {
	var nodes []kafka.Node
	for _, n := range b.view().Nodes() {
		for _, e := range n.Endpoints {
			if e.Listener == listener {
				nodes = append(nodes, kafka.Node{ID: n.ID, Host: e.Host, Port: e.Port, Rack: n.Rack})
			}
		}
	}
	return nodes
}

func (b *Broker) Topics() []kafka.Topic {
	topics := b.view().Topics()
	all := make([]kafka.Topic, len(topics))
	for i, t := range topics {
		all[i] = b.describe(t)
	}
	return all
}

func (b *Broker) Topic(name string) (kafka.Topic, error) {
	t, ok := b.view().Topic(name)
	if !ok {
		if err := cluster.CheckTopicName(name); err != nil {
			return kafka.Topic{}, err
		}
		return kafka.Topic{}, fmt.Errorf("topic %q: %w", name, kerr.UnknownTopicOrPartition)
	}
	return b.describe(t), nil
}

func (b *Broker) TopicByID(id [16]byte) (kafka.Topic, error) {
	t, ok := b.view().TopicByID(id)
	if !ok {
		return kafka.Topic{}, fmt.Errorf("topic id %x: %w", id, kerr.UnknownTopicID)
	}
	return b.describe(t), nil
}

// describe is a topic as clients see it from this node now.
func (b *Broker) describe(t *cluster.Topic) kafka.Topic {
	settings := b.settings().Topic(t)
	d := kafka.Topic{
		Name: t.Name, ID: t.ID, Internal: t.Internal,
		Partitions: make([]kafka.PartitionInfo, len(t.Partitions)),
		Config: kafka.TopicConfig{
			MaxMessageBytes:   settings.MaxMessageBytes,
			LogAppendTime:     settings.LogAppendTime,
			TimestampBeforeMs: settings.TimestampBeforeMs,
			TimestampAfterMs:  settings.TimestampAfterMs,
		},
	}
	self := []int32{b.cfg.NodeID}
	for i, p := range t.Partitions {
		info := kafka.PartitionInfo{Leader: -1, LeaderEpoch: -1, Replicas: self, ISR: self, Err: kerr.LeaderNotAvailable}
		if s := b.shards[p.Shard]; s != nil {
			if st := s.status.Load(); st.leading || st.failed != nil {
				info.Leader, info.LeaderEpoch, info.Err = b.cfg.NodeID, st.term.LeaderEpoch(), nil
			}
		}
		d.Partitions[i] = info
	}
	return d
}

// AutoCreate begins to create a topic that a client named, unless that is under way.
func (b *Broker) AutoCreate(name string) (begun bool, err error) {
	if err := cluster.CheckTopicName(name); err != nil {
		return false, err
	}
	if name == metadataTopic {
		return false, fmt.Errorf("topic %q stands for the metadata, and is none: %w", name, kerr.UnknownTopicOrPartition)
	}
	if !b.settings().AutoCreateTopics && !internalTopic(name) {
		return false, fmt.Errorf("topic %q, and auto.create.topics.enable is false: %w", name, kerr.UnknownTopicOrPartition)
	}
	if !internalTopic(name) { // on a copy: who asks for what cannot be made need not ask again
		_, _, err := cluster.Lead(b.view()).CreateTopic(cluster.NewTopic{Name: name, Partitions: -1, ReplicationFactor: -1}, b.settings(), newUUID)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return false, err
		}
	}
	if _, under := b.creating.LoadOrStore(name, struct{}{}); under {
		return false, nil
	}
	select {
	case b.creations <- name:
		return true, nil
	default:
		b.creating.Delete(name)
		return false, fmt.Errorf("topic %q: %d topics wait to be created already: %w", name, maxCreations, kerr.LeaderNotAvailable)
	}
}

const (
	offsetsTopic      = "__consumer_offsets"
	transactionsTopic = "__transaction_state"
	// metadataTopic is what Kafka calls the log of the metadata; a topic of that name is
	// not let into being.
	metadataTopic = "__cluster_metadata"
)

func internalTopic(name string) bool { return name == offsetsTopic || name == transactionsTopic }

func (b *Broker) createAutomatically(ctx context.Context, name string) {
	defer b.creating.Delete(name)
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	if err := b.ensureTopic(ctx, cluster.NewTopic{Name: name, Partitions: -1, ReplicationFactor: -1}); err != nil {
		b.loggers.Of(brokerLogger).Warn("creating a topic that a client asked for", "topic", name, "cause", err)
	}
}

// ensureTopic creates a topic unless it is there, and returns when its partitions
// take batches.
func (b *Broker) ensureTopic(ctx context.Context, nt cluster.NewTopic) error {
	if _, ok := b.view().Topic(nt.Name); !ok {
		_, err := b.createTopic(ctx, nt)
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return err
		}
	}
	t, ok := b.view().Topic(nt.Name)
	if !ok {
		return fmt.Errorf("topic %q was deleted meanwhile: %w", nt.Name, kerr.UnknownTopicOrPartition)
	}
	return b.openPartitions(ctx, t)
}

// createTopic creates one topic and opens its partitions. It waits until nothing is
// left of what groups have committed for a deleted topic of that name.
func (b *Broker) createTopic(ctx context.Context, nt cluster.NewTopic) (*cluster.Topic, error) {
	for {
		err := b.changeMetadata(ctx, func(c *cluster.Controller) (record.Command, error) {
			if _, deleted := b.forgetting.Load(nt.Name); deleted {
				return nil, errForgetting
			}
			create := c.CreateTopic
			if internalTopic(nt.Name) {
				create = func(nt cluster.NewTopic, s *cluster.BrokerSettings, newID func() [16]byte) (record.Command, *cluster.Topic, error) {
					return c.CreateInternal(nt.Name, s, newID)
				}
			}
			cmd, _, err := create(nt, b.settings(), newUUID)
			return cmd, err
		})
		if errors.Is(err, errForgetting) {
			if err = b.forgetOffsets(ctx); err == nil {
				continue
			}
		}
		if err != nil {
			return nil, err
		}
		t, ok := b.view().Topic(nt.Name)
		if !ok {
			return nil, fmt.Errorf("topic %q was deleted meanwhile: %w", nt.Name, kerr.UnknownTopicOrPartition)
		}
		return t, b.openPartitions(ctx, t)
	}
}

// errForgetting is a topic whose name was that of another not long ago.
var errForgetting = errors.New("offsets committed for a deleted topic of that name are still there")

func (b *Broker) CreateTopics(ctx context.Context, topics []kafka.NewTopic, validateOnly bool) []kafka.CreatedTopic {
	created := make([]kafka.CreatedTopic, len(topics))
	for i, nt := range topics {
		t, err := b.createOne(ctx, nt, validateOnly)
		if err != nil {
			created[i].Err = err
			continue
		}
		created[i] = kafka.CreatedTopic{Topic: b.describe(t), Configs: b.topicConfigs(t)}
	}
	return created
}

func (b *Broker) createOne(ctx context.Context, nt kafka.NewTopic, validateOnly bool) (*cluster.Topic, error) {
	if nt.Name == metadataTopic {
		return nil, fmt.Errorf("topic %q stands for the metadata, it cannot be made: %w", nt.Name, kerr.InvalidRequest)
	}
	if internalTopic(nt.Name) {
		return nil, fmt.Errorf("topic %q is internal, the broker makes it itself: %w", nt.Name, kerr.InvalidTopicException)
	}
	r := cluster.NewTopic{
		Name: nt.Name, Partitions: nt.Partitions, ReplicationFactor: nt.ReplicationFactor,
		Assignment: nt.Assignment, Configs: nt.Configs,
	}
	if !validateOnly {
		return b.createTopic(ctx, r)
	}
	// What would be decided now, on a copy that nobody sees.
	_, t, err := cluster.Lead(b.view()).CreateTopic(r, b.settings(), newUUID)
	return t, err
}

func (b *Broker) DeleteTopics(ctx context.Context, names []string) []error {
	errs := make([]error, len(names))
	for i, name := range names {
		errs[i] = b.changeMetadata(ctx, func(c *cluster.Controller) (record.Command, error) {
			cmd, t, err := c.DeleteTopic(name, b.settings())
			if err == nil {
				b.forgetting.Store(t.Name, t.ID)
			}
			return cmd, err
		})
	}
	if err := b.reconcile(ctx); err != nil {
		// The topics are gone for clients; the reconciler goes on with the rest.
		b.loggers.Of(brokerLogger).Warn("closing partitions of deleted topics", "cause", err)
	}
	return errs
}

func (b *Broker) CreatePartitions(ctx context.Context, topic string, total int32, assignment [][]int32, validateOnly bool) error {
	add := func(c *cluster.Controller) (record.Command, error) {
		cmd, _, err := c.AddPartitions(topic, total, assignment)
		return cmd, err
	}
	if validateOnly {
		_, err := add(cluster.Lead(b.view()))
		return err
	}
	if err := b.changeMetadata(ctx, add); err != nil {
		return err
	}
	t, ok := b.view().Topic(topic)
	if !ok {
		return fmt.Errorf("topic %q was deleted meanwhile: %w", topic, kerr.UnknownTopicOrPartition)
	}
	return b.openPartitions(ctx, t)
}

// openPartitions opens a topic's partitions in the data shards that this node
// leads. Other nodes do the same for theirs.
func (b *Broker) openPartitions(ctx context.Context, t *cluster.Topic) error {
	return b.inShards(ctx, func(s *Shard) []partitionChange {
		var open []partitionChange
		for n, p := range t.Partitions {
			if p.Shard == s.id && !s.isOpen(p.ID) {
				open = append(open, b.opening(t, n))
			}
		}
		return open
	})
}

// reconcile makes the data shards led here what the metadata says: it opens the
// partitions that a crash left unopened, closes those of deleted topics, and
// deletes what groups have committed for them.
func (b *Broker) reconcile(ctx context.Context) error {
	return errors.Join(b.reconcilePartitions(ctx), b.forgetOffsets(ctx))
}

func (b *Broker) reconcilePartitions(ctx context.Context) error {
	return b.inShards(ctx, func(s *Shard) []partitionChange {
		open := s.openPartitionIDs() // before the metadata: what is opened later is in it
		v := b.view()
		var changes []partitionChange
		want := make(map[record.PartitionID]bool)
		for _, t := range v.Topics() {
			for n, p := range t.Partitions {
				if p.Shard != s.id {
					continue
				}
				want[p.ID] = true
				if !open[p.ID] {
					changes = append(changes, b.opening(t, n))
				}
			}
		}
		for id := range open {
			// An id that the metadata has not handed out yet, as far as this node knows,
			// belongs to a topic that it will hear of.
			if !want[id] && id < v.NextPartitionID() {
				changes = append(changes, partitionChange{id: id, command: partition.CloseCommand(), closes: true})
			}
		}
		return changes
	})
}

// partitionChange is a command about one partition. If moot is set and says so in
// the loop, the command is dropped.
type partitionChange struct {
	id      record.PartitionID
	command record.Command
	moot    func() bool
	closes  bool
}

// opening opens partition n of a topic, unless the topic is deleted by then: a
// partition is never opened behind its end. Opening one that is open is harmless.
func (b *Broker) opening(t *cluster.Topic, n int) partitionChange {
	id := t.Partitions[n].ID
	return partitionChange{id: id, command: partition.OpenCommand(t.ID, int32(n)), moot: func() bool {
		_, _, there := b.view().Partition(id)
		return !there
	}}
}

// inShards proposes to every data shard led here what changes says, all of a shard
// as one item, and waits until all are applied.
func (b *Broker) inShards(ctx context.Context, changes func(*Shard) []partitionChange) error {
	var waits []chan error
	var errs []error
	for _, s := range b.shards {
		if !s.status.Load().leading {
			continue
		}
		cs := changes(s)
		for len(cs) > 0 {
			n := min(len(cs), maxChangesPerEntry)
			done := make(chan error, 1)
			if err := s.submit(&partitionItem{changes: cs[:n], done: func(err error) { done <- err }}); err != nil {
				errs = append(errs, err)
				break
			}
			waits = append(waits, done)
			cs = cs[n:]
		}
	}
	for _, w := range waits {
		select {
		case err := <-w:
			errs = append(errs, err)
		case <-ctx.Done():
			return errors.Join(append(errs, context.Cause(ctx))...)
		}
	}
	return errors.Join(errs...)
}

// maxChangesPerEntry keeps the entries that open many partitions small.
const maxChangesPerEntry = 4096

// partitionItem opens and closes partitions.
type partitionItem struct {
	changes []partitionChange
	done    func(error)
}

func (it *partitionItem) size() int       { return 64 * len(it.changes) }
func (it *partitionItem) early() bool     { return false }
func (it *partitionItem) refusable() bool { return false }
func (it *partitionItem) end(err error)   { it.done(err) }

func (it *partitionItem) decide(l *leading, e *pending) (verdict, error) {
	v := verdict{inFlight: e.newest()}
	for _, c := range it.changes {
		if c.moot == nil || !c.moot() {
			e.addCommand(c.id, c.command)
			v.added = true
			if c.closes {
				l.partitions.Close(c.id, e.at)
			}
		}
	}
	return v, nil
}

func (s *Shard) isOpen(p record.PartitionID) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.partitions.Bounds(p)
	return ok
}

// openPartitionIDs is the set of partitions that are open and not hidden.
func (s *Shard) openPartitionIDs() map[record.PartitionID]bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	open := make(map[record.PartitionID]bool)
	s.partitions.Each(func(p record.PartitionID, _ partition.Bounds) {
		if !p.Hidden() {
			open[p] = true
		}
	})
	return open
}
