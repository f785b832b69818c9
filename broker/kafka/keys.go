package kafka

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/record"
)

// checkKeys looks inside a batch for a compacted topic, in which a record
// without a key could never be replaced. It is the only check that decompresses;
// what a batch may inflate to is bounded.
func checkKeys(b record.Batch, topic TopicConfig) ([]RecordError, error) {
	return nil, fmt.Errorf("x %w", kerr.InvalidRecord)
}
