// Package cluster is the state of the metadata shard: the cluster's id, its
// nodes, its data shards, the topics with their partitions and settings, the blocks of
// producer ids, the users with their credentials, the access control list, the client
// quotas, what is changed of brokers' settings while they run, and settings of groups.
//
//	leading half                               applied half, the same on every node
//
//	Controller ── record.Command ──▶ the log ──▶ View.Apply ──▶ the next View
//	    ▲                                                          │
//	    └── decides on the View behind what is in flight           └─▶ readers
//
// A View never changes. Apply returns another one that shares what stayed the
// same, so a reader that loads the newest through an atomic pointer has one
// consistent picture for as long as it likes, and no lock. Invariants, by name:
//
//   - ids rise: a partition id, and a producer id, is handed out once. What a
//     deleted topic left in a log can never be taken for another topic's.
//   - apply obeys: a well-formed command never fails. One that has been overtaken
//     (the name is taken, the topic is gone) changes nothing, and Apply returns
//     the View it was called on.
//   - one encoding: equal Views encode to equal bytes, and Restore accepts no
//     other bytes than those that Encode writes.
//
// Settings are declared once (topicsettings.go, brokersettings.go): type, range,
// default and explanation; parsing, validation and what DescribeConfigs shows
// follow from the declaration. A BrokerSettings never changes either: what is set while
// a broker runs makes another one (dynamic.go), which its readers load likewise.
//
// The package has no goroutine, no clock and no I/O. Nothing here needs a lock:
// Views are immutable, and a Controller belongs to whoever leads the shard.
package cluster
