package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// wire is a client that sees the bytes.
type wire struct {
	t     testing.TB
	nc    net.Conn
	next  int32 // correlation id
	ended chan error
}

// recorded keeps the events of a server.
type recorded struct {
	mu           sync.Mutex
	connected    int
	disconnected []error
	refused      []error
	failed       []error
	panicked     []any
}

func (r *recorded) events() Events {
	lock := func(f func()) { r.mu.Lock(); defer r.mu.Unlock(); f() }
	return Events{
		Connected:    func(Peer) { lock(func() { r.connected++ }) },
		Disconnected: func(_ Peer, err error) { lock(func() { r.disconnected = append(r.disconnected, err) }) },
		Refused:      func(_ Peer, err error) { lock(func() { r.refused = append(r.refused, err) }) },
		Failed:       func(_ Request, err error) { lock(func() { r.failed = append(r.failed, err) }) },
		Panicked:     func(_ Request, v any, _ []byte) { lock(func() { r.panicked = append(r.panicked, v) }) },
	}
}

func serverOf(t testing.TB, b Backend, l Limits, e Events) *Server {
	t.Helper()
	return serverOn(t, b, l, e, ListenerConfig{Name: "PLAIN", Protocol: Plaintext})
}

// serverOn is a server whose connections come by ServeConn.
func serverOn(t testing.TB, b Backend, l Limits, e Events, listeners ...ListenerConfig) *Server {
	t.Helper()
	s, err := New(Config{Listeners: listeners, Limits: l, Events: e}, b)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// connect opens a connection to a server through a pipe.
func connect(t testing.TB, ctx context.Context, s *Server) *wire {
	here, there := net.Pipe()
	return serveOn(t, ctx, s, here, there)
}

// connectTCP is connect through sockets, which buffer, and which tell a side that
// the other has closed.
func connectTCP(t testing.TB, ctx context.Context, s *Server) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	here, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	there, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, ctx, s, here, there)
}

func serveOn(t testing.TB, ctx context.Context, s *Server, here, there net.Conn) *wire {
	w := &wire{t: t, nc: here, ended: make(chan error, 1)}
	go func() { w.ended <- s.ServeConn(ctx, there, "PLAIN") }()
	t.Cleanup(func() { here.Close() })
	here.SetDeadline(time.Now().Add(time.Minute)) // so that a lost answer is a failure, not a hang
	return w
}

// to is a wire to a fresh server over a backend.
func to(t testing.TB, b Backend) *wire {
	return connect(t, context.Background(), serverOf(t, b, Limits{}, Events{Failed: func(r Request, err error) {
		t.Errorf("%s: no code for %v", r, err)
	}}))
}

func (w *wire) send(req kmsg.Request) int32 {
	w.t.Helper()
	w.next++
	b := kmsg.NewRequestFormatter(kmsg.FormatterClientID("wire")).AppendRequest(nil, req, w.next)
	w.write(b)
	return w.next
}

func (w *wire) write(b []byte) {
	w.t.Helper()
	if _, err := w.nc.Write(b); err != nil {
		w.t.Fatalf("writing: %v", err)
	}
}

// frame reads one answer: its correlation id and what follows.
func (w *wire) frame() (int32, []byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(w.nc, head[:]); err != nil {
		return 0, nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err := io.ReadFull(w.nc, b); err != nil {
		return 0, nil, err
	}
	return int32(binary.BigEndian.Uint32(b)), b[4:], nil
}

// receive reads the answer to a request.
func (w *wire) receive(req kmsg.Request, correlation int32) kmsg.Response {
	w.t.Helper()
	got, body, err := w.frame()
	if err != nil {
		w.t.Fatalf("reading the answer to %s v%d: %v", kmsg.NameForKey(req.Key()), req.GetVersion(), err)
	}
	if got != correlation {
		w.t.Fatalf("answer %d, want %d", got, correlation)
	}
	resp := req.ResponseKind()
	if resp.IsFlexible() && req.Key() != int16(kmsg.ApiVersions) {
		if body[0] != 0 {
			w.t.Fatalf("the header of the answer has %d tagged fields", body[0])
		}
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		w.t.Fatalf("decoding the answer to %s v%d: %v", kmsg.NameForKey(req.Key()), req.GetVersion(), err)
	}
	if again := resp.AppendTo(nil); len(again) != len(body) {
		w.t.Fatalf("the answer to %s v%d has %d bytes, encoded again %d", kmsg.NameForKey(req.Key()), req.GetVersion(), len(body), len(again))
	}
	return resp
}

// ask sends a request and reads its answer.
func ask[R kmsg.Response](w *wire, req kmsg.Request) R {
	w.t.Helper()
	return w.receive(req, w.send(req)).(R)
}

// end waits for the connection to have ended, and says why it did.
func (w *wire) end() error {
	w.t.Helper()
	select {
	case err := <-w.ended:
		return err
	case <-time.After(time.Minute):
		w.t.Fatal("the connection did not end")
		return nil
	}
}

// mustEnd checks that the server cut the connection, for a reason.
func (w *wire) mustEnd(reason error) {
	w.t.Helper()
	if err := w.end(); !errors.Is(err, reason) {
		w.t.Fatalf("the connection ended with %v, want %v", err, reason)
	}
	if _, _, err := w.frame(); err == nil {
		w.t.Fatal("there is an answer")
	}
}

// at sets the version of a request.
func at[Q kmsg.Request](req Q, version int16) Q {
	req.SetVersion(version)
	return req
}
