package sdk

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
)

// Option is a setting of producers and consumers alike.
type Option interface {
	ProducerOption
	ConsumerOption
}

// ProducerOption is a setting of a Producer or a TransactionProducer.
type ProducerOption interface{ applyProducer(*producerConfig) }

// ConsumerOption is a setting of a Consumer.
type ConsumerOption interface{ applyConsumer(*consumerConfig) }

type option func(*clientConfig)

func (o option) applyProducer(c *producerConfig) { o(&c.clientConfig) }
func (o option) applyConsumer(c *consumerConfig) { o(&c.clientConfig) }

type producerOption func(*producerConfig)

func (o producerOption) applyProducer(c *producerConfig) { o(c) }

type consumerOption func(*consumerConfig)

func (o consumerOption) applyConsumer(c *consumerConfig) { o(c) }

// WithClientID names this client in the brokers' logs, quotas and metrics. The
// default is "splashdam-sdk".
func WithClientID(id string) Option { return option(func(c *clientConfig) { c.clientID = id }) }

// WithDialer replaces how connections are made, for instance by pipes into a
// broker in the same process. host is as the cluster advertises it, host:port.
func WithDialer(dial func(ctx context.Context, network, host string) (net.Conn, error)) Option {
	return option(func(c *clientConfig) { c.dial = dial })
}

// WithTLS encrypts connections. It cannot be combined with WithDialer.
func WithTLS(config *tls.Config) Option { return option(func(c *clientConfig) { c.tls = config }) }

// WithSASL authenticates, by one of franz-go's mechanisms: plain, scram, oauth.
func WithSASL(mechanism sasl.Mechanism) Option {
	return option(func(c *clientConfig) { c.sasl = mechanism })
}

// WithListener is told of what the SDK dealt with by itself, from any goroutine;
// it must not block. By default events are warnings in slog's default logger.
func WithListener(listen func(Event)) Option {
	return option(func(c *clientConfig) { c.listen = listen })
}

// Compression is a codec for batches.
type Compression int8

const (
	Uncompressed Compression = iota
	Gzip
	Snappy // the default
	LZ4
	Zstd
)

func (c Compression) codec() (kgo.CompressionCodec, error) {
	switch c {
	case Uncompressed:
		return kgo.NoCompression(), nil
	case Gzip:
		return kgo.GzipCompression(), nil
	case Snappy:
		return kgo.SnappyCompression(), nil
	case LZ4:
		return kgo.Lz4Compression(), nil
	case Zstd:
		return kgo.ZstdCompression(), nil
	}
	return kgo.CompressionCodec{}, fmt.Errorf("compression %d: unknown", c)
}

// WithCompression sets the codec of batches. Half messages go uncompressed, since
// brokers take their batches apart.
func WithCompression(c Compression) ProducerOption {
	return producerOption(func(p *producerConfig) { p.compression = c })
}

// WithLinger lets a batch wait for company. The default is 0: a message waits
// only while the one before it is under way, which batches well under load.
func WithLinger(d time.Duration) ProducerOption {
	return producerOption(func(p *producerConfig) { p.linger = d })
}

// WithDeadline is how long a send may take in all, from 1 s; the default is 10 s,
// enough for a partition to get a new leader. A context can only shorten it.
func WithDeadline(d time.Duration) ProducerOption {
	return producerOption(func(p *producerConfig) { p.deadline = d })
}

// WithFence sets the table in which a TransactionProducer's SendWithDB marks the
// local transactions, the zero Fence by default.
func WithFence(f Fence) ProducerOption {
	return producerOption(func(p *producerConfig) { p.fence = f })
}

// WithConcurrency is how many handlers run at once, 16 by default. Messages of one
// partition are handled out of order, whatever the number: a failed one rests
// while others go on.
func WithConcurrency(n int) ConsumerOption {
	return consumerOption(func(c *consumerConfig) { c.concurrency = n })
}

// WithRateLimit limits how many messages a second this consumer hands to its
// handlers, retries included: peak shaving. What cannot be taken stays in the
// cluster. Up to a hundredth of a second's messages may come at once.
func WithRateLimit(perSecond float64) ConsumerOption {
	return consumerOption(func(c *consumerConfig) { c.perSecond = perSecond })
}

// Start is where a group begins in partitions for which it has committed nothing.
type Start int8

const (
	Earliest Start = iota // with the oldest message there is: the default
	Latest                // with messages sent from now on
)

// WithStart sets where a new group begins.
func WithStart(s Start) ConsumerOption {
	return consumerOption(func(c *consumerConfig) { c.start = s })
}

// WithSessionTimeout is how long the cluster waits for a sign of life from this
// consumer before its partitions go to others, 45 s by default. Brokers limit it
// to 6 s .. 30 min unless configured otherwise.
func WithSessionTimeout(d time.Duration) ConsumerOption {
	return consumerOption(func(c *consumerConfig) { c.session = d })
}

// WithDrainTimeout is how long running handlers may take to end when a partition
// is taken away, and when Run ends; 10 s by default. It stays under the minute
// that a rebalance may take.
func WithDrainTimeout(d time.Duration) ConsumerOption {
	return consumerOption(func(c *consumerConfig) { c.drain = d })
}

// withMetadataAge is how often topics are looked up, for consumers that wait for
// one to appear.
func withMetadataAge(least, most time.Duration) ConsumerOption {
	return consumerOption(func(c *consumerConfig) { c.metadataLeast, c.metadataMost = least, most })
}

// clientConfig is what every connection to the cluster needs.
type clientConfig struct {
	brokers       []string
	clientID      string
	dial          func(context.Context, string, string) (net.Conn, error)
	tls           *tls.Config
	sasl          sasl.Mechanism
	listen        func(Event)
	metadataLeast time.Duration
	metadataMost  time.Duration
}

func newClientConfig(brokers []string) clientConfig {
	return clientConfig{
		brokers: brokers, clientID: "splashdam-sdk", listen: logWarnings,
		// Half of what a failing-over partition waits for is the client's idea of
		// who leads it; franz-go's own minimum is 5 s.
		metadataLeast: 250 * time.Millisecond, metadataMost: 5 * time.Minute,
	}
}

func (c clientConfig) options() ([]kgo.Opt, error) {
	if len(c.brokers) == 0 {
		return nil, errors.New("no broker addresses: give at least one host:port")
	}
	if c.listen == nil {
		return nil, errors.New("the listener is nil: leave WithListener out instead")
	}
	opts := []kgo.Opt{
		kgo.SeedBrokers(c.brokers...), kgo.ClientID(c.clientID),
		kgo.MetadataMinAge(c.metadataLeast), kgo.MetadataMaxAge(c.metadataMost),
		kgo.DisableClientMetrics(),
	}
	if c.dial != nil && c.tls != nil {
		return nil, errors.New("WithDialer and WithTLS exclude each other: let the dialer do TLS")
	}
	if c.dial != nil {
		opts = append(opts, kgo.Dialer(c.dial))
	}
	if c.tls != nil {
		opts = append(opts, kgo.DialTLSConfig(c.tls))
	}
	if c.sasl != nil {
		opts = append(opts, kgo.SASL(c.sasl))
	}
	return opts, nil
}

type producerConfig struct {
	clientConfig
	compression Compression
	linger      time.Duration
	deadline    time.Duration
	fence       Fence
}

func newProducerConfig(brokers []string, opts []ProducerOption) producerConfig {
	c := producerConfig{clientConfig: newClientConfig(brokers), compression: Snappy, deadline: 10 * time.Second}
	for _, o := range opts {
		o.applyProducer(&c)
	}
	return c
}

const leastDeadline = time.Second

// options are those of both producers: acks=all, and requests short enough that a
// broker that hangs costs half of the deadline and not all of it.
func (c producerConfig) options() ([]kgo.Opt, error) {
	opts, err := c.clientConfig.options()
	if err != nil {
		return nil, err
	}
	if c.deadline < leastDeadline {
		return nil, fmt.Errorf("deadline %v: at least %v is needed", c.deadline, leastDeadline)
	}
	return append(opts,
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProduceRequestTimeout(c.deadline/4), kgo.RequestTimeoutOverhead(c.deadline/4),
		kgo.RecordDeliveryTimeout(c.deadline),
	), nil
}

type consumerConfig struct {
	clientConfig
	concurrency int
	perSecond   float64
	start       Start
	session     time.Duration
	drain       time.Duration
}

func newConsumerConfig(brokers []string, opts []ConsumerOption) consumerConfig {
	c := consumerConfig{
		clientConfig: newClientConfig(brokers), concurrency: 16,
		session: 45 * time.Second, drain: 10 * time.Second,
	}
	c.metadataLeast = time.Second
	for _, o := range opts {
		o.applyConsumer(&c)
	}
	return c
}

const (
	mostConcurrency  = 100_000
	rebalanceTimeout = time.Minute // franz-go's and Kafka's usual
	mostDrain        = 50 * time.Second
)

func (c consumerConfig) validate() error {
	switch {
	case c.concurrency < 1 || c.concurrency > mostConcurrency:
		return fmt.Errorf("concurrency %d: 1 to %d are possible", c.concurrency, mostConcurrency)
	case c.perSecond < 0:
		return fmt.Errorf("rate limit %v: it must be positive", c.perSecond)
	case c.drain < 0 || c.drain > mostDrain:
		return fmt.Errorf("drain timeout %v: 0 to %v are possible, a rebalance takes %v at most", c.drain, mostDrain, rebalanceTimeout)
	case c.start != Earliest && c.start != Latest:
		return fmt.Errorf("start %d: Earliest or Latest", c.start)
	}
	return nil
}

func (c consumerConfig) options(group string, topics []string) ([]kgo.Opt, error) {
	opts, err := c.clientConfig.options()
	if err != nil {
		return nil, err
	}
	start := kgo.NewOffset().AtStart()
	if c.start == Latest {
		start = kgo.NewOffset().AtEnd()
	}
	return append(opts,
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topics...),
		kgo.ConsumeStartOffset(start), kgo.ConsumeResetOffset(start),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxBytes(fetchBytes),
		kgo.SessionTimeout(c.session), kgo.HeartbeatInterval(min(c.session/4, 3*time.Second)),
		kgo.RebalanceTimeout(rebalanceTimeout),
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
	), nil
}
