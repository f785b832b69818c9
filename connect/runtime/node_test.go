package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/splashdam/splashdam/broker"
	"github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/connect/checkpoint"
	"github.com/splashdam/splashdam/internal/vfs"
)

// These tests run whole pipelines against a whole broker, in a bubble of
// testing/synctest: time moves when nothing else does, so that a minute costs nothing,
// and a goroutine that outlives its pipeline is a failure.

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wire is a network inside the process: a listener, and the way to it.
type wire struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (w *wire) Accept() (net.Conn, error) {
	select {
	case c := <-w.conns:
		return c, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	return nil
}

func (w *wire) Addr() net.Addr { return &net.UnixAddr{Name: "wire", Net: "pipe"} }

// node is a broker on a disk in memory, and the way to it.
type node struct {
	t      *testing.T
	disk   vfs.FS
	mu     sync.Mutex
	wire   *wire // nil while the broker is away
	admin  *kadm.Client
	client *kgo.Client
	end    func()
}

// onNode runs a test with a broker in a bubble.
func onNode(t *testing.T, test func(t *testing.T, n *node)) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{t: t, disk: vfs.NewMem()}
		n.start()
		client, err := kgo.NewClient(append(n.cluster(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
		must(t, err)
		n.client, n.admin = client, kadm.NewClient(client)
		t.Cleanup(func() {
			client.Close()
			n.stop()
		})
		test(t, n)
	})
}

func (n *node) start() {
	n.t.Helper()
	settings, err := cluster.ParseBrokerSettings(map[string]string{
		"offsets.topic.num.partitions": "1", "group.initial.rebalance.delay.ms": "0",
	})
	must(n.t, err)
	w := &wire{conns: make(chan net.Conn), closed: make(chan struct{})}
	b, err := broker.Open(broker.Config{
		FS: n.disk, Dir: "data", NodeID: 1, Settings: settings, Logger: slog.New(slog.DiscardHandler),
		Listeners: []broker.Listener{{Name: "PLAINTEXT", Protocol: "PLAINTEXT", Net: w, Host: "node", Port: 9092}},
	})
	must(n.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	<-b.Ready()
	n.setWire(w)
	n.end = func() {
		cancel()
		if err := errors.Join(<-ended, b.Close()); err != nil {
			n.t.Error(err)
		}
	}
}

func (n *node) setWire(w *wire) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wire = w
}

// stop ends the broker, if it runs; nobody is there then to answer a connection.
func (n *node) stop() {
	n.setWire(nil)
	if n.end != nil {
		n.end()
		n.end = nil
	}
}

func (n *node) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	n.mu.Lock()
	w := n.wire
	n.mu.Unlock()
	if w == nil {
		return nil, errors.New("connection refused")
	}
	near, far := net.Pipe()
	select {
	case w.conns <- far:
		return near, nil
	case <-w.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (n *node) cluster() []kgo.Opt {
	return []kgo.Opt{kgo.SeedBrokers("node:9092"), kgo.Dialer(n.dial), kgo.MetadataMinAge(100 * time.Millisecond)}
}

// topic makes a topic of one partition; configs are names and values.
func (n *node) topic(name string, configs ...string) {
	n.t.Helper()
	given := map[string]*string{}
	for i := 0; i < len(configs); i += 2 {
		given[configs[i]] = &configs[i+1]
	}
	_, err := n.admin.CreateTopic(context.Background(), 1, 1, given, name)
	must(n.t, err)
}

func (n *node) configure(topic, name, value string) {
	n.t.Helper()
	_, err := n.admin.AlterTopicConfigs(context.Background(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: name, Value: &value}}, topic)
	must(n.t, err)
}

// keys are those of the topic's records, in order; none of a topic that is not there.
func (n *node) keys(topic string) (keys []string) {
	n.t.Helper()
	err := checkpoint.ReadAll(context.Background(), n.cluster(), topic, func(r *kgo.Record) error {
		keys = append(keys, string(r.Key))
		return nil
	})
	if !errors.Is(err, kerr.UnknownTopicOrPartition) {
		must(n.t, err)
	}
	return keys
}

// run is pipelines that run until their end, or until the test stops them.
type run struct {
	t     *testing.T
	log   *journal
	stop  context.CancelFunc
	ended chan struct{}
	err   error
}

func (n *node) run(pipelines ...Pipeline) *run {
	n.t.Helper()
	u := &run{t: n.t, log: &journal{}, ended: make(chan struct{})}
	r, err := New(Config{Cluster: n.cluster(), Pipelines: pipelines, Log: newLog(u.log)})
	must(n.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	u.stop = cancel
	go func() {
		u.err = r.Run(ctx)
		close(u.ended)
	}()
	n.t.Cleanup(func() {
		cancel()
		<-u.ended
		if n.t.Failed() {
			n.t.Logf("the runtime said:\n%s", strings.Join(u.log.find(""), "\n"))
		}
	})
	return u
}

// finish waits until the pipelines have ended well by themselves.
func (u *run) finish() {
	u.t.Helper()
	select {
	case <-u.ended:
	case <-time.After(10 * time.Minute):
		u.t.Fatal("the pipelines do not end")
	}
	must(u.t, u.err)
}

// interrupt ends the pipelines in good order.
func (u *run) interrupt() {
	u.t.Helper()
	u.stop()
	<-u.ended
	must(u.t, u.err)
}

// fail waits until the pipelines have stopped with an error that a person has to cure,
// and that says all of this.
func (u *run) fail(texts ...string) {
	u.t.Helper()
	select {
	case <-u.ended:
	case <-time.After(10 * time.Minute):
		u.t.Fatal("the pipelines do not end")
	}
	if u.err == nil {
		u.t.Fatal("the pipelines ended well")
	}
	for _, text := range texts {
		if !strings.Contains(u.err.Error(), text) {
			u.t.Errorf("the error does not say %q: %v", text, u.err)
		}
	}
	if len(u.log.find("ERROR stopped for good")) == 0 {
		u.t.Error("the log does not say so")
	}
}

// until waits for something that comes to be while pipelines run.
func (u *run) until(what string, done func() bool) {
	u.t.Helper()
	for range 3000 {
		if done() {
			return
		}
		time.Sleep(100 * time.Millisecond)
		select {
		case <-u.ended:
			u.t.Fatalf("%s: the pipelines ended before: %v", what, u.err)
		default:
		}
	}
	u.t.Fatalf("%s: in vain", what)
}

// journal keeps what a runtime logs.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) Enabled(context.Context, slog.Level) bool { return true }
func (j *journal) WithAttrs([]slog.Attr) slog.Handler       { return j }
func (j *journal) WithGroup(string) slog.Handler            { return j }

func (j *journal) Handle(_ context.Context, r slog.Record) error {
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool {
		line += fmt.Sprintf(" %s=%v", a.Key, a.Value)
		return true
	})
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, line)
	return nil
}

func newLog(j *journal) *slog.Logger { return slog.New(j) }

// find returns the lines that contain a text.
func (j *journal) find(text string) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var found []string
	for _, l := range j.lines {
		if strings.Contains(l, text) {
			found = append(found, l)
		}
	}
	return found
}

// textSource is a source of rows with an id, from 1 on, and a text.
type textSource struct {
	texts func(id int) (text string, ok bool) // ok false: there are no more
	batch int                                 // rows of a batch
	pause time.Duration                       // before each batch
	idle  bool                                // waits at the end, after calling atEnd
	atEnd func()

	next  int
	open  int           // batches without an ack
	acked chan struct{} // an element for each ack
}

var textSchema = &connect.Schema{
	Name: "text.rows", Key: []int{0},
	Fields: []connect.Field{
		{Name: "id", Type: connect.Type{Kind: connect.Int64}},
		{Name: "text", Type: connect.Type{Kind: connect.String}},
	},
}

// pipeline makes one of a source.
func (s textSource) pipeline(name string) Pipeline { return s.pipelineWith(name, nil) }

func (s textSource) pipelineWith(name string, settings map[string]string) Pipeline {
	connector := connect.SourceConnector{
		Name: "text",
		New:  func(connect.Config, connect.Environment) (connect.Source, error) { run := s; return &run, nil },
	}
	source, wrong := NewSource(connector, settings)
	if len(wrong) > 0 {
		panic(wrong)
	}
	return Pipeline{Name: name, Source: source}
}

func (s *textSource) Connect(_ context.Context, positions []connect.Position) error {
	s.next, s.open, s.acked = 1, 0, make(chan struct{}, 1<<16)
	for _, p := range positions {
		if _, err := fmt.Sscanf(string(p.Offset), `{"next":%d}`, &s.next); err != nil {
			return err
		}
	}
	return nil
}

func (s *textSource) Read(ctx context.Context) (*connect.Batch, func(error), error) {
	select {
	case <-time.After(s.pause):
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	section := &connect.Section{Topic: "text.rows", Schema: textSchema, After: connect.NewColumns(textSchema.Fields)}
	for range max(s.batch, 1) {
		text, ok := s.texts(s.next)
		if !ok {
			break
		}
		section.After[0].Append8(uint64(s.next))
		section.After[1].AppendText([]byte(text))
		section.Op = append(section.Op, connect.Create)
		section.Time = append(section.Time, time.Now().UnixMilli())
		section.Place = append(section.Place, connect.Place{End: uint64(s.next)})
		s.next++
	}
	n := section.Rows()
	if n == 0 && s.idle {
		if s.atEnd != nil {
			s.atEnd()
		}
		<-ctx.Done()
		return nil, nil, ctx.Err()
	}
	position, err := connect.NewPosition(struct{}{}, map[string]int{"next": s.next})
	if err != nil {
		return nil, nil, err
	}
	if n == 0 {
		for ; s.open > 0; s.open-- { // a task that has ended is not begun again
			select {
			case <-s.acked:
			case <-ctx.Done():
				return nil, nil, ctx.Err()
			}
		}
		return nil, nil, connect.ErrEndOfInput
	}
	s.open++
	b := &connect.Batch{Sections: []*connect.Section{section}, Marks: []connect.Mark{{Row: n, Positions: []connect.Position{position}}}}
	return b, func(error) { s.acked <- struct{}{} }, nil
}

func (s *textSource) Close(context.Context) error { return nil }
