package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const inputHelp = `Format of the input, -f:
  %t topic   %k key   %v value   %h header   %p partition   %d timestamp in ms
  %T %K %V   the length of topic, key, value, which must stand before what it measures
  %H         the number of headers
  \t \n \r \\ \xNN %% %{ %}   themselves

  What stands between two verbs separates them: '%k\t%v\n' reads a key up to a tab and
  a value up to the end of the line. Lengths and numbers take a form in braces: ascii
  (the default), hex64 hex32 hex16 hex8 hex4, big64 big32 big16 big8, little64 ... byte,
  bool; a length may also be said there: '%V{3}%v' reads values of 3 bytes. Text takes
  hex, base64, json and re[...]: '%v{json}' reads one JSON value, on however many lines.

  '%v\n'                 a value per line (the default)
  '%k %v\n'              key, a space, value
  '%V{big32}%v'          4 bytes of length, then the value
  '%k\t%h{%k=%v;}%v\n'   with one header; '%H %h{...}' says how many there are`

// producing is what the flags of produce say.
type producing struct {
	topic     string
	input     string
	output    string
	key       string
	headers   []string
	partition int32
	codec     string
	acks      int
	tombstone bool
	create    bool
	timeout   time.Duration
}

func (p *program) produceCommand() *cobra.Command {
	var o producing
	cmd := &cobra.Command{
		Use:   "produce [TOPIC]",
		Short: "Send messages from standard input to a topic",
		Long: `Send what comes on standard input to a topic: a message per line, or as -f says.
For each message that is acknowledged a line is printed, or what -o says (the format of
consume). Without TOPIC the format must read one (%t).

` + inputHelp,
		Example: `  echo hello | splashdam produce orders
  splashdam produce orders -k customer-7 -H source:shop < orders.jsonl
  printf 'a 1\nb 2\n' | splashdam produce orders -f '%k %v\n' -o '%p %o\n'`,
		Args: cobra.MaximumNArgs(1),
	}
	c := p.clusterFlags(cmd)
	cmd.ValidArgsFunction = c.completeTopics
	f := cmd.Flags()
	f.StringVarP(&o.input, "format", "f", `%v\n`, "`format` of the input")
	f.StringVarP(&o.output, "output-format", "o", `Produced to partition %p at offset %o with timestamp %d.\n`, "`format` of what is printed for each message")
	f.StringVarP(&o.key, "key", "k", "", "`key` of all messages")
	f.StringArrayVarP(&o.headers, "header", "H", nil, "`key:value` of a header for all messages; may be repeated")
	f.Int32VarP(&o.partition, "partition", "p", -1, "`number` of the partition for all messages; -1 lets key or chance decide")
	f.StringVarP(&o.codec, "compression", "z", "none", "`codec`: none, gzip, snappy, lz4 or zstd")
	f.IntVar(&o.acks, "acks", -1, "wait for `-1` (committed), 1 (written by the leader) or 0 (nothing)")
	f.BoolVarP(&o.tombstone, "tombstone", "Z", false, "an empty value deletes its key (null instead of empty)")
	f.BoolVar(&o.create, "allow-auto-topic-creation", false, "let the broker create the topic, if its settings do")
	f.DurationVar(&o.timeout, "delivery-timeout", 2*time.Minute, "give a message up after this `duration`")
	completeWords(cmd, "compression", "none", "gzip", "snappy", "lz4", "zstd")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			o.topic = args[0]
		}
		job, err := o.prepare(cmd)
		if err != nil {
			return usage(cmd, err)
		}
		return p.produce(cmd.Context(), c, o, job)
	}
	return cmd
}

// produceJob is the flags, parsed.
type produceJob struct {
	opts    []kgo.Opt
	headers []kgo.RecordHeader
	output  *kgo.RecordFormatter
}

var codecs = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

func (o *producing) prepare(cmd *cobra.Command) (produceJob, error) {
	var job produceJob
	codec, ok := codecs[o.codec]
	if !ok {
		return job, fmt.Errorf("-z %s: the codecs are none, gzip, snappy, lz4, zstd", o.codec)
	}
	job.opts = append(job.opts, kgo.ProducerBatchCompression(codec), kgo.RecordDeliveryTimeout(o.timeout), kgo.UnknownTopicRetries(1))
	switch o.acks {
	case -1:
		job.opts = append(job.opts, kgo.RequiredAcks(kgo.AllISRAcks()))
	case 0:
		job.opts = append(job.opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	case 1:
		job.opts = append(job.opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	default:
		return job, fmt.Errorf("--acks %d: it is -1, 0 or 1", o.acks)
	}
	for _, h := range o.headers {
		k, v, ok := strings.Cut(h, ":")
		if !ok || k == "" {
			return job, fmt.Errorf("-H %s is not of the form key:value", h)
		}
		job.headers = append(job.headers, kgo.RecordHeader{Key: k, Value: []byte(v)})
	}
	reads, err := inputVerbs(o.input)
	if err != nil {
		return job, fmt.Errorf("-f %s: %w", o.input, err)
	}
	switch {
	case o.topic == "" && !reads['t']:
		return job, errors.New("there is no topic: name one, or read it with %t in -f")
	case o.topic != "" && reads['t']:
		return job, errors.New("the topic is named, and -f reads one too")
	case cmd.Flags().Changed("key") && reads['k']:
		return job, errors.New("-k gives all messages one key, and -f reads one too")
	case o.partition < -1:
		return job, fmt.Errorf("-p %d is not the number of a partition", o.partition)
	case o.partition >= 0 && reads['p']:
		return job, errors.New("-p gives all messages one partition, and -f reads one too")
	case o.partition >= 0 || reads['p']:
		job.opts = append(job.opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	if job.output, err = kgo.NewRecordFormatter(o.output); err != nil {
		return job, fmt.Errorf("-o %s: %w", o.output, err)
	}
	if o.create {
		job.opts = append(job.opts, kgo.AllowAutoTopicCreation())
	}
	return job, nil
}

// inputVerbs checks an input format and says which verbs it reads. Inside braces
// are a header's own verbs, and forms.
func inputVerbs(layout string) (map[byte]bool, error) {
	if layout == "" {
		return nil, errors.New("the format is empty")
	}
	if _, err := kgo.NewRecordReader(strings.NewReader(""), layout); err != nil {
		return nil, err
	}
	verbs := make(map[byte]bool)
	depth := 0
	for i := 0; i < len(layout); i++ {
		switch c := layout[i]; {
		case c == '\\':
			i++
		case c == '%' && i+1 < len(layout):
			i++
			if depth == 0 && !strings.ContainsRune("%{}", rune(layout[i])) {
				verbs[layout[i]] = true
			}
		case c == '{':
			depth++
		case c == '}' && depth > 0:
			depth--
		}
	}
	if len(verbs) == 0 {
		return nil, errors.New("the format reads nothing; %v is the value")
	}
	return verbs, nil
}

// produce reads and sends until the input ends, a message fails or ctx ends, and
// waits for what is under way.
func (p *program) produce(ctx context.Context, c *cluster, o producing, job produceJob) error {
	client, err := c.dial(ctx, job.opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	if o.topic != "" && !o.create {
		if err := c.checkTarget(ctx, client, o.topic, o.partition); err != nil {
			return err
		}
	}
	reader, err := kgo.NewRecordReader(p.inputFor(o.input), o.input)
	if err != nil {
		return err
	}
	acks := &acknowledgements{client: client, out: bufio.NewWriter(p.stdout), format: job.output, quiet: p.quiet}

	reading, stop := context.WithCancel(ctx)
	defer stop()
	acks.failed = stop
	readErr := p.sendAll(reading, client, o, job, reader, acks)

	if err := client.Flush(context.WithoutCancel(ctx)); err != nil && readErr == nil {
		readErr = err
	}
	sent, sendErr := acks.result()
	switch {
	case sendErr != nil:
		return c.explainProduce(ctx, client, sendErr, sent)
	case ctx.Err() != nil:
		p.talk("%s acknowledged\n", count(sent, "message"))
		return ctx.Err()
	}
	return readErr
}

// sendAll hands records to the client until there are no more or ctx ends.
func (p *program) sendAll(ctx context.Context, client *kgo.Client, o producing, job produceJob, reader *kgo.RecordReader, acks *acknowledgements) error {
	n := 0
	for in := range readInputs(ctx, reader.ReadRecord) {
		if errors.Is(in.err, io.EOF) && !errors.Is(in.err, io.ErrUnexpectedEOF) {
			return nil
		}
		n++
		if in.err != nil {
			return &problem{
				what:  fmt.Sprintf("message %d of the input does not have the form %s", n, o.input),
				cause: in.err,
				next:  []string{"the messages before it are sent", "see:  splashdam produce --help"},
			}
		}
		r := in.record
		if o.topic != "" {
			r.Topic = o.topic
		}
		if o.key != "" {
			r.Key = []byte(o.key)
		}
		if o.partition >= 0 {
			r.Partition = o.partition
		}
		if len(r.Value) == 0 {
			r.Value = []byte{}
			if o.tombstone {
				r.Value = nil
			}
		}
		r.Headers = append(r.Headers, job.headers...)
		number := n
		client.Produce(ctx, r, func(r *kgo.Record, err error) { acks.add(number, r, err) })
	}
	return nil
}

// inputFor is standard input, with the end of its last line added where that is
// missing: a file without it is a file whose last line would be lost.
func (p *program) inputFor(layout string) io.Reader {
	if strings.HasSuffix(layout, `\n`) && !strings.HasSuffix(layout, `\\n`) {
		return &lastLine{r: p.stdin, last: '\n'}
	}
	return p.stdin
}

// lastLine adds a newline to an input that does not end with one. An empty input
// stays empty.
type lastLine struct {
	r    io.Reader
	last byte
	end  bool
}

func (l *lastLine) Read(b []byte) (int, error) {
	if l.end || len(b) == 0 {
		return 0, io.EOF
	}
	n, err := l.r.Read(b)
	if n > 0 {
		l.last = b[n-1]
		if err == io.EOF {
			err = nil // asked for again
		}
		return n, err
	}
	if err == io.EOF {
		l.end = true
		if l.last != '\n' {
			b[0] = '\n'
			return 1, nil
		}
	}
	return 0, err
}

// acknowledgements prints what the cluster has acknowledged and keeps the first
// failure. The client calls add from one goroutine.
type acknowledgements struct {
	client *kgo.Client
	format *kgo.RecordFormatter
	quiet  bool
	failed func()

	mu   sync.Mutex
	out  *bufio.Writer
	line []byte
	sent int
	err  error
}

func (a *acknowledgements) add(number int, r *kgo.Record, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		a.sent++
		if !a.quiet {
			a.line = a.format.AppendRecord(a.line[:0], r)
			_, err = a.out.Write(a.line)
			if a.client.BufferedProduceRecords() == 0 {
				err = errors.Join(err, a.out.Flush())
			}
		}
	} else {
		err = &unsent{number: number, topic: r.Topic, partition: r.Partition, err: err}
	}
	if err != nil && a.err == nil {
		a.err = err
		a.failed()
	}
}

func (a *acknowledgements) result() (sent int, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.out.Flush(); err != nil && a.err == nil {
		a.err = err
	}
	return a.sent, a.err
}

// unsent is a message that was not acknowledged.
type unsent struct {
	number    int // in the input, from 1
	topic     string
	partition int32
	err       error
}

func (e *unsent) Error() string {
	return fmt.Sprintf("message %d, for topic %q: %v", e.number, e.topic, e.err)
}

func (e *unsent) Unwrap() error { return e.err }

// checkTarget says at once what would else be found out message by message.
func (c *cluster) checkTarget(ctx context.Context, client *kgo.Client, topic string, partition int32) error {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	found, err := c.topics(ctx, kadm.NewClient(client), topic)
	if err != nil {
		return c.explain(err)
	}
	if n := len(found[topic].Partitions); int(partition) >= n {
		return &problem{what: fmt.Sprintf("topic %q has no partition %d; they are 0 to %d", topic, partition, n-1)}
	}
	return nil
}

func (c *cluster) explainProduce(ctx context.Context, client *kgo.Client, err error, sent int) error {
	e, ok := errors.AsType[*unsent](err)
	if !ok {
		return err
	}
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return c.unknownTopic(ctx, kadm.NewClient(client), e.topic)
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return ctx.Err()
	}
	p := &problem{what: fmt.Sprintf("message %d, for topic %q on %s, was not acknowledged", e.number, e.topic, c.where()), cause: e.err}
	switch {
	case errors.Is(err, kerr.MessageTooLarge):
		p.next = append(p.next, "the limit is max.message.bytes of the topic, and 1 MB in this tool")
	case errors.Is(err, kgo.ErrRecordTimeout):
		p.cause = errors.New("no answer within the delivery timeout")
		p.next = append(p.next, "it may or may not be stored: send it again, and it may be there twice")
	}
	p.next = append(p.next, fmt.Sprintf("%s before it were acknowledged", count(sent, "message")))
	return p
}
