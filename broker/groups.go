package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/broker/group"
	"github.com/splashdam/splashdam/broker/kafka"
	"github.com/splashdam/splashdam/broker/record"
)

// This file is the node as kafka.Groups: it finds the shard whose leader
// coordinates a group, takes the request into that shard's loop, and carries out
// what the coordinator says: answer, or make this command part of the log first.

func groupConfig(s *cluster.BrokerSettings) group.Config {
	c := group.DefaultConfig()
	c.MinSessionTimeout = time.Duration(s.GroupMinSessionTimeoutMs) * time.Millisecond
	c.MaxSessionTimeout = time.Duration(s.GroupMaxSessionTimeoutMs) * time.Millisecond
	c.InitialRebalanceDelay = time.Duration(s.GroupInitialRebalanceDelayMs) * time.Millisecond
	c.MaxSize = s.GroupMaxSize
	c.OffsetsRetention = time.Duration(s.OffsetsRetentionMinutes) * time.Minute
	c.OffsetMetadataMaxBytes = s.OffsetMetadataMaxBytes
	c.ConsumerMaxSize = s.GroupConsumerMaxSize
	c.Assignors = nil
	for _, name := range s.GroupConsumerAssignors {
		c.Assignors = append(c.Assignors, group.Assignor(name))
	}
	c.MigrationPolicy = group.MigrationPolicy(s.GroupConsumerMigrationPolicy)
	c.NewID = func() string {
		id := newUUID()
		return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
	}
	return c
}

// groupPartition is the partition of __consumer_offsets that a group belongs to:
// the hash is that of Java's String, as every Kafka tool expects.
func groupPartition(group string, partitions int) int {
	var h int32
	for _, u := range utf16.Encode([]rune(group)) {
		h = 31*h + int32(u)
	}
	return int(h&0x7fffffff) % partitions
}

// coordinating finds the shard that coordinates a group. On first use of groups it
// begins to create __consumer_offsets, and the client asks again.
func (b *Broker) coordinating(groupID string) (*Shard, error) {
	s, _, err := b.hashed(offsetsTopic, groupID)
	return s, err
}

// Coordinator implements kafka.Groups.
func (b *Broker) Coordinator(ctx context.Context, groupID string) (int32, error) {
	if _, err := b.coordinating(groupID); err != nil {
		return -1, err
	}
	return b.cfg.NodeID, nil
}

// request takes a request to a group's coordinator and waits for the answer. Where
// there is none, because the lead is elsewhere or lost, or the client is gone, it
// errors, and the caller makes the answer of its kind from that.
func (b *Broker) request(ctx context.Context, groupID string, enter func(c *group.Coordinator, now int64, t group.Token) []group.Effect) (kmsg.Response, error) {
	s, err := b.coordinating(groupID)
	if err != nil {
		return nil, notCoordinator(err)
	}
	answer := make(chan kmsg.Response, 1)
	var token group.Token // belongs to the loop
	err = s.call(ctx, func(l *leading) {
		if l == nil {
			close(answer)
			return
		}
		s.lastTok++
		token = s.lastTok
		s.waiting[token] = answer
		s.carryOut(enter(l.groups, s.clock.now(), token))
	})
	if err != nil {
		return nil, notCoordinator(err)
	}
	select {
	case resp, ok := <-answer:
		if !ok {
			return nil, kerr.NotCoordinator
		}
		return resp, nil
	case <-ctx.Done():
	}
	// The client is gone or out of patience: the coordinator forgets its request.
	if lost := s.call(context.WithoutCancel(ctx), func(l *leading) {
		delete(s.waiting, token)
		if l != nil {
			s.carryOut(l.groups.Forget(s.clock.now(), token))
		}
	}); lost != nil {
		return nil, notCoordinator(lost) // a coordinator that resigned has forgotten it
	}
	return nil, ctx.Err()
}

// notCoordinator turns the shard's errors into those of a coordinator.
func notCoordinator(err error) error {
	if errors.Is(err, kerr.NotLeaderForPartition) {
		return fmt.Errorf("%w: %w", kerr.NotCoordinator, err)
	}
	return err
}

// carryOut does what a coordinator decided. It runs in the loop.
func (s *Shard) carryOut(effects []group.Effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case group.Answer:
			if answer, ok := s.waiting[e.Token]; ok {
				delete(s.waiting, e.Token)
				answer <- e.Response // it has room for one
			}
		case group.Persist:
			s.persist(e)
		}
	}
}

// persist makes a coordinator's command part of the log and tells it when it is.
func (s *Shard) persist(p group.Persist) {
	it := &groupItem{shard: s, id: p.ID, command: p.Command, in: p.Transaction}
	if err := s.queue.pushNow(it); err != nil {
		it.end(err)
	}
}

// groupItem is a coordinator's command on its way into the log.
type groupItem struct {
	shard   *Shard
	id      group.ProposalID
	command record.Command
	in      *group.Transaction // that it is part of, or nil
}

func (it *groupItem) size() int       { return len(it.command) + record.PartHeaderSize }
func (it *groupItem) early() bool     { return false }
func (it *groupItem) refusable() bool { return false }

func (it *groupItem) decide(l *leading, e *pending) (verdict, error) {
	if in := it.in; in != nil {
		if err := l.partitions.Verify(in.Partition, in.Producer, in.Epoch, in.Verified); err != nil {
			return verdict{}, err
		}
	}
	e.addCommand(0, it.command)
	return verdict{added: true}, nil
}

func (it *groupItem) end(err error) {
	if err != nil {
		it.shard.logs.groups.Debug("storing a change of a group", "cause", err)
	}
	if l := it.shard.leading; l != nil {
		it.shard.carryOut(l.groups.Done(it.shard.clock.now(), it.id, notCoordinator(err)))
	}
}

// codeOf is the error code of a group API's answer.
func codeOf(err error) int16 { return kafka.Code(err) }

func (b *Broker) JoinGroup(ctx context.Context, c kafka.Client, req *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse {
	resp, err := b.request(ctx, req.Group, func(co *group.Coordinator, now int64, t group.Token) []group.Effect {
		return co.Join(now, t, group.Client(c), req)
	})
	if err != nil {
		r := req.ResponseKind().(*kmsg.JoinGroupResponse)
		r.ErrorCode, r.Generation, r.MemberID = codeOf(err), -1, req.MemberID
		return r
	}
	return resp.(*kmsg.JoinGroupResponse)
}

func (b *Broker) SyncGroup(ctx context.Context, _ kafka.Client, req *kmsg.SyncGroupRequest) *kmsg.SyncGroupResponse {
	resp, err := b.request(ctx, req.Group, func(co *group.Coordinator, now int64, t group.Token) []group.Effect {
		return co.Sync(now, t, req)
	})
	if err != nil {
		r := req.ResponseKind().(*kmsg.SyncGroupResponse)
		r.ErrorCode = codeOf(err)
		return r
	}
	return resp.(*kmsg.SyncGroupResponse)
}

func (b *Broker) Heartbeat(ctx context.Context, _ kafka.Client, req *kmsg.HeartbeatRequest) *kmsg.HeartbeatResponse {
	resp, err := b.request(ctx, req.Group, func(co *group.Coordinator, now int64, t group.Token) []group.Effect {
		return co.Heartbeat(now, t, req)
	})
	if err != nil {
		r := req.ResponseKind().(*kmsg.HeartbeatResponse)
		r.ErrorCode = codeOf(err)
		return r
	}
	return resp.(*kmsg.HeartbeatResponse)
}

func (b *Broker) LeaveGroup(ctx context.Context, _ kafka.Client, req *kmsg.LeaveGroupRequest) *kmsg.LeaveGroupResponse {
	resp, err := b.request(ctx, req.Group, func(co *group.Coordinator, now int64, t group.Token) []group.Effect {
		return co.Leave(now, t, req)
	})
	if err != nil {
		r := req.ResponseKind().(*kmsg.LeaveGroupResponse)
		r.ErrorCode = codeOf(err)
		return r
	}
	return resp.(*kmsg.LeaveGroupResponse)
}

// OffsetCommit refuses topics that are gone, in the loop: so no offset is committed
// for a topic behind its deletion (forgetOffsets).
func (b *Broker) OffsetCommit(ctx context.Context, c kafka.Client, req *kmsg.OffsetCommitRequest) *kmsg.OffsetCommitResponse {
	resp, err := b.request(ctx, req.Group, func(co *group.Coordinator, now int64, t group.Token) []group.Effect {
		for i := range req.Topics {
			if b.topicGone(req.Topics[i].Topic) {
				return []group.Effect{group.Answer{Token: t, Response: group.CommitAnswer(req, kerr.UnknownTopicOrPartition.Code)}}
			}
		}
		return co.Commit(now, t, req)
	})
	if err != nil {
		return group.CommitAnswer(req, codeOf(err))
	}
	return resp.(*kmsg.OffsetCommitResponse)
}

// OffsetFetch asks, for each group, the shard that coordinates it.
func (b *Broker) OffsetFetch(ctx context.Context, _ kafka.Client, req *kmsg.OffsetFetchRequest) *kmsg.OffsetFetchResponse {
	r := req.ResponseKind().(*kmsg.OffsetFetchResponse)
	if req.Version < 8 {
		err := b.reading(ctx, req.Group, func(co *group.Coordinator) { r = co.Fetch(req) })
		if err != nil {
			r.ErrorCode = codeOf(err)
		}
		return r
	}
	for i := range req.Groups {
		g := kmsg.NewOffsetFetchResponseGroup()
		err := b.reading(ctx, req.Groups[i].Group, func(co *group.Coordinator) { g = co.FetchGroup(&req.Groups[i], req.RequireStable) })
		if err != nil {
			g.Group, g.ErrorCode = req.Groups[i].Group, codeOf(err)
		}
		r.Groups = append(r.Groups, g)
	}
	return r
}

// reading lets read see a group's coordinator and waits until it has.
func (b *Broker) reading(ctx context.Context, groupID string, read func(*group.Coordinator)) error {
	s, err := b.coordinating(groupID)
	if err != nil {
		return notCoordinator(err)
	}
	return s.withGroups(ctx, read)
}

// withGroups runs f in the loop, with the groups that the shard coordinates.
func (s *Shard) withGroups(ctx context.Context, f func(*group.Coordinator)) error {
	err := kerr.NotCoordinator
	if stopped := s.host.Do(ctx, func() {
		if s.leading != nil {
			err = nil
			f(s.leading.groups)
		}
	}); stopped != nil {
		return fmt.Errorf("%w: %w", kerr.NotCoordinator, stopped)
	}
	if err != nil {
		return err
	}
	return nil
}

// forgetOffsets deletes what groups have committed for the topics that were deleted,
// in all shards led here, and returns when that is applied.
func (b *Broker) forgetOffsets(ctx context.Context) error {
	deleted := make(map[any]any)
	b.forgetting.Range(func(name, id any) bool {
		deleted[name] = id
		return true
	})
	if len(deleted) == 0 {
		return nil
	}
	// A deletion is noted when it is decided. Behind this it is done, or will never be;
	// who looked before, while the topic is still there, would forget nothing and the note.
	if err := b.changeMetadata(ctx, func(*cluster.Controller) (record.Command, error) { return nil, nil }); err != nil {
		return err
	}
	if err := b.forgetAllOffsets(ctx); err != nil {
		return err
	}
	for name, id := range deleted {
		b.forgetting.CompareAndDelete(name, id)
	}
	return nil
}

// forgetAllOffsets does it for every topic that is not there, whenever it was
// deleted.
func (b *Broker) forgetAllOffsets(ctx context.Context) error {
	var errs []error
	for _, s := range b.shards {
		if s.status.Load().leading {
			errs = append(errs, s.forgetOffsets(ctx, b.topicGone))
		}
	}
	return errors.Join(errs...)
}

func (b *Broker) topicGone(name string) bool {
	_, there := b.view().Topic(name)
	return !there
}

// forgetOffsets deletes what was committed for topics that are gone. It asks in the
// loop, where nothing is committed for a topic that is gone (OffsetCommit).
func (s *Shard) forgetOffsets(ctx context.Context, gone func(topic string) bool) error {
	nothing := func(*leading, *pending) (record.Command, error) { return nil, nil }
	// The coordinator must see the commits that were taken before the topic was gone.
	if err := s.propose(ctx, 0, nothing); err != nil {
		return err
	}
	err := s.withGroups(ctx, func(co *group.Coordinator) { s.carryOut(co.TopicsDeleted(s.clock.now(), gone)) })
	if err != nil {
		return err
	}
	return s.propose(ctx, 0, nothing)
}

// ListGroups joins what the shards coordinate.
func (b *Broker) ListGroups(ctx context.Context, req *kmsg.ListGroupsRequest) *kmsg.ListGroupsResponse {
	r := req.ResponseKind().(*kmsg.ListGroupsResponse)
	for _, s := range b.shards {
		if err := s.withGroups(ctx, func(co *group.Coordinator) { r.Groups = append(r.Groups, co.List(req).Groups...) }); err != nil {
			r.ErrorCode = codeOf(fmt.Errorf("shard %d: %w", s.id, kerr.CoordinatorNotAvailable))
		}
	}
	slices.SortFunc(r.Groups, func(a, b kmsg.ListGroupsResponseGroup) int { return strings.Compare(a.Group, b.Group) })
	return r
}

// DescribeGroups asks, for each group, the shard that coordinates it.
func (b *Broker) DescribeGroups(ctx context.Context, req *kmsg.DescribeGroupsRequest) *kmsg.DescribeGroupsResponse {
	r := req.ResponseKind().(*kmsg.DescribeGroupsResponse)
	for _, id := range req.Groups {
		g := kmsg.NewDescribeGroupsResponseGroup()
		if err := b.reading(ctx, id, func(co *group.Coordinator) { g = co.Describe(id, req.Version) }); err != nil {
			g.Group, g.ErrorCode = id, codeOf(err)
		}
		r.Groups = append(r.Groups, g)
	}
	return r
}

// DeleteGroups deletes each group where it is coordinated.
func (b *Broker) DeleteGroups(ctx context.Context, req *kmsg.DeleteGroupsRequest) *kmsg.DeleteGroupsResponse {
	r := req.ResponseKind().(*kmsg.DeleteGroupsResponse)
	for _, id := range req.Groups {
		resp, err := b.request(ctx, id, func(co *group.Coordinator, now int64, t group.Token) []group.Effect {
			return co.Delete(now, t, []string{id})
		})
		if err != nil {
			g := kmsg.NewDeleteGroupsResponseGroup()
			g.Group, g.ErrorCode = id, codeOf(err)
			r.Groups = append(r.Groups, g)
			continue
		}
		r.Groups = append(r.Groups, resp.(*kmsg.DeleteGroupsResponse).Groups...)
	}
	return r
}

// OffsetDelete deletes a group's offsets where it is coordinated.
func (b *Broker) OffsetDelete(ctx context.Context, req *kmsg.OffsetDeleteRequest) *kmsg.OffsetDeleteResponse {
	resp, err := b.request(ctx, req.Group, func(co *group.Coordinator, now int64, t group.Token) []group.Effect {
		return co.DeleteOffsets(now, t, req)
	})
	if err != nil {
		r := req.ResponseKind().(*kmsg.OffsetDeleteResponse)
		r.ErrorCode = codeOf(err)
		return r
	}
	return resp.(*kmsg.OffsetDeleteResponse)
}
