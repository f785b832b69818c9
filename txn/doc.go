// Package txn coordinates messages whose sender has not yet said whether anyone
// may see them: half messages. (Kafka transactions will have their coordinator
// here as well.)
//
//	           End(Committed)
//	Undecided ────────────────▶ Committed     the message went to its partition
//	  │  ▲│        ▲
//	  │  └┘Asked   │ End
//	  │            │
//	  ├─────────▶ Parked ─────▶ RolledBack    the message is never shown
//	  │   the last question was not answered     ▲
//	  └──────────────────────────────────────────┘
//	           End(RolledBack)
//
// A prepared message waits in the shard's hidden partition. If its sender does not
// decide within the immunity time, the group of the sender is asked, again and
// again; after the last question the message is parked: nobody is asked any more,
// a client or an operator may still decide, and when the topic's retention has
// passed it is rolled back. What has ended stays known for a while, so that the same
// decision again is harmless and a used id is noticed.
//
// Halves is the applied half: it changes by committed commands, the same on every
// replica. Leading is the leading half: it decides who is first, what is due, and
// notes what is in flight. Neither has a goroutine, a clock or a disk, and neither
// locks: Halves is written by the shard's loop and read under the shard's lock,
// Leading belongs to the loop.
package txn
