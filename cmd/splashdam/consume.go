package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/splashdam/splashdam/internal/invariant"
)

const outputHelp = `Format of the output, -f:
  %t topic   %p partition   %o offset   %k key   %v value   %d timestamp
  %T %K %V   the length of topic, key, value        %H   the number of headers
  %h{...}    once per header, with %k %v %K %V inside: %h{%k=%v }
  %e leader epoch   %a{compression|timestamp-type|transactional-bit|control-bit}
  %x producer id    %y producer epoch    %i number of the line, from 1
  %[ log start      %| last stable offset      %] high watermark
  \t \n \r \\ \xNN %% %{ %}   themselves

  Text (%t %k %v) takes a form in braces: hex, base64, base64raw, or unpack[<form>] with
  the letters of Python's struct: x pad, < little endian, > big endian, b B h H i I q Q
  integers of 1 to 8 bytes, c . one character, s the rest, $ the end.
  Numbers take ascii (the default), hex, hex64 ... hex4, big64 ... big8, little64 ... byte,
  bool. A timestamp is ms since 1970, or %d{strftime[%F %T]}, or %d{go[2006-01-02]}, in UTC.

  '%t/%p/%o %k: %v\n'      '%d{strftime[%FT%TZ]} %v\n'      '%v{unpack[>iq]}\n'

The default is one JSON object per line: topic, partition, offset, timestamp (ms), key,
value (null for a tombstone), headers. What is not UTF-8 is in key_base64, value_base64.`

// Limits of a consume.
const (
	// fetchWait is how long a broker may hold a fetch that finds nothing.
	fetchWait = 500 * time.Millisecond
	// quiet is how long a partition may give nothing below its bound, with its
	// broker answering, until it is taken for empty there: compacted away, aborted.
	quiet = 5 * time.Second
)

// consuming is what the flags of consume say.
type consuming struct {
	format     string
	offset     string
	count      int64
	group      string
	partitions []int32
	metaOnly   bool
	committed  bool
	control    bool
}

func (p *program) consumeCommand() *cobra.Command {
	var o consuming
	cmd := &cobra.Command{
		Use:   "consume TOPIC...",
		Short: "Print the messages of topics",
		Long: `Print the messages of topics, and wait for more until interrupted, unless -n or the
end of what -o asks for ends it.

With -g the partitions are shared with the other members of the group; what was
printed is committed, and -o (start, end, @time, +N, -N, N) only says where a partition
begins that has no commit.

` + offsetHelp + "\n\n" + outputHelp,
		Example: `  splashdam consume orders -o -10 -n 10
  splashdam consume orders -o @-1h:end -f '%d{strftime[%T]} %k %v\n'
  splashdam consume orders payments -g audit`,
		Args: cobra.MinimumNArgs(1),
	}
	c := p.clusterFlags(cmd)
	cmd.ValidArgsFunction = c.completeTopics
	f := cmd.Flags()
	f.StringVarP(&o.format, "format", "f", "json", "`format` of a message, or json")
	f.StringVarP(&o.offset, "offset", "o", "start", "`where` to begin and to end")
	f.Int64VarP(&o.count, "num", "n", 0, "quit after this `number` of messages (0: never)")
	f.StringVarP(&o.group, "group", "g", "", "consume as a member of this `group`")
	f.Int32SliceVarP(&o.partitions, "partitions", "p", nil, "only these partitions: `N`,N,...")
	f.BoolVar(&o.metaOnly, "meta-only", false, "sizes in place of keys and values")
	f.BoolVar(&o.committed, "read-committed", false, "hold back messages of transactions that are not committed")
	f.BoolVar(&o.control, "print-control-records", false, "the markers of transactions too")
	_ = cmd.RegisterFlagCompletionFunc("group", c.completeGroups)
	cmd.RunE = func(cmd *cobra.Command, topics []string) error {
		sp, err := parseSpan(o.offset, time.Now())
		switch {
		case err != nil:
		case o.count < 0:
			err = fmt.Errorf("-n %d: it cannot be negative", o.count)
		case o.group != "" && len(o.partitions) > 0:
			err = errors.New("-p and -g: the group decides who reads which partition")
		case o.group != "" && sp.bounded():
			err = fmt.Errorf("-o %s and -g: a group has no end, only -n can end it", o.offset)
		}
		if err != nil {
			return usage(cmd, err)
		}
		write, err := recordWriter(o)
		if err != nil {
			return usage(cmd, fmt.Errorf("-f %s: %w", o.format, err))
		}
		err = p.consume(cmd.Context(), c, o, distinct(topics), sp, write)
		if errors.Is(err, context.Canceled) && o.count == 0 && !sp.bounded() {
			return nil // how it was meant to end
		}
		return c.explain(err)
	}
	return cmd
}

// writer appends one record, as it is printed, to b.
type writer func(b []byte, p *kgo.FetchPartition, r *kgo.Record) ([]byte, error)

func recordWriter(o consuming) (writer, error) {
	if o.format == "json" {
		return func(b []byte, _ *kgo.FetchPartition, r *kgo.Record) ([]byte, error) {
			return appendJSON(b, jsonRecordOf(r, o.metaOnly))
		}, nil
	}
	if o.metaOnly {
		return nil, errors.New("--meta-only is for JSON; a format prints what it names")
	}
	if o.format == "" {
		return nil, errors.New("the format is empty")
	}
	f, err := kgo.NewRecordFormatter(o.format)
	if err != nil {
		return nil, err
	}
	return func(b []byte, p *kgo.FetchPartition, r *kgo.Record) ([]byte, error) {
		return f.AppendPartitionRecord(b, p, r), nil
	}, nil
}

// jsonRecord is a message as JSON. Key and value are null where the message has
// none; where they are not UTF-8 the field with _base64 takes their place.
type jsonRecord struct {
	Topic       string          `json:"topic"`
	Partition   int32           `json:"partition"`
	Offset      int64           `json:"offset"`
	Timestamp   int64           `json:"timestamp"`
	Key         json.RawMessage `json:"key,omitempty"`
	KeyBase64   []byte          `json:"key_base64,omitempty"`
	KeySize     *int            `json:"key_size,omitempty"`
	Value       json.RawMessage `json:"value,omitempty"`
	ValueBase64 []byte          `json:"value_base64,omitempty"`
	ValueSize   *int            `json:"value_size,omitempty"`
	Headers     []jsonHeader    `json:"headers,omitempty"`
}

type jsonHeader struct {
	Key         string          `json:"key"`
	Value       json.RawMessage `json:"value,omitempty"`
	ValueBase64 []byte          `json:"value_base64,omitempty"`
}

// appendJSON appends v on one line. Unlike json.Marshal it leaves <, > and & as
// they are: this is not for a web page.
func appendJSON(b []byte, v any) ([]byte, error) {
	buf := bytes.NewBuffer(b)
	e := json.NewEncoder(buf)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return buf.Bytes(), err
}

// textOrBase64 is b as JSON, null if it is nil; or, where it is not text, nothing
// and b.
func textOrBase64(b []byte) (text json.RawMessage, raw []byte) {
	switch {
	case b == nil:
		return json.RawMessage("null"), nil
	case !utf8.Valid(b):
		return nil, b
	}
	text, err := appendJSON(nil, string(b))
	invariant.That(err == nil, "a string as JSON: %v", err)
	return bytes.TrimSpace(text), nil
}

func jsonRecordOf(r *kgo.Record, metaOnly bool) jsonRecord {
	j := jsonRecord{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli()}
	if metaOnly {
		k, v := len(r.Key), len(r.Value)
		j.KeySize, j.ValueSize = &k, &v
		return j
	}
	j.Key, j.KeyBase64 = textOrBase64(r.Key)
	j.Value, j.ValueBase64 = textOrBase64(r.Value)
	for _, h := range r.Headers {
		jh := jsonHeader{Key: h.Key}
		jh.Value, jh.ValueBase64 = textOrBase64(h.Value)
		j.Headers = append(j.Headers, jh)
	}
	return j
}

func (p *program) consume(ctx context.Context, c *cluster, o consuming, topics []string, sp span, write writer) error {
	opts := []kgo.Opt{kgo.FetchMaxWait(fetchWait), kgo.KeepControlRecords()}
	if o.committed {
		opts = append(opts, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	}
	todo := extents{}
	if o.group == "" {
		var err error
		if todo, err = c.extents(ctx, topics, o, sp); err != nil {
			return err
		}
		if len(todo.open) == 0 {
			return nil // nothing there
		}
		// Where retention overtakes us an error is better than a silent jump.
		opts = append(opts, kgo.ConsumePartitions(todo.starts), kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	} else {
		reset, err := groupReset(sp.from)
		if err != nil {
			return err
		}
		opts = append(opts, kgo.ConsumerGroup(o.group), kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(reset), kgo.AutoCommitMarks())
	}
	client, err := c.dial(ctx, opts...)
	if err != nil {
		return err
	}
	defer client.Close()
	if o.group != "" {
		if _, err := c.topics(ctx, kadm.NewClient(client), topics...); err != nil {
			return err
		}
		defer commitAndLeave(client)
	}
	return p.printRecords(ctx, c, client, o, todo, write)
}

// groupReset is where a group begins a partition that it has not committed.
func groupReset(from bound) (kgo.Offset, error) {
	o := kgo.NewOffset()
	switch from.kind {
	case atStart:
		return o.AtStart(), nil
	case atEnd:
		return o.AtEnd(), nil
	case afterStart:
		return o.AtStart().Relative(from.n), nil
	case beforeEnd:
		return o.AtEnd().Relative(-from.n), nil
	case atOffset:
		return o.At(from.n), nil
	case atTime:
		return o.AfterMilli(from.n), nil
	}
	return o, errOffset
}

// commitAndLeave commits what was printed. The context of the command may have
// ended: that is when it matters most.
func commitAndLeave(client *kgo.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	_ = client.CommitMarkedOffsets(ctx) // what is not committed is printed again, as a group promises
	_ = client.LeaveGroupContext(ctx)
}

// printRecords prints until the count is reached or all partitions are read.
func (p *program) printRecords(ctx context.Context, c *cluster, client *kgo.Client, o consuming, todo extents, write writer) error {
	out := bufio.NewWriterSize(p.stdout, 64<<10)
	var printed int64
	var line []byte
	for {
		limit := 10_000
		if o.count > 0 {
			limit = int(min(o.count-printed, 10_000))
		}
		fetches, idle := poll(ctx, client, limit, todo.bounded)
		if err := fetchError(ctx, fetches); err != nil {
			return errors.Join(err, out.Flush())
		}
		var failure error
		fetches.EachPartition(func(fp kgo.FetchTopicPartition) {
			for _, r := range fp.Records {
				if failure != nil || !todo.wants(r) {
					continue
				}
				if r.Attrs.IsControl() && !o.control || o.count > 0 && printed == o.count {
					continue
				}
				if line, failure = write(line[:0], &fp.FetchPartition, r); failure == nil {
					_, failure = out.Write(line)
				}
				printed++
			}
		})
		if err := errors.Join(failure, out.Flush()); err != nil {
			return err
		}
		if o.group != "" {
			client.MarkCommitRecords(fetches.Records()...)
		}
		if o.count > 0 && printed == o.count || todo.done() {
			return nil
		}
		if idle && todo.bounded {
			if err := c.alive(ctx, client); err != nil {
				return err
			}
			p.talk("%s: nothing more below the end\n", todo.String())
			return nil
		}
	}
}

// poll waits for records; with a bound, no longer than quiet.
func poll(ctx context.Context, client *kgo.Client, limit int, bounded bool) (fetches kgo.Fetches, idle bool) {
	wait := ctx
	if bounded {
		var cancel context.CancelFunc
		wait, cancel = context.WithTimeout(ctx, quiet)
		defer cancel()
	}
	fetches = client.PollRecords(wait, limit)
	return fetches, wait.Err() != nil && ctx.Err() == nil && fetches.NumRecords() == 0
}

// fetchError is the first error that polling again does not cure.
func fetchError(ctx context.Context, fetches kgo.Fetches) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for _, e := range fetches.Errors() {
		if errors.Is(e.Err, context.DeadlineExceeded) {
			continue
		}
		return &problem{what: fmt.Sprintf("topic %q partition %d", e.Topic, e.Partition), cause: e.Err}
	}
	return nil
}

// alive says whether the cluster answers.
func (c *cluster) alive(ctx context.Context, client *kgo.Client) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := client.Ping(ctx); err != nil {
		return c.unreachable(err)
	}
	return nil
}

type topicPartition struct {
	topic     string
	partition int32
}

// extents is what is still to be read of each partition.
type extents struct {
	starts  map[string]map[int32]kgo.Offset
	open    map[topicPartition]int64 // the offset at which the partition is done
	bounded bool
}

func (e *extents) done() bool { return e.bounded && len(e.open) == 0 }

// wants reports whether the record lies inside what is to be read, and notes
// that the partition is done once its end is seen.
func (e *extents) wants(r *kgo.Record) bool {
	if !e.bounded {
		return true
	}
	at := topicPartition{r.Topic, r.Partition}
	end, open := e.open[at]
	if open && r.Offset >= end-1 {
		delete(e.open, at)
	}
	return open && r.Offset < end
}

func (e *extents) String() string {
	var all []string
	for at := range e.open {
		all = append(all, fmt.Sprintf("%s/%d", at.topic, at.partition))
	}
	slices.Sort(all)
	return fmt.Sprint(all)
}

// extents asks the cluster where the span begins and ends in each partition.
func (c *cluster) extents(ctx context.Context, topics []string, o consuming, sp span) (extents, error) {
	e := extents{starts: make(map[string]map[int32]kgo.Offset), open: make(map[topicPartition]int64), bounded: sp.bounded()}
	err := c.admin(ctx, func(ctx context.Context, admin *kadm.Client) error {
		found, err := c.topics(ctx, admin, topics...)
		if err != nil {
			return err
		}
		b, err := listBounds(ctx, admin, topics, o.committed, sp)
		if err != nil {
			return err
		}
		for _, topic := range topics {
			numbers, err := wantedPartitions(topic, found[topic], o.partitions)
			if err != nil {
				return err
			}
			for _, n := range numbers {
				from, to, err := b.resolve(topic, n, sp)
				if err != nil {
					return &problem{what: fmt.Sprintf("topic %q partition %d", topic, n), cause: err}
				}
				if e.bounded && from >= to {
					continue
				}
				if e.starts[topic] == nil {
					e.starts[topic] = make(map[int32]kgo.Offset)
				}
				e.starts[topic][n] = kgo.NewOffset().At(from)
				e.open[topicPartition{topic, n}] = to
			}
		}
		return nil
	})
	return e, err
}

func wantedPartitions(topic string, t kadm.TopicDetail, wanted []int32) ([]int32, error) {
	if len(wanted) == 0 {
		return slices.Sorted(maps.Keys(t.Partitions)), nil
	}
	for _, n := range wanted {
		if _, ok := t.Partitions[n]; !ok {
			return nil, &problem{what: fmt.Sprintf("topic %q has no partition %d; they are 0 to %d", topic, n, len(t.Partitions)-1)}
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(wanted))), nil
}

// listedBounds is what the cluster said about all partitions of the topics.
type listedBounds struct {
	start, end kadm.ListedOffsets
	from, to   kadm.ListedOffsets // by time, where asked for
}

func listBounds(ctx context.Context, admin *kadm.Client, topics []string, committed bool, sp span) (b listedBounds, err error) {
	if b.start, err = admin.ListStartOffsets(ctx, topics...); err != nil {
		return b, err
	}
	end := admin.ListEndOffsets
	if committed {
		end = admin.ListCommittedOffsets
	}
	if b.end, err = end(ctx, topics...); err != nil {
		return b, err
	}
	for _, side := range []struct {
		at bound
		to *kadm.ListedOffsets
	}{{sp.from, &b.from}, {sp.to, &b.to}} {
		if side.at.kind == atTime {
			if *side.to, err = admin.ListOffsetsAfterMilli(ctx, side.at.n, topics...); err != nil {
				return b, err
			}
		}
	}
	return b, nil
}

// resolve turns the span into offsets of one partition, inside what there is.
func (b listedBounds) resolve(topic string, partition int32, sp span) (from, to int64, err error) {
	start, err := offsetOf(b.start, topic, partition)
	if err != nil {
		return 0, 0, err
	}
	end, err := offsetOf(b.end, topic, partition)
	if err != nil {
		return 0, 0, err
	}
	place := func(at bound, byTime kadm.ListedOffsets) (int64, error) {
		switch at.kind {
		case atStart:
			return start, nil
		case afterStart:
			return min(start+at.n, end), nil
		case beforeEnd:
			return max(end-at.n, start), nil
		case atOffset:
			return at.n, nil
		case atTime:
			o, err := offsetOf(byTime, topic, partition)
			if err == nil && o < 0 {
				o = end // nothing is as young
			}
			return o, err
		}
		return end, nil
	}
	if from, err = place(sp.from, b.from); err != nil {
		return 0, 0, err
	}
	if sp.from.kind == atOffset {
		if from > end && !sp.bounded() {
			return 0, 0, fmt.Errorf("offset %d lies behind the end, which is %d", from, end)
		}
		from = max(from, start)
	}
	if to, err = place(sp.to, b.to); err != nil {
		return 0, 0, err
	}
	return from, min(to, max(end, from)), nil
}
