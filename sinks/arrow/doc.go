// Package arrow is the sink that writes topics to files: Parquet or Arrow IPC,
// every row once.
//
//	records ─ plan ─▶ columns ─ encoder ─▶ pending file ─ manifest ─▶ data file
//	        (convert)         (parquet, ipc)          (entry, link)
//
// A directory has, for each topic,
//
//	DIR/orders/p=3/00000000000000001200-00000000000000002400-9f8a77c1.parquet
//	DIR/.splashdam/orders/p=3/000000000041.json
//	DIR/.splashdam/orders/p=3/000000000042-XQ4….pending
//
// Under DIR/orders lies nothing but finished files, so it can be given to DuckDB,
// Polars or pyarrow as it is, at any time. A file's name says which offsets it
// covers, from the first up to and without the second, and the CRC-32C of its
// bytes. A file is never changed.
//
// Files are changelogs: a row each change, with its values after the change (before
// it, of a delete) and the columns __op, __offset, __partition, __timestamp, __pos
// and __absent. Directory.Latest makes of them what the table is now.
//
// # Exactly once
//
// The newest entry of a partition's manifest is the truth: up to which offset the
// partition is durable, the highest Place of each task, and the name of the newest
// file. It is the only home of these offsets; what the runtime stores of them is
// for display. An entry is written like this:
//
//  1. the pending file is complete: fsync, and fsync of the manifest's directory
//  2. the entry is written under a name of the writer's own, fsync
//  3. link(2) to the next number, which fails if the number is taken; fsync of the directory
//  4. no higher number is there: the entry counts
//  5. link of the pending file to its place, fsync of that directory; the pending name goes
//
// A crash before 3 leaves the entry before, and a pending file that the next Open
// deletes; a crash behind it leaves an entry whose file the next Open puts into its
// place. Open then links an entry of its own, so that of two writers the older one
// finds its number taken, and fails: whoever wrote an entry knows that everything
// between its own entries is its own.
//
// # Memory
//
// Rows wait as columns until they are a chunk (a row group, a record batch): up to
// 32 MiB a partition, less with more than eight partitions, so that all together
// hold some 256 MiB. Growing buffers and the chunk being encoded come on top, which
// makes it about twice that at the worst.
package arrow
