package checkpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/splashdam/splashdam/connect"
)

// DefaultTopic and DefaultPartitions are Kafka Connect's (offset.storage.topic has
// no default there, but this is the name in every example).
const (
	DefaultTopic      = "connect-offsets"
	DefaultPartitions = 25
)

// Topic keeps the positions of one connector in a topic that others may use, too.
// Its methods may be called by one goroutine at a time.
type Topic struct {
	cluster   []kgo.Opt // how to reach the cluster, without anything about topics
	producer  *kgo.Client
	name      string
	connector string
}

// Open makes the topic unless it is there, and returns the connector's positions in it.
func Open(ctx context.Context, cluster []kgo.Opt, name, connector string) (*Topic, error) {
	producer, err := kgo.NewClient(slices.Concat(cluster, []kgo.Opt{
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerLinger(0),
	})...)
	if err != nil {
		return nil, fmt.Errorf("connecting to keep positions in topic %s: %w", name, err)
	}
	t := &Topic{cluster, producer, name, connector}
	if err := EnsureCompacted(ctx, producer, name, DefaultPartitions, "the positions of sources"); err != nil {
		producer.Close()
		return nil, err
	}
	return t, nil
}

func (t *Topic) Close() { t.producer.Close() }

// EnsureTopic makes a topic, with -1 partitions as many as the cluster has for one by
// default, unless it is there: who may not make topics can use those of others.
func EnsureTopic(ctx context.Context, admin *kadm.Client, topic string, partitions int32, configs map[string]*string) (made bool, err error) {
	_, err = admin.CreateTopic(ctx, partitions, -1, configs, topic)
	if err == nil || errors.Is(err, kerr.TopicAlreadyExists) {
		return err == nil, awaitLeaders(ctx, admin, topic)
	}
	if there, listing := admin.ListTopics(ctx, topic); listing == nil && there[topic].Err == nil {
		return false, nil
	}
	return false, fmt.Errorf("creating topic %s: %w", topic, err)
}

// topicTimeout bounds how long a topic may take from being made to being of use.
const topicTimeout = 15 * time.Second

// awaitLeaders waits until every broker may be expected to know a topic that was made
// just now, and all its partitions have leaders.
func awaitLeaders(ctx context.Context, admin *kadm.Client, topic string) error {
	ctx, cancel := context.WithTimeout(ctx, topicTimeout)
	defer cancel()
	for {
		ends, err := admin.ListEndOffsets(ctx, topic)
		if err == nil {
			err = ends.Error()
		}
		if err == nil {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("waiting for the leaders of topic %s: %w", topic, err)
		}
	}
}

// EnsureCompacted makes a topic for what must never be deleted while it is the newest
// of its key, or makes sure that the one that is there is such a topic. What says what
// it is for.
func EnsureCompacted(ctx context.Context, client *kgo.Client, topic string, partitions int32, what string) error {
	policy := "compact"
	admin := kadm.NewClient(client)
	made, err := EnsureTopic(ctx, admin, topic, partitions, map[string]*string{"cleanup.policy": &policy})
	if err != nil {
		return fmt.Errorf("%w; it is for %s", err, what)
	}
	if made {
		return nil
	}
	configs, err := admin.DescribeTopicConfigs(ctx, topic)
	if err == nil {
		var c kadm.ResourceConfig
		if c, err = configs.On(topic, nil); err == nil {
			err = c.Err
		}
	}
	if errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.UnsupportedVersion) {
		return nil // the cluster does not tell; who made the topic knew what for
	}
	if err != nil {
		return fmt.Errorf("asking whether topic %s is compacted: %w", topic, err)
	}
	for _, c := range configs {
		for _, entry := range c.Configs {
			if entry.Key == "cleanup.policy" && entry.MaybeValue() != policy {
				return connect.Permanent(
					fmt.Errorf("topic %s is for %s and has cleanup.policy=%s, which deletes what is still needed", topic, what, entry.MaybeValue()),
					"set cleanup.policy=compact on the topic, and nothing else")
			}
		}
	}
	return nil
}

// Load reads the whole topic, to where it ends now, and returns the connector's
// positions by partition.
func (t *Topic) Load(ctx context.Context) ([]connect.Position, error) {
	newest := map[string]connect.Position{} // by partition
	wrong := map[string]error{}             // by key: what the newest record has against it
	err := ReadAll(ctx, t.cluster, t.name, func(r *kgo.Record) error {
		partition, ours := t.partitionOf(r.Key)
		if !ours {
			return nil
		}
		delete(wrong, string(r.Key))
		p := connect.Position{Partition: partition, Offset: r.Value}
		err := p.Validate()
		if err == nil && !bytes.Equal(r.Key, t.key(partition)) {
			err = errors.New("it is not written as Kafka Connect and we do, so another record says the same of the partition")
		}
		switch {
		case err != nil && r.Value != nil:
			wrong[string(r.Key)] = fmt.Errorf("record %d of partition %d of topic %s with key %.200s: %w", r.Offset, r.Partition, t.name, r.Key, err)
		case err != nil: // a mistake that was forgotten
		case r.Value == nil:
			delete(newest, string(partition))
		default:
			newest[string(partition)] = p
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the positions of %s: %w", t.connector, err)
	}
	for _, key := range slices.Sorted(maps.Keys(wrong)) {
		return nil, connect.Permanent(fmt.Errorf("reading the positions of %s: %w", t.connector, wrong[key]),
			"write a record with the same key that is right, or one without a value, which forgets this one")
	}
	positions := make([]connect.Position, 0, len(newest))
	for _, p := range newest {
		positions = append(positions, p)
	}
	slices.SortFunc(positions, func(a, b connect.Position) int {
		return strings.Compare(string(a.Partition), string(b.Partition))
	})
	return positions, nil
}

// Save stores positions, and returns when they are durable. On an error any part
// of them may be stored.
func (t *Topic) Save(ctx context.Context, positions []connect.Position) error {
	records := make([]*kgo.Record, 0, len(positions))
	for _, p := range positions {
		records = append(records, &kgo.Record{Topic: t.name, Key: t.key(p.Partition), Value: p.Offset})
	}
	if err := t.producer.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("storing the position of %s in topic %s: %w", t.connector, t.name, err)
	}
	return nil
}

// key is the key of a partition's position. Compaction, and the place in the topic,
// go by its bytes.
func (t *Topic) key(partition json.RawMessage) []byte {
	return slices.Concat([]byte(`["`), []byte(t.connector), []byte(`",`), compact(partition), []byte("]"))
}

// partitionOf returns the source's partition of a key, if it is one of the connector's.
// Others write to the topic, too: Kafka Connect, which also keeps count of tasks there.
func (t *Topic) partitionOf(key []byte) (partition json.RawMessage, ours bool) {
	var parts []json.RawMessage
	var connector string
	if json.Unmarshal(key, &parts) != nil || len(parts) != 2 || json.Unmarshal(parts[0], &connector) != nil {
		return nil, false
	}
	return compact(parts[1]), connector == t.connector
}

// compact takes out the spaces; of what is no JSON it is nothing.
func compact(text json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if json.Compact(&b, text) != nil {
		return nil
	}
	return b.Bytes()
}
