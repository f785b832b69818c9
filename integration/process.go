package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/splashdam/splashdam/internal/child"
)

// Binary builds the program once for a test run and returns its path.
func Binary(t testing.TB) string {
	t.Helper()
	buildOnce.Do(func() {
		dir, err := os.MkdirTemp("", "splashdam-test-")
		if err != nil {
			buildErr = err
			return
		}
		built = filepath.Join(dir, "splashdam")
		args := []string{"build", "-o", built}
		if os.Getenv("SPLASHDAM_TEST_RACE") != "" {
			args = append(args, "-race")
		}
		out, err := exec.Command("go", append(args, "github.com/splashdam/splashdam/cmd/splashdam")...).CombinedOutput()
		if err != nil {
			buildErr = fmt.Errorf("building the binary: %w\n%s", err, out)
		}
	})
	if buildErr != nil {
		t.Fatal(buildErr)
	}
	return built
}

// removeBinary removes what Binary has built.
func removeBinary() {
	if built != "" {
		os.RemoveAll(filepath.Dir(built))
	}
}

var (
	buildOnce sync.Once
	built     string
	buildErr  error
)

// Node is a splashdam process with a data directory that outlives it. Its output is
// kept and shown when the test fails. Not safe for concurrent use.
type Node struct {
	// Addr is host:port of its listener, the same after a restart.
	Addr string
	// Dir is its data directory.
	Dir string

	t     testing.TB
	args  []string
	cmd   *exec.Cmd
	ended chan struct{}
	err   error
	log   string

	listeners []NodeListener
}

// readyTimeout bounds how long a node may take to start.
const readyTimeout = 30 * time.Second

// Start runs `splashdam serve` with more arguments on a fresh data directory, waits
// until it answers, and stops it at the end of the test.
func Start(t testing.TB, args ...string) *Node {
	t.Helper()
	return StartIn(t, filepath.Join(t.TempDir(), "data"), args...)
}

// StartIn is Start on a given data directory.
func StartIn(t testing.TB, dir string, args ...string) *Node {
	t.Helper()
	return startAt(t, anyPort, dir, args...)
}

// StartAt is Start on a given address, for clients that know no other.
func StartAt(t testing.TB, addr string, args ...string) *Node {
	t.Helper()
	return startAt(t, addr, filepath.Join(t.TempDir(), "data"), args...)
}

const anyPort = "127.0.0.1:0"

func startAt(t testing.TB, addr, dir string, args ...string) *Node {
	t.Helper()
	n := &Node{t: t, Dir: dir, args: args, log: filepath.Join(t.TempDir(), "serve.log")}
	t.Cleanup(func() {
		if n.cmd != nil {
			n.Kill()
		}
		out, err := os.ReadFile(n.log)
		if err != nil {
			t.Error(err)
		}
		for _, bad := range []string{"DATA RACE", "panic", "a bug was met"} {
			if strings.Contains(string(out), bad) {
				t.Errorf("the node's output has %q in it", bad)
			}
		}
		if t.Failed() {
			t.Logf("output of the node:\n%s", lastLines(string(out), 60))
		}
	})
	if err := n.start(addr); err != nil {
		t.Fatal(err)
	}
	return n
}

func lastLines(s string, n int) string {
	lines := strings.Split(s, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// readyFile is what the node writes when it answers.
type readyFile struct {
	Listeners []NodeListener `json:"listeners"`
}

// NodeListener is a listener of a node, as it is bound.
type NodeListener struct {
	Name string `json:"name"`
	Host string `json:"host"`
	Port int    `json:"port"`
}

// Listeners are those of the node as it was started last.
func (n *Node) Listeners() []NodeListener { return n.listeners }

func (n *Node) start(listen string) error {
	ready := filepath.Join(filepath.Dir(n.log), "ready.json")
	if err := os.Remove(ready); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	args := append([]string{"serve", "--data", n.Dir, "--listeners", "PLAINTEXT://" + listen, "--ready-file", ready}, n.args...)
	cmd := exec.Command(Binary(n.t), args...)
	cmd.Stdout, cmd.Stderr = log, log
	// The tests' own variables are none of the node's.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "SPLASHDAM_") })
	if err := child.Start(cmd); err != nil {
		return err
	}
	ended := make(chan struct{})
	n.cmd, n.ended = cmd, ended
	go func() { n.err = cmd.Wait(); close(ended) }()
	deadline := time.Now().Add(readyTimeout)
	for {
		if data, err := os.ReadFile(ready); err == nil {
			var r readyFile
			if err := json.Unmarshal(data, &r); err != nil {
				return fmt.Errorf("the ready file: %w", err)
			}
			n.listeners = r.Listeners
			n.Addr = fmt.Sprintf("%s:%d", r.Listeners[0].Host, r.Listeners[0].Port)
			return nil
		}
		select {
		case <-ended:
			n.cmd = nil
			return fmt.Errorf("the node ended before it was ready: %w", n.err)
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return errors.New("the node is not ready in time")
		}
	}
}

// Kill ends the process as kill -9 does.
func (n *Node) Kill() {
	n.t.Helper()
	if err := n.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		n.t.Fatal(err)
	}
	<-n.ended
	n.cmd = nil
}

// Stop ends the process with SIGTERM and demands an orderly end.
func (n *Node) Stop() {
	n.t.Helper()
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		n.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	select {
	case <-n.ended:
	case <-ctx.Done():
		n.t.Fatal("the node does not end on SIGTERM")
	}
	n.cmd = nil
	if n.err != nil {
		n.t.Fatalf("the node ended with %v", n.err)
	}
}

// Restart starts the process again on the same directory and address.
func (n *Node) Restart() {
	n.t.Helper()
	if err := n.start(n.Addr); err != nil {
		n.t.Fatal(err)
	}
}

// Pid is the process id.
func (n *Node) Pid() int { return n.cmd.Process.Pid }
