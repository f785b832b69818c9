package group

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
)

// rebalanceOrComplete follows a change of the members: it begins a rebalance, or
// ends the one under way if nobody is missing any more.
func (c *Coordinator) rebalanceOrComplete(g *group) {
	switch g.phase {
	case empty, completing, stable:
		c.prepareRebalance(g)
	case preparing:
		c.maybeCompleteJoin(g)
	}
}

// prepareRebalance makes all members join again.
func (c *Coordinator) prepareRebalance(g *group) {
	if g.phase == completing {
		c.failSyncs(g, kerr.RebalanceInProgress)
	}
	for _, m := range g.order {
		m.owesSync = false
	}
	g.syncBy, g.storing = never, false
	g.initial = g.phase == empty
	g.enter(preparing, c.now)
	if g.initial {
		// The members of a service come up one after another: waiting a little saves
		// a rebalance for each of them (KIP-134).
		g.delay = c.cfg.InitialRebalanceDelay.Milliseconds()
		g.remaining = max(g.rebalanceTimeout()-g.delay, 0)
		g.grown = false
		c.joinEnds(g, c.now+g.delay)
		return
	}
	if g.allJoined() {
		c.completeJoin(g)
		return
	}
	c.joinEnds(g, c.now+g.rebalanceTimeout())
}

func (c *Coordinator) joinEnds(g *group, at int64) {
	g.joinBy = at
	c.timers.by(g, at)
}

// maybeCompleteJoin ends the preparing phase if nobody is missing. The delay of an
// initial rebalance is always waited for.
func (c *Coordinator) maybeCompleteJoin(g *group) {
	if g.phase == preparing && !g.initial && g.allJoined() {
		c.completeJoin(g)
	}
}

// joinPhaseOver is called when the time to join is over.
func (c *Coordinator) joinPhaseOver(g *group) {
	if g.initial && g.grown && g.remaining > 0 {
		before := g.delay
		g.grown = false
		g.delay = min(c.cfg.InitialRebalanceDelay.Milliseconds(), g.remaining)
		g.remaining = max(g.remaining-before, 0)
		c.joinEnds(g, c.now+g.delay)
		return
	}
	c.completeJoin(g)
}

// completeJoin begins the next generation with those who are here. Dynamic members
// who are not have lost their place; static ones keep theirs until their session
// ends (KIP-345).
func (c *Coordinator) completeJoin(g *group) {
	g.joinBy = never
	for _, m := range slices.Clone(g.order) {
		if m.join == nil && m.instance == nil {
			c.removeMember(g, m)
		}
	}
	if len(g.members) > 0 && !g.electLeader() {
		// Only absent static members: nobody could assign. Their sessions end, or
		// one of them comes.
		c.joinEnds(g, c.now+max(g.rebalanceTimeout(), 1))
		return
	}
	g.initial = false
	g.nextGeneration(c.now)
	if g.phase == empty {
		c.persistEmpty(g)
		return
	}
	for _, m := range g.order {
		m.assignment = nil
		m.owesSync = true
		if m.join != nil {
			c.answerJoin(g, m, joined(g, m, m.join.version))
		}
		m.isNew = false
		c.heard(g, m)
	}
	g.syncBy = c.now + g.rebalanceTimeout()
	c.timers.by(g, g.syncBy)
}

// persistEmpty stores that nobody is left. If that fails, a next leader finds the
// members of the last stable generation and loses them when their sessions end.
func (c *Coordinator) persistEmpty(g *group) {
	o := &outcome{}
	g.emptying = o
	c.persist(g, changeCommand(g.id, g.persisted(nil)), func(err *kerr.Error) {
		if g.emptying == o {
			g.emptying = nil
		}
		for _, tell := range o.waiters {
			tell(err)
		}
	})
}

// syncPhaseOver removes members who were told of the generation and did not ask
// for their assignment.
func (c *Coordinator) syncPhaseOver(g *group) {
	g.syncBy = never
	var late []*member
	for _, m := range g.order {
		if m.owesSync {
			late = append(late, m)
		}
	}
	if len(late) == 0 {
		return
	}
	for _, m := range late {
		c.removeMember(g, m)
	}
	c.prepareRebalance(g)
}
