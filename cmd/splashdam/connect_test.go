package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const soundPipeline = `
name: load
source:
  connector: generator
  topic.prefix: load
  rows: 10
sink:
  connector: arrow
  topics: [load.orders]
  dir: ./lake
`

// pipelines writes files into a directory.
func pipelines(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.TrimPrefix(text, "\n")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestALintedFileShowsEveryMistakeWhereItStands(t *testing.T) {
	dir := pipelines(t, map[string]string{"a.yaml": `
name: a/b
sauce: {}
source:
  connector: generater
sink:
  connector: arrow
  topics: [load.orders, "no topic"]
  dirr: lake
  file.rows: many
  format: ${env:NOWHERE}
`})
	file := filepath.Join(dir, "a.yaml")
	var stderr bytes.Buffer
	p := &program{stderr: &stderr, noColor: true, env: environment{}}
	if code := p.run(t.Context(), []string{"connect", "lint", file}); code != exitUsage {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{
		`:1:7: "a/b" is no name for a pipeline`,
		`:2:1: there is no key "sauce"`,
		`:4:14: there is no source connector "generater"`,
		`did you mean "generator"?`,
		`:10:11: the environment has no variable NOWHERE`,
	} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &stderr)
		}
	}

	// What a setting has to be is looked at once it can be read.
	if err := os.WriteFile(file, []byte(strings.TrimPrefix(`
name: a
sink:
  connector: arrow
  topics: [load.orders, "no topic"]
  dirr: lake
  file.rows: many
  format: csv
`, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	stderr.Reset()
	if code := p.run(t.Context(), []string{"connect", "lint", file}); code != exitUsage {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{
		`:2:1: dir: missing: `,
		`:4:3: topics: "no topic" is no name of a topic`,
		`:5:3: dirr: there is no such setting`,
		`did you mean "dir"?`,
		`:6:3: file.rows: "many" is not a number`,
		`:7:3: format: "csv" is not one of parquet, arrow`,
	} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, &stderr)
		}
	}
}

func TestServeRefusesToStartWithAWrongPipeline(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"not YAML", map[string]string{"a.yaml": soundPipeline, "b.yml": "name: [x\n"}, []string{"b.yml:1:"}},
		{"mistakes in two files", map[string]string{"a.yaml": "nam: x\n", "b.yaml": "name: b\nsource:\n"},
			[]string{`a.yaml:1:1: there is no key "nam"`, "b.yaml:2:1: the source is empty"}},
		{"one name twice", map[string]string{"a.yaml": soundPipeline, "b.yaml": soundPipeline},
			[]string{"b.yaml:1:7: pipeline load is in ", "a.yaml, too"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			open := func(context.Context, ServeConfig, []BoundListener) (node, error) {
				t.Error("the node was opened")
				return nil, errors.New("opened")
			}
			code, said := serveOnce(t, open, "--data", t.TempDir(), "--listeners", "PLAINTEXT://127.0.0.1:0", "--connect", pipelines(t, c.files))
			if code != exitUsage {
				t.Errorf("exit code %d", code)
			}
			for _, want := range c.want {
				if !strings.Contains(said, want) {
					t.Errorf("it does not say %q:\n%s", want, said)
				}
			}
		})
	}
	code, said := serveOnce(t, nil, "--connect", filepath.Join(t.TempDir(), "none"))
	if code != exitUsage || !strings.Contains(said, "none: no such file or directory") {
		t.Errorf("a directory that is not there: exit code %d\n%s", code, said)
	}
}

func TestADirectoryOfPipelinesIsItsYAMLFiles(t *testing.T) {
	dir := pipelines(t, map[string]string{"b.yml": "", "a.yaml": "", ".a.yaml": "", "a.yaml~": "", "notes.txt": ""})
	files, err := pipelineFiles(dir)
	if want := []string{filepath.Join(dir, "a.yaml"), filepath.Join(dir, "b.yml")}; err != nil || !slices.Equal(files, want) {
		t.Errorf("%v, %v; want %v", files, err, want)
	}
}

// usedNode notes the order in which the node and what uses it end.
type usedNode struct {
	ready  chan struct{}
	events chan string
}

func (n *usedNode) Ready() <-chan struct{} { return n.ready }
func (n *usedNode) ClusterID() string      { return "" }
func (n *usedNode) Close() error           { return nil }
func (n *usedNode) Run(ctx context.Context) error {
	close(n.ready)
	<-ctx.Done()
	n.events <- "node"
	return nil
}

func TestWhatUsesTheNodeEndsBeforeIt(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	n := &usedNode{ready: make(chan struct{}), events: make(chan string, 2)}
	err := runUntilReady(ctx, n, func(ctx context.Context) error {
		interrupt()
		<-ctx.Done()
		n.events <- "user"
		return nil
	})
	if first, second := <-n.events, <-n.events; err != nil || first != "user" || second != "node" {
		t.Errorf("first ends the %s, then the %s: %v", first, second, err)
	}
}

// A node in a container advertises what others call it; its own pipelines get by
// without that.
func TestPipelinesReachTheirNodeWhereItIsBound(t *testing.T) {
	sock, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	port := sock.Addr().(*net.TCPAddr).Port
	on := []BoundListener{
		{Listener: Listener{Name: "OUTSIDE", HostPort: HostPort{"192.0.2.1", 1}}, Advertised: HostPort{"192.0.2.1", 1}},
		{Listener: Listener{Name: "INSIDE", HostPort: HostPort{"0.0.0.0", port}}, Advertised: HostPort{"nowhere.invalid", 9092}},
	}
	client, err := kgo.NewClient(ownCluster(on)...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if seeds := client.OptValue(kgo.SeedBrokers).([]string); !slices.Equal(seeds, []string{fmt.Sprint("127.0.0.1:", port)}) {
		t.Errorf("it begins at %v", seeds)
	}
	dial := client.OptValue(kgo.Dialer).(func(context.Context, string, string) (net.Conn, error))
	conn, err := dial(t.Context(), "tcp", "nowhere.invalid:9092")
	if err != nil {
		t.Fatalf("the node's own address: %v", err)
	}
	conn.Close()
	if conn, err := dial(t.Context(), "tcp", "elsewhere.invalid:9092"); err == nil {
		conn.Close()
		t.Error("another node was reached where this one is")
	}
}

// A broker that is started together with a connector, or comes back, is waited for; who
// is not let in hears so at once.
func TestAConnectorWaitsForItsBroker(t *testing.T) {
	l := served(t)
	p := &program{stderr: io.Discard, env: newEnvironment(nil)}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	c := &cluster{p: p, brokers: addr}
	if err := c.await(t.Context(), 0); !errors.Is(err, errNoBroker) {
		t.Fatalf("without patience: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- c.await(t.Context(), time.Minute) }()
	time.Sleep(dialPause)
	select {
	case err := <-done:
		t.Fatalf("nobody is there, and it ended: %v", err)
	default:
	}
	door, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer door.Close()
	go passOn(door, l.brokers)
	if err := <-done; err != nil {
		t.Errorf("when it is there: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	nobody := &cluster{p: p, brokers: "127.0.0.1:1"}
	if err := nobody.await(ctx, time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("when the command is interrupted: %v", err)
	}
}

// passOn connects whoever comes through a door with an address, until it is closed.
func passOn(door net.Listener, addr string) {
	for {
		from, err := door.Accept()
		if err != nil {
			return
		}
		to, err := net.Dial("tcp", addr)
		if err != nil {
			from.Close()
			continue
		}
		go func() {
			defer to.Close()
			_, _ = io.Copy(to, from) // until the client has had enough
		}()
		go func() {
			defer from.Close()
			_, _ = io.Copy(from, to)
		}()
	}
}
