// Package partition keeps what a shard knows of its partitions besides their
// bytes: bounds, leader epochs, the sequences of idempotent producers, and their
// transactions.
//
//	  log start            high watermark      next offset to give
//	      │                = end of the last           │
//	      │                committed batch             │
//	──────┼────────────────────────┼───────────────────┼────▶ offsets
//	gone  │     may be fetched     │     in flight     │
//	      └────────────────────────┘                   │
//	             Table                     Leading ────┘
//
// Table is the applied half. It changes only by what the log holds, in the
// order of the log, so it is the same on every replica; it refuses nothing that
// is well-formed. Leading is the leading half: the leader's decisions on what
// comes in, made against the Table plus an overlay of what has been put into
// the log and is not applied yet. It is made anew for each term and dropped with
// the lead.
//
// Neither has a goroutine, a clock, a file or a lock. The shard that hosts them
// holds its own lock: exclusively around Apply, ApplyBatch, View and all of
// Leading, shared around the reading methods of Table. Only View.Encode may run
// beside everything else.
//
// # Idempotent producers
//
// What a producer's batch must be (KIP-98, KIP-360), where "next" is the
// sequence behind its newest batch, in flight or applied:
//
//	producer epoch older            INVALID_PRODUCER_EPOCH
//	producer epoch newer            first sequence 0, else OUT_OF_ORDER_SEQUENCE_NUMBER
//	one of the last five batches    a duplicate: answered with its original offset
//	first sequence is next          accepted
//	all of it accepted before       DUPLICATE_SEQUENCE_NUMBER: nothing is lost, the offset is forgotten
//	anything else                   OUT_OF_ORDER_SEQUENCE_NUMBER
//
// What is in flight may yet be lost, so the answer to what repeats it waits until it
// is applied: batches in flight are remembered all, and parts of them are duplicates
// without an offset.
//
// A producer that is not known may begin at any sequence only if its state may
// have been expired here (KIP-360). If that cannot be, it has never written to
// this partition and must begin at 0: what begins later is a batch that overtook
// an earlier one, which was refused while the partition had no leader, and would
// shut that one out for good. Kafka 4.5 has this rule for partitions that were
// never written (KAFKA-15591); here it holds for all, because a table knows the
// highest producer id it has expired, and moves of the leader, snapshots,
// retention and DeleteRecords lose no producer.
//
// # Transactions
//
// A batch that says it is part of a transaction begins its producer's in the
// partition; a control batch, which only a broker writes, ends it. Until then nothing
// behind its first offset is stable, and its producer is not forgotten. Aborted ones
// are remembered until the log start has passed them, for readers are told of them.
package partition
