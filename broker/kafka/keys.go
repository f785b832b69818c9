package kafka

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/record"
)

// checkKeys looks inside a batch for a compacted topic, in which a record
// without a key could never be replaced. It is the only check that decompresses;
// what a batch may inflate to is bounded.
func checkKeys(b record.Batch) ([]RecordError, error) {
	var blamed []RecordError
	n := int32(0)
	err := b.Iterate(maxInflatedBatch, func(r record.Record) bool {
		if r.Key == nil {
			blamed = append(blamed, RecordError{Record: n, Message: "a compacted topic takes no record without a key"})
		}
		n++
		return len(blamed) < maxRecordErrors
	})
	if err != nil {
		return nil, err
	}
	if len(blamed) > 0 {
		return blamed, fmt.Errorf("record %d has no key, and the topic is compacted: %w", blamed[0].Record, kerr.InvalidRecord)
	}
	return nil, nil
}
