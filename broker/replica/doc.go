// Package replica runs one Raft group on one node: a shard.
//
// The Raft log is the commit log. What Raft carries as an entry's data is a
// handle, the length and checksum of a record.Entry; the entry itself is written
// once, to the commit log, and read from there.
//
// Replica is the machine: a RawNode, the entries that are proposed and not yet
// applied (staging), and the log seen as raft.Storage. It has no goroutine and no
// clock. Host is the shell around it, with two goroutines:
//
//	the loop      ticks, asks the state machine what to propose, takes Raft's
//	              Ready, applies what is committed. It never touches a disk but
//	              to read an entry again after a restart.
//	the appender  takes everything that waits to be stored, writes it, syncs once,
//	              and hands Raft's answers back to the loop.
//
// The rules that tests repeat by name:
//
//   - F1: term and vote are durable before any message of that term leaves.
//   - F2: Raft hears that an entry is stored only when the flush policy says so;
//     one sync covers everything that waited for it.
//   - F3: a suffix is cut before other entries take its place.
//   - The state machine decides only while Leading: between the moment that the
//     first entry of this term is applied and the loss of the lead. So what it
//     decides on is complete, and what is in flight is its own.
//   - Apply is called in the order of the log, once per entry and start.
//
// Transfers is a machine beside it, for followers that are so far behind that Raft
// has no entries for them.
package replica
