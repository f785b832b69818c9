// Package runtime runs connectors against any cluster that speaks the Kafka
// protocol.
//
//	source task    Read ─▶ register schemas ─▶ encode ─▶ produce ┐
//	               ack  ◀─ store positions  ◀─ acks (in order)  ◀┘
//
//	sink task      poll ─▶ Write ... Flush ─▶ commit the group's offsets
//
// The order is the promise: a position is stored when every row before it is
// acknowledged by all replicas, a batch is acknowledged to its source when its
// positions are stored, an offset is committed when the sink has said that it is
// durable. A crash at any point repeats what was not stored, and loses nothing.
//
// A task that fails is closed and begun again from what is stored, at once if it
// only lost its connection, then later every time; one whose error a person has to
// cure stops and says what to do. Nothing else in the process is touched by it.
//
// Memory is bounded: a source waits once maxBuffered bytes of its records are not
// acknowledged, and a sink is given maxFetch bytes at a time.
package runtime
