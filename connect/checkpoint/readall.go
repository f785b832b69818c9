package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// ReadAll calls take with every record of a topic, partition by partition in order
// but partitions mixed, up to where each ended when ReadAll was called. Records
// belong to take. Only what is committed is read.
func ReadAll(ctx context.Context, cluster []kgo.Opt, topic string, take func(*kgo.Record) error) error {
	client, err := kgo.NewClient(slices.Concat(cluster, []kgo.Opt{
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // they may be a partition's last
	})...)
	if err != nil {
		return fmt.Errorf("reading topic %s: %w", topic, err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return fmt.Errorf("asking where topic %s begins: %w", topic, err)
	}
	ends, err := admin.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return fmt.Errorf("asking where topic %s ends: %w", topic, err)
	}
	if err := errors.Join(starts.Error(), ends.Error()); err != nil {
		return fmt.Errorf("asking where topic %s begins and ends: %w", topic, err)
	}
	left := map[int32]int64{} // the end of each partition that is not read yet
	from := map[int32]kgo.Offset{}
	ends.Each(func(end kadm.ListedOffset) {
		if start, ok := starts.Lookup(topic, end.Partition); ok && start.Offset < end.Offset {
			left[end.Partition], from[end.Partition] = end.Offset, kgo.NewOffset().At(start.Offset)
		}
	})
	if len(left) == 0 {
		return nil
	}
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: from})
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return fmt.Errorf("reading topic %s: %w", topic, err)
		}
		for _, e := range fetches.Errors() {
			return fmt.Errorf("reading partition %d of topic %s: %w", e.Partition, topic, e.Err)
		}
		for records := fetches.RecordIter(); !records.Done(); {
			r := records.Next()
			end, unread := left[r.Partition]
			if !unread || r.Offset >= end {
				delete(left, r.Partition)
				continue
			}
			if !r.Attrs.IsControl() {
				if err := take(r); err != nil {
					return fmt.Errorf("topic %s: %w", topic, err)
				}
			}
			if r.Offset+1 >= end {
				delete(left, r.Partition)
			}
		}
	}
	return nil
}
