// Package replica runs one member of one Raft group on one node: a shard.
//
// The Raft log is the commit log. What Raft carries as an entry's data is a
// handle, the length and checksum of a record.Entry; the entry itself is written
// once, to the commit log, and read from there. A Message to a peer is Raft's, and
// with it the entry that it speaks of.
//
//	        peers                                  peers
//	          │ Step                                 ▲ Send
//	          ▼                                      │
//	Tick ──▶ Replica ── Turn ──▶ Effects ── Store ──▶ Appender ──▶ commitlog
//	          ▲                    │                      │
//	          └────── Stored ──────┼──────────────────────┘
//	          ▲                    │ Ship
//	          └ Arrived ─── Transfers ◀──▶ peers
//
// Three machines without goroutine and clock, and a shell:
//
//	Replica    a RawNode, the entries that are proposed or received and not yet
//	           applied (staging), and the log seen as raft.Storage.
//	Appender   takes everything that waits to be stored, writes it, syncs once.
//	Transfers  for followers that are so far behind that Raft has no entries for
//	           them: ships the log and a snapshot, and receives them.
//	Host       runs the three, each in a goroutine of its own, and a fourth that
//	           seals full segments. The simulation (integration/sim) does the same
//	           four things by events.
//
// The rules that tests repeat by name:
//
//   - F1: term and vote are durable before any message of that term leaves.
//   - F2: Raft, and with it any peer, hears that an entry is stored only when the
//     flush policy says so; one sync covers everything that waited for it.
//   - F3: a suffix is cut before other entries take its place.
//   - The commit index is stored behind the entries that came with it.
//   - Raft never waits for a disk: what it reads is in memory. Payloads are read by
//     who sends them, and by Apply, where they are not in memory any more.
//   - The state machine decides only while Leading: between the moment that the
//     first entry of this term is applied and the loss of the lead. So what it
//     decides on is complete, and what is in flight is its own.
//   - Apply is called in the order of the log, once per entry and start, and goes on
//     behind a snapshot where one was restored.
//   - Every member makes Raft's own entries itself, the same bytes: without time,
//     and never the last of a segment.
//   - A log that cannot be written is given up: nothing is stored, applied or
//     answered, and a leader hands the lead over.
//
// Memory is bounded by names: maxStaged, maxInflightBytes for each follower,
// maxInboxBytes, maxUnwritten.
package replica
