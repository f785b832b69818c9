package broker

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/txn"
)

// asker sends requests of the protocol, each once, and gives back what is said: an
// answer, the error in it, or that there was none.
type asker struct {
	client *kgo.Client
	kmsg.Requestor
}

// asker connects to the node. It speaks the versions that go by topics' names.
func (n *node) asker(t *testing.T) asker {
	t.Helper()
	c := n.client(t, kgo.MaxVersions(kversion.V3_0_0()))
	return asker{c, c.SeedBrokers()[0]}
}

func (a asker) close() { a.client.Close() }

// patience is how long an asker waits for an answer.
const patience = 20 * time.Second

// Request bounds the wait.
func (a asker) Request(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return a.Requestor.Request(ctx, req)
}

// createTopic creates a topic with settings "name=value".
func (a asker) createTopic(ctx context.Context, topic string, partitions int32, configs ...string) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.TimeoutMillis = 5000
	nt := kmsg.NewCreateTopicsRequestTopic()
	nt.Topic, nt.NumPartitions, nt.ReplicationFactor = topic, partitions, 1
	for i := 0; i+1 < len(configs); i += 2 {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = configs[i], &configs[i+1]
		nt.Configs = append(nt.Configs, c)
	}
	req.Topics = append(req.Topics, nt)
	resp, err := req.RequestWith(ctx, a)
	if err != nil {
		return err
	}
	return said(resp.Topics[0].ErrorCode, resp.Topics[0].ErrorMessage)
}

func (a asker) deleteTopic(ctx context.Context, topic string) error {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.TimeoutMillis = 5000
	dt := kmsg.NewDeleteTopicsRequestTopic()
	dt.Topic = &topic
	req.Topics = append(req.Topics, dt)
	resp, err := req.RequestWith(ctx, a)
	if err != nil {
		return err
	}
	return said(resp.Topics[0].ErrorCode, resp.Topics[0].ErrorMessage)
}

// said is the error of an answer, with the text that came with it.
func said(code int16, message *string) error {
	err := kerr.ErrorForCode(code)
	if err != nil && message != nil {
		return fmt.Errorf("%w: %s", err, *message)
	}
	return err
}

// topics lists the names of all topics that are not internal.
func (a asker) topics(ctx context.Context) (map[string]int, error) {
	req := kmsg.NewPtrMetadataRequest()
	resp, err := req.RequestWith(ctx, a)
	if err != nil {
		return nil, err
	}
	topics := make(map[string]int)
	for _, t := range resp.Topics {
		if !t.IsInternal {
			topics[*t.Topic] = len(t.Partitions)
		}
	}
	return topics, nil
}

// producerID takes a new one.
func (a asker) producerID(ctx context.Context) (int64, error) {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.ProducerID, req.ProducerEpoch = -1, -1
	resp, err := req.RequestWith(ctx, a)
	if err != nil {
		return -1, err
	}
	return resp.ProducerID, kerr.ErrorForCode(resp.ErrorCode)
}

// produce sends one batch with acks=all and returns its base offset.
func (a asker) produce(ctx context.Context, topic string, partition int32, b record.Batch) (int64, error) {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 5000
	p := kmsg.NewProduceRequestTopicPartition()
	p.Partition, p.Records = partition, b
	pt := kmsg.NewProduceRequestTopic()
	pt.Topic, pt.Partitions = topic, append(pt.Partitions, p)
	req.Topics = append(req.Topics, pt)
	resp, err := req.RequestWith(ctx, a)
	if err != nil {
		return -1, err
	}
	got := resp.Topics[0].Partitions[0]
	message := got.ErrorMessage
	for _, e := range got.ErrorRecords {
		message = e.ErrorMessage
	}
	return got.BaseOffset, said(got.ErrorCode, message)
}

// batch is a batch of values as an idempotent producer sends it; producer -1 is
// one that is not.
func batch(producer int64, sequence int32, values ...string) record.Batch {
	o := record.BuildOptions{BaseTimestamp: time.Now().UnixMilli(), ProducerID: producer, BaseSequence: sequence}
	if producer < 0 {
		o.ProducerEpoch, o.BaseSequence = -1, -1
	}
	records := make([]record.Record, len(values))
	for i, v := range values {
		records[i].Value = []byte(v)
	}
	return record.Build(o, records)
}

// half is a batch of one record of a half message, its value that of the prepare.
func half(id, state, group, value string) record.Batch {
	r := record.Record{Headers: []record.Header{
		{Key: txn.HeaderID, Value: []byte(id)}, {Key: txn.HeaderState, Value: []byte(state)},
	}}
	if group != "" {
		r.Headers = append(r.Headers, record.Header{Key: txn.HeaderGroup, Value: []byte(group)})
	}
	if value != "" {
		r.Value = []byte(value)
	}
	o := record.BuildOptions{BaseTimestamp: time.Now().UnixMilli(), ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}
	return record.Build(o, []record.Record{r})
}

// read returns the values of all records of a partition, whose offsets must be
// those from 0 on.
func (a asker) read(ctx context.Context, topic string, partition int32) ([]string, error) {
	var values []string
	for {
		req := kmsg.NewPtrFetchRequest()
		req.MaxBytes, req.SessionEpoch = 1<<20, -1
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = partition, int64(len(values)), 1<<20
		ft := kmsg.NewFetchRequestTopic()
		ft.Topic, ft.Partitions = topic, append(ft.Partitions, p)
		req.Topics = append(req.Topics, ft)
		resp, err := req.RequestWith(ctx, a)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err != nil {
			return nil, err
		}
		got := resp.Topics[0].Partitions[0]
		if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
			return nil, err
		}
		if got.HighWatermark == int64(len(values)) {
			return values, nil
		}
		if values, err = appendValues(values, got.RecordBatches); err != nil {
			return nil, fmt.Errorf("fetching %s:%d: %w", topic, partition, err)
		}
	}
}

func appendValues(values []string, batches []byte) ([]string, error) {
	if len(batches) == 0 {
		return nil, errors.New("nothing comes, though there is more")
	}
	for len(batches) > 0 {
		b, rest, err := record.SplitBatch(batches)
		if err == nil {
			err = b.Validate()
		}
		if err != nil {
			return nil, err
		}
		if b.BaseOffset() != int64(len(values)) {
			return nil, fmt.Errorf("a batch at offset %d behind %d records", b.BaseOffset(), len(values))
		}
		records, err := b.Decode(1 << 20)
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			values = append(values, string(r.Value))
		}
		batches = rest
	}
	return values, nil
}

// awaitCoordinator asks until the group's coordinator is known: its first use makes
// __consumer_offsets.
func (a asker) awaitCoordinator(ctx context.Context, group string) error {
	for range 50 {
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.CoordinatorKeys = []string{group}
		resp, err := req.RequestWith(ctx, a)
		if err != nil {
			return err
		}
		err = said(resp.Coordinators[0].ErrorCode, resp.Coordinators[0].ErrorMessage)
		if !errors.Is(err, kerr.CoordinatorNotAvailable) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("group %q has no coordinator", group)
}

// commit commits an offset as a consumer does that is no member of the group.
func (a asker) commit(ctx context.Context, group, topic string, partition int32, offset int64) error {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = group, -1
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Partition, p.Offset = partition, offset
	ct := kmsg.NewOffsetCommitRequestTopic()
	ct.Topic, ct.Partitions = topic, append(ct.Partitions, p)
	req.Topics = append(req.Topics, ct)
	resp, err := req.RequestWith(ctx, a)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode)
}

// committed is a group's offset, -1 if there is none.
func (a asker) committed(ctx context.Context, group, topic string, partition int32) (int64, error) {
	req := kmsg.NewPtrOffsetFetchRequest()
	g := kmsg.NewOffsetFetchRequestGroup()
	gt := kmsg.NewOffsetFetchRequestGroupTopic()
	gt.Topic, gt.Partitions = topic, []int32{partition}
	g.Group, g.Topics = group, append(g.Topics, gt)
	req.Groups = append(req.Groups, g)
	resp, err := req.RequestWith(ctx, a)
	if err != nil {
		return -1, err
	}
	got := resp.Groups[0]
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		return -1, err
	}
	return got.Topics[0].Partitions[0].Offset, kerr.ErrorForCode(got.Topics[0].Partitions[0].ErrorCode)
}
