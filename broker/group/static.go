package group

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// replaceStatic gives the place of a static member to a new process of the same
// instance, under a new id, which fences the old one (KIP-345). In a stable group
// whose protocol does not change by it, nobody else notices: the new member has
// the assignment of the old one once that is persisted.
func (c *Coordinator) replaceStatic(g *group, old *member, id string, t Token, cl Client, req *kmsg.JoinGroupRequest) {
	leader := g.leader
	c.release(g, old, old.id, kerr.FencedInstanceID)
	next := &member{
		id: id, instance: old.instance, client: cl,
		rebalance: rebalanceMillis(req), session: int64(req.SessionTimeoutMillis),
		protocols:  protocolsOf(req.Protocols),
		assignment: old.assignment,
		knowsID:    true, // by its instance: nobody else has a claim on its place
		owesSync:   old.owesSync,
	}
	g.swap(old, next)
	g.readTopics()
	c.heard(g, next)
	c.park(g, next, t, req.Version)
	switch {
	case g.phase == stable && g.protocol != nil && g.elect() == *g.protocol:
		c.persistReplacement(g, old, next, leader)
	case g.phase == completing, g.phase == stable:
		// In the completing phase the leader may have assigned to the old id already.
		c.prepareRebalance(g)
	default:
		c.maybeCompleteJoin(g)
	}
}

func (c *Coordinator) persistReplacement(g *group, old, next *member, leader string) {
	c.persist(g, changeCommand(g.id, g.persisted(nil)), func(err *kerr.Error) {
		if g.phase != stable || next.join == nil {
			// A rebalance has begun, which answers it or has done so, or it was fenced
			// in its turn.
			return
		}
		if err != nil {
			c.answerJoin(g, next, joinRefused(next.join.version, "", err))
			g.swap(next, old)
			g.readTopics()
			c.heard(g, old)
			return
		}
		r := joined(g, next, next.join.version)
		if next.join.version >= 9 {
			r.SkipAssignment = g.leader == next.id
		} else {
			// A leader would assign anew, and the others would not learn of it: the
			// old id makes it believe that somebody else leads.
			r.LeaderID, r.Members = leader, nil
		}
		c.answerJoin(g, next, r)
		c.heard(g, next)
	})
}
