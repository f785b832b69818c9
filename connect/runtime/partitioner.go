package runtime

import "github.com/twmb/franz-go/pkg/kgo"

// byKey is a record's Partition when its key decides.
const byKey = -1

// partitioner sends a record to its Partition, if it has one, and by its key
// otherwise, as Kafka's own partitioner does. Rows without a key stay together in
// one partition, because only there they keep their order.
type partitioner struct{}

func (partitioner) ForTopic(topic string) kgo.TopicPartitioner {
	return byRecord{kgo.StickyKeyPartitioner(nil).ForTopic(topic)}
}

type byRecord struct{ hash kgo.TopicPartitioner }

func (byRecord) RequiresConsistency(*kgo.Record) bool { return true }

func (p byRecord) Partition(r *kgo.Record, n int) int {
	switch {
	case r.Partition != byKey:
		return int(r.Partition)
	case r.Key == nil:
		return 0
	}
	return p.hash.Partition(r, n)
}
