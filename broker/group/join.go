package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Join takes in a member, or takes note that one is here for the next generation.
// The answer comes with the generation, which other members and the rebalance
// timeout may delay.
//
// Version 4 on: a new dynamic member is first told its id (MEMBER_ID_REQUIRED,
// KIP-394). Version 5 on: static members (KIP-345). Version 9: the leader of a
// group that needs no new assignment is told so (KIP-814).
func (c *Coordinator) Join(now int64, t Token, cl Client, req *kmsg.JoinGroupRequest) []Effect {
	c.begin(now)
	version, id := req.Version, req.MemberID
	c.expect(t, func(err *kerr.Error) kmsg.Response { return joinRefused(version, id, err) })
	c.joinOrRefuse(t, cl, req)
	return c.end()
}

func (c *Coordinator) joinOrRefuse(t Token, cl Client, req *kmsg.JoinGroupRequest) {
	if err := c.join(t, cl, req); err != nil {
		c.refuse(t, err)
	}
}

func joinRefused(version int16, id string, err *kerr.Error) *kmsg.JoinGroupResponse {
	r := kmsg.NewPtrJoinGroupResponse()
	r.Version, r.MemberID, r.ErrorCode = version, id, err.Code
	return r
}

// join answers, parks the request, or returns why it is refused.
func (c *Coordinator) join(t Token, cl Client, req *kmsg.JoinGroupRequest) *kerr.Error {
	if req.Group == "" {
		return kerr.InvalidGroupID
	}
	session := time.Duration(req.SessionTimeoutMillis) * time.Millisecond
	if session < c.cfg.MinSessionTimeout || session > c.cfg.MaxSessionTimeout {
		return kerr.InvalidSessionTimeout
	}
	if len(req.Protocols) > maxProtocols || protocolBytes(req) > c.cfg.MaxMemberBytes {
		return kerr.PolicyViolation
	}
	g := c.groups[req.Group]
	if g == nil {
		if req.MemberID != "" {
			return kerr.UnknownMemberID
		}
		if req.ProtocolType == "" || len(req.Protocols) == 0 {
			return kerr.InconsistentGroupProtocol
		}
		var err *kerr.Error
		if g, err = c.create(req.Group); err != nil {
			return err
		}
	}
	if g.phase == dead {
		return kerr.CoordinatorNotAvailable
	}
	if c.await(g, t, func() { c.joinOrRefuse(t, cl, req) }) {
		return nil
	}
	if g.consumer != nil {
		if done, err := c.joinConsumers(g, t, cl, req); done {
			return err
		}
		if req.MemberID != "" {
			return kerr.UnknownMemberID // as where the group does not exist
		}
	}
	if !c.hasRoom(g, req) {
		c.turnAway(g, req.MemberID)
		c.answer(t, joinRefused(req.Version, "", kerr.GroupMaxSizeReached))
		return nil
	}
	if !g.supports(req.ProtocolType, req.Protocols) {
		return kerr.InconsistentGroupProtocol
	}
	if req.MemberID == "" {
		return c.joinNew(g, t, cl, req)
	}
	return c.joinAgain(g, t, cl, req)
}

// maxProtocols bounds the protocols of one member; clients have one to three. They are
// compared with those of the others, in the loop of the shard. A Join above it is
// refused with POLICY_VIOLATION.
const maxProtocols = 100

// protocolBytes is what a member would cost in memory.
func protocolBytes(req *kmsg.JoinGroupRequest) int {
	var n int
	for _, p := range req.Protocols {
		n += len(p.Name) + len(p.Metadata)
	}
	return n
}

// hasRoom says whether a member fits. While members join, those who wait count
// and not those who are known: a group that is too large since the limit was
// lowered thus loses those who come last.
func (c *Coordinator) hasRoom(g *group, req *kmsg.JoinGroupRequest) bool {
	id := req.MemberID
	if id == "" && req.InstanceID != nil {
		id = g.static[*req.InstanceID]
	}
	m := g.members[id]
	switch g.phase {
	case preparing:
		return m != nil && m.join != nil || g.joining < c.cfg.MaxSize
	case completing, stable:
		return m != nil || len(g.members) < c.cfg.MaxSize
	}
	return true
}

// turnAway removes a member, or an id, for which there is no room.
func (c *Coordinator) turnAway(g *group, id string) {
	delete(g.pending, id)
	if m := g.members[id]; m != nil {
		c.removeAndRebalance(g, m)
	} else {
		c.maybeCompleteJoin(g)
	}
}

// joinNew lets somebody in who has no member id yet.
func (c *Coordinator) joinNew(g *group, t Token, cl Client, req *kmsg.JoinGroupRequest) *kerr.Error {
	if req.InstanceID != nil {
		id := *req.InstanceID + "-" + c.cfg.NewID()
		if old := g.members[g.static[*req.InstanceID]]; old != nil {
			c.replaceStatic(g, old, id, t, cl, req)
		} else {
			c.addMember(g, id, t, cl, req)
		}
		return nil
	}
	id := cl.ID + "-" + c.cfg.NewID()
	if req.Version < 4 {
		c.addMember(g, id, t, cl, req)
		return nil
	}
	if len(g.pending) >= c.cfg.MaxSize {
		return kerr.GroupMaxSizeReached
	}
	g.pending[id] = c.now + int64(req.SessionTimeoutMillis)
	c.timers.by(g, g.pending[id])
	c.answer(t, joinRefused(req.Version, id, kerr.MemberIDRequired))
	return nil
}

// joinAgain handles a Join by somebody with an id: one that was just handed out,
// or a member's.
func (c *Coordinator) joinAgain(g *group, t Token, cl Client, req *kmsg.JoinGroupRequest) *kerr.Error {
	if _, ok := g.pending[req.MemberID]; ok && req.InstanceID == nil {
		c.addMember(g, req.MemberID, t, cl, req)
		return nil
	}
	if err := g.check(req.MemberID, req.InstanceID); err != nil {
		return err
	}
	m := g.members[req.MemberID]
	same := m.matches(req.Protocols)
	switch {
	case g.phase == completing && same, g.phase == stable && same && g.leader != m.id:
		// It lost the answer, or has nothing new to say: it gets the current
		// generation and may sync. From the leader of a stable group, though, a Join
		// is the request to assign anew, since what it sees (topics, partitions) may
		// have changed.
		c.answer(t, joined(g, m, req.Version))
	default:
		c.update(g, m, req)
		c.park(g, m, t, req.Version)
		c.rebalanceOrComplete(g)
	}
	return nil
}

// joined is a member's answer about the current generation.
func joined(g *group, m *member, version int16) *kmsg.JoinGroupResponse {
	r := kmsg.NewPtrJoinGroupResponse()
	r.Version = version
	r.Generation = g.generation
	r.ProtocolType = kmsg.StringPtr(g.protocolType)
	r.Protocol = g.protocol
	r.LeaderID = g.leader
	r.MemberID = m.id
	if g.leader == m.id {
		for _, x := range g.order {
			y := kmsg.NewJoinGroupResponseMember()
			y.MemberID, y.InstanceID, y.ProtocolMetadata = x.id, x.instance, x.metadata(*g.protocol)
			r.Members = append(r.Members, y)
		}
	}
	return r
}

// rebalanceMillis is how long the member may take to join again: in version 0 as
// long as its session.
func rebalanceMillis(req *kmsg.JoinGroupRequest) int64 {
	if req.Version < 1 || req.RebalanceTimeoutMillis < 0 {
		return int64(req.SessionTimeoutMillis)
	}
	return int64(req.RebalanceTimeoutMillis)
}

func (c *Coordinator) addMember(g *group, id string, t Token, cl Client, req *kmsg.JoinGroupRequest) {
	m := &member{
		id: id, client: cl,
		rebalance: rebalanceMillis(req), session: int64(req.SessionTimeoutMillis),
		protocols: protocolsOf(req.Protocols),
		isNew:     true,
		knowsID:   req.MemberID != "" || req.InstanceID != nil,
	}
	if req.InstanceID != nil {
		m.instance = kmsg.StringPtr(*req.InstanceID)
	}
	if len(g.members) == 0 {
		g.protocolType = req.ProtocolType
	}
	g.add(m)
	g.grown = true
	c.park(g, m, t, req.Version)
	// It cannot send heartbeats before it is answered. If its client has given up
	// in the meantime, it would be a member of every rebalance to come.
	c.sessionEnds(g, m, c.now+c.cfg.NewMemberJoinTimeout.Milliseconds())
	c.rebalanceOrComplete(g)
}

// update takes over what a Join says of a member.
func (c *Coordinator) update(g *group, m *member, req *kmsg.JoinGroupRequest) {
	g.countSupport(m, -1)
	m.protocols = protocolsOf(req.Protocols)
	g.countSupport(m, 1)
	m.rebalance, m.session = rebalanceMillis(req), int64(req.SessionTimeoutMillis)
}

// park lets a Join wait. An earlier one of the same member, whose connection
// must be gone, is sent away.
func (c *Coordinator) park(g *group, m *member, t Token, version int16) {
	if m.join != nil {
		c.answerJoin(g, m, joinRefused(m.join.version, m.id, kerr.RebalanceInProgress))
	}
	m.join = &waiter{t, version}
	g.joining++
	w := c.waiting[t]
	w.group, w.member = g.id, m.id
	c.waiting[t] = w
}

func (c *Coordinator) answerJoin(g *group, m *member, r *kmsg.JoinGroupResponse) {
	t := m.join.token
	m.join, m.knowsID = nil, true
	g.joining--
	c.answer(t, r)
}

// release answers whatever a member waits for: it is about to be removed, or
// replaced.
func (c *Coordinator) release(g *group, m *member, id string, err *kerr.Error) {
	if m.join != nil {
		c.answerJoin(g, m, joinRefused(m.join.version, id, err))
	}
	if m.sync != nil {
		c.answerSync(m, syncRefused(m.sync.version, err))
	}
}

// removeMember takes a member out. If it waits it is told UNKNOWN_MEMBER_ID: it
// may join as a new one.
func (c *Coordinator) removeMember(g *group, m *member) {
	c.release(g, m, "", kerr.UnknownMemberID)
	g.remove(m)
}

func (c *Coordinator) removeAndRebalance(g *group, m *member) {
	c.removeMember(g, m)
	c.rebalanceOrComplete(g)
}
