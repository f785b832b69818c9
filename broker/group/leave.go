package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Leave removes members. From version 3 on one request may name several, and
// static members by their instance alone, as an administrator does (KIP-345). If
// nobody is left the answer waits until that is applied.
func (c *Coordinator) Leave(now int64, t Token, req *kmsg.LeaveGroupRequest) []Effect {
	c.begin(now)
	version := req.Version
	refuse := func(err *kerr.Error) kmsg.Response {
		r := kmsg.NewPtrLeaveGroupResponse()
		r.Version, r.ErrorCode = version, err.Code
		return r
	}
	c.expect(t, refuse)
	c.leaveMembers(t, req)
	return c.end()
}

// leaving is whom a request names.
func leaving(req *kmsg.LeaveGroupRequest) []kmsg.LeaveGroupRequestMember {
	if req.Version >= 3 {
		return req.Members
	}
	m := kmsg.NewLeaveGroupRequestMember()
	m.MemberID = req.MemberID
	return []kmsg.LeaveGroupRequestMember{m}
}

func (c *Coordinator) leaveMembers(t Token, req *kmsg.LeaveGroupRequest) {
	version := req.Version
	if req.Group == "" {
		c.refuse(t, kerr.InvalidGroupID)
		return
	}
	g := c.groups[req.Group]
	if g != nil && g.phase == dead {
		c.refuse(t, kerr.CoordinatorNotAvailable)
		return
	}
	if g != nil && g.consumer != nil {
		if !c.await(g, t, func() { c.leaveMembers(t, req) }) {
			c.leaveConsumers(g, t, req)
		}
		return
	}
	r := kmsg.NewPtrLeaveGroupResponse()
	r.Version = version
	before := 0
	if g != nil {
		before = len(g.members)
	}
	for _, m := range leaving(req) {
		err := kerr.UnknownMemberID
		if g != nil {
			err = c.leave(g, m.MemberID, m.InstanceID)
		}
		x := kmsg.NewLeaveGroupResponseMember()
		x.MemberID, x.InstanceID, x.ErrorCode = m.MemberID, m.InstanceID, code(err)
		r.Members = append(r.Members, x)
	}
	if version < 3 {
		r.ErrorCode, r.Members = r.Members[0].ErrorCode, nil
	}
	switch {
	case g == nil:
	case len(g.members) < before:
		c.rebalanceOrComplete(g)
	default:
		c.maybeCompleteJoin(g) // it may have waited for an id that was given back
	}
	if g == nil || g.emptying == nil {
		c.answer(t, r)
		return
	}
	g.emptying.waiters = append(g.emptying.waiters, func(err *kerr.Error) {
		if err != nil {
			c.refuse(t, err)
			return
		}
		c.answer(t, r)
	})
}

// leave takes one member out and does not look at what follows for the others.
func (c *Coordinator) leave(g *group, id string, instance *string) *kerr.Error {
	if id == "" {
		if instance == nil || g.static[*instance] == "" {
			return kerr.UnknownMemberID
		}
		id = g.static[*instance]
	} else if _, ok := g.pending[id]; ok {
		delete(g.pending, id)
		return nil
	} else if err := g.check(id, instance); err != nil {
		return err
	}
	c.removeMember(g, g.members[id])
	return nil
}
