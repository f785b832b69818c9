package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/splashdam/splashdam/broker/cluster"
)

// These tests start whole nodes, with the same Open and Run as the binary. Most run
// in a bubble of testing/synctest: time moves when nothing else does, so that
// nobody waits for a timeout, and a goroutine that outlives its node is a failure.

// long says that tests may take their time: what by default takes a sample then
// takes all.
var long = os.Getenv("SPLASHDAM_TEST_LONG") != ""

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// settings are a node's, by their names.
func settings(t testing.TB, set map[string]string) *cluster.BrokerSettings {
	t.Helper()
	all := map[string]string{
		"offsets.topic.num.partitions":     "3",
		"group.initial.rebalance.delay.ms": "0",
	}
	for name, value := range set {
		all[name] = value
	}
	s, err := cluster.ParseBrokerSettings(all)
	must(t, err)
	return s
}

// wire is a network inside the process: a listener, and the way to it. As with a
// socket that is bound, whoever dials before anybody accepts waits.
type wire struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newWire() *wire { return &wire{conns: make(chan net.Conn), closed: make(chan struct{})} }

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

func (w *wire) dial(ctx context.Context, _, _ string) (net.Conn, error) {
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

// journal keeps what a node logs.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (j *journal) WithAttrs([]slog.Attr) slog.Handler           { return j }
func (j *journal) WithGroup(string) slog.Handler                { return j }

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

// forget drops what was logged.
func (j *journal) forget() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = nil
}

// node is a running node and the way to it.
type node struct {
	*Broker
	wire  *wire
	log   *journal
	stop  context.CancelFunc
	ended chan error // what Run returned
	end   func() error
}

// open opens a node, on a wire if no listeners are given, and runs it. It is perhaps not ready yet. The test
// ends it; one that fails before leaves that to the cleanup.
func open(t testing.TB, cfg Config) (*node, error) {
	n := &node{wire: newWire(), log: &journal{}, ended: make(chan error, 1)}
	cfg.Logger = slog.New(n.log)
	if cfg.NodeID == 0 {
		cfg.NodeID = 1
	}
	if cfg.Dir == "" {
		cfg.Dir = "data"
	}
	if cfg.Listeners == nil {
		cfg.Listeners = []Listener{{Name: "PLAINTEXT", Protocol: "PLAINTEXT", Net: n.wire, Host: "node", Port: 9092}}
	}
	var err error
	if n.Broker, err = Open(cfg); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	go func() { n.ended <- n.Run(ctx) }()
	n.end = sync.OnceValue(func() error {
		n.stop()
		return errors.Join(<-n.ended, n.Close())
	})
	t.Cleanup(func() { _ = n.end() })
	return n, nil
}

// up waits until the node is ready, or says why it never will be.
func (n *node) up() error {
	select {
	case <-n.Ready():
		return nil
	case err := <-n.ended:
		n.ended <- err
		return fmt.Errorf("the node ended before it was ready: %w", err)
	}
}

// run opens a node and waits until it is ready.
func run(t testing.TB, cfg Config) *node {
	t.Helper()
	n, err := open(t, cfg)
	must(t, err)
	must(t, n.up())
	return n
}

// shut ends a node of which nothing unusual was asked, and that had nothing to say: but
// for clients that left before they had their answers.
func (n *node) shut(t testing.TB) {
	t.Helper()
	must(t, n.end())
	for _, l := range n.log.find("") {
		if !strings.HasPrefix(l, "INFO a connection ended") {
			t.Errorf("logged: %s", l)
		}
	}
}

// client is a client of the node.
func (n *node) client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers("node:9092"), kgo.Dialer(n.wire.dial), kgo.MetadataMinAge(100 * time.Millisecond),
	}, opts...)...)
	must(t, err)
	t.Cleanup(c.Close)
	return c
}
