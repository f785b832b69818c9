package group

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// This file is the classic protocol at a consumer group: a group that changes its
// protocol has members of both kinds for a while (KIP-848). Of such a member the
// generation is its member epoch; it finds no leader, computes nothing, and gets
// its part of the target assignment from SyncGroup.

// joinConsumers takes in a classic member. It returns done = false if the group has
// become a classic one, because it had no members, and the Join goes on there.
func (c *Coordinator) joinConsumers(g *group, t Token, cl Client, req *kmsg.JoinGroupRequest) (done bool, err *kerr.Error) {
	if g.inTurn && len(g.consumer.members) == 0 {
		// Who has left is not out of the log, and has no answer: that comes first.
		g.inTurn = false
		c.endTurn(g)
		g.inTurn = true
		if c.await(g, t, func() { c.joinOrRefuse(t, cl, req) }) {
			return true, nil
		}
		if g.consumer == nil {
			return false, nil
		}
	}
	k := g.consumer
	if len(k.members) == 0 {
		next := newGroup(g.id, c.now)
		next.generation, next.since = k.group, g.since
		g.adopt(next)
		return false, nil
	}
	id := req.MemberID
	full := len(k.members) >= c.cfg.ConsumerMaxSize && k.members[id] == nil
	switch {
	case full && (req.InstanceID == nil || k.static[*req.InstanceID] == ""):
		c.answer(t, joinRefused(req.Version, "", kerr.GroupMaxSizeReached))
		return true, nil
	case !k.supports(req):
		return true, kerr.InconsistentGroupProtocol
	}
	if id == "" {
		id = cl.ID + "-" + c.cfg.NewID()
		if req.Version >= 4 && req.InstanceID == nil {
			c.answer(t, joinRefused(req.Version, id, kerr.MemberIDRequired))
			return true, nil
		}
	}
	sub, ok := readSubscription(req.Protocols[0].Metadata)
	if !ok {
		return true, kerr.InconsistentGroupProtocol
	}
	m, err := k.joining(id, req)
	if err != nil {
		return true, err
	}
	fresh := k.members[id] == nil
	next := m.with(func(n *consumerMember) {
		n.client, n.assignor, n.regex, n.rebalance = cl, "", "", int32(rebalanceMillis(req))
		n.topics = slices.Compact(slices.Sorted(slices.Values(sub.Topics)))
		n.classic = &classicMember{req.SessionTimeoutMillis, protocolsOf(req.Protocols)}
		if sub.Rack != nil {
			n.rack = sub.Rack
		}
	})
	if fresh || !next.subscribesLike(m) {
		k.bump, k.subs.known = true, false
	}
	k.put(next)
	owned := c.partitionsOf(sub.OwnedPartitions)
	k.reply(t, func() kmsg.Response { return c.joinedConsumers(g, id, &owned, req) })
	c.endTurn(g)
	return true, nil
}

func (c *Coordinator) joinedConsumers(g *group, id string, owned *partitions, req *kmsg.JoinGroupRequest) kmsg.Response {
	k := g.consumer
	m := k.members[id]
	if m == nil || m.classic == nil {
		return joinRefused(req.Version, id, kerr.UnknownMemberID)
	}
	m = c.reconcile(g, m, owned)
	d := k.deadlines[id]
	d.session, d.rebalance = c.now+int64(m.classic.session), c.now+int64(m.rebalance)
	r := kmsg.NewPtrJoinGroupResponse()
	r.Version, r.Generation, r.MemberID = req.Version, m.epoch, id
	r.ProtocolType, r.Protocol = kmsg.StringPtr(consumerType), kmsg.StringPtr(m.classic.protocols[0].name)
	return r
}

// supports reports whether a classic member may join: all of them need a protocol
// in common, so that the group can become a classic one again.
func (k *consumerGroup) supports(req *kmsg.JoinGroupRequest) bool {
	return req.ProtocolType == consumerType && slices.ContainsFunc(req.Protocols, func(p kmsg.JoinGroupRequestProtocol) bool {
		for _, m := range k.members {
			if m.classic != nil && !slices.ContainsFunc(m.classic.protocols, func(q protocol) bool { return q.name == p.Name }) {
				return false
			}
		}
		return true
	})
}

// joining finds the member that a Join is of, or makes it.
func (k *consumerGroup) joining(id string, req *kmsg.JoinGroupRequest) (*consumerMember, *kerr.Error) {
	if req.InstanceID != nil {
		old := k.members[k.static[*req.InstanceID]]
		switch {
		case req.MemberID != "" && old == nil:
			return nil, kerr.UnknownMemberID
		case req.MemberID != "" && old.id != id:
			return nil, kerr.FencedInstanceID
		case old != nil && old.id != id:
			return k.replace(old, id), nil
		}
	}
	if m := k.members[id]; m != nil {
		return m, nil
	}
	return &consumerMember{id: id, instance: req.InstanceID}, nil
}

// classicMember finds a member of a consumer group that speaks the classic protocol.
func (k *consumerGroup) classicMember(id string, instance *string) (*consumerMember, *kerr.Error) {
	m, err := k.member(id, instance)
	if err == nil && m.classic == nil {
		return nil, kerr.UnknownMemberID
	}
	return m, err
}

// syncConsumers tells a classic member what it has.
func (c *Coordinator) syncConsumers(g *group, t Token, req *kmsg.SyncGroupRequest) {
	k := g.consumer
	k.reply(t, func() kmsg.Response {
		m, err := k.classicMember(req.MemberID, req.InstanceID)
		if err != nil {
			return syncRefused(req.Version, err)
		}
		d := k.deadlines[m.id]
		switch {
		case req.Generation != m.epoch:
			return syncRefused(req.Version, kerr.IllegalGeneration)
		case req.ProtocolType != nil && *req.ProtocolType != consumerType,
			req.Protocol != nil && *req.Protocol != m.classic.protocols[0].name:
			return syncRefused(req.Version, kerr.InconsistentGroupProtocol)
		case k.assignment > m.epoch && m.state != unrevoked:
			d.rebalance = min(d.rebalance, c.now+int64(m.rebalance))
			return syncRefused(req.Version, kerr.RebalanceInProgress)
		}
		d.session, d.rebalance = c.now+int64(m.classic.session), never
		r := kmsg.NewPtrSyncGroupResponse()
		r.Version, r.MemberAssignment = req.Version, c.classicAssignment(m)
		r.ProtocolType, r.Protocol = kmsg.StringPtr(consumerType), kmsg.StringPtr(m.classic.protocols[0].name)
		return r
	})
	c.endTurn(g)
}

// beatConsumers keeps a classic member's session, and makes it join again where
// there is something to give up or to get.
func (c *Coordinator) beatConsumers(g *group, t Token, req *kmsg.HeartbeatRequest) {
	k := g.consumer
	k.reply(t, func() kmsg.Response {
		m, err := k.classicMember(req.MemberID, req.InstanceID)
		if err == nil && req.Generation != m.epoch {
			err = kerr.IllegalGeneration
		}
		if err == nil {
			d := k.deadlines[m.id]
			d.session = c.now + int64(m.classic.session)
			if m.epoch < k.assignment || m.state == unrevoked || m.state == unreleased && !k.waitsForOthers(m) {
				d.rebalance = min(d.rebalance, c.now+int64(m.rebalance))
				err = kerr.RebalanceInProgress
			}
		}
		return beatAnswer(req.Version, err)
	})
	c.endTurn(g)
}

// leaveConsumers takes classic members out.
func (c *Coordinator) leaveConsumers(g *group, t Token, req *kmsg.LeaveGroupRequest) {
	k := g.consumer
	r := kmsg.NewPtrLeaveGroupResponse()
	r.Version = req.Version
	for _, q := range leaving(req) {
		id := q.MemberID
		if id == "" && q.InstanceID != nil {
			id = k.static[*q.InstanceID]
		}
		m, err := k.classicMember(id, q.InstanceID)
		if err == nil {
			k.leave(m)
		}
		x := kmsg.NewLeaveGroupResponseMember()
		x.MemberID, x.InstanceID, x.ErrorCode = q.MemberID, q.InstanceID, code(err)
		r.Members = append(r.Members, x)
	}
	if req.Version < 3 {
		r.ErrorCode, r.Members = r.Members[0].ErrorCode, nil
	}
	k.reply(t, func() kmsg.Response { return r })
	c.endTurn(g)
}
