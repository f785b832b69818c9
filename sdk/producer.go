package sdk

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	bufferedMessages = 50_000
	bufferedBytes    = 64 << 20
)

// Result says where a message is.
type Result struct {
	Topic     string
	Partition int32
	// Offset is -1 where the message has none: a half message that nobody may see.
	Offset int64
	// ID is the message's, also if the SDK made it.
	ID string
}

// Producer sends messages. Each is acknowledged once the cluster has committed it
// (acks=all); the SDK's own retries store it once only (idempotence, KIP-98). It
// may be used by many goroutines; messages of one partition keep the order of the
// calls.
type Producer struct {
	config producerConfig
	client *kgo.Client
	limits *batchLimits
	closed atomic.Bool
}

// NewProducer makes a producer for the cluster that the brokers, host:port, belong
// to. It connects with the first send. Close it.
func NewProducer(brokers []string, opts ...ProducerOption) (*Producer, error) {
	p := &Producer{config: newProducerConfig(brokers, opts)}
	codec, err := p.config.compression.codec()
	if err != nil {
		return nil, fmt.Errorf("new producer: %w", err)
	}
	kopts, err := p.config.options()
	if err != nil {
		return nil, fmt.Errorf("new producer: %w", err)
	}
	p.limits = newBatchLimits()
	p.client, err = kgo.NewClient(append(kopts,
		kgo.ProducerLinger(p.config.linger), kgo.ProducerBatchCompression(codec),
		kgo.MaxBufferedRecords(bufferedMessages), kgo.MaxBufferedBytes(bufferedBytes),
		kgo.ProducerBatchMaxBytesFn(p.limits.of),
		// A record may be given up while its request is under way: then it is in
		// doubt, and its successors are not held up by a broker that hangs.
		kgo.AllowIdempotentProduceCancellation(),
	)...)
	if err != nil {
		return nil, fmt.Errorf("new producer: %w", err)
	}
	return p, nil
}

// Send stores a message and waits until it is stored, at most for the producer's
// deadline. If ctx ends earlier, Send returns with ErrInDoubt at once, and the
// message may still be stored.
func (p *Producer) Send(ctx context.Context, m *Message) (Result, error) {
	type outcome struct {
		res Result
		err error
	}
	done := make(chan outcome, 1)
	p.SendAsync(ctx, m, func(res Result, err error) { done <- outcome{res, err} })
	select {
	case o := <-done:
		return o.res, o.err
	case <-ctx.Done():
		return Result{}, sendError(m.Topic, context.Cause(ctx))
	}
}

// SendAsync stores a message and calls done, once, when it is stored or failed, at
// the latest at the producer's deadline. It returns before that; it waits only for
// room in the buffer and, before the first message of a topic, for the topic's
// size limit, and ctx ends this waiting. done is called from one of the client's
// goroutines and must not block; it may be called before SendAsync returns.
func (p *Producer) SendAsync(ctx context.Context, m *Message, done func(Result, error)) {
	if err := m.validate(); err != nil {
		done(Result{}, err)
		return
	}
	if p.closed.Load() {
		done(Result{}, fmt.Errorf("sending to topic %q: %w", m.Topic, ErrClosed))
		return
	}
	now := time.Now()
	id := m.ID
	if id == "" {
		id = newID(now)
	}
	p.limits.learn(ctx, p.client, m.Topic)

	// The deadline is kept here as well as in the client, which looks at the clock
	// only before and after requests.
	var settled atomic.Bool
	topic := m.Topic
	late := time.AfterFunc(p.config.deadline, func() {
		if settled.CompareAndSwap(false, true) {
			done(Result{}, sendError(topic, fmt.Errorf("no answer within %v: %w", p.config.deadline, context.DeadlineExceeded)))
		}
	})
	finish := func(r *kgo.Record, err error) {
		late.Stop()
		switch {
		case !settled.CompareAndSwap(false, true):
		case err != nil:
			done(Result{}, sendError(topic, err))
		default:
			done(Result{Topic: topic, Partition: r.Partition, Offset: r.Offset, ID: id}, nil)
		}
	}
	// ctx may end the wait for room, and nothing after it: the client would fail the
	// whole batch, others' messages included, when one sender gives up.
	room, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, giveUp)
	p.client.Produce(room, m.record(now, text(headerID, id)), finish)
	stop()
}

// Flush waits until no send is under way.
func (p *Producer) Flush(ctx context.Context) error {
	if err := p.client.Flush(ctx); err != nil {
		return fmt.Errorf("flushing: %w", err)
	}
	return nil
}

// Close waits for the sends under way, as long as ctx lasts, and ends the rest
// with ErrInDoubt or ErrClosed. Later sends return ErrClosed.
func (p *Producer) Close(ctx context.Context) error {
	if p.closed.Swap(true) {
		return nil
	}
	err := p.Flush(ctx)
	p.client.Close()
	return err
}
