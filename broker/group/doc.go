// Package group coordinates consumer groups: who is a member, in which
// generation, with which assignment, and which offsets the group has committed.
// It holds two protocols. One is the classic protocol, in which a member of the group computes the
// assignment (JoinGroup, SyncGroup, Heartbeat, LeaveGroup), with static members
// (KIP-345), known member ids (KIP-394) and batched leaving (KIP-345), as Apache
// Kafka 4 answers it.
//
//	            first Join                initial delay or last member in
//	  Empty ─────────────▶ PreparingRebalance ─────────────▶ CompletingRebalance
//	    ▲                    ▲      │                          │       │
//	    └── nobody is left ──┼──────┘                          │       │ the leader's Sync
//	                         │                                 │       │ is applied
//	                         ├── join, leave, loss ────────────┘       ▼
//	                         └── join, leave, loss ──────────────── Stable
//
//	Empty ──▶ Dead: deleted on request, or because nothing is left of it
//
// The other is the consumer protocol (KIP-848), in which the coordinator assigns.
// A member sends one kind of request, ConsumerGroupHeartbeat. A change of members,
// subscriptions or topics raises the group's epoch, for which there is a target
// assignment at once; each member is brought to it at its own pace, by its member
// epoch: it gives up, says so, and gets what others have given up.
//
//	         settled ◀──────────── nothing is missing ─────────┐
//	            │  ▲                                           │
//	new target, │  │ gave up, nothing is missing       unreleased: others still own
//	must give up│  │                                     a part of its target
//	            ▼  │                                           ▲
//	        unrevoked ── gave up, others have not yet ─────────┘
//
// A group has at most one change on its way into the log; requests that come
// meanwhile are then taken up together, as one turn (turn.go). A group can change
// its protocol under its members (migration.go): classic members in a consumer
// group get their part of the assignment by SyncGroup, and their generation is
// their member epoch.
//
// There are two halves, and neither has a goroutine, a clock or I/O.
//
// State is the applied half: the same on every replica of the shard, changed only
// by Apply, with commands from the shard's log. It knows committed offsets and,
// of each group, the last generation that became stable, or all of a consumer group.
//
// Coordinator is the leading half. It lives on the leader of the shard, is built
// from State by Lead and dropped with the lead. It answers requests, at once or
// later, and asks for commands to be persisted: both are Effects that its methods
// return. What clients may rely on is answered only after the command that makes
// it so is applied. So after a loss of the lead a stable group goes on with its
// generation; a rebalance under way is begun anew by its members.
//
// The shell around them
//
//   - makes a Token for each request that may wait, never using one twice,
//   - sends each Answer to whoever the token names, with resp.Version already set,
//   - proposes each Persist, in order; when it has been applied to State, or
//     cannot be proposed, it calls Done of the Coordinator that asked for it,
//   - calls Tick at Next or a little later,
//   - calls Resign when the lead is lost, and then drops the Coordinator.
//
// Named invariants, which the tests hold:
//
//   - one answer: each token is answered exactly once, unless it was forgotten;
//   - generations rise: no generation of a group is smaller than an earlier one
//     that members were told by the same Coordinator;
//   - one assignment per generation: of one generation a member is only ever told
//     one assignment;
//   - one owner: no partition is given to a member of a consumer group while
//     another has not given it up, or has not been lost; so a member may commit under
//     an epoch of before for what it has had since then (KIP-1251);
//   - answered means applied: an offset or an assignment that a client was told
//     is in State.
package group
