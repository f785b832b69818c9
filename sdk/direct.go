package sdk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// unknownTries is how often a topic that is not there is looked for: one that was
// just created may not be known everywhere.
const unknownTries = 6

// direct stores one record in one request, many of them at a time on a connection.
//
// Half messages and decisions go this way and not through franz-go's producer,
// which puts concurrent records of a partition into one batch: a batch fails as a
// whole, so that one refused decision would fail its neighbours, and it has one
// base offset, so that the offset of a committed message would get lost. Nothing
// is lost by that: the transaction id makes a retry of a prepare or of a decision
// harmless, which is what sequence numbers do for other messages.
type direct struct {
	client  *kgo.Client
	timeout time.Duration // of one request

	mu     sync.Mutex
	routes map[string]*route
}

// route is a topic as the cluster last described it.
type route struct {
	id      [16]byte
	leaders []int32              // by partition, -1 where nobody leads
	hash    kgo.TopicPartitioner // of keys only: then it has no state
}

func newDirect(client *kgo.Client, timeout time.Duration) *direct {
	return &direct{client: client, timeout: timeout, routes: map[string]*route{}}
}

// refusal is a record that the broker refused, with what it said about it.
type refusal struct {
	code    *kerr.Error
	message string
}

func (e *refusal) Error() string {
	if e.message == "" {
		return e.code.Error()
	}
	return e.code.Message + ": " + e.message
}

func (e *refusal) Unwrap() error { return e.code }

// store appends the record to its topic and partition and returns its offset. It
// tries again while that can help, until ctx ends: then, and whenever an answer got
// lost, the error is ErrInDoubt.
func (d *direct) store(ctx context.Context, r *kgo.Record) (offset int64, err error) {
	var lost error // a try whose answer never came
	for attempt := 1; ; attempt++ {
		offset, err = d.try(ctx, r, attempt > 1)
		switch {
		case err == nil:
			return offset, nil
		case errors.Is(err, kgo.ErrClientClosed):
			return -1, fmt.Errorf("%w: %w", ErrInDoubt, ErrClosed)
		case !transient(err), attempt >= unknownTries && errors.Is(err, kerr.UnknownTopicOrPartition):
			return -1, err
		case lostAnswer(err):
			lost = err
		}
		select {
		case <-time.After(routeDelay(attempt)):
			continue
		case <-ctx.Done():
		}
		if lost != nil {
			return -1, fmt.Errorf("%w after %d tries: %w", ErrInDoubt, attempt, lost)
		}
		return -1, fmt.Errorf("after %d tries: %w", attempt, err)
	}
}

// lostAnswer says whether the broker may have stored the record all the same.
func lostAnswer(err error) bool {
	var code *kerr.Error
	if errors.As(err, &code) {
		return code == kerr.RequestTimedOut || code == kerr.NotEnoughReplicasAfterAppend
	}
	return !errors.Is(err, errNoRoute)
}

// transient says whether another try may go better: the cluster says so, or the
// trouble is with the way there.
func transient(err error) bool {
	var code *kerr.Error
	return Retryable(err) || !errors.As(err, &code)
}

// errNoRoute is a try that ended before anything was sent.
var errNoRoute = errors.New("finding the leader")

func (d *direct) try(ctx context.Context, r *kgo.Record, fresh bool) (int64, error) {
	route, err := d.route(ctx, r.Topic, fresh)
	if err != nil {
		return -1, err
	}
	if r.Partition < 0 || int(r.Partition) >= len(route.leaders) {
		return -1, fmt.Errorf("%w: topic %q has no partition %d: %w", errNoRoute, r.Topic, r.Partition, kerr.UnknownTopicOrPartition)
	}
	leader := route.leaders[r.Partition]
	if leader < 0 {
		return -1, fmt.Errorf("%w: %w", errNoRoute, kerr.LeaderNotAvailable)
	}
	resp, err := d.client.Broker(int(leader)).Request(ctx, produceRequest(r, route.id, d.timeout))
	if err != nil {
		return -1, err
	}
	return produced(resp.(*kmsg.ProduceResponse))
}

// route describes a topic, from memory unless fresh.
func (d *direct) route(ctx context.Context, topic string, fresh bool) (*route, error) {
	d.mu.Lock()
	known := d.routes[topic]
	d.mu.Unlock()
	if known != nil && !fresh {
		return known, nil
	}
	req := kmsg.NewPtrMetadataRequest()
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = kmsg.StringPtr(topic)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(ctx, d.client)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoRoute, err)
	}
	if len(resp.Topics) != 1 {
		return nil, fmt.Errorf("%w: metadata of %d topics instead of one: %w", errNoRoute, len(resp.Topics), kerr.UnknownServerError)
	}
	t := resp.Topics[0]
	if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoRoute, err)
	}
	now := &route{id: t.TopicID, leaders: make([]int32, len(t.Partitions)), hash: kgo.StickyKeyPartitioner(nil).ForTopic(topic)}
	for i := range now.leaders {
		now.leaders[i] = -1
	}
	for _, p := range t.Partitions {
		if p.Partition >= 0 && int(p.Partition) < len(now.leaders) {
			now.leaders[p.Partition] = p.Leader
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.routes[topic] = now
	return now, nil
}

// partition chooses where a message goes: by its key, or else by its id. So one
// that is sent a second time under its id meets its double, unless partitions were
// added to the topic in between.
func (d *direct) partition(ctx context.Context, topic string, key []byte, id string) (int32, error) {
	if key == nil {
		key = []byte(id)
	}
	for attempt := 1; ; attempt++ {
		route, err := d.route(ctx, topic, attempt > 1)
		if err == nil && len(route.leaders) > 0 {
			return int32(route.hash.Partition(&kgo.Record{Key: key}, len(route.leaders))), nil
		}
		if err == nil {
			err = fmt.Errorf("%w: %w", errNoRoute, kerr.LeaderNotAvailable)
		}
		if !transient(err) || errors.Is(err, kgo.ErrClientClosed) || attempt >= unknownTries && errors.Is(err, kerr.UnknownTopicOrPartition) {
			return -1, err
		}
		select {
		case <-time.After(routeDelay(attempt)):
		case <-ctx.Done():
			return -1, err
		}
	}
}

func produceRequest(r *kgo.Record, id [16]byte, timeout time.Duration) *kmsg.ProduceRequest {
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = r.Partition, batchOfOne(r)
	t := kmsg.NewProduceRequestTopic()
	t.Topic, t.TopicID = r.Topic, id // the one or the other is sent, as the version has it
	t.Partitions = append(t.Partitions, p)
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, int32(timeout.Milliseconds())
	req.Topics = append(req.Topics, t)
	return req
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const (
	batchCRCAt    = 17 // bytes in front of the checksum
	batchLengthAt = 8  // bytes in front of the length
)

// batchOfOne is a RecordBatch v2 with one record, without a producer id.
func batchOfOne(r *kgo.Record) []byte {
	rec := kmsg.Record{Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		rec.Headers = append(rec.Headers, kmsg.Header{Key: h.Key, Value: h.Value})
	}
	// The length in front of a record is a varint and counts what follows it: 0
	// takes one byte.
	rec.Length = int32(len(rec.AppendTo(nil)) - 1)
	ms := r.Timestamp.UnixMilli()
	batch := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, FirstTimestamp: ms, MaxTimestamp: ms,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: 1, Records: rec.AppendTo(nil),
	}
	b := batch.AppendTo(nil)
	binary.BigEndian.PutUint32(b[batchLengthAt:], uint32(len(b)-batchLengthAt-4))
	binary.BigEndian.PutUint32(b[batchCRCAt:], crc32.Checksum(b[batchCRCAt+4:], castagnoli))
	return b
}

// produced reads the answer to a request for one partition.
func produced(resp *kmsg.ProduceResponse) (int64, error) {
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return -1, fmt.Errorf("the answer is not about one partition: %w", kerr.UnknownServerError)
	}
	p := resp.Topics[0].Partitions[0]
	if p.ErrorCode == 0 {
		return p.BaseOffset, nil
	}
	var code *kerr.Error
	if !errors.As(kerr.ErrorForCode(p.ErrorCode), &code) {
		code = kerr.UnknownServerError
	}
	e := &refusal{code: code}
	var said []string
	for _, r := range p.ErrorRecords {
		if r.ErrorMessage != nil {
			said = append(said, *r.ErrorMessage)
		}
	}
	if len(said) == 0 && p.ErrorMessage != nil {
		said = append(said, *p.ErrorMessage)
	}
	e.message = strings.Join(said, "; ")
	return -1, e
}
