// Package commitlog is the shared log of one shard: every partition's batches,
// every command and Raft's own entries, written once, in one order.
//
//	Append ──▶ open segment ──Rolls──▶ full ──all Committed, Seal──▶ sealed
//	              │ Sync                 │ synced                      │ has an index file
//	              ▼                      ▼                             ▼
//	           Durable            index in memory               index read in blocks
//	                                                            │ Clean, behind two snapshots
//	                                                            ▼
//	                                                         rewritten with what lives, or gone
//
//	next segment's file ──Prepare, a piece at a time──▶ room ──roll──▶ open segment
//
//	Ship ──Shipment, read from any place──▶ Stage, beside the log ──Install──▶ the log
//
// # Who calls what
//
// The package starts no goroutine: what is done beside the appender is a step that the
// caller takes when there is something to do. Each of these is called by one goroutine
// at a time, and all of them beside each other:
//
//	the appender          Append, TruncateSuffix, SetHardState, Install
//	the sealer            Seal
//	the Raft loop         Committed and Forget, in the order of the log
//	who takes snapshots   WriteSnapshot
//	who ships and stages  Stage and what it returns, DiscardStage
//	the cleaner           Clean
//	the scrub             Scrub and what it returns
//
// Sync, Prepare, Ship, everything that reads (Read, Batches, OlderThan, OffsetForTime,
// MaxTimestamp, Entry) and everything that only tells (First, Last, Term, Handle, Durable,
// HardState, Snapshot, Segments, the Pendings, the counts) may be called by anyone at any
// time. A Shipment, a Stage and a Scrubber are for one goroutine at a time each. Open is
// before all of it, Close behind the cleaner, the sealer and the appender; a reader may still be at
// it then, and gets ErrClosed or what it asked for.
//
// # What holds, always
//
//   - Order. Indexes in the log are contiguous; terms never fall, nor do generations but
//     from a segment that an installation kept to one that it brought.
//   - Durable. An entry at or below Durable survives a power loss. A frame says up
//     to where the log was durable when it was written; Open takes bad bytes at or
//     below the highest such index for damage, and bad bytes above it for a torn tail,
//     and cuts it. Zeros up to the end of the file are neither. Damage behind the
//     newest good snapshot stops Open; older damage costs the records in it.
//   - Cut. A suffix that was cut never comes back: the manifest has the higher
//     generation before the first byte is cut.
//   - Committed. Only what was passed to Committed can be found by a reader.
//   - Verified. No batch leaves Read, and no entry leaves Entry, unless all its
//     bytes are those that were appended.
//   - Cleaned. Only sealed segments at or below the older snapshot are cleaned, whose
//     entries nobody asks for any more; what lives of their batches stays as it is,
//     and no offset changes.
//   - Installed. What a shipment brought becomes the log in one step or not at all.
//   - Fenced. After an error that leaves the disk in doubt nothing is written any
//     more; reading goes on. Only a write that found the disk full may be retried.
//
// # Rules of order
//
// What is done in which order decides what a crash can take. Tests and comments name
// these rules by their letters; F1 and F2 are kept together with package replica, which
// decides when a message leaves.
//
//   - F1. A term and a vote are durable before anything says so: SetHardState returns
//     when they are, and Append takes no entry of a higher term.
//   - F2. An entry counts as stored when Durable has reached it, or under the
//     asynchronous flush policy when Append has returned; one Sync covers all that waited.
//   - F3. A suffix is cut in the manifest, with a higher generation, before a byte of it
//     is touched, and other entries come only behind that. A frame that is not the next
//     one, or is of a lower generation than the cut that it lies behind, ends the log.
//   - F4. Only committed entries are in an index. So cutting a suffix touches none.
//   - F5. A new segment's file and name are durable before the manifest names it, and
//     the segment before it is durable as a whole; only then it is appended to.
//   - F6. The manifest lets go of a segment before its files are deleted, and names one
//     only when its files are durable: also where one takes the place of others.
//
// # Locks
//
// In the order in which they are taken: Log.sealMu (sealing a segment, making an index
// anew, installing), Log.snapMu (writing and installing
// snapshots, changes of the segments by the cleaner, the beginning of a Stage),
// Log.syncMu (one fsync of a segment at a time, and which segment is open), room.mu
// (the next segment's file), Log.mu (the segments, the window, the directory; never held
// over I/O), and as leaves manifest.mu (held over the sync of a record; the appender, the
// sealer, the cleaner and a Stage write some), hardState.mu, blockCache.mu and knownDamage.mu.
//
// docs/storage.md draws every file byte by byte.
package commitlog
