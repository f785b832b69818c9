// Package broker is a node, composed here and nowhere else: the binary, the demo
// and every test start one with Open and Run.
//
// # Parts, in the order of their start
//
//	datadir     locks the directory and says whose it is
//	Shard 0     the metadata: topics, partitions and their shards, producer ids
//	Shards 1..n the data: one commit log and one Raft group each
//	kafka       the protocol server, in front of all of it
//
// # How a shard works
//
// A Shard is the state machine of a replica (broker/replica). Everything that wants
// to change it is an item: a batch, a command, the decision of a half message.
// Items wait in the queue; the loop gathers all that waits into one entry (Next),
// asks the leading half of each part to decide, and proposes the entry. When it is
// committed, Apply changes the applied half, and the items end: that is the answer.
//
//	connection            loop                        appender
//	  submit ── queue ──▶ Next: decide, patch ──▶ write, sync
//	                      Apply: change, index  ◀──────┘
//	  answer ◀─────────── end
//
// # Locks, in the order in which they may be taken
//
//	producerIDs.mu   held while a block of ids is fetched
//	queue.mu         the items of a shard
//	Shard.mu         the applied half: written by the loop, read by anybody
//	watchers.mu      the long polls of a shard
//
// No lock but producerIDs.mu is held across a wait, and nothing of a shard is called
// under it but propose.
package broker
