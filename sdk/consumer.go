package sdk

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/time/rate"
)

const (
	// maxSpan is how far, in offsets, a partition may run ahead of its first
	// unfinished message before it pauses: it bounds what a crash can repeat and
	// what rides in the commit's metadata. It goes on once half of it is finished.
	maxSpan = 2000
	// maxWaiting bounds the fresh messages that wait for a handler.
	maxWaiting = 1000
	// maxHeldBytes bounds the bytes of all messages here, those that rest after a
	// failure included. One fetch may exceed it.
	maxHeldBytes = 64 << 20
	// fetchBytes bounds what one broker sends at once.
	fetchBytes = 16 << 20

	commitInterval = time.Second
	commitTimeout  = 5 * time.Second
	leaveTimeout   = 5 * time.Second
	// lastGrace is how long a handler may take to notice that its context ended.
	lastGrace = time.Second
)

// Handler works on one message. Nil acknowledges it. An error does not: the
// message rests, 200 ms at first and twice as long after every failure, up to
// 30 s, and is handed out again for as long as it fails, while others go on. Until
// it succeeds its partition's committed offset stays in front of it, and once
// 2,000 offsets lie between it and the newest message taken, its partition pauses.
// So a handler that can never succeed on some message must deal with that message
// and return nil.
//
// Handlers run in parallel (WithConcurrency). ctx ends, with the cause ErrRevoked,
// when a message's partition is taken away and the drain timeout has passed. Each
// message is delivered at least once: more often after a crash or a rebalance.
type Handler func(ctx context.Context, m *Message) error

// Consumer is one member of a consumer group: the partitions of its topics are
// shared among the members. It handles messages in parallel and commits, per
// partition, the offset of the first unfinished one; the finished ones above it
// ride in the commit's metadata, so that they are not delivered again.
//
// Its methods may be called concurrently.
type Consumer struct {
	config  consumerConfig
	group   string
	topics  []string
	handler Handler
	limiter *rate.Limiter // nil: no limit
	options []kgo.Opt

	started chan struct{} // has room for the one Run

	// commitMu is taken before mu, and held while a commit is under way, so that
	// an older position never overwrites a newer one.
	commitMu sync.Mutex

	mu       sync.Mutex
	client   *kgo.Client // nil before Run
	assigned map[topicPartition]*partition
	backlog  backlog
	held     int64 // bytes of messages admitted and not yet finished
	paused   bool
	stopping bool
	missing  map[string]bool // topics that were reported as not there

	// Each has room for one wake-up.
	wakePoll, wakeHandlers chan struct{}
}

type topicPartition struct {
	topic     string
	partition int32
}

// partition is one that this member owns. It is guarded by Consumer.mu; a
// partition that comes back after it was taken away is another value.
type partition struct {
	topicPartition
	tracker   *tracker
	committed position
	running   int  // handlers
	closing   bool // taken away: no handler begins any more
	paused    bool // its span passed maxSpan
	// drained is closed when it is closing and no handler runs.
	drained chan struct{}
	// ctx is what its handlers get; cancel ends it.
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// delivery is one message on its way through the consumer.
type delivery struct {
	message *Message
	owner   *partition
	due     time.Time // when it rests
}

// bytes is what a delivery counts against maxHeldBytes.
func (d *delivery) bytes() int64 {
	n := len(d.message.Key) + len(d.message.Value) + 128
	for _, h := range d.message.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return int64(n)
}

// NewConsumer makes a member of a group that handles messages of the topics. It
// connects and joins with Run. A topic that does not exist is waited for.
func NewConsumer(brokers []string, group string, topics []string, handler Handler, opts ...ConsumerOption) (*Consumer, error) {
	switch {
	case group == "":
		return nil, errors.New("new consumer: the group has no name")
	case len(topics) == 0:
		return nil, fmt.Errorf("new consumer of group %q: no topics", group)
	case handler == nil:
		return nil, fmt.Errorf("new consumer of group %q: no handler", group)
	}
	c := &Consumer{
		config: newConsumerConfig(brokers, opts), group: group, topics: topics, handler: handler,
		started: make(chan struct{}, 1), assigned: map[topicPartition]*partition{}, missing: map[string]bool{},
		wakePoll: make(chan struct{}, 1), wakeHandlers: make(chan struct{}, 1),
	}
	if err := c.config.validate(); err != nil {
		return nil, fmt.Errorf("new consumer of group %q: %w", group, err)
	}
	if n := c.config.perSecond; n > 0 {
		c.limiter = rate.NewLimiter(rate.Limit(n), max(1, int(n/100)))
	}
	kopts, err := c.config.options(group, topics)
	if err != nil {
		return nil, fmt.Errorf("new consumer of group %q: %w", group, err)
	}
	c.options = append(kopts, c.rebalanceOptions()...)
	if err := kgo.ValidateOpts(c.options...); err != nil {
		return nil, fmt.Errorf("new consumer of group %q: %w", group, err)
	}
	return c, nil
}

// Pause stops handing out messages until Resume. Handlers that run go on, and the
// member keeps its partitions.
func (c *Consumer) Pause() { c.setPaused(true) }

// Resume ends a Pause.
func (c *Consumer) Resume() { c.setPaused(false) }

func (c *Consumer) setPaused(paused bool) {
	c.mu.Lock()
	c.paused = paused
	c.mu.Unlock()
	wake(c.wakePoll)
	wake(c.wakeHandlers)
}

// wake leaves a wake-up where there is none.
func wake(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
