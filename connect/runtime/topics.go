package runtime

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// maxRequest is the largest record that is sent, in bytes: max.request.size of
// Kafka's producer. It is checked here, before a later record of the partition can
// overtake the one that is refused.
const maxRequest = 1 << 20

// recordOverhead is more than a record alone in its batch takes besides its key,
// value and headers.
const recordOverhead = 256

// topics makes topics as their first rows come.
type topics struct {
	admin *kadm.Client
	known map[string]*topic
}

type topic struct {
	name       string
	partitions int32
	maxRecord  int // bytes
}

func newTopics(client *kgo.Client) *topics {
	return &topics{kadm.NewClient(client), map[string]*topic{}}
}

// ensure returns the topic, made with the cluster's defaults unless it is there.
func (t *topics) ensure(ctx context.Context, name string) (*topic, error) {
	if known, ok := t.known[name]; ok {
		return known, nil
	}
	if _, err := t.admin.CreateTopic(ctx, -1, -1, nil, name); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return nil, fmt.Errorf("creating topic %s: %w", name, err)
	}
	details, err := t.admin.ListTopics(ctx, name)
	if err == nil {
		err = details[name].Err
	}
	if err != nil {
		return nil, fmt.Errorf("asking for the partitions of topic %s: %w", name, err)
	}
	made := &topic{name: name, partitions: int32(len(details[name].Partitions)), maxRecord: maxRequest - recordOverhead}
	if limit, ok := t.maxMessage(ctx, name); ok {
		made.maxRecord = min(made.maxRecord, limit-recordOverhead)
	}
	t.known[name] = made
	return made, nil
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
