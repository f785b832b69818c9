package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/splashdam/splashdam/internal/child"
)

// A service is this test binary in a process of its own, so that it can be killed:
// TestMain runs it in place of the tests when its plan is in the environment. It
// tells on stdout, in JSON, what it does, and waits for a line on stdin where its
// plan says so.

const planVariable = "SPLASHDAM_TEST_SERVICE"

// plan is what a service is started with.
type plan struct {
	Role     string // orderRole or cartRole
	Instance string
	Broker   string
	Database string
	Halts    []halt

	// Of order services.
	Orders  []order // to place, one after the other
	Answers bool    // then to stay, and answer the broker's questions
}

// step is a moment in the work on an order.
type step string

// halt is what is to happen, once, when the service reaches a step of an order. Kill:
// it kills itself, after a pause. Otherwise it says where it is, and waits.
type halt struct {
	Step  step
	Order string // any if empty
	Kill  bool
	Pause time.Duration
}

// report is what a service says.
type report struct {
	Kind  string // one of the kinds below
	Step  step   `json:",omitempty"`
	Order string `json:",omitempty"`
	Text  string `json:",omitempty"` // what came of it
}

const (
	waiting  = "waiting"  // at Step of Order, until it is told to go on
	sent     = "sent"     // Order was sent; Text is what the sender was told
	placed   = "placed"   // all orders of the plan were
	answered = "answered" // a question about Order, with Text
)

func TestMain(m *testing.M) {
	text := os.Getenv(planVariable)
	if text == "" {
		code := m.Run()
		removeBinary()
		os.Exit(code)
	}
	if err := serve(text); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(text string) error {
	var p plan
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return err
	}
	s := &stage{halts: p.Halts, out: json.NewEncoder(os.Stdout), in: bufio.NewReader(os.Stdin)}
	switch p.Role {
	case orderRole:
		return serveOrders(p, s)
	case cartRole:
		return serveCarts(p, s)
	}
	return fmt.Errorf("no service is called %q", p.Role)
}

// stage is where a service reports, waits and dies.
type stage struct {
	mu    sync.Mutex
	halts []halt
	out   *json.Encoder
	in    *bufio.Reader
}

func (s *stage) say(r report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.out.Encode(r); err != nil {
		panic(err)
	}
}

// reach does what the plan has for this step of an order.
func (s *stage) reach(at step, order string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var now []halt
	s.halts = slices.DeleteFunc(s.halts, func(h halt) bool {
		due := h.Step == at && (h.Order == "" || h.Order == order)
		if due {
			now = append(now, h)
		}
		return due
	})
	if slices.ContainsFunc(now, func(h halt) bool { return !h.Kill }) {
		if err := s.out.Encode(report{Kind: waiting, Step: at, Order: order}); err != nil {
			panic(err)
		}
		if _, err := s.in.ReadString('\n'); err != nil {
			panic(err)
		}
	}
	if i := slices.IndexFunc(now, func(h halt) bool { return h.Kill }); i >= 0 {
		time.Sleep(now[i].Pause)
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
			panic(err)
		}
		select {}
	}
}

// service is a running service, as the test sees it.
type service struct {
	name string
	cmd  *exec.Cmd
	in   io.Writer
}

// event is something that a service said, or its end.
type event struct {
	from  *service
	said  report
	ended bool
	err   error // of an end
}

// startService starts a service, whose events come through the channel until its
// end. It is killed at the end of the test.
func startService(t *testing.T, p plan, events chan<- event) *service {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, kill := context.WithCancel(context.Background())
	s := &service{name: p.Instance, cmd: exec.CommandContext(ctx, program)}
	s.cmd.Env = append(os.Environ(), planVariable+"="+string(text))
	var log strings.Builder
	s.cmd.Stderr = &log
	in, err := s.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.in = in
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(s.cmd); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	tell := func(e event) {
		select {
		case events <- e:
		case <-ctx.Done(): // nobody listens any more
		}
	}
	go func() {
		defer close(ended)
		said := json.NewDecoder(out)
		for {
			var r report
			err := said.Decode(&r)
			if err == nil {
				tell(event{from: s, said: r})
				continue
			}
			// What a killed service was writing is of no interest.
			tell(event{from: s, ended: true, err: s.cmd.Wait()})
			return
		}
	}()
	t.Cleanup(func() {
		kill()
		<-ended
		if t.Failed() {
			t.Logf("%s wrote:\n%s", s.name, lastLines(log.String(), 30))
		}
	})
	return s
}

// goOn lets a service that waits go on.
func (s *service) goOn(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(s.in, "\n"); err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
}

// killed reports whether a process was ended by kill -9.
func killed(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// serviceEnd bounds the orderly end of a service.
const serviceEnd = 15 * time.Second
