package runtime

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/connect/checkpoint"
)

const (
	// usualLimit is taken for a topic's limit where the cluster does not tell it:
	// max.request.size of Kafka's producer.
	usualLimit = 1 << 20
	// highestLimit bounds a batch, in bytes, whatever the topic takes.
	highestLimit = 32 << 20
	// lowestLimit is the smallest that the client has for a batch.
	lowestLimit = 512
	// recordOverhead is more than a record alone in its batch takes besides its key
	// and value.
	recordOverhead = 256
)

// topics makes topics as their first rows come.
type topics struct {
	admin *kadm.Client

	mu    sync.Mutex // the producer asks, too
	known map[string]*topic
}

// topic is what its rows' sender has to know. The limit is checked by the sender,
// before a later record of the partition can overtake the one that is refused.
type topic struct {
	name       string
	partitions int32
	limit      int // max.message.bytes: of a batch
}

func (t *topic) maxBatch() int { return min(max(t.limit, lowestLimit), highestLimit) }

func (t *topic) maxRecord() int { return max(min(t.limit, highestLimit)-recordOverhead, 0) }

// refuse is what becomes of a record that is too large.
func (t *topic) refuse(err error) error {
	if t.limit > highestLimit {
		return connect.Permanent(fmt.Errorf("%w, and no record may have more than %d", err, t.maxRecord()), "leave the large column out")
	}
	return connect.Permanent(fmt.Errorf("%w, and topic %s takes %d", err, t.name, t.maxRecord()),
		"raise max.message.bytes of the topic, or leave the large column out")
}

// ensure returns the topic, made with the cluster's defaults unless it is there.
func (t *topics) ensure(ctx context.Context, name string) (*topic, error) {
	t.mu.Lock()
	known, ok := t.known[name]
	t.mu.Unlock()
	if ok {
		return known, nil
	}
	if _, err := checkpoint.EnsureTopic(ctx, t.admin, name, -1, nil); err != nil {
		return nil, err
	}
	details, err := t.admin.ListTopics(ctx, name)
	if err == nil {
		err = details[name].Err
	}
	if err != nil {
		return nil, fmt.Errorf("asking for the partitions of topic %s: %w", name, err)
	}
	made := &topic{name: name, partitions: int32(len(details[name].Partitions)), limit: usualLimit}
	if limit, told := t.maxMessage(ctx, name); told {
		made.limit = limit
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known[name] = made
	return made, nil
}

// maxBatch is for the producer, which asks before the first record of a topic that
// ensure has made, and for topics that it has not.
func (t *topics) maxBatch(name string) int32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if known, ok := t.known[name]; ok {
		return int32(known.maxBatch())
	}
	return usualLimit
}

// maxMessage is the topic's own limit, where the cluster tells it.
func (t *topics) maxMessage(ctx context.Context, name string) (int, bool) {
	configs, err := t.admin.DescribeTopicConfigs(ctx, name)
	if err != nil {
		return 0, false
	}
	for _, c := range configs {
		for _, entry := range c.Configs {
			if entry.Key == "max.message.bytes" {
				limit, err := strconv.Atoi(entry.MaybeValue())
				return limit, err == nil
			}
		}
	}
	return 0, false
}
