package integration

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// messages is how many messages each client sends and reads.
const messages = 100_000

// Each client runs against a node with one data shard and with three.
func eachShards(t *testing.T, test func(t *testing.T, n *Node)) {
	for _, shards := range []int{1, 3} {
		t.Run(fmt.Sprintf("shards=%d", shards), func(t *testing.T) {
			test(t, Start(t, "--shards", strconv.Itoa(shards), "--set", "num.partitions=6", "--set", "group.initial.rebalance.delay.ms=0"))
		})
	}
}

func testContext(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestFranzGoProducesAndConsumesWithGroups(t *testing.T) {
	eachShards(t, func(t *testing.T, n *Node) {
		ctx := testContext(t, time.Minute)
		cl, err := kgo.NewClient(kgo.SeedBrokers(n.Addr), kgo.AllowAutoTopicCreation(), kgo.ProducerBatchCompression(kgo.ZstdCompression()))
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		for i := range messages {
			r := &kgo.Record{Topic: "franz", Key: strconv.AppendInt(nil, int64(i%1000), 10), Value: binary.BigEndian.AppendUint64(nil, uint64(i))}
			cl.Produce(ctx, r, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Errorf("producing: %v", err)
				}
			})
		}
		if err := cl.Flush(ctx); err != nil {
			t.Fatal(err)
		}

		// Two members share the topic; each message comes once, in order by key.
		var mu sync.Mutex
		seen := make([]bool, messages)
		lastOfKey := make(map[string]uint64)
		count := 0
		ctx, done := context.WithCancel(ctx)
		defer done()
		var members sync.WaitGroup
		for range 2 {
			members.Go(func() {
				c, err := kgo.NewClient(kgo.SeedBrokers(n.Addr), kgo.ConsumerGroup("franz-group"), kgo.ConsumeTopics("franz"),
					kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				for {
					fs := c.PollFetches(ctx)
					if ctx.Err() != nil {
						return
					}
					fs.EachError(func(topic string, p int32, err error) { t.Errorf("fetching %s/%d: %v", topic, p, err) })
					mu.Lock()
					fs.EachRecord(func(r *kgo.Record) {
						i := binary.BigEndian.Uint64(r.Value)
						if seen[i] {
							return // again after a rebalance: not committed before
						}
						if last, ok := lastOfKey[string(r.Key)]; ok && i <= last {
							t.Errorf("key %s: %d after %d", r.Key, i, last)
						}
						seen[i], lastOfKey[string(r.Key)] = true, i
						count++
					})
					complete := count == messages
					mu.Unlock()
					if err := c.CommitUncommittedOffsets(context.WithoutCancel(ctx)); err != nil && ctx.Err() == nil {
						// A rebalance in between is the other member coming in.
						t.Logf("committing: %v", err)
					}
					if complete {
						done()
						return
					}
				}
			})
		}
		members.Wait()
		if count != messages {
			t.Fatalf("%d of %d messages came", count, messages)
		}

		adm, err := kgo.NewClient(kgo.SeedBrokers(n.Addr))
		if err != nil {
			t.Fatal(err)
		}
		defer adm.Close()
		if err := deleteTopic(context.WithoutCancel(ctx), adm, "franz"); err != nil {
			t.Fatal(err)
		}
	})
}

func deleteTopic(ctx context.Context, cl *kgo.Client, topic string) error {
	admin := kadm.NewClient(cl)
	if _, err := admin.DeleteTopic(ctx, topic); err != nil {
		return fmt.Errorf("deleting %s: %w", topic, err)
	}
	topics, err := admin.ListTopics(ctx)
	if err != nil {
		return err
	}
	if topics.Has(topic) {
		return fmt.Errorf("%s is still there after its deletion", topic)
	}
	return nil
}

func TestKafkaGoProducesAndConsumesWithGroups(t *testing.T) {
	eachShards(t, func(t *testing.T, n *Node) {
		ctx := testContext(t, 2*time.Minute)
		admin := &kafka.Client{Addr: kafka.TCP(n.Addr)}
		created, err := admin.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: "kafkago", NumPartitions: 4, ReplicationFactor: 1}}})
		if err != nil || created.Errors["kafkago"] != nil {
			t.Fatal(err, created.Errors)
		}
		w := &kafka.Writer{Addr: kafka.TCP(n.Addr), Topic: "kafkago", RequiredAcks: kafka.RequireAll, BatchSize: 1000, BatchTimeout: 5 * time.Millisecond, Compression: kafka.Lz4}
		defer w.Close()
		batch := make([]kafka.Message, 0, 10_000)
		for i := range messages {
			batch = append(batch, kafka.Message{Value: []byte(strconv.Itoa(i))})
			if len(batch) == cap(batch) {
				if err := w.WriteMessages(ctx, batch...); err != nil {
					t.Fatal(err)
				}
				batch = batch[:0]
			}
		}
		r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{n.Addr}, GroupID: "kafkago-group", Topic: "kafkago", StartOffset: kafka.FirstOffset, MaxWait: 100 * time.Millisecond, MaxBytes: 10 << 20})
		seen := make([]bool, messages)
		for count := 0; count < messages; count++ {
			m, err := r.FetchMessage(ctx)
			if err != nil {
				t.Fatalf("after %d messages: %v", count, err)
			}
			i, err := strconv.Atoi(string(m.Value))
			if err != nil || seen[i] {
				t.Fatalf("message %q came twice or is none of ours", m.Value)
			}
			seen[i] = true
			if count == messages/2 {
				if err := r.CommitMessages(ctx, m); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		// The commit is there for the group's next member.
		offsets, err := admin.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: "kafkago-group", Topics: map[string][]int{"kafkago": {0, 1, 2, 3}}})
		if err != nil {
			t.Fatal(err)
		}
		committed := 0
		for _, p := range offsets.Topics["kafkago"] {
			if p.CommittedOffset > 0 {
				committed++
			}
		}
		if committed == 0 {
			t.Fatal("no committed offset is left of the group")
		}
	})
}

func TestKcatProducesAndConsumesWithGroups(t *testing.T) {
	kcat := NeedProgram(t, "kcat")
	eachShards(t, func(t *testing.T, n *Node) {
		ctx := testContext(t, 2*time.Minute)
		var in bytes.Buffer
		for i := range messages {
			fmt.Fprintf(&in, "%d:%d\n", i%1000, i)
		}
		run(ctx, t, &in, kcat, "-b", n.Addr, "-P", "-t", "kcat", "-K:", "-z", "snappy", "-X", "enable.idempotence=true")
		out := run(ctx, t, nil, kcat, "-b", n.Addr, "-G", "kcat-group", "-X", "auto.offset.reset=earliest", "-c", strconv.Itoa(messages), "-q", "-f", "%k:%s\n", "kcat")
		checkLines(t, out)
		// The group goes on behind what it has committed.
		run(ctx, t, strings.NewReader("7:next\n"), kcat, "-b", n.Addr, "-P", "-t", "kcat", "-K:")
		out = run(ctx, t, nil, kcat, "-b", n.Addr, "-G", "kcat-group", "-X", "auto.offset.reset=earliest", "-c", "1", "-q", "-f", "%s\n", "kcat")
		if string(out) != "next\n" {
			t.Fatalf("the group resumed with %q", out)
		}
	})
}

// checkLines checks that lines of "key:number" are all numbers once, in order by key.
func checkLines(t *testing.T, out []byte) {
	t.Helper()
	last := make(map[string]int)
	count := 0
	sc := bufio.NewScanner(bytes.NewReader(out))
	for sc.Scan() {
		key, value, ok := strings.Cut(sc.Text(), ":")
		i, err := strconv.Atoi(value)
		if !ok || err != nil || strconv.Itoa(i%1000) != key {
			t.Fatalf("line %d is %q", count, sc.Text())
		}
		if prev, ok := last[key]; ok && i != prev+1000 || !ok && i >= 1000 {
			t.Fatalf("key %s: %d after %d", key, i, prev)
		}
		last[key] = i
		count++
	}
	if count != messages {
		t.Fatalf("%d of %d messages came", count, messages)
	}
}

// run runs a program and returns what it printed.
func run(ctx context.Context, t *testing.T, in io.Reader, program string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = in
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(program), strings.Join(args, " "), errors.Join(err, ctx.Err()), lastLines(errOut.String(), 30))
	}
	return out
}

func TestJavaClientProducesAndConsumesWithGroups(t *testing.T) {
	j := needJava(t)
	eachShards(t, func(t *testing.T, n *Node) { roundTrip(t, n, j) })
}

// TestJavaClientUsesTheConsumerProtocol does the same with groups of KIP-848.
func TestJavaClientUsesTheConsumerProtocol(t *testing.T) {
	j := needJava(t)
	file := filepath.Join(t.TempDir(), "consumer.properties")
	if err := os.WriteFile(file, []byte("group.protocol=consumer\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	eachShards(t, func(t *testing.T, n *Node) { roundTrip(t, n, j, file) })
}

func roundTrip(t *testing.T, n *Node, j java, file ...string) {
	t.Helper()
	ctx := testContext(t, 3*time.Minute)
	out := j.run(ctx, t, "RoundTrip", append([]string{n.Addr, strconv.Itoa(messages)}, file...)...)
	if !strings.Contains(out, fmt.Sprintf("ok %d", messages)) {
		t.Fatalf("the Java client said:\n%s", out)
	}
}
