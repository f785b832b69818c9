package group

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/record"
)

// maxWaitingRequests bounds the requests that wait for a group's change to be
// persisted, as a multiple of the members it may have. Further ones are refused
// with COORDINATOR_LOAD_IN_PROGRESS, and clients try again.
const maxWaitingRequests = 4

// await lets a request wait until what is being persisted for its group is. It
// reports whether there is anything to wait for; again is called then, unless the
// client is gone.
func (c *Coordinator) await(g *group, t Token, again func()) bool {
	k := g.consumer
	if k == nil || !k.storing {
		return false
	}
	if len(k.waiting) >= maxWaitingRequests*c.cfg.ConsumerMaxSize {
		c.refuse(t, kerr.CoordinatorLoadInProgress)
	} else {
		k.waiting = append(k.waiting, func() {
			if _, asked := c.waiting[t]; asked {
				again()
			}
		})
	}
	return true
}

// reply lets a request be answered at the end of the turn.
func (k *consumerGroup) reply(t Token, build func() kmsg.Response) {
	k.answers = append(k.answers, reply{t, build})
}

// put puts a changed member in its place, if it is changed.
func (k *consumerGroup) put(m *consumerMember) {
	if !m.equal(k.members[m.id]) {
		k.set(m)
		k.dirty = true
	}
}

// leave takes a member out, in favour of the others.
func (k *consumerGroup) leave(m *consumerMember) {
	k.remove(m)
	k.dirty, k.bump = true, true
	k.subs.known = false
}

// endTurn assigns anew if need be, makes the answers, and persists what has
// changed; only then the answers are sent.
func (c *Coordinator) endTurn(g *group) {
	k := g.consumer
	if k == nil || k.storing || g.inTurn {
		return
	}
	due := k.group > k.assignment && c.now >= k.assignAt
	if len(k.members) > 0 && (len(k.answers) > 0 || k.dirty || due) {
		c.resolve(g)
	}
	if k.bump {
		k.group++
		k.bump, k.dirty = false, true
	}
	if k.group > k.assignment && len(k.members) > 0 && c.now >= k.assignAt {
		k.assign(c.cfg.Assignors[0])
		k.assignAt = c.now + c.cfg.ConsumerPace(g.id).AssignmentInterval.Milliseconds()
	}
	answers := make([]Answer, 0, len(k.answers))
	for _, r := range k.answers {
		answers = append(answers, Answer{r.token, r.build()})
	}
	k.answers = nil
	c.follow(g)
	if !k.dirty {
		c.answerAll(answers)
		return
	}
	k.dirty = false
	next := c.downgraded(g)
	var cmd record.Command
	if next != nil {
		cmd = changeCommand(g.id, next.persisted(nil))
	} else {
		cmd = consumerCommand(g.id, k.change())
	}
	clear(k.changed)
	if len(cmd) > c.cfg.MaxGroupBytes {
		c.fallBack(g)
		c.refuseAll(answers, kerr.UnknownServerError)
		return
	}
	k.storing = true
	c.persist(g, cmd, func(err *kerr.Error) { c.turnPersisted(g, next, answers, err) })
}

func (c *Coordinator) turnPersisted(g *group, next *group, answers []Answer, err *kerr.Error) {
	waiting := g.consumer.waiting
	g.consumer.waiting, g.consumer.storing = nil, false
	switch {
	case err != nil:
		c.fallBack(g)
		c.refuseAll(answers, err)
	case next != nil:
		g.adopt(next)
		c.answerAll(answers)
		c.prepareRebalance(g)
	default:
		c.answerAll(answers)
	}
	g.inTurn = true
	for _, again := range waiting {
		again()
	}
	g.inTurn = false
	c.endTurn(g)
	c.timers.by(g, g.earliest())
}

func (c *Coordinator) answerAll(answers []Answer) {
	for _, a := range answers {
		c.answer(a.Token, a.Response)
	}
}

func (c *Coordinator) refuseAll(answers []Answer, err *kerr.Error) {
	for _, a := range answers {
		c.refuse(a.Token, err)
	}
}

// follow keeps the phase and the schedule of a group up with its members.
func (c *Coordinator) follow(g *group) {
	if p := g.consumer.phase(); p != g.phase {
		g.enter(p, c.now)
	}
	c.timers.by(g, g.earliest())
}

// fallBack makes a group what State says, because a change of it is not persisted.
func (c *Coordinator) fallBack(g *group) {
	s := c.state.groups[g.id]
	if s == nil {
		s = &groupState{}
	}
	g.adopt(restored(g.id, s, &c.cfg, c.now))
	c.timers.by(g, g.earliest())
}

// adopt makes g what next is; what is scheduled, and what is being persisted for
// it, stays.
func (g *group) adopt(next *group) {
	next.inFlight, next.inTurn, next.wake, next.place = g.inFlight, g.inTurn, g.wake, g.place
	*g = *next
}

// expireConsumers loses the members whose time is over.
func (c *Coordinator) expireConsumers(g *group) {
	k := g.consumer
	if k.storing {
		return // it is looked at again when that is persisted
	}
	for _, id := range slices.Sorted(maps.Keys(k.deadlines)) {
		if d := k.deadlines[id]; min(d.session, d.rebalance) <= c.now {
			k.leave(k.members[id])
		}
	}
	c.endTurn(g)
}
