package group

import (
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/invariant"
)

// Coordinator is the leading half: it decides for all groups of a shard while the
// node leads it. It is for one goroutine at a time, the one that also applies
// commands to its State.
//
// Times are in ms; one that is behind an earlier one counts as that one. Of
// requests strings are kept and byte slices are copied; byte slices in answers are
// the group's and must not be changed.
type Coordinator struct {
	cfg    Config
	state  *State
	groups map[string]*group
	timers schedule

	waiting   map[Token]waiting
	proposals map[ProposalID]proposal
	proposed  ProposalID

	// expireAt is when offsets are next looked at; toExpire are the groups that
	// the current look has not reached yet.
	expireAt int64
	toExpire []string

	now int64 // of the call under way
	out []Effect
}

// waiting is a request without an answer.
type waiting struct {
	refuse func(*kerr.Error) kmsg.Response
	// group and member are set for a Join that waits in a rebalance.
	group, member string
}

type proposal struct {
	g    *group
	done func(*kerr.Error)
}

// Lead begins to coordinate the groups of s, which the caller goes on applying
// commands to. Config must be valid. Members of stable groups stay members, with
// a fresh session timeout.
func Lead(s *State, cfg Config, now int64) *Coordinator {
	err := cfg.Validate()
	invariant.That(err == nil, "group coordinator: %v", err)
	c := &Coordinator{
		cfg:       cfg,
		state:     s,
		groups:    make(map[string]*group, len(s.groups)),
		waiting:   map[Token]waiting{},
		proposals: map[ProposalID]proposal{},
		expireAt:  now + cfg.OffsetsRetentionCheckInterval.Milliseconds(),
	}
	c.begin(now)
	for id, gs := range s.groups {
		g := restored(id, gs, &c.cfg, now)
		c.groups[id] = g
		c.timers.by(g, g.earliest())
		if len(g.members) > cfg.MaxSize {
			// The limit was lowered: a rebalance lets members commit before some of
			// them are turned away. Nobody waits yet, so there is nothing to answer.
			c.prepareRebalance(g)
		}
	}
	invariant.That(len(c.out) == 0, "taking the lead had effects")
	return c
}

func (c *Coordinator) begin(now int64) {
	c.now, c.out = max(c.now, now), nil
}

func (c *Coordinator) end() []Effect {
	out := c.out
	c.out = nil
	return out
}

// expect notes a request that must be answered. refuse makes the answer of a
// request that failed as a whole.
func (c *Coordinator) expect(t Token, refuse func(*kerr.Error) kmsg.Response) {
	_, used := c.waiting[t]
	invariant.That(!used, "token %d names two requests", t)
	c.waiting[t] = waiting{refuse: refuse}
}

// answer ends a request, unless its client is gone.
func (c *Coordinator) answer(t Token, r kmsg.Response) {
	if _, ok := c.waiting[t]; ok {
		delete(c.waiting, t)
		c.out = append(c.out, Answer{t, r})
	}
}

func (c *Coordinator) refuse(t Token, err *kerr.Error) {
	if w, ok := c.waiting[t]; ok {
		c.answer(t, w.refuse(err))
	}
}

// persist asks for a command to be applied; done is called, inside of a call of
// Done, when it is or cannot be.
func (c *Coordinator) persist(g *group, cmd record.Command, done func(*kerr.Error)) {
	c.persistIn(nil, g, cmd, done)
}

// persistIn is persist for what is part of a transaction.
func (c *Coordinator) persistIn(t *Transaction, g *group, cmd record.Command, done func(*kerr.Error)) {
	c.proposed++
	g.inFlight++
	c.proposals[c.proposed] = proposal{g, done}
	c.out = append(c.out, Persist{c.proposed, cmd, t})
}

// Done tells that a proposal of this Coordinator was applied (nil), or that it
// could not be proposed and never will be applied. The error may carry a
// *kerr.Error, which reaches clients; without one they are told that the
// coordinator is not available and try again.
func (c *Coordinator) Done(now int64, id ProposalID, err error) []Effect {
	c.begin(now)
	p, ok := c.proposals[id]
	invariant.That(ok, "proposal %d ended twice, or is another coordinator's", id)
	delete(c.proposals, id)
	p.g.inFlight--
	p.done(persistError(err))
	return c.end()
}

// Forget tells that nobody waits for the token's answer any more. A member stays
// one, and may come back and ask again, unless it was never told its id.
func (c *Coordinator) Forget(now int64, t Token) []Effect {
	c.begin(now)
	w, ok := c.waiting[t]
	if !ok {
		return c.end()
	}
	delete(c.waiting, t)
	if g := c.groups[w.group]; g != nil {
		if m := g.members[w.member]; m != nil && m.join != nil && m.join.token == t && !m.knowsID {
			c.removeAndRebalance(g, m)
		}
	}
	return c.end()
}

// Resign answers everything that waits, with NOT_COORDINATOR, because the lead is
// lost. The Coordinator must not be used afterwards: what it has proposed may or
// may not be applied.
func (c *Coordinator) Resign(now int64) []Effect {
	c.begin(now)
	for _, t := range slices.Sorted(maps.Keys(c.waiting)) {
		c.refuse(t, kerr.NotCoordinator)
	}
	return c.end()
}

// Next is when Tick has something to do at the earliest, in ms.
func (c *Coordinator) Next() int64 {
	if len(c.toExpire) > 0 {
		return c.now
	}
	if len(c.timers) > 0 {
		return min(c.timers[0].wake, c.expireAt)
	}
	return c.expireAt
}

// Tick does what is due: sessions and rebalances that have timed out, member ids
// never used, offsets past their retention.
func (c *Coordinator) Tick(now int64) []Effect {
	c.begin(now)
	var due []*group
	for g := c.timers.due(now); g != nil; g = c.timers.due(now) {
		due = append(due, g)
	}
	slices.SortFunc(due, func(a, b *group) int { return strings.Compare(a.id, b.id) })
	for _, g := range due {
		if g.consumer != nil {
			c.expireConsumers(g)
		} else {
			c.expireMembers(g)
		}
		c.timers.by(g, g.earliest())
	}
	c.expireOffsets()
	return c.end()
}

// expireMembers looks at every deadline of a group once.
func (c *Coordinator) expireMembers(g *group) {
	for _, id := range slices.Sorted(maps.Keys(g.pending)) {
		if g.pending[id] <= c.now {
			delete(g.pending, id)
			c.maybeCompleteJoin(g)
		}
	}
	for _, m := range slices.Clone(g.order) {
		if m.deadline > c.now || g.members[m.id] != m {
			continue
		}
		m.deadline = never // of one that waits: set anew when it is answered
		if !m.waits() {
			c.removeAndRebalance(g, m)
		}
	}
	if g.joinBy <= c.now {
		c.joinPhaseOver(g)
	}
	if g.syncBy <= c.now {
		c.syncPhaseOver(g)
	}
}

// create makes a group in memory. It is persisted with the first thing that must
// be remembered of it.
func (c *Coordinator) create(id string) (*group, *kerr.Error) {
	if len(c.groups) >= c.cfg.MaxGroups {
		return nil, kerr.PolicyViolation
	}
	g := newGroup(id, c.now)
	c.groups[id] = g
	return g, nil
}

// heard begins a member's session anew.
func (c *Coordinator) heard(g *group, m *member) { c.sessionEnds(g, m, c.now+m.session) }

func (c *Coordinator) sessionEnds(g *group, m *member, at int64) {
	m.deadline = at
	c.timers.by(g, at)
}
