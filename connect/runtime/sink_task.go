package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/connect"
)

const (
	// flushEvery is how often a sink is asked what is durable.
	flushEvery = 200 * time.Millisecond
	// lastFlush bounds the flush before partitions are given back or the task stops.
	lastFlush = 20 * time.Second
	// maxPoll bounds the records of one poll.
	maxPoll = 20_000
	// maxFetch bounds what is fetched ahead of the sink, in bytes.
	maxFetch = 32 << 20
)

// sinkTask is one run of a sink as a member of the connector's group. The group's
// callbacks and the loop take turns: a callback runs only between polls.
type sinkTask struct {
	sink   connect.Sink
	client *kgo.Client
	stop   context.CancelCauseFunc // ends the run with an error from a callback

	open   map[place]connect.Partition
	starts map[place]int64 // what Open asked for, until fetching begins
}

// place names a partition as the client does.
type place struct {
	topic     string
	partition int32
}

func (t *sinkTask) groupOptions() []kgo.Opt {
	return []kgo.Opt{
		kgo.BlockRebalanceOnPoll(),
		kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(t.assigned),
		kgo.OnPartitionsRevoked(t.revoked),
		kgo.OnPartitionsLost(t.lost),
		kgo.AdjustFetchOffsetsFn(t.adjust),
		// A start that a sink asked for and the topic no longer has, or not yet, is
		// never replaced by another one.
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxBytes(maxFetch),
	}
}

// missing is which of the topics are not there: their names may be wrong, or somebody
// makes them later.
func (t *sinkTask) missing(ctx context.Context, topics []string) (missing []string, err error) {
	details, err := kadm.NewClient(t.client).ListTopics(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("asking for the sink's topics: %w", err)
	}
	for _, topic := range topics {
		if errors.Is(details[topic].Err, kerr.UnknownTopicOrPartition) {
			missing = append(missing, topic)
		}
	}
	return missing, nil
}

// read polls and hands on until the context ends or something fails.
func (t *sinkTask) read(ctx context.Context) error {
	due := time.Now().Add(flushEvery)
	for {
		if err := t.turn(ctx, due); err != nil {
			return err // the group waits until the client is closed: there may be a last flush
		}
		t.client.AllowRebalance()
		if now := time.Now(); !now.Before(due) {
			due = now.Add(flushEvery)
		}
	}
}

func (t *sinkTask) turn(ctx context.Context, due time.Time) error {
	wait, cancel := context.WithDeadline(ctx, due)
	fetches := t.client.PollRecords(wait, maxPoll)
	cancel()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, e := range fetches.Errors() {
		if !errors.Is(e.Err, context.DeadlineExceeded) {
			return t.explain(e)
		}
	}
	var failed error
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if failed == nil && len(p.Records) > 0 {
			failed = t.write(ctx, p)
		}
	})
	if failed != nil || time.Now().Before(due) {
		return failed
	}
	return t.flush(ctx, false)
}

// explain says what a fetch error means for a sink.
func (t *sinkTask) explain(e kgo.FetchError) error {
	if session, ok := errors.AsType[*kgo.ErrGroupSession](e.Err); ok {
		return explainGroup(session.Err)
	}
	err := fmt.Errorf("reading partition %d of topic %s: %w", e.Partition, e.Topic, e.Err)
	var loss *kgo.ErrDataLoss
	if errors.Is(e.Err, kerr.OffsetOutOfRange) || errors.As(e.Err, &loss) {
		return connect.Permanent(err, "the topic does not have the offset at which the sink stopped: either its retention has deleted "+
			"what was not read, or its end was lost. Nothing was skipped; to go on with what there is, give the sink a new directory, "+
			"or move its offset by hand")
	}
	return err
}

// explainGroup says what it means that the group did not want the sink. Two processes
// that run one pipeline would take its place from each other for ever.
func explainGroup(err error) error {
	err = fmt.Errorf("in the sink's group: %w", err)
	if errors.Is(err, kerr.FencedInstanceID) {
		return connect.Permanent(err, "another process has begun to run this sink and goes on with it: let only one run the pipeline")
	}
	return err
}

func (t *sinkTask) write(ctx context.Context, p kgo.FetchTopicPartition) error {
	partition, ok := t.open[place{p.Topic, p.Partition}]
	if !ok {
		return nil // revoked while it was fetched
	}
	records := connect.Records{
		Partition: partition,
		Records:   make([]connect.Record, len(p.Records)),
		Next:      p.Records[len(p.Records)-1].Offset + 1,
	}
	count := 0
	for _, r := range p.Records {
		count += len(r.Headers)
	}
	headers := make([]connect.Header, 0, count)
	for i, r := range p.Records {
		first := len(headers)
		for _, h := range r.Headers {
			headers = append(headers, connect.Header{Key: h.Key, Value: h.Value})
		}
		records.Records[i] = connect.Record{
			Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value,
			Headers: headers[first:len(headers):len(headers)],
		}
	}
	err := t.sink.Write(ctx, records)
	if _, ok := errors.AsType[*connect.RecordError](err); ok {
		return connect.Permanent(err, "the sink stops there, since it would lose the record if it went on")
	}
	return err
}

// flush asks what is durable, and commits it. The commit is for those who look at
// the group's lag, and for sinks that start at StoredOffset.
func (t *sinkTask) flush(ctx context.Context, all bool) error {
	durable, err := t.sink.Flush(ctx, all)
	if err != nil {
		return err
	}
	if len(durable) == 0 {
		return nil
	}
	offsets := map[string]map[int32]kgo.EpochOffset{}
	for _, o := range durable {
		if offsets[o.Partition.Topic] == nil {
			offsets[o.Partition.Topic] = map[int32]kgo.EpochOffset{}
		}
		offsets[o.Partition.Topic][o.Partition.Partition] = kgo.EpochOffset{Epoch: -1, Offset: o.Next}
	}
	t.client.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, r *kmsg.OffsetCommitResponse, failed error) {
		err = failed
		if r == nil {
			return
		}
		for _, topic := range r.Topics {
			for _, p := range topic.Partitions {
				err = cmp.Or(err, kerr.ErrorForCode(p.ErrorCode))
			}
		}
	})
	if err != nil {
		return explainGroup(fmt.Errorf("committing offsets: %w", err))
	}
	return nil
}

func (t *sinkTask) assigned(ctx context.Context, client *kgo.Client, added map[string][]int32) {
	partitions, err := t.describe(ctx, added)
	if err == nil {
		var starts []int64
		if starts, err = t.sink.Open(ctx, partitions); err == nil {
			for i, p := range partitions {
				at := place{p.Topic, p.Partition}
				t.open[at], t.starts[at] = p, starts[i]
			}
		}
	}
	if err != nil {
		t.stop(err)
	}
}

// adjust puts the sink's own starts in the place of the group's.
func (t *sinkTask) adjust(_ context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	for topic, partitions := range offsets {
		for partition := range partitions {
			at := place{topic, partition}
			switch start, ok := t.starts[at]; {
			case !ok, start == connect.StoredOffset:
			case start == connect.FirstOffset:
				partitions[partition] = kgo.NewOffset().AtStart()
			default:
				partitions[partition] = kgo.NewOffset().At(start)
			}
			delete(t.starts, at)
		}
	}
	return offsets, nil
}

func (t *sinkTask) revoked(ctx context.Context, _ *kgo.Client, gone map[string][]int32) {
	ctx, cancel := context.WithTimeout(ctx, lastFlush)
	defer cancel()
	if err := t.flush(ctx, true); err != nil {
		t.stop(err)
	}
	t.lost(ctx, nil, gone)
}

func (t *sinkTask) lost(ctx context.Context, _ *kgo.Client, gone map[string][]int32) {
	var partitions []connect.Partition
	for topic, numbers := range gone {
		for _, n := range numbers {
			at := place{topic, n}
			if p, ok := t.open[at]; ok {
				partitions = append(partitions, p)
				delete(t.open, at)
				delete(t.starts, at)
			}
		}
	}
	if len(partitions) > 0 {
		if err := t.sink.Revoke(ctx, partitions); err != nil {
			t.stop(err)
		}
	}
}

// describe adds the topics' ids to what was assigned.
func (t *sinkTask) describe(ctx context.Context, added map[string][]int32) ([]connect.Partition, error) {
	var partitions []connect.Partition
	for topic, numbers := range added {
		details, err := kadm.NewClient(t.client).ListTopics(ctx, topic)
		if err == nil {
			err = details[topic].Err
		}
		if err != nil {
			return nil, fmt.Errorf("asking for the id of topic %s: %w", topic, err)
		}
		for _, n := range slices.Sorted(slices.Values(numbers)) {
			partitions = append(partitions, connect.Partition{Topic: topic, TopicID: details[topic].ID, Partition: n})
		}
	}
	return partitions, nil
}
