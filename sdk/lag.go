package sdk

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// peekTimeout bounds the look at the first unconsumed messages.
const peekTimeout = 5 * time.Second

// Lag is how far a group is behind.
type Lag struct {
	// Messages is how many messages the group has yet to finish, over all
	// partitions. Offsets are counted: where a topic is compacted it is too high.
	Messages int64
	// Age is how long ago the oldest of them was sent, 0 if there is none.
	Age time.Duration
	// Partitions in which something is unfinished, by topic and number.
	Partitions []PartitionLag
}

// PartitionLag is the part of one partition.
type PartitionLag struct {
	Topic     string
	Partition int32
	Messages  int64
	Age       time.Duration // 0 if the oldest message could not be read in time

	from, end int64
}

// Lag measures how far the whole group is behind in this consumer's topics, by its
// committed offsets, which are up to a second old. It makes connections of its own
// and reads the first unfinished message of every partition that is behind, so it
// is for every few seconds. It may be called without Run.
func (c *Consumer) Lag(ctx context.Context) (Lag, error) {
	behind, err := c.behind(ctx)
	if err == nil {
		behind, err = c.peek(ctx, behind)
	}
	if err != nil {
		return Lag{}, fmt.Errorf("lag of group %q: %w", c.group, err)
	}
	var l Lag
	for _, p := range behind {
		l.Messages += p.Messages
		l.Age = max(l.Age, p.Age)
	}
	slices.SortFunc(behind, func(a, b PartitionLag) int {
		if n := strings.Compare(a.Topic, b.Topic); n != 0 {
			return n
		}
		return int(a.Partition - b.Partition)
	})
	l.Partitions = behind
	return l, nil
}

// behind finds the partitions with unfinished messages.
func (c *Consumer) behind(ctx context.Context) ([]PartitionLag, error) {
	opts, err := c.config.clientConfig.options()
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	commits, err := admin.FetchOffsetsForTopics(ctx, c.group, c.topics...)
	if err != nil {
		return nil, fmt.Errorf("committed offsets: %w", err)
	}
	starts, err := admin.ListStartOffsets(ctx, c.topics...)
	if err != nil {
		return nil, fmt.Errorf("start offsets: %w", err)
	}
	// What is not yet decided by a Kafka transaction is not consumed yet either.
	ends, err := admin.ListCommittedOffsets(ctx, c.topics...)
	if err != nil {
		return nil, fmt.Errorf("end offsets: %w", err)
	}
	if err := ends.Error(); err != nil {
		return nil, fmt.Errorf("end offsets: %w", err)
	}
	var behind []PartitionLag
	ends.Each(func(end kadm.ListedOffset) {
		start, _ := starts.Lookup(end.Topic, end.Partition)
		commit, ok := commits.Lookup(end.Topic, end.Partition)
		if !ok || commit.Err != nil {
			commit.At = -1
		}
		p := PartitionLag{Topic: end.Topic, Partition: end.Partition, end: end.Offset}
		p.from, p.Messages = c.unfinished(start.Offset, commit.At, end.Offset, commit.Metadata)
		if p.Messages > 0 {
			behind = append(behind, p)
		}
	})
	return behind, nil
}

// unfinished counts the messages of a partition that spans the offsets from start
// to end, and says where the first of them is.
func (c *Consumer) unfinished(start, committed, end int64, metadata string) (from, messages int64) {
	switch {
	case committed < 0 && c.config.start == Latest:
		return end, 0
	case committed < 0:
		return start, end - start
	case committed < start:
		return start, end - start
	}
	return committed, max(0, end-committed-decodeFinished(committed, metadata).above())
}

// peek finds the time of the first unfinished message of each partition, by
// reading there without being a member of the group.
func (c *Consumer) peek(ctx context.Context, behind []PartitionLag) ([]PartitionLag, error) {
	if len(behind) == 0 {
		return nil, nil
	}
	waiting := map[topicPartition]*PartitionLag{}
	at := map[string]map[int32]kgo.Offset{}
	for i := range behind {
		p := &behind[i]
		waiting[topicPartition{p.Topic, p.Partition}] = p
		if at[p.Topic] == nil {
			at[p.Topic] = map[int32]kgo.Offset{}
		}
		at[p.Topic][p.Partition] = kgo.NewOffset().At(p.from)
	}
	opts, err := c.config.clientConfig.options()
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(append(opts,
		kgo.ConsumePartitions(at), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.FetchMaxBytes(fetchBytes), kgo.FetchMaxPartitionBytes(64<<10))...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, peekTimeout)
	defer cancel()
	now := time.Now()
	for len(waiting) > 0 && ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			tp := topicPartition{r.Topic, r.Partition}
			p := waiting[tp]
			if p == nil {
				return
			}
			last := r.Offset+1 >= p.end
			if !r.Attrs.IsControl() {
				p.Age = max(0, now.Sub(r.Timestamp))
			} else if last {
				p.Messages = 0 // only the marks of transactions are left
			} else {
				return
			}
			delete(waiting, tp)
			client.PauseFetchPartitions(map[string][]int32{r.Topic: {r.Partition}})
		})
	}
	return slices.DeleteFunc(behind, func(p PartitionLag) bool { return p.Messages == 0 }), nil
}
