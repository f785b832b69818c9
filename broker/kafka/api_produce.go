package kafka

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/quota"
	"github.com/splashdam/splashdam/broker/record"
)

// Produce appends one batch to each of several partitions.
//
//	 0-2  message formats before v2: advertised, not served, as in Kafka 4
//	      (librdkafka looks at the lowest version, KAFKA-18659)
//	 3    record batches v2 and a transactional id (KIP-98)
//	 4    KAFKA_STORAGE_ERROR may be answered
//	 5    log start offset (KIP-107)
//	 6    throttling happens after the answer (KIP-219)
//	 7    zstd (KIP-110)
//	 8    which records were wrong, and a message (KIP-467)
//	 9    flexible
//	10    the current leader beside NOT_LEADER_OR_FOLLOWER (KIP-951)
//	11    TRANSACTION_ABORTABLE may be answered (KIP-890)
//	12    a batch of a transaction makes its partition part of it (KIP-890)
//	13    topic ids (KIP-516)
func produceAPI() *api {
	return &api{
		key: kmsg.Produce, min: 3, max: 13, advertisedMin: 0,
		shape: parseShape("S 2 4 [s:3-12 16:13 [4 b]]", 9),
		start: func(c *call, req kmsg.Request) reply { return c.produce(req.(*kmsg.ProduceRequest)) },
	}
}

// production is a produce request whose batches are being appended.
type production struct {
	*call
	req     *kmsg.ProduceRequest
	entered time.Time
	all     chan struct{} // closed when nothing is awaited any more

	mu      sync.Mutex
	awaited int
	results []produced
}

// produced is what became of one partition's batch.
type produced struct {
	topic     Topic
	partition int32
	done      bool
	Appended
}

// produce hands the batches over to the Backend, in the reader, so that they
// enter in the order of the requests; the answer waits for them.
func (c *call) produce(req *kmsg.ProduceRequest) reply {
	c.take(quota.ProducerByteRate, float64(c.frame.size))
	p := &production{call: c, req: req, entered: time.Now(), all: make(chan struct{}), awaited: 1}
	refused := p.mayTransact()
	for i := range req.Topics {
		t := &req.Topics[i]
		topic, err := Topic{}, refused
		if err == nil {
			topic, err = p.topicFor(kmsg.ACLOperationWrite, t.Topic, t.TopicID, req.Version >= 13)
		}
		for j := range t.Partitions {
			r := produced{topic: topic, partition: t.Partitions[j].Partition}
			p.results = append(p.results, r)
			if err := p.takes(&r, err); err != nil {
				p.settle(len(p.results)-1, Appended{Err: err})
			}
		}
	}
	n := 0
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			if !p.settled(n) {
				p.append(n, req.Topics[i].Partitions[j].Records)
			}
			n++
		}
	}
	p.countDown()
	return p.answer
}

// mayTransact errors where the request must not be served at all: it has a transactional
// id that the client may not use, or a batch of a transaction and none.
func (p *production) mayTransact() error {
	if id := p.req.TransactionID; id != nil {
		return p.may(kmsg.ACLOperationWrite, onTxnID, *id)
	}
	for i := range p.req.Topics {
		for _, q := range p.req.Topics[i].Partitions {
			if b, _, err := record.SplitBatch(q.Records); err == nil && b.IsTransactional() {
				return fmt.Errorf("a batch of a transaction, and the request has no transactional id: %w", kerr.TransactionalIDAuthorizationFailed)
			}
		}
	}
	return nil
}

// takes errors unless a batch may go to a partition, whatever is in it, in the order of
// Kafka's checks. err is why its topic is none.
func (p *production) takes(r *produced, err error) error {
	if err != nil {
		return err
	}
	if r.partition < 0 || int(r.partition) >= len(r.topic.Partitions) {
		return fmt.Errorf("topic %q has no partition %d: %w", r.topic.Name, r.partition, kerr.UnknownTopicOrPartition)
	}
	switch p.req.Acks {
	case -1, 0, 1:
	default:
		return fmt.Errorf("acks=%d, which is none of -1, 0 and 1: %w", p.req.Acks, kerr.InvalidRequiredAcks)
	}
	if r.topic.Internal {
		return fmt.Errorf("topic %q is internal, the broker alone writes to it: %w", r.topic.Name, kerr.InvalidTopicException)
	}
	return nil
}

// append checks what the request alone can tell and passes the batch on.
func (p *production) append(n int, records []byte) {
	r := &p.results[n]
	batch, err := checkRecords(records, p.req.Version)
	if err == nil {
		err = checkBatch(batch, r.topic.Config, p.entered.UnixMilli())
	}
	if err != nil {
		p.settle(n, Appended{Err: err})
		return
	}
	p.mu.Lock()
	p.awaited++
	p.mu.Unlock()
	p.frame.hold() // the batch lies in it, and is the Backend's until done
	acks := p.req.Acks
	if acks == 0 {
		acks = 1
	}
	req := AppendRequest{Topic: r.topic.Name, Partition: r.partition, Batch: batch, Acks: acks, Principal: p.client.Principal}
	if batch.IsTransactional() {
		req.TransactionalID, req.AddsPartition = *p.req.TransactionID, p.req.Version >= 12
	}
	p.backend.Append(req, func(a Appended) {
		a.Err = transactionalProduceError(a.Err, p.req.Version)
		p.frame.release()
		p.settle(n, a)
		p.countDown()
	})
}

func (p *production) settle(n int, a Appended) {
	p.mu.Lock()
	p.results[n].Appended, p.results[n].done = a, true
	p.mu.Unlock()
}

func (p *production) settled(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.results[n].done
}

func (p *production) countDown() {
	p.mu.Lock()
	p.awaited--
	last := p.awaited == 0
	p.mu.Unlock()
	if last {
		close(p.all)
	}
}

// answer waits for the batches, no longer than the client does. With acks=0
// nobody reads an answer; it waits all the same, so that the requests in flight
// stay bounded, and a failure closes the connection, which is how such a client
// learns that it should look for the leader again.
func (p *production) answer(ctx context.Context) kmsg.Response {
	patience := wait(p.req.TimeoutMillis, p.limits.MaxProduceWait)
	late := time.NewTimer(patience - time.Since(p.entered))
	defer late.Stop()
	waiting := time.Now()
	select {
	case <-p.all:
	case <-late.C:
	case <-ctx.Done():
	}
	p.idle += time.Since(waiting)
	resp := p.collect(patience)
	if p.req.Acks == 0 {
		return nil
	}
	return resp
}

func (p *production) collect(patience time.Duration) *kmsg.ProduceResponse {
	p.mu.Lock()
	defer p.mu.Unlock()
	resp := kmsg.NewPtrProduceResponse()
	hints := leaderHints{call: p.call}
	n := 0
	for i := range p.req.Topics {
		asked := &p.req.Topics[i]
		t := kmsg.NewProduceResponseTopic()
		t.Topic, t.TopicID = asked.Topic, asked.TopicID
		for range asked.Partitions {
			r := &p.results[n]
			n++
			if !r.done {
				r.Err = fmt.Errorf("topic %q partition %d: not appended within %v: %w", r.topic.Name, r.partition, patience, kerr.RequestTimedOut)
			}
			t.Partitions = append(t.Partitions, p.answerFor(r, &hints))
			if r.Err != nil && p.req.Acks == 0 {
				p.conn.leave(fmt.Errorf("%s: acks=0 and the batch was not appended: %w", p.request(), r.Err))
			}
		}
		if len(t.Partitions) > 0 {
			resp.Topics = append(resp.Topics, t)
		}
	}
	for _, node := range hints.named {
		b := kmsg.NewProduceResponseBroker()
		b.NodeID, b.Host, b.Port, b.Rack = node.ID, node.Host, node.Port, optional(node.Rack)
		resp.Brokers = append(resp.Brokers, b)
	}
	return resp
}

func (p *production) answerFor(r *produced, hints *leaderHints) kmsg.ProduceResponseTopicPartition {
	a := kmsg.NewProduceResponseTopicPartition()
	a.Partition = r.partition
	if r.Err == nil {
		a.BaseOffset, a.LogAppendTime, a.LogStartOffset = r.BaseOffset, r.LogAppendTime, r.LogStart
		return a
	}
	a.BaseOffset, a.LogAppendTime, a.LogStartOffset = -1, -1, -1
	a.ErrorCode, a.ErrorMessage = p.code(r.Err), message(r.Err)
	for _, blamed := range r.RecordErrors {
		e := kmsg.NewProduceResponseTopicPartitionErrorRecord()
		e.RelativeOffset, e.ErrorMessage = blamed.Record, optional(blamed.Message)
		a.ErrorRecords = append(a.ErrorRecords, e)
	}
	if p.req.Version >= 10 {
		a.CurrentLeader.LeaderID, a.CurrentLeader.LeaderEpoch = hints.hint(r.topic, r.partition, a.ErrorCode)
	}
	return a
}

// checkRecords finds the one batch that a partition's records must be.
func checkRecords(records []byte, version int16) (record.Batch, error) {
	if len(records) == 0 {
		return nil, fmt.Errorf("no record batch, there must be exactly one: %w", kerr.InvalidRecord)
	}
	batch, rest, err := record.SplitBatch(records)
	switch {
	case err != nil:
		return nil, err
	case len(rest) > 0:
		return nil, fmt.Errorf("%d bytes follow the record batch, there must be exactly one batch: %w", len(rest), kerr.InvalidRecord)
	case batch.Codec() == record.Zstd && version < 7:
		return nil, fmt.Errorf("zstd needs version 7 of Produce, this is version %d: %w", version, kerr.UnsupportedCompressionType)
	}
	return batch, nil
}

// checkBatch checks a batch's header against its topic. now is in ms.
func checkBatch(b record.Batch, topic TopicConfig, now int64) error {
	if len(b) > topic.MaxMessageBytes {
		return fmt.Errorf("a batch of %d bytes is larger than the topic's max.message.bytes=%d: %w", len(b), topic.MaxMessageBytes, kerr.MessageTooLarge)
	}
	if err := b.Validate(); err != nil {
		return err
	}
	switch {
	case b.IsControl():
		return fmt.Errorf("control batches are the broker's own: %w", kerr.InvalidRecord)
	case b.IsTransactional() && !b.IsIdempotent():
		return fmt.Errorf("a batch of a transaction without a producer id: %w", kerr.InvalidRecord)
	case b.BaseOffset() != 0:
		return fmt.Errorf("base offset %d, a client's batch begins at 0: %w", b.BaseOffset(), kerr.InvalidRecord)
	case b.IsIdempotent() && (b.BaseSequence() < 0 || b.ProducerEpoch() < 0):
		return fmt.Errorf("producer id %d with epoch %d and sequence %d: %w", b.ProducerID(), b.ProducerEpoch(), b.BaseSequence(), kerr.InvalidRecord)
	}
	return checkTimestamps(b, topic, now)
}

// checkTimestamps holds the header's times against the topic's bounds (KIP-937).
// The first record's and the largest are known without decompressing.
func checkTimestamps(b record.Batch, topic TopicConfig, now int64) error {
	if topic.LogAppendTime {
		return nil // the broker's time takes their place
	}
	if b.IsLogAppendTime() {
		return fmt.Errorf("the batch claims log append time, the topic has create time: %w", kerr.InvalidTimestamp)
	}
	for _, ts := range []int64{b.BaseTimestamp(), b.MaxTimestamp()} {
		if ts == -1 { // a record without a time
			continue
		}
		if earliest := now - min(topic.TimestampBeforeMs, now); topic.TimestampBeforeMs < math.MaxInt64 && ts < earliest {
			return fmt.Errorf("timestamp %d is earlier than %d, which message.timestamp.before.max.ms=%d allows: %w", ts, earliest, topic.TimestampBeforeMs, kerr.InvalidTimestamp)
		}
		if latest := now + min(topic.TimestampAfterMs, math.MaxInt64-now); ts > latest {
			return fmt.Errorf("timestamp %d is later than %d, which message.timestamp.after.max.ms=%d allows: %w", ts, latest, topic.TimestampAfterMs, kerr.InvalidTimestamp)
		}
	}
	return nil
}
