// Package compaction knows Kafka's rules of compaction: which records of a partition go,
// so that one stays for each key. It knows batches, and no files: who has those measures a
// partition (Dirt), and if it is due goes through it twice in a Pass, first to tell of
// its transactions and keys, then to ask of each batch what stays.
//
//	Dirt ──due──▶ AddTransactional ──▶ AddKeys ──▶ Filter, of every batch up to End
//
// Of each key the newest record stays, at its offset; a batch that loses records keeps its
// last offset. A record without a value, a delete marker, stays until the delete horizon
// of its batch, which is set when it is first cleaned (KIP-534). Records without a key go,
// and so do those of aborted transactions. The marker that commits a transaction of which
// nothing is left goes as a delete marker does; one that aborts stays, for readers are told
// of aborted transactions by the shard's state, and take the marker for their end. The last
// batch stays, be it empty.
//
// Kafka also keeps the last batch of each producer, empty, because it finds the producer's
// sequence there. Here that is in the snapshots, both of which are ahead of all that is
// cleaned.
//
// Memory is bounded: Keys never grows, and maxTransactions bounds what is known of a
// partition's transactions. Where something does not fit a pass ends early, and what cannot
// be looked into keeps the delete markers that may hide it. Nothing here is safe for
// concurrent use.
package compaction
