package group

import (
	"bytes"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kbin"
)

// leftForNow is the member epoch of a static member that has left and is expected
// to come back (KIP-848).
const leftForNow int32 = -2

// reconciliation is how far a member of a consumer group is on its way from what
// it has to its target.
type reconciliation uint8

const (
	// settled: it has its target, of the epoch it knows.
	settled reconciliation = iota
	// unrevoked: it was told to give partitions up and has not said yet that it did.
	unrevoked
	// unreleased: it waits for partitions that others have not given up yet.
	unreleased
)

// consumerMember is a member of a consumer group. It is immutable: a change makes
// a new one.
type consumerMember struct {
	id             string
	instance, rack *string
	client         Client
	rebalance      int32 // how long it may take to give partitions up, ms
	assignor       string
	topics         []string // that it names, rising
	regex          string
	classic        *classicMember // nil if it speaks the consumer protocol

	// epoch is the member epoch it was told, previous the one before: an answer may
	// have been lost.
	epoch, previous int32
	state           reconciliation
	assigned        partitions // what it was told that it has
	revoking        partitions // what it was told to give up
	target          partitions // what it shall have
	// since is, of each partition that it owns, the epoch with which it was assigned to
	// the member (KIP-1251).
	since map[partition]int32
}

// classicMember is what only a member that speaks the classic protocol has.
type classicMember struct {
	session   int32 // ms
	protocols []protocol
}

// with returns a changed copy.
func (m *consumerMember) with(change func(*consumerMember)) *consumerMember {
	next := *m
	change(&next)
	return &next
}

// hold changes what the member has and what it is to give up. What is not of what it has
// already is assigned to it with an epoch.
func (m *consumerMember) hold(assigned, revoking partitions, epoch int32) {
	if slices.Equal(assigned, m.assigned) && slices.Equal(revoking, m.revoking) {
		return
	}
	since := make(map[partition]int32, len(assigned)+len(revoking))
	for _, ps := range []partitions{assigned, revoking} {
		for _, p := range ps {
			if since[p] = epoch; m.assigned.has(p) {
				since[p] = m.since[p]
			}
		}
	}
	m.assigned, m.revoking, m.since = assigned, revoking, since
}

// forgetSince lets what the member has be its own from epoch 0 on: who comes in its place
// has no epoch yet.
func (m *consumerMember) forgetSince() {
	m.since = make(map[partition]int32, len(m.assigned))
	for _, p := range m.owns() {
		m.since[p] = 0
	}
}

// owns is what nobody else may be given.
func (m *consumerMember) owns() partitions { return m.assigned.or(m.revoking) }

// subscribesLike reports whether two subscriptions are the same.
func (m *consumerMember) subscribesLike(o *consumerMember) bool {
	return m.regex == o.regex && slices.Equal(m.topics, o.topics)
}

// equal reports whether persisting o in the place of m would change anything.
func (m *consumerMember) equal(o *consumerMember) bool {
	return m == o || m != nil && o != nil &&
		m.id == o.id && sameText(m.instance, o.instance) && sameText(m.rack, o.rack) && m.client == o.client &&
		m.rebalance == o.rebalance && m.assignor == o.assignor && m.subscribesLike(o) && m.classic.equal(o.classic) &&
		m.epoch == o.epoch && m.previous == o.previous && m.state == o.state &&
		slices.Equal(m.assigned, o.assigned) && slices.Equal(m.revoking, o.revoking) && slices.Equal(m.target, o.target) && maps.Equal(m.since, o.since)
}

func (m *classicMember) equal(o *classicMember) bool {
	return m == o || m != nil && o != nil && m.session == o.session &&
		slices.EqualFunc(m.protocols, o.protocols, func(a, b protocol) bool {
			return a.name == b.name && bytes.Equal(a.metadata, b.metadata)
		})
}

func sameText(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }

// appendMember encodes a member:
//
//	id, instance?, rack?, client id, client host, principal, rebalance timeout i32,
//	assignor, topics x name, regex, classic u8 1 {session timeout i32, protocols x
//	{name, metadata}} or 0, epoch i32, previous epoch i32, state u8 (0 settled,
//	1 unrevoked, 2 unreleased), assigned, since, revoking, since, target: sets of
//	partitions, two of them with an i32 for each of their partitions in order, the
//	epoch with which it was assigned
func appendMember(b []byte, m *consumerMember) []byte {
	b = kbin.AppendCompactString(b, m.id)
	b = kbin.AppendCompactNullableString(b, m.instance)
	b = kbin.AppendCompactNullableString(b, m.rack)
	b = kbin.AppendCompactString(b, m.client.ID)
	b = kbin.AppendCompactString(b, m.client.Host)
	b = kbin.AppendCompactString(b, m.client.Principal)
	b = kbin.AppendInt32(b, m.rebalance)
	b = kbin.AppendCompactString(b, m.assignor)
	b = kbin.AppendCompactArrayLen(b, len(m.topics))
	for _, t := range m.topics {
		b = kbin.AppendCompactString(b, t)
	}
	b = kbin.AppendCompactString(b, m.regex)
	b = kbin.AppendBool(b, m.classic != nil)
	if m.classic != nil {
		b = kbin.AppendInt32(b, m.classic.session)
		b = kbin.AppendCompactArrayLen(b, len(m.classic.protocols))
		for _, p := range m.classic.protocols {
			b = kbin.AppendCompactString(b, p.name)
			b = kbin.AppendCompactBytes(b, p.metadata)
		}
	}
	b = kbin.AppendInt32(b, m.epoch)
	b = kbin.AppendInt32(b, m.previous)
	b = kbin.AppendInt8(b, int8(m.state))
	for _, ps := range []partitions{m.assigned, m.revoking} {
		b = appendPartitions(b, ps)
		for _, p := range ps {
			b = kbin.AppendInt32(b, m.since[p])
		}
	}
	return appendPartitions(b, m.target)
}

func readMember(r *kbin.Reader) *consumerMember {
	m := &consumerMember{
		id:        r.CompactString(),
		instance:  r.CompactNullableString(),
		rack:      r.CompactNullableString(),
		client:    Client{r.CompactString(), r.CompactString(), r.CompactString()},
		rebalance: r.Int32(),
		assignor:  r.CompactString(),
	}
	for range count(r) {
		m.topics = append(m.topics, r.CompactString())
		if !r.Ok() {
			return nil
		}
	}
	m.regex = r.CompactString()
	if r.Bool() {
		m.classic = &classicMember{session: r.Int32()}
		for range count(r) {
			p := protocol{r.CompactString(), bytes.Clone(r.CompactBytes())}
			if !r.Ok() {
				return nil
			}
			m.classic.protocols = append(m.classic.protocols, p)
		}
	}
	m.epoch, m.previous, m.state = r.Int32(), r.Int32(), reconciliation(r.Int8())
	m.since = map[partition]int32{}
	for _, ps := range []*partitions{&m.assigned, &m.revoking} {
		*ps = readPartitions(r)
		for _, p := range *ps {
			m.since[p] = r.Int32()
		}
	}
	m.target = readPartitions(r)
	if m.state > unreleased {
		r.Span(-1)
	}
	if !r.Ok() {
		return nil
	}
	return m
}
