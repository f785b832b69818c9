package connect

import "context"

// Partition is a partition of a topic.
type Partition struct {
	Topic     string
	TopicID   [16]byte // Kafka's id; zero where the cluster has none. Another id under a known name is another topic
	Partition int32
}

// What Open returns instead of an offset.
const (
	// StoredOffset starts at the offset that the runtime stored, and at the first one
	// that the partition has if none is.
	StoredOffset = -1
	// FirstOffset starts at the first one that the partition has.
	FirstOffset = -2
)

// Record is one record of a topic. Its bytes stay valid, and unchanged, until the
// sink has said that its offset is durable, or lost the partition.
type Record struct {
	Offset     int64
	Timestamp  int64 // milliseconds since 1970
	Key, Value []byte
	Headers    []Header
}

type Header struct {
	Key   string
	Value []byte
}

// Records are neighbours in a partition, ascending by offset, not necessarily
// without gaps. Next is the offset behind them: it may lie beyond the last record
// where a partition ends in records that are not for consumers.
type Records struct {
	Partition Partition
	Records   []Record
	Next      int64
}

// Offset is how far a partition has come: everything before Next.
type Offset struct {
	Partition Partition
	Next      int64
}

// Sink writes to one outside system. One goroutine calls its methods. Every method
// returns soon after its context ends.
type Sink interface {
	// Open takes over partitions, besides those it has, and returns for each the
	// offset of the first record it wants, StoredOffset or FirstOffset. It makes sure that no
	// former owner can still write, or finds out when it would matter.
	Open(ctx context.Context, assigned []Partition) ([]int64, error)

	// Write takes records of one open partition. It may keep them in memory. A
	// record that came before, after a restart, comes again: the sink decides what
	// that means. RecordError blames one record; the others before it are taken,
	// and the runtime decides whether the sink sees those after it.
	Write(ctx context.Context, r Records) error

	// Flush makes durable what is due, or with all what there is, and returns every
	// partition whose durable offset rose. It is called regularly, also without any
	// records in between, so that what a sink holds back for a time gets out. With
	// the context's end it gives up; what was not durable is not lost, as it is
	// read again.
	Flush(ctx context.Context, all bool) ([]Offset, error)

	// Revoke gives partitions back. What is not durable of them is dropped.
	Revoke(ctx context.Context, lost []Partition) error

	// Close ends everything, without a flush.
	Close(ctx context.Context) error
}

// SinkConnector is a kind of sink: its names, settings and constructor.
type SinkConnector struct {
	Name     string
	Classes  []string
	Settings []Setting
	New      func(c Config, env Environment) (Sink, error)
}
