package sdk

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// usualBatch is what every Kafka cluster takes unless it was told otherwise,
	// less a margin for headers: franz-go's default.
	usualBatch = 1_000_012
	leastBatch = 512     // franz-go's minimum
	mostBatch  = 1 << 30 // franz-go's maximum
	// learnTimeout bounds how long the first message of a topic waits.
	learnTimeout = 2 * time.Second
)

// batchLimits knows how large a batch each topic takes: a cluster's default may be
// 1 MiB or 4 MiB, and a batch above the limit fails as a whole.
type batchLimits struct {
	mu     sync.RWMutex
	topics map[string]int32
}

func newBatchLimits() *batchLimits { return &batchLimits{topics: map[string]int32{}} }

// of is what franz-go asks, once per topic, when it has learned of the topic.
func (l *batchLimits) of(topic string) int32 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if n, ok := l.topics[topic]; ok {
		return n
	}
	return usualBatch
}

// learn asks the cluster for a topic's max.message.bytes before its first message
// is sent. Who may not ask, or gets no answer, keeps to usualBatch.
func (l *batchLimits) learn(ctx context.Context, client *kgo.Client, topic string) {
	l.mu.RLock()
	_, known := l.topics[topic]
	l.mu.RUnlock()
	if known {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, learnTimeout)
	defer cancel()
	limit := int32(usualBatch)
	configs, err := kadm.NewClient(client).DescribeTopicConfigs(ctx, topic)
	if err == nil {
		limit = batchLimit(configs, topic)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.topics[topic]; !known {
		l.topics[topic] = limit
	}
}

func batchLimit(configs kadm.ResourceConfigs, topic string) int32 {
	c, err := configs.On(topic, nil)
	if err != nil || c.Err != nil {
		return usualBatch
	}
	for _, e := range c.Configs {
		if e.Key != "max.message.bytes" || e.Value == nil {
			continue
		}
		n, err := strconv.ParseInt(*e.Value, 10, 32)
		if err != nil {
			return usualBatch
		}
		return int32(min(max(n, leastBatch), mostBatch))
	}
	return usualBatch
}
