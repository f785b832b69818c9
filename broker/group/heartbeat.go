package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Heartbeat keeps a member's session and tells it of a rebalance.
func (c *Coordinator) Heartbeat(now int64, t Token, req *kmsg.HeartbeatRequest) []Effect {
	c.begin(now)
	version := req.Version
	c.expect(t, func(err *kerr.Error) kmsg.Response { return beatAnswer(version, err) })
	c.beat(t, req)
	return c.end()
}

func beatAnswer(version int16, err *kerr.Error) *kmsg.HeartbeatResponse {
	r := kmsg.NewPtrHeartbeatResponse()
	r.Version, r.ErrorCode = version, code(err)
	return r
}

func (c *Coordinator) beat(t Token, req *kmsg.HeartbeatRequest) {
	if g := c.groups[req.Group]; g != nil && g.consumer != nil && g.phase != dead {
		if !c.await(g, t, func() { c.beat(t, req) }) {
			c.beatConsumers(g, t, req)
		}
		return
	}
	c.answer(t, beatAnswer(req.Version, c.heartbeat(req)))
}

func (c *Coordinator) heartbeat(req *kmsg.HeartbeatRequest) *kerr.Error {
	if req.Group == "" {
		return kerr.InvalidGroupID
	}
	g, err := c.groupOf(req.Group, req.MemberID, req.InstanceID)
	if err != nil {
		return err
	}
	if req.Generation != g.generation {
		return kerr.IllegalGeneration
	}
	c.heard(g, g.members[req.MemberID])
	if g.phase == preparing {
		return kerr.RebalanceInProgress
	}
	return nil
}
