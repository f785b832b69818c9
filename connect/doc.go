// Package connect is the contract between connectors and what runs them.
//
//	outside system → Source → Batch (columns) ─ runtime ─▶ topic
//	                                                          │
//	outside system ← Sink   ← Record (bytes)  ─ runtime ──────┘
//
// A Source hands out batches of typed columns and the positions that hold after
// their rows; a Sink takes records and says up to which offset they are durable.
// Neither knows of brokers, clients or each other. The runtime reconnects, waits,
// keeps acknowledgements in order, stores positions and restarts; it speaks only
// the Kafka protocol, so the same connectors run on any Kafka-compatible cluster.
//
// What is promised: a position is stored only after every row before it is in its
// topic, and a sink's offset is committed only after the sink said that it is
// durable. So topics hold every row at least once and, by the Place that each row
// carries, a reader can drop what came twice.
//
// Columns live between decoder and encoder only. Their buffers have Arrow's
// layout, so a sink may hand them on without copying; this package does not
// import Arrow.
package connect
