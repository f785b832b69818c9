package group

import (
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kind is what ListGroups calls the groups of a protocol (KIP-848).
func (g *group) kind() string {
	if g.consumer != nil {
		return "consumer"
	}
	return "classic"
}

// List names the groups of this shard, sorted, that match the filters of the
// request; the caller joins the lists of the shards. Filters ignore case, and one
// that knows no such state or type matches nothing.
func (c *Coordinator) List(req *kmsg.ListGroupsRequest) *kmsg.ListGroupsResponse {
	r := kmsg.NewPtrListGroupsResponse()
	r.Version = req.Version
	states, types := newFilter(req.StatesFilter), newFilter(req.TypesFilter)
	for _, id := range slices.Sorted(maps.Keys(c.groups)) {
		g := c.groups[id]
		if g.phase == dead || !states.passes(g.phase.String()) || !types.passes(g.kind()) {
			continue
		}
		x := kmsg.NewListGroupsResponseGroup()
		x.Group, x.ProtocolType, x.GroupState, x.GroupType = id, g.protocolType, g.phase.String(), g.kind()
		r.Groups = append(r.Groups, x)
	}
	return r
}

// filter is a list of any length, in lower case. An empty one passes everything.
type filter map[string]bool

func newFilter(values []string) filter {
	f := make(filter, len(values))
	for _, v := range values {
		f[strings.ToLower(v)] = true
	}
	return f
}

func (f filter) passes(value string) bool { return len(f) == 0 || f[strings.ToLower(value)] }

// Describe tells what is known of a classic group. One that does not exist, or is a
// consumer group, is Dead, and
// from version 6 on GROUP_ID_NOT_FOUND (KIP-1043).
func (c *Coordinator) Describe(group string, version int16) kmsg.DescribeGroupsResponseGroup {
	r := kmsg.NewDescribeGroupsResponseGroup()
	r.Group = group
	g := c.groups[group]
	if g == nil || g.phase == dead || g.consumer != nil {
		r.State = dead.String()
		if version >= 6 {
			r.ErrorCode = kerr.GroupIDNotFound.Code
			message := "Group " + group + " not found."
			if g != nil && g.consumer != nil {
				message = "Group " + group + " is not a classic group."
			}
			r.ErrorMessage = &message
		}
		return r
	}
	r.State, r.ProtocolType = g.phase.String(), g.protocolType
	if g.phase == stable && g.protocol != nil {
		r.Protocol = *g.protocol
	}
	for _, m := range g.order {
		x := kmsg.NewDescribeGroupsResponseGroupMember()
		x.MemberID, x.InstanceID, x.ClientID, x.ClientHost = m.id, m.instance, m.client.ID, m.client.Host
		x.MemberAssignment = m.assignment
		if g.phase == stable {
			x.ProtocolMetadata = m.metadata(r.Protocol)
		}
		r.Members = append(r.Members, x)
	}
	return r
}

// Delete deletes groups without members, with their offsets, and answers when all
// of that is applied. It makes a response of version 2; the caller, who joins the
// answers of the shards, sets what the client asked for.
func (c *Coordinator) Delete(now int64, t Token, groups []string) []Effect {
	c.begin(now)
	r := kmsg.NewPtrDeleteGroupsResponse()
	r.Version = 2
	for _, id := range groups {
		x := kmsg.NewDeleteGroupsResponseGroup()
		x.Group = id
		r.Groups = append(r.Groups, x)
	}
	c.expect(t, func(err *kerr.Error) kmsg.Response {
		for i := range r.Groups {
			r.Groups[i].ErrorCode = err.Code
		}
		return r
	})
	missing := 1
	done := func() {
		if missing--; missing == 0 {
			c.answer(t, r)
		}
	}
	for i, id := range groups {
		g := c.groups[id]
		switch {
		case g == nil || g.phase == dead:
			r.Groups[i].ErrorCode = kerr.GroupIDNotFound.Code
		case g.phase != empty || g.consumer != nil && g.consumer.storing:
			r.Groups[i].ErrorCode = kerr.NonEmptyGroup.Code
		default:
			missing++
			c.delete(g, func(err *kerr.Error) {
				r.Groups[i].ErrorCode = code(err)
				done()
			})
		}
	}
	done()
	return c.end()
}

// delete makes an empty group dead, until it is gone or cannot be deleted.
func (c *Coordinator) delete(g *group, done func(*kerr.Error)) {
	since := g.since
	g.enter(dead, c.now)
	clear(g.pending)
	c.persist(g, deleteCommand(g.id), func(err *kerr.Error) {
		if err != nil {
			g.enter(empty, since)
		} else {
			delete(c.groups, g.id)
			c.timers.drop(g)
		}
		done(err)
	})
}
