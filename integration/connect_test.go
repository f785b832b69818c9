package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestKafkaConnectBringsEveryLineOnceWhateverIsKilled runs a distributed worker of Kafka
// Connect with an exactly-once source: lines of a file into a topic, and from there
// into another file. Worker and node are killed while lines are written; afterwards the
// topic has every line once and in order, and the other file every line.
func TestKafkaConnectBringsEveryLineOnceWhateverIsKilled(t *testing.T) {
	j := needJava(t)
	rounds := Rounds(t, 2, 4)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	ctx := testContext(t, time.Minute+time.Duration(rounds)*30*time.Second)

	n := Start(t, "--shards", "3", "--set", "group.initial.rebalance.delay.ms=0", "--set", "group.min.session.timeout.ms=1000")
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	file, err := os.Create(in)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w := newWorker(t, j, n.Addr, dir)
	w.create(ctx, t, "source", map[string]string{"connector.class": "FileStreamSource", "tasks.max": "1", "file": in, "topic": "lines",
		"exactly.once.support": "required", "topic.creation.default.partitions": "1", "topic.creation.default.replication.factor": "1"})
	w.create(ctx, t, "sink", map[string]string{"connector.class": "FileStreamSink", "tasks.max": "1", "file": out, "topics": "lines"})

	var lines []string
	write := func(count int) {
		for range count {
			lines = append(lines, fmt.Sprint("line ", len(lines)))
			fmt.Fprintln(file, lines[len(lines)-1])
		}
	}
	for round := range rounds {
		for range 10 + rnd.IntN(20) {
			write(20)
			time.Sleep(20 * time.Millisecond)
		}
		if round%2 == 0 {
			w.process.kill()
			w.start(t)
			write(100)
			w.ready(ctx, t)
		} else {
			n.Kill()
			n.Restart()
		}
	}
	write(100)

	copied := committedLines(ctx, t, n.Addr, "lines", len(lines))
	if !slices.Equal(copied, lines) {
		t.Errorf("the topic has %d lines, want %d; they differ from line %d on", len(copied), len(lines), differ(copied, lines))
		if said, err := w.ask(context.WithoutCancel(ctx), http.MethodGet, "/connectors/source/status", nil); err == nil {
			t.Logf("the source: %s", said)
		}
	}
	var missing []string
	for ctx.Err() == nil {
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		written := map[string]bool{}
		for l := range strings.SplitSeq(string(text), "\n") {
			written[l] = true
		}
		missing = slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return written[l] })
		if len(missing) == 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if len(missing) > 0 {
		t.Errorf("%d lines are missing in the sink's file, the first is %q", len(missing), missing[0])
	}
	w.process.kill()
}

func differ(a, b []string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// committedLines reads a topic of one partition until it has n committed values, and
// then whatever else comes within a second.
func committedLines(ctx context.Context, t *testing.T, addr, topic string, n int) []string {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var values []string
	take := func(ctx context.Context) {
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	for len(values) < n && ctx.Err() == nil {
		take(ctx)
	}
	more, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for more.Err() == nil {
		take(more)
	}
	return values
}

// worker is a distributed worker of Kafka Connect.
type worker struct {
	java    java
	file    string
	rest    string
	process *javaProcess
}

func newWorker(t *testing.T, j java, broker, dir string) *worker {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	rest := "http://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	w := &worker{java: j, file: filepath.Join(dir, "worker.properties"), rest: rest}
	properties := strings.Join([]string{
		"bootstrap.servers=" + broker, "group.id=workers", "listeners=" + rest, "plugin.discovery=service_load",
		"config.storage.topic=configs", "offset.storage.topic=offsets", "status.storage.topic=status",
		"config.storage.replication.factor=1", "offset.storage.replication.factor=1", "status.storage.replication.factor=1",
		"key.converter=org.apache.kafka.connect.storage.StringConverter", "value.converter=org.apache.kafka.connect.storage.StringConverter",
		"exactly.once.source.support=enabled", "consumer.isolation.level=read_committed", "consumer.session.timeout.ms=3000", "consumer.heartbeat.interval.ms=500",
		"session.timeout.ms=3000", "heartbeat.interval.ms=500", "scheduled.rebalance.max.delay.ms=0", "offset.flush.interval.ms=500", "reconnect.backoff.max.ms=200",
	}, "\n")
	if err := os.WriteFile(w.file, []byte(properties+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.start(t)
	w.ready(testContext(t, time.Minute), t)
	return w
}

func (w *worker) start(t *testing.T) {
	t.Helper()
	w.process = w.java.start(t, "org.apache.kafka.connect.cli.ConnectDistributed", w.file)
}

// ready waits until the worker has joined its group.
func (w *worker) ready(ctx context.Context, t *testing.T) {
	t.Helper()
	var last error
	for ctx.Err() == nil {
		if _, last = w.ask(ctx, http.MethodGet, "/health", nil); last == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("the worker is not ready: %v", last)
}

func (w *worker) create(ctx context.Context, t *testing.T, name string, config map[string]string) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"name": name, "config": config})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.ask(ctx, http.MethodPost, "/connectors", body); err != nil {
		t.Fatal(err)
	}
}

func (w *worker) ask(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, w.rest+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text)
	}
	return text, nil
}
