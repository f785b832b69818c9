package group

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/regex"
)

// ConsumerHeartbeat lets a member of a consumer group join (epoch 0), stay, leave
// (-1), or, a static one, leave for now (-2); it tells the member what to give up
// and what it has (KIP-848). Version 1 on: members make their own ids, and may
// subscribe by a regular expression.
func (c *Coordinator) ConsumerHeartbeat(now int64, t Token, cl Client, req *kmsg.ConsumerGroupHeartbeatRequest) []Effect {
	c.begin(now)
	version := req.Version
	c.expect(t, func(err *kerr.Error) kmsg.Response { return beatRefused(version, err, "") })
	c.consumerHeartbeat(t, cl, req)
	return c.end()
}

func beatRefused(version int16, err *kerr.Error, message string) *kmsg.ConsumerGroupHeartbeatResponse {
	r := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	r.Version, r.ErrorCode = version, err.Code
	if message == "" {
		message = err.Description
	}
	r.ErrorMessage = &message
	return r
}

func (c *Coordinator) consumerHeartbeat(t Token, cl Client, req *kmsg.ConsumerGroupHeartbeatRequest) {
	refuse := func(err *kerr.Error, message string) { c.answer(t, beatRefused(req.Version, err, message)) }
	if err, message := c.checkBeat(req); err != nil {
		refuse(err, message)
		return
	}
	g := c.groups[req.Group]
	if g != nil && c.await(g, t, func() { c.consumerHeartbeat(t, cl, req) }) {
		return
	}
	g, err := c.consumersOf(g, req)
	if err != nil {
		refuse(err, "")
		return
	}
	switch {
	case req.MemberEpoch < 0:
		c.consumerLeaves(g, t, req)
	default:
		if err := c.consumerBeats(g, t, cl, req); err != nil {
			g.consumer.reply(t, func() kmsg.Response { return beatRefused(req.Version, err, "") })
		}
	}
	c.endTurn(g)
}

// checkBeat says what is wrong with a request whatever its group is.
func (c *Coordinator) checkBeat(req *kmsg.ConsumerGroupHeartbeatRequest) (*kerr.Error, string) {
	blank := func(s *string) bool { return s != nil && strings.TrimSpace(*s) == "" }
	joins := req.MemberEpoch == 0
	switch {
	case blank(&req.Group):
		return kerr.InvalidRequest, "GroupId can't be empty."
	case blank(req.InstanceID):
		return kerr.InvalidRequest, "InstanceId can't be empty."
	case blank(req.RackID):
		return kerr.InvalidRequest, "RackId can't be empty."
	case blank(&req.MemberID) && (req.Version >= 1 || !joins):
		return kerr.InvalidRequest, "MemberId can't be empty."
	case joins && req.RebalanceTimeoutMillis == -1:
		return kerr.InvalidRequest, "RebalanceTimeoutMs must be provided in first request."
	case joins && (req.Topics == nil || len(req.Topics) > 0):
		return kerr.InvalidRequest, "TopicPartitions must be empty when (re-)joining."
	case joins && req.SubscribedTopicNames == nil && req.SubscribedTopicRegex == nil:
		return kerr.InvalidRequest, "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining."
	case req.MemberEpoch == leftForNow && req.InstanceID == nil:
		return kerr.InvalidRequest, "InstanceId can't be null."
	case req.MemberEpoch < leftForNow:
		return kerr.InvalidRequest, "MemberEpoch is invalid."
	case req.ServerAssignor != nil && !slices.Contains(c.cfg.Assignors, Assignor(*req.ServerAssignor)):
		return kerr.UnsupportedAssignor, "ServerAssignor " + *req.ServerAssignor + " is not supported."
	case c.memberBytes(req) > c.cfg.MaxMemberBytes:
		return kerr.PolicyViolation, "The subscription is too large."
	}
	if req.SubscribedTopicRegex != nil && *req.SubscribedTopicRegex != "" {
		if _, err := regex.Compile(*req.SubscribedTopicRegex); err != nil {
			return kerr.InvalidRegularExpression, "SubscribedTopicRegex is not a valid regular expression: " + err.Error() + "."
		}
	}
	return nil, ""
}

// memberBytes is about what a member would cost in memory.
func (c *Coordinator) memberBytes(req *kmsg.ConsumerGroupHeartbeatRequest) int {
	n := len(req.MemberID)
	for _, s := range []*string{req.InstanceID, req.RackID, req.SubscribedTopicRegex} {
		if s != nil {
			n += len(*s)
		}
	}
	for _, name := range req.SubscribedTopicNames {
		n += len(name) + 16
	}
	return n
}

// consumersOf finds the consumer group, or makes it: of nothing, of a classic group
// without members, or of one that may be upgraded.
func (c *Coordinator) consumersOf(g *group, req *kmsg.ConsumerGroupHeartbeatRequest) (*group, *kerr.Error) {
	joins := req.MemberEpoch == 0
	switch {
	case g == nil && !joins:
		return nil, kerr.GroupIDNotFound
	case g == nil:
		var err *kerr.Error
		if g, err = c.create(req.Group); err != nil {
			return nil, err
		}
	case g.phase == dead:
		return nil, kerr.CoordinatorNotAvailable
	case g.consumer != nil:
		return g, nil
	case !joins:
		return nil, kerr.GroupIDNotFound
	}
	if err := c.upgrade(g, req); err != nil {
		return nil, err
	}
	return g, nil
}

// consumerBeats takes a member in, or takes note of what it says.
func (c *Coordinator) consumerBeats(g *group, t Token, cl Client, req *kmsg.ConsumerGroupHeartbeatRequest) *kerr.Error {
	k, pace := g.consumer, c.cfg.ConsumerPace(g.id)
	id := req.MemberID
	if id == "" {
		id = c.cfg.NewID()
	}
	if r := req.SubscribedTopicRegex; r != nil && *r != "" && !k.hasRoomFor(id, *r) {
		return kerr.PolicyViolation
	}
	m, err := c.beating(k, id, req)
	if err != nil {
		return err
	}
	before := k.members[m.id]
	next := m.with(func(n *consumerMember) { n.update(cl, req) })
	if before == nil || !next.subscribesLike(m) {
		k.bump, k.subs.known = true, false
	} else if next.regex != "" && next.client != before.client {
		k.subs.known = false // it may know of other topics now
	}
	k.put(next)
	k.heard(id, c.now+pace.SessionTimeout.Milliseconds())
	owned := ownedOf(req)
	full := req.MemberEpoch == 0 || req.RebalanceTimeoutMillis != -1 && req.SubscribedTopicNames != nil && req.Topics != nil
	k.reply(t, func() kmsg.Response {
		last := k.members[id]
		if last == nil {
			return beatRefused(req.Version, kerr.UnknownMemberID, "")
		}
		last = c.reconcile(g, last, owned)
		r := kmsg.NewPtrConsumerGroupHeartbeatResponse()
		r.Version, r.MemberID, r.MemberEpoch = req.Version, &last.id, last.epoch
		r.HeartbeatIntervalMillis = int32(pace.HeartbeatInterval.Milliseconds())
		if full || !slices.Equal(m.assigned, last.assigned) {
			r.Assignment = beatAssignment(last.assigned)
		}
		return r
	})
	return nil
}

// reconcile brings a member nearer to its target and sets its time for that.
func (c *Coordinator) reconcile(g *group, m *consumerMember, owned *partitions) *consumerMember {
	k := g.consumer
	next := k.reconcile(m, owned)
	if next == m {
		return m
	}
	k.put(next)
	if next.classic == nil {
		d := k.deadlines[m.id]
		if next.state == unrevoked {
			d.rebalance = c.now + int64(next.rebalance)
		} else {
			d.rebalance = never
		}
	}
	return next
}

// mayJoin says whether a member may join, or begin anew. It may in the place of a
// static member that has left for now, or that speaks the classic protocol.
func (c *Coordinator) mayJoin(k *consumerGroup, id string, instance *string) (replaces *consumerMember, err *kerr.Error) {
	m := k.members[id]
	if m != nil && !sameText(m.instance, instance) {
		return nil, kerr.FencedInstanceID
	}
	if instance != nil {
		if old := k.members[k.static[*instance]]; old != nil && old.id != id {
			if old.classic == nil && old.epoch != leftForNow {
				return nil, kerr.UnreleasedInstanceID
			}
			return old, nil
		}
	}
	if m == nil && len(k.members) >= c.cfg.ConsumerMaxSize {
		return nil, kerr.GroupMaxSizeReached
	}
	return nil, nil
}

// beating finds the member that a heartbeat is of, or makes it.
func (c *Coordinator) beating(k *consumerGroup, id string, req *kmsg.ConsumerGroupHeartbeatRequest) (*consumerMember, *kerr.Error) {
	if req.MemberEpoch > 0 {
		m, err := k.member(id, req.InstanceID)
		if err != nil {
			return nil, err
		}
		return m, m.checkEpoch(req)
	}
	old, err := c.mayJoin(k, id, req.InstanceID)
	if err != nil {
		return nil, err
	}
	if old != nil {
		return k.replace(old, id), nil
	}
	m := k.members[id]
	switch {
	case m == nil:
		return &consumerMember{id: id, instance: req.InstanceID}, nil
	case m.epoch > 0 && m.previous == 0 && m.classic == nil:
		return m, nil // the answer to its join was lost
	}
	// It has been fenced, or has left for now, and begins anew. A static member that
	// left keeps its place, as one under another id would.
	return m.with(func(n *consumerMember) {
		has := n.assigned
		if n.epoch != leftForNow {
			has = nil
		}
		n.hold(has, nil, 0)
		n.epoch, n.previous, n.state = 0, 0, settled
	}), nil
}

// replace gives a static member's place to a new process of the instance.
func (k *consumerGroup) replace(old *consumerMember, id string) *consumerMember {
	k.remove(old)
	m := old.with(func(n *consumerMember) {
		n.hold(n.assigned, nil, 0)
		n.id, n.epoch, n.previous, n.state = id, 0, 0, settled
	})
	k.set(m)
	k.dirty = true
	return m
}

// checkEpoch says whether a member may go on from the epoch that it knows. One that
// has missed an answer may, if it says what it owns and that is still its own.
func (m *consumerMember) checkEpoch(req *kmsg.ConsumerGroupHeartbeatRequest) *kerr.Error {
	if req.MemberEpoch == m.epoch {
		return nil
	}
	owned := ownedOf(req)
	if req.MemberEpoch < m.epoch && req.MemberEpoch == m.previous && owned != nil && len(owned.minus(m.assigned)) == 0 {
		return nil
	}
	return kerr.FencedMemberEpoch
}

// update takes over what a heartbeat says of a member.
func (m *consumerMember) update(cl Client, req *kmsg.ConsumerGroupHeartbeatRequest) {
	m.client, m.classic = cl, nil
	if req.InstanceID != nil {
		m.instance = req.InstanceID
	}
	if req.RackID != nil {
		m.rack = req.RackID
	}
	if req.RebalanceTimeoutMillis != -1 {
		m.rebalance = req.RebalanceTimeoutMillis
	}
	if req.ServerAssignor != nil {
		m.assignor = *req.ServerAssignor
	}
	if req.SubscribedTopicNames != nil {
		m.topics = slices.Compact(slices.Sorted(slices.Values(req.SubscribedTopicNames)))
	}
	if req.SubscribedTopicRegex != nil {
		m.regex = *req.SubscribedTopicRegex
	}
}

// ownedOf is what a member says that it owns, nil if it does not say.
func ownedOf(req *kmsg.ConsumerGroupHeartbeatRequest) *partitions {
	if req.Topics == nil {
		return nil
	}
	var list []partition
	for _, t := range req.Topics {
		for _, n := range t.Partitions {
			list = append(list, partition{t.TopicID, n})
		}
	}
	ps := newPartitions(list)
	return &ps
}

func beatAssignment(ps partitions) *kmsg.ConsumerGroupHeartbeatResponseAssignment {
	a := kmsg.NewConsumerGroupHeartbeatResponseAssignment()
	ps.byTopic(func(topic [16]byte, part partitions) {
		x := kmsg.NewConsumerGroupHeartbeatResponseAssignmentTopic()
		x.TopicID, x.Partitions = topic, part.numbers()
		a.Topics = append(a.Topics, x)
	})
	return &a
}

// consumerLeaves takes a member out, or, a static one that will be back, lets its
// place be taken.
func (c *Coordinator) consumerLeaves(g *group, t Token, req *kmsg.ConsumerGroupHeartbeatRequest) {
	k := g.consumer
	m, err := k.member(req.MemberID, req.InstanceID)
	if err != nil {
		k.reply(t, func() kmsg.Response { return beatRefused(req.Version, err, "") })
		return
	}
	if req.MemberEpoch == leftForNow {
		k.put(m.with(func(n *consumerMember) {
			n.hold(n.assigned, nil, 0)
			n.forgetSince()
			n.epoch, n.state = leftForNow, settled
		}))
		k.deadlines[m.id].rebalance = never
	} else {
		k.leave(m)
	}
	k.reply(t, func() kmsg.Response {
		r := kmsg.NewPtrConsumerGroupHeartbeatResponse()
		r.Version, r.MemberID, r.MemberEpoch = req.Version, &m.id, req.MemberEpoch
		return r
	})
}
