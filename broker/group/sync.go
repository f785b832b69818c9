package group

import (
	"bytes"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Sync gives the assignments, if the leader sends it, and is answered with the
// member's own once they are applied.
func (c *Coordinator) Sync(now int64, t Token, req *kmsg.SyncGroupRequest) []Effect {
	c.begin(now)
	version := req.Version
	c.expect(t, func(err *kerr.Error) kmsg.Response { return syncRefused(version, err) })
	c.syncOrRefuse(t, req)
	return c.end()
}

func (c *Coordinator) syncOrRefuse(t Token, req *kmsg.SyncGroupRequest) {
	if err := c.sync(t, req); err != nil {
		c.refuse(t, err)
	}
}

func syncRefused(version int16, err *kerr.Error) *kmsg.SyncGroupResponse {
	r := kmsg.NewPtrSyncGroupResponse()
	r.Version, r.ErrorCode = version, err.Code
	return r
}

func (c *Coordinator) sync(t Token, req *kmsg.SyncGroupRequest) *kerr.Error {
	if req.Group == "" {
		return kerr.InvalidGroupID
	}
	if req.Version >= 5 && (req.ProtocolType == nil || req.Protocol == nil) {
		return kerr.InconsistentGroupProtocol
	}
	if g := c.groups[req.Group]; g != nil && g.consumer != nil && g.phase != dead {
		if !c.await(g, t, func() { c.syncOrRefuse(t, req) }) {
			c.syncConsumers(g, t, req)
		}
		return nil
	}
	g, err := c.groupOf(req.Group, req.MemberID, req.InstanceID)
	if err != nil {
		return err
	}
	if req.Generation != g.generation {
		return kerr.IllegalGeneration
	}
	if req.ProtocolType != nil && *req.ProtocolType != g.protocolType ||
		req.Protocol != nil && g.protocol != nil && *req.Protocol != *g.protocol {
		return kerr.InconsistentGroupProtocol
	}
	m := g.members[req.MemberID]
	switch g.phase {
	case preparing:
		return kerr.RebalanceInProgress
	case completing:
		if m.sync != nil {
			c.answerSync(m, syncRefused(m.sync.version, kerr.RebalanceInProgress))
		}
		m.sync = &waiter{t, req.Version}
		m.owesSync = false
		if g.leader == m.id && !g.storing {
			c.store(g, req.GroupAssignment)
		}
	default:
		m.owesSync = false
		c.answer(t, synced(g, m, req.Version))
	}
	return nil
}

// groupOf finds the group of a member, or says why it is not one.
func (c *Coordinator) groupOf(group, id string, instance *string) (*group, *kerr.Error) {
	g := c.groups[group]
	if g == nil {
		return nil, kerr.UnknownMemberID
	}
	if g.phase == dead {
		return nil, kerr.CoordinatorNotAvailable
	}
	return g, g.check(id, instance)
}

func synced(g *group, m *member, version int16) *kmsg.SyncGroupResponse {
	r := kmsg.NewPtrSyncGroupResponse()
	r.Version = version
	r.ProtocolType = kmsg.StringPtr(g.protocolType)
	r.Protocol = g.protocol
	r.MemberAssignment = m.assignment
	return r
}

func (c *Coordinator) answerSync(m *member, r *kmsg.SyncGroupResponse) {
	t := m.sync.token
	m.sync = nil
	c.answer(t, r)
}

// failSyncs sends away the members who wait for their assignment.
func (c *Coordinator) failSyncs(g *group, err *kerr.Error) {
	for _, m := range g.order {
		m.assignment = nil
		if m.sync != nil {
			c.answerSync(m, syncRefused(m.sync.version, err))
			c.heard(g, m)
		}
	}
}

// store persists the generation with its assignments. Members whom the leader left
// out have an empty one; whom it invented is nobody.
func (c *Coordinator) store(g *group, given []kmsg.SyncGroupRequestGroupAssignment) {
	assignments := make(map[string][]byte, len(g.members))
	for _, a := range given {
		if g.members[a.MemberID] != nil {
			assignments[a.MemberID] = bytes.Clone(a.MemberAssignment)
		}
	}
	cmd := changeCommand(g.id, g.persisted(assignments))
	if len(cmd) > c.cfg.MaxGroupBytes {
		c.failSyncs(g, kerr.UnknownServerError)
		c.prepareRebalance(g)
		return
	}
	generation := g.generation
	g.storing = true
	c.persist(g, cmd, func(err *kerr.Error) {
		if g.phase != completing || g.generation != generation {
			return // a rebalance has begun meanwhile and has sent everyone away
		}
		g.storing = false
		if err != nil {
			c.failSyncs(g, err)
			c.prepareRebalance(g)
			return
		}
		g.enter(stable, c.now)
		for _, m := range g.order {
			m.assignment = assignments[m.id]
			if m.sync != nil {
				c.answerSync(m, synced(g, m, m.sync.version))
				c.heard(g, m)
			}
		}
	})
}
