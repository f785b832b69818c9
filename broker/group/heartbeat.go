package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Heartbeat keeps a member's session and tells it of a rebalance.
func (c *Coordinator) Heartbeat(now int64, t Token, req *kmsg.HeartbeatRequest) []Effect {
	c.begin(now)
	answer := func(err *kerr.Error) kmsg.Response {
		r := kmsg.NewPtrHeartbeatResponse()
		r.Version, r.ErrorCode = req.Version, code(err)
		return r
	}
	c.expect(t, answer)
	c.answer(t, answer(c.heartbeat(req)))
	return c.end()
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
