package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/broker/group"
	"github.com/splashdam/splashdam/broker/kafka"
	"github.com/splashdam/splashdam/broker/partition"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/txn"
)

// This file is the node as kafka.Transactions: it finds the shard whose leader
// coordinates a transactional id and takes the request into that shard's loop.

func transactionConfig(s *cluster.BrokerSettings) txn.CoordinatorConfig {
	return txn.CoordinatorConfig{
		MaxTimeoutMs: s.TransactionMaxTimeoutMs,
		Expiration:   time.Duration(s.TransactionalIDExpirationMs) * time.Millisecond,
		MaxIDs:       txn.DefaultMaxIDs,
	}
}

// coordinatingTransaction finds the shard that coordinates a transactional id. On first
// use of transactions it begins to create __transaction_state, and the client asks again.
func (b *Broker) coordinatingTransaction(id string) (*Shard, error) {
	s, _, err := b.hashed(transactionsTopic, id)
	return s, err
}

// hashed finds the partition of an internal topic that a key hashes to, and its shard,
// which this node must lead.
func (b *Broker) hashed(topic, key string) (*Shard, record.PartitionID, error) {
	t, ok := b.view().Topic(topic)
	if !ok {
		if _, err := b.AutoCreate(topic); err != nil {
			return nil, 0, err
		}
		return nil, 0, fmt.Errorf("%s is being created: %w", topic, kerr.CoordinatorNotAvailable)
	}
	p := t.Partitions[groupPartition(key, len(t.Partitions))]
	s, ok := b.shards[p.Shard]
	switch {
	case !ok:
		return nil, 0, fmt.Errorf("%q, by %s: shard %d is not on this node: %w", key, topic, p.Shard, kerr.NotCoordinator)
	case !s.status.Load().leading:
		return nil, 0, fmt.Errorf("%q, by %s: shard %d has no leader: %w", key, topic, p.Shard, kerr.CoordinatorNotAvailable)
	}
	return s, p.ID, nil
}

// TransactionCoordinator implements kafka.Transactions.
func (b *Broker) TransactionCoordinator(_ context.Context, id string) (int32, error) {
	if _, err := b.coordinatingTransaction(id); err != nil {
		return -1, err
	}
	return b.cfg.NodeID, nil
}

// coordinate has the coordinator of a transactional id decide, and returns when that is
// applied. A command and an error together mean that both are true: the command is
// logged, the error answered. Where decide needs a producer id it is called again with
// a new one.
func (b *Broker) coordinate(ctx context.Context, id string, decide func(c *txn.Coordinator, fresh int64, e *pending) (record.Command, error)) error {
	s, err := b.coordinatingTransaction(id)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	for fresh := int64(-1); ; {
		var outcome error // written in the loop, read only when that is done
		err := s.propose(ctx, 0, func(l *leading, e *pending) (record.Command, error) {
			c, err := decide(l.transactions, fresh, e)
			if c == nil {
				return nil, err
			}
			outcome = err
			return c, nil
		})
		if err == nil {
			err = outcome
		}
		if !errors.Is(err, txn.ErrNeedsProducer) {
			return notCoordinator(err)
		}
		if fresh, _, err = b.InitProducerID(ctx); err != nil {
			return err
		}
	}
}

// InitTransactionalID implements kafka.Transactions.
func (b *Broker) InitTransactionalID(ctx context.Context, id string, timeoutMs int32, producer int64, epoch int16) (int64, int16, error) {
	var who txn.Identity
	r := txn.InitRequest{TimeoutMs: timeoutMs, Identity: txn.Identity{Producer: producer, Epoch: epoch}}
	err := b.coordinate(ctx, id, func(c *txn.Coordinator, fresh int64, e *pending) (cmd record.Command, err error) {
		cmd, who, err = c.Init(id, r, fresh, e.now, e.at)
		return cmd, err
	})
	if err != nil {
		return -1, -1, err
	}
	return who.Producer, who.Epoch, nil
}

// AddToTransaction implements kafka.Transactions.
func (b *Broker) AddToTransaction(ctx context.Context, id string, producer int64, epoch int16, ps []kafka.TopicPartition, verifyOnly bool) error {
	e := txn.Enlistment{Identity: txn.Identity{Producer: producer, Epoch: epoch}, VerifyOnly: verifyOnly}
	for _, p := range ps {
		at, err := b.locate(p.Topic, p.Partition)
		if err != nil && !errors.Is(err, kerr.NotLeaderForPartition) {
			return err
		}
		e.Partitions = append(e.Partitions, at.id)
	}
	return b.enlistAndWait(ctx, id, e)
}

// AddGroupToTransaction implements kafka.Transactions.
func (b *Broker) AddGroupToTransaction(ctx context.Context, id string, producer int64, epoch int16, groupID string) error {
	_, p, err := b.hashed(offsetsTopic, groupID)
	if err != nil {
		return err
	}
	return b.enlistAndWait(ctx, id, txn.Enlistment{Identity: txn.Identity{Producer: producer, Epoch: epoch}, Partitions: []record.PartitionID{p}})
}

func (b *Broker) enlistAndWait(ctx context.Context, id string, e txn.Enlistment) error {
	done := make(chan error, 1)
	b.Enlist(id, e, func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// EndTransaction implements kafka.Transactions.
func (b *Broker) EndTransaction(ctx context.Context, id string, producer int64, epoch int16, commit, bumps bool) (int64, int16, error) {
	var who txn.Identity
	r := txn.EndRequest{Identity: txn.Identity{Producer: producer, Epoch: epoch}, Commit: commit, Bumps: bumps}
	err := b.coordinate(ctx, id, func(c *txn.Coordinator, fresh int64, e *pending) (cmd record.Command, err error) {
		cmd, who, err = c.End(id, r, fresh, e.now, e.at)
		return cmd, err
	})
	if err != nil {
		return -1, -1, err
	}
	return who.Producer, who.Epoch, nil
}

// maxVerifications bounds how often a coordinator is asked about one batch or commit: a
// marker that comes between its answer and the log makes the answer worthless.
const maxVerifications = 5

// TxnOffsetCommit has the group's partition of __consumer_offsets be part of the
// transaction, and then the group's coordinator keep the offsets until the marker.
// Clients since version 5 have it added here (KIP-890).
func (b *Broker) TxnOffsetCommit(ctx context.Context, _ kafka.Client, req *kmsg.TxnOffsetCommitRequest) *kmsg.TxnOffsetCommitResponse {
	for range maxVerifications {
		resp, err := b.txnOffsetCommit(ctx, req)
		if err != nil {
			return group.TxnCommitAnswer(req, codeOf(err))
		}
		again := slices.ContainsFunc(resp.Topics, func(t kmsg.TxnOffsetCommitResponseTopic) bool {
			return slices.ContainsFunc(t.Partitions, func(p kmsg.TxnOffsetCommitResponseTopicPartition) bool {
				return p.ErrorCode == kerr.InvalidTxnState.Code
			})
		})
		if !again {
			return resp
		}
	}
	return group.TxnCommitAnswer(req, kerr.InvalidTxnState.Code)
}

func (b *Broker) txnOffsetCommit(ctx context.Context, req *kmsg.TxnOffsetCommitRequest) (*kmsg.TxnOffsetCommitResponse, error) {
	s, p, err := b.hashed(offsetsTopic, req.Group)
	if err != nil {
		return nil, err
	}
	in := group.Transaction{Partition: p, Producer: req.ProducerID, Epoch: req.ProducerEpoch, Verified: s.bounds(p).HighWatermark}
	err = b.enlistAndWait(ctx, req.TransactionalID, txn.Enlistment{
		Identity: txn.Identity{Producer: req.ProducerID, Epoch: req.ProducerEpoch}, Partitions: []record.PartitionID{p}, VerifyOnly: req.Version < 5,
	})
	if err != nil {
		return nil, err
	}
	resp, err := b.request(ctx, req.Group, func(co *group.Coordinator, now int64, t group.Token) []group.Effect {
		for i := range req.Topics {
			if b.topicGone(req.Topics[i].Topic) {
				return []group.Effect{group.Answer{Token: t, Response: group.TxnCommitAnswer(req, kerr.UnknownTopicOrPartition.Code)}}
			}
		}
		return co.TxnCommit(now, t, req, in)
	})
	if err != nil {
		return nil, err
	}
	return resp.(*kmsg.TxnOffsetCommitResponse), nil
}

// Producers implements kafka.Transactions.
func (b *Broker) Producers(topic string, p int32) ([]kafka.ProducerState, error) {
	at, err := b.locate(topic, p)
	if err != nil {
		return nil, err
	}
	if _, _, err := at.shard.readable(at.id, -1); err != nil {
		return nil, fmt.Errorf("topic %q partition %d: %w", topic, p, err)
	}
	at.shard.mu.RLock()
	producers := at.shard.partitions.Producers(at.id)
	at.shard.mu.RUnlock()
	slices.SortFunc(producers, func(a, b partition.Producer) int { return int(min(1, max(-1, a.ID-b.ID))) })
	all := make([]kafka.ProducerState, len(producers))
	for i, x := range producers {
		all[i] = kafka.ProducerState(x)
	}
	return all, nil
}

// Transaction implements kafka.Transactions.
func (b *Broker) Transaction(_ context.Context, id string) (kafka.TransactionState, error) {
	s, err := b.coordinatingTransaction(id)
	if err != nil {
		return kafka.TransactionState{}, err
	}
	s.mu.RLock()
	t := s.transactions.Get(id)
	s.mu.RUnlock()
	if t == nil {
		return kafka.TransactionState{}, fmt.Errorf("transactional id %q: %w", id, kerr.TransactionalIDNotFound)
	}
	return b.describeTransaction(id, t), nil
}

func (b *Broker) describeTransaction(id string, t *txn.Transaction) kafka.TransactionState {
	st := kafka.TransactionState{
		ID: id, State: t.Phase.String(), TimeoutMs: t.TimeoutMs, Started: t.Started, Producer: t.Producer, Epoch: t.Epoch,
	}
	for _, p := range t.Partitions {
		if topic, n, ok := b.view().Partition(p); ok {
			st.Partitions = append(st.Partitions, kafka.TopicPartition{Topic: topic.Name, Partition: n})
		}
	}
	return st
}

// Transactions lists what the shards led here coordinate, by id.
func (b *Broker) Transactions() ([]kafka.TransactionState, error) {
	var all []kafka.TransactionState
	for _, s := range b.shards {
		if !s.status.Load().leading {
			return nil, fmt.Errorf("shard %d has no leader: %w", s.id, kerr.CoordinatorLoadInProgress)
		}
		s.mu.RLock()
		s.transactions.Each(func(id string, t *txn.Transaction) {
			all = append(all, kafka.TransactionState{ID: id, State: t.Phase.String(), Started: t.Started, Producer: t.Producer, Epoch: t.Epoch})
		})
		s.mu.RUnlock()
	}
	slices.SortFunc(all, func(a, b kafka.TransactionState) int { return strings.Compare(a.ID, b.ID) })
	return all, nil
}
