// Package txn coordinates messages whose sender has not yet said whether anyone
// may see them: half messages, which one partition's shard decides about alone, and
// Kafka transactions, over many partitions in many shards.
//
// # Half messages
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
// # Kafka transactions
//
//	         first Enlist              End, TimeOut, Init of another
//	Empty ────────────────▶ Ongoing ───────────────────────────────▶ PrepareCommit / PrepareAbort
//	  ▲                        ▲                                             │ the decision is applied:
//	  │ Init                   │ first Enlist of the next                    │ one order per partition
//	  │                        │                                             ▼ all are Written
//	  └────────────────────────┴───────────────────────────────────── CompleteCommit / CompleteAbort
//
// A transactional id has a producer id and an epoch; whoever has an older epoch is
// fenced. What decides is the coordinator's log: when PrepareCommit is applied the
// transaction is committed, whatever happens to whom. Orders to write markers carry the
// coordinator's term and are repeated until each is in its partition's log; until all
// are, the next transaction of the id waits (CONCURRENT_TRANSACTIONS). A client of
// transaction.version 2 gets a new epoch with every end (KIP-890), and its marker bears
// it: so neither a request nor an order that comes late can hit the next transaction.
//
// # Halves and leaders
//
// Halves, and Transactions, is the applied half: it changes by committed commands, the same on every
// replica. Leading, and Coordinator, is the leading half: it decides who is first, what is due, and
// notes what is in flight. Neither has a goroutine, a clock or a disk, and neither
// locks: Halves is written by the shard's loop and read under the shard's lock,
// Leading belongs to the loop.
package txn
