package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// quietNode is a node that does nothing but be there: serve's part is what
// happens around it.
type quietNode struct {
	on     []BoundListener
	ready  chan struct{}
	runErr error // returned at once
}

func (n *quietNode) Ready() <-chan struct{} { return n.ready }
func (n *quietNode) ClusterID() string      { return "cluster-1" }
func (n *quietNode) Close() error           { return unbind(n.on) }

func (n *quietNode) Run(ctx context.Context) error {
	if n.runErr != nil {
		return n.runErr
	}
	close(n.ready)
	<-ctx.Done()
	return nil
}

// serving runs serve with a quiet node until the test ends it.
type serving struct {
	stop   context.CancelFunc
	stderr *bufio.Reader
	exit   chan int
}

func startServing(t *testing.T, args ...string) *serving {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r, w := io.Pipe()
	s := &serving{stop: stop, stderr: bufio.NewReader(r), exit: make(chan int, 1)}
	p := &program{stdin: strings.NewReader(""), stdout: io.Discard, stderr: w, env: environment{}}
	p.openNode = func(_ context.Context, _ ServeConfig, on []BoundListener) (node, error) {
		return &quietNode{on: on, ready: make(chan struct{})}, nil
	}
	go func() {
		s.exit <- p.run(ctx, append([]string{"serve"}, args...))
		w.Close()
	}()
	return s
}

// banner reads up to the last line of what serve says when it is ready.
func (s *serving) banner(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for {
		line, err := s.stderr.ReadString('\n')
		b.WriteString(line)
		if err != nil || strings.Contains(line, "splashdam produce") {
			return b.String()
		}
	}
}

func TestServeSaysWhereItIsAndTidiesUp(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "ready.json")
	s := startServing(t, "--data", dir, "--ready-file", file, "--node-id", "3",
		"--listeners", "PLAINTEXT://127.0.0.1:0,OUTSIDE://127.0.0.1:0", "--advertised-listeners", "OUTSIDE://kafka.example.org:9092",
		"--set", "listener.security.protocol.map=OUTSIDE:PLAINTEXT", "--set", "flush=async")
	banner := s.banner(t)

	r, err := readReadyFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if r.PID != os.Getpid() || r.NodeID != 3 || r.ClusterID != "cluster-1" || r.Data != dir || len(r.Listeners) != 2 {
		t.Errorf("ready file: %+v", r)
	}
	first, second := r.Listeners[0], r.Listeners[1]
	if first.Port == 0 || first.Advertised != (advertised{"127.0.0.1", first.Port}) {
		t.Errorf("listener %+v: it is advertised as it is bound, with the real port", first)
	}
	if second.Advertised != (advertised{"kafka.example.org", 9092}) {
		t.Errorf("listener %+v: it is advertised as told", second)
	}
	for _, want := range []string{
		"splashdam " + version, "ready in ",
		"\n  node         3 of cluster cluster-1\n",
		fmt.Sprintf("\n  PLAINTEXT    127.0.0.1:%d\n", first.Port),
		fmt.Sprintf("\n  OUTSIDE      127.0.0.1:%d, advertised as kafka.example.org:9092\n", second.Port),
		"\n  data         " + dir + "\n",
		"\n  persistence  async: ",
		fmt.Sprintf("\n  next         splashdam topic create orders -b 127.0.0.1:%d\n", first.Port),
	} {
		if !strings.Contains(banner, want) {
			t.Errorf("the banner lacks %q:\n%s", want, banner)
		}
	}
	if left, _ := filepath.Glob(file + "*"); len(left) != 1 {
		t.Errorf("beside the ready file there is %v", left)
	}

	s.stop()
	if code := <-s.exit; code != exitOK {
		t.Errorf("exit code %d after an interrupt", code)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the ready file is still there: %v", err)
	}
}

func TestServeIsSilentWhenAsked(t *testing.T) {
	dir := t.TempDir()
	s := startServing(t, "-q", "--data", dir, "--listeners", "PLAINTEXT://127.0.0.1:0")
	s.stop()
	if code := <-s.exit; code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if said, _ := io.ReadAll(s.stderr); len(said) != 0 {
		t.Errorf("with -q it says %q", said)
	}
}

// serveOnce runs serve where it is expected to end by itself.
func serveOnce(t *testing.T, open openNode, args ...string) (code int, stderr string) {
	t.Helper()
	var b bytes.Buffer
	p := &program{stdin: strings.NewReader(""), stdout: io.Discard, stderr: &b, env: environment{}, openNode: open}
	code = p.run(t.Context(), append([]string{"serve"}, args...))
	return code, b.String()
}

func TestAPortInUseIsNamedBeforeTheDataIsTouched(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	open := func(context.Context, ServeConfig, []BoundListener) (node, error) {
		t.Error("the node was opened")
		return nil, errors.New("opened")
	}
	code, said := serveOnce(t, open, "--listeners", fmt.Sprintf("FREE://127.0.0.1:0,PLAINTEXT://127.0.0.1:%d", port),
		"--set", "listener.security.protocol.map=FREE:PLAINTEXT")
	want := fmt.Sprintf("error: listener PLAINTEXT: 127.0.0.1:%d is in use by another process\n", port)
	if code != exitFailed || !strings.HasPrefix(said, want) || !strings.Contains(said, "--listeners PLAINTEXT://127.0.0.1:0\n") {
		t.Errorf("exit code %d\n%s", code, said)
	}
}

func TestADataDirectoryThatCannotBeUsedIsExplained(t *testing.T) {
	for _, c := range []struct {
		err        error
		what, next string
	}{
		{errDataInUse, "in use by another process", "--data DIR"},
		{errDataNewer, "written by a newer version", "has changed nothing"},
		{errDataOther, "of another node", "--node-id"},
	} {
		var bound []BoundListener
		open := func(_ context.Context, _ ServeConfig, on []BoundListener) (node, error) {
			bound = on
			return nil, fmt.Errorf("opening: %w", c.err)
		}
		code, said := serveOnce(t, open, "--data", "/srv/d", "--listeners", "PLAINTEXT://127.0.0.1:0")
		if code != exitFailed || !strings.HasPrefix(said, "error: data directory /srv/d: opening: "+c.what) || !strings.Contains(said, c.next) {
			t.Errorf("exit code %d\n%s", code, said)
		}
		if _, err := bound[0].Net.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a listener was left open: %v", err)
		}
	}
}

func TestANodeThatFailsEndsServe(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "ready.json")
	open := func(_ context.Context, _ ServeConfig, on []BoundListener) (node, error) {
		return &quietNode{on: on, ready: make(chan struct{}), runErr: errors.New("the disk is gone")}, nil
	}
	code, said := serveOnce(t, open, "--data", dir, "--listeners", "PLAINTEXT://127.0.0.1:0", "--ready-file", file)
	if code != exitFailed || said != "error: the disk is gone\n" {
		t.Errorf("exit code %d\n%s", code, said)
	}
}

func TestAReadyFileThatCannotBeWrittenEndsServe(t *testing.T) {
	dir := t.TempDir()
	s := startServing(t, "--data", dir, "--listeners", "PLAINTEXT://127.0.0.1:0", "--ready-file", filepath.Join(dir, "no", "such", "dir"))
	said, _ := io.ReadAll(s.stderr)
	if code := <-s.exit; code != exitFailed || !strings.Contains(string(said), "ready file: open ") {
		t.Errorf("exit code %d\n%s", code, said)
	}
}

func TestStaleReadyFilesGoOthersStay(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		name, content string
		stays, fails  bool
	}{
		{"of a process that is gone", `{"pid": 2147483646}`, false, false},
		{"of an earlier life of this process id", fmt.Sprintf(`{"pid": %d}`, os.Getpid()), false, false},
		{"of a process that lives", fmt.Sprintf(`{"pid": %d}`, os.Getppid()), true, false},
		{"of nobody", "precious", true, true},
	} {
		path := filepath.Join(dir, "ready.json")
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		err := removeStaleReadyFile(path)
		if _, statErr := os.Stat(path); (err != nil) != c.fails || (statErr == nil) != c.stays {
			t.Errorf("%s: error %v, then %v", c.name, err, statErr)
		}
	}
	if err := removeStaleReadyFile(filepath.Join(dir, "none")); err != nil {
		t.Error(err)
	}
}
