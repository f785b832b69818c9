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
// One goroutine, the appender, calls Append, Sync, TruncateSuffix, Seal, SetHardState
// and Install. One goroutine, the Raft loop, calls Committed and Forget in the
// order of the log. WriteSnapshot runs in a background goroutine of the caller,
// one at a time; so does Clean, and so does Prepare. Everything else may be called by
// anyone at any time. The package starts no goroutine: what is done beside the appender
// is a step that the caller takes when there is something to do.
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
// Locks, in the order in which they are taken: Log.snapMu (writing and installing
// snapshots, changes of the segments by the cleaner, the beginning of a Stage),
// Log.syncMu (one fsync of a segment at a time, and which segment is open), room.mu
// (the next segment's file), Log.mu (the segments, the window, the directory; never held
// over I/O), and as leaves manifest.mu (held over the sync of a record; the appender, the
// cleaner and a Stage write some), hardState.mu, blockCache.mu and damageList.mu.
//
// docs/storage.md draws every file byte by byte.
package commitlog
