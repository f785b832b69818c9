package group

// reconcile brings a member nearer to its target (KIP-848): it keeps what it has
// and shall have, must give up what it shall not have before it is told the new
// epoch, and gets what else it shall have as soon as nobody owns it. Owned is what
// the member says that it owns, nil if it does not say.
func (k *consumerGroup) reconcile(m *consumerMember, owned *partitions) *consumerMember {
	epoch := m.epoch
	switch {
	case m.state == settled && epoch == k.assignment:
		return m
	case m.state == unrevoked:
		if stillOwns(m.revoking, owned) {
			return m
		}
		epoch++ // what it was asked for is done
	}
	keep := m.assigned.and(m.target)
	revoke := m.assigned.minus(m.target)
	if len(revoke) > 0 && stillOwns(revoke, owned) {
		return m.with(func(n *consumerMember) {
			n.state = unrevoked
			n.hold(keep, revoke, epoch)
			n.setEpoch(epoch)
		})
	}
	free := m.target.filter(func(p partition) bool {
		owner := k.owners[p]
		return owner == "" || owner == m.id
	}).minus(keep)
	state := settled
	if len(keep)+len(free) < len(m.target) {
		state = unreleased
	}
	return m.with(func(n *consumerMember) {
		n.state = state
		n.hold(keep.or(free), nil, k.assignment)
		n.setEpoch(k.assignment)
	})
}

func stillOwns(revoking partitions, owned *partitions) bool {
	return owned == nil || len(revoking.and(*owned)) > 0
}

func (m *consumerMember) setEpoch(epoch int32) {
	if epoch != m.epoch {
		m.previous, m.epoch = m.epoch, epoch
	}
}

// waitsForOthers reports whether something of the member's target is owned by
// another member.
func (k *consumerGroup) waitsForOthers(m *consumerMember) bool {
	for _, p := range m.target {
		if owner := k.owners[p]; owner != "" && owner != m.id {
			return true
		}
	}
	return false
}

// assign makes the target assignment of the group's present epoch.
func (k *consumerGroup) assign(preset Assignor) {
	k.assignor = string(k.preferredAssignor(preset))
	members := k.sorted()
	subs := make([]subscriber, len(members))
	for i, m := range members {
		subs[i] = subscriber{id: m.id, instance: m.instance, topics: k.subs.of(m), has: m.target}
	}
	counts := make(map[[16]byte]int32, len(k.subs.topics))
	for _, t := range k.subs.topics {
		counts[t.id] = t.count
	}
	for i, target := range assignors[Assignor(k.assignor)](subs, counts) {
		m := members[i]
		if len(target) != len(m.target) || len(target.and(m.target)) != len(target) {
			k.set(m.with(func(n *consumerMember) { n.target = target }))
		}
	}
	k.assignment = k.group
	k.dirty = true
}

// preferredAssignor is the one that most members ask for, of equal ones the first
// by name, and the preset one if nobody asks.
func (k *consumerGroup) preferredAssignor(preset Assignor) Assignor {
	votes := map[Assignor]int{}
	for _, m := range k.members {
		if m.assignor != "" {
			votes[Assignor(m.assignor)]++
		}
	}
	best := preset
	for name, n := range votes {
		if assignors[name] != nil && (n > votes[best] || n == votes[best] && name < best) {
			best = name
		}
	}
	return best
}
