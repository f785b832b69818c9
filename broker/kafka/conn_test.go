package kafka

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// inBubble runs a test in which time passes only when everything waits.
func inBubble(t *testing.T, f func(t *testing.T)) { t.Helper(); synctest.Test(t, f) }

// dialer makes connections inside a bubble, which last as long as they may.
func dialer(t *testing.T, s *Server) func() *wire {
	return func() *wire {
		w := connect(t, context.Background(), s)
		w.nc.SetDeadline(time.Time{})
		return w
	}
}

// mustBeCut waits until the server has cut the connection, and checks why.
func (w *wire) mustBeCut(reason error) {
	w.t.Helper()
	if err := <-w.ended; !errors.Is(err, reason) {
		w.t.Errorf("it ended with %v, want %v", err, reason)
	}
}

// leave closes a connection and waits for its end.
func (w *wire) leave() {
	w.nc.Close()
	<-w.ended
}

func TestPipelinedRequestsAreAnsweredInTheirOrder(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFake()
		f.add("t", 1)
		var held []func()
		f.hold = func(complete func()) { held = append(held, complete) }
		w := dialer(t, serverOf(t, f, Limits{}, Events{}))()
		type sent struct {
			req kmsg.Request
			id  int32
		}
		var all []sent
		for i := range 30 {
			var req kmsg.Request
			switch i % 3 {
			case 0:
				req = producing(9, -1, "t", 0, batchOf(1+i))
			case 1:
				req = at(kmsg.NewPtrMetadataRequest(), 12)
			case 2:
				req = reading(12, "t", 0)
			}
			all = append(all, sent{req, w.send(req)})
		}
		synctest.Wait()
		if len(held) != 10 {
			t.Fatalf("%d batches have entered, before the first is answered", len(held))
		}
		slices.Reverse(held)
		for _, complete := range held {
			complete()
		}
		for _, s := range all {
			w.receive(s.req, s.id) // checks the correlation id
		}
		if end := f.topics["t"].logs[0].end; end != 145 {
			t.Errorf("the partition ends at %d", end)
		}
		w.leave()
	})
}

func TestRequestsInFlightAreLimitedInNumber(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const most = 5
		f := newFake()
		f.add("t", 1)
		var held []func()
		f.hold = func(complete func()) { held = append(held, complete) }
		w := dialer(t, serverOf(t, f, Limits{MaxInFlight: most}, Events{}))()
		req := producing(9, -1, "t", 0, batchOf(1))
		const sent = 3 * most
		go func() { // blocks while the server does not read
			for range sent {
				w.send(req)
			}
		}()
		for answered := range sent {
			synctest.Wait()
			if want := min(most, sent-answered); len(held) != want {
				t.Fatalf("%d answered, %d in flight, want %d", answered, len(held), want)
			}
			held[0]()
			held = held[1:]
			w.receive(req, int32(answered)+1)
		}
		w.leave()
	})
}

func TestRequestsInFlightAreLimitedInBytes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFake()
		f.add("t", 1)
		var held []func()
		f.hold = func(complete func()) { held = append(held, complete) }
		small, large := producing(9, -1, "t", 0, batchOf(10)), producing(9, -1, "t", 0, batchOf(100))
		limit := 2*len(frameOf(small)) + 10
		if len(frameOf(large)) <= limit {
			t.Fatal("the large request is not large")
		}
		w := dialer(t, serverOf(t, f, Limits{MaxInFlightBytes: limit}, Events{}))()
		order := []*kmsg.ProduceRequest{small, small, small, large, small}
		go func() {
			for _, req := range order {
				w.send(req)
			}
		}()
		// A request larger than the limit gets in alone.
		for i, want := range []int{2, 2, 1, 1, 1} {
			synctest.Wait()
			if len(held) != want {
				t.Errorf("%d answered, %d in flight, want %d", i, len(held), want)
			}
			complete := held[0]
			held = held[1:] // before it makes room for the next
			complete()
			w.receive(order[i], int32(i)+1)
		}
		w.leave()
	})
}

// bigAnswers is a Backend with a partition that takes long to send, and a request
// for it.
func bigAnswers() (*fake, *kmsg.FetchRequest) {
	f := newFake()
	f.add("t", 1, func(t *Topic) { t.Config.MaxMessageBytes = 1 << 30 })
	for range 20 {
		f.produce("t", 0, 10_000)
	}
	req := reading(12, "t", 0)
	req.Topics[0].Partitions[0].PartitionMaxBytes = 1 << 30
	return f, req
}

func TestAClientThatDoesNotReadHoldsOneAnswerAndNobodyElse(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, req := bigAnswers()
		dial := dialer(t, serverOf(t, f, Limits{}, Events{}))
		slow, other := dial(), dial()
		began := time.Now()
		for range 50 {
			slow.send(req)
		}
		synctest.Wait()
		if f.fetches != 1 {
			t.Errorf("%d answers were made for a client that reads none", f.fetches)
		}
		for range 10 {
			ask[*kmsg.MetadataResponse](other, at(kmsg.NewPtrMetadataRequest(), 12))
			ask[*kmsg.FetchResponse](other, req)
		}
		if time.Since(began) > 0 {
			t.Errorf("others waited %v", time.Since(began))
		}
		if err := <-slow.ended; !errors.Is(err, os.ErrDeadlineExceeded) || !strings.Contains(err.Error(), "writing an answer") {
			t.Errorf("it ended with %v", err)
		}
		if d := time.Since(began); d != 30*time.Second {
			t.Errorf("it was cut after %v", d)
		}
		other.leave()
	})
}

func TestAClientThatReadsSlowlyIsServed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f, req := bigAnswers()
		w := dialer(t, serverOf(t, f, Limits{IdleTimeout: time.Minute}, Events{}))()
		w.send(req)
		began := time.Now()
		buf := make([]byte, writeStep)
		total := 0
		for total < 3<<20 {
			time.Sleep(29 * time.Second)
			n, err := io.ReadFull(w.nc, buf)
			if err != nil {
				t.Fatalf("after %d bytes and %v: %v", total, time.Since(began), err)
			}
			total += n
		}
		if time.Since(began) < 5*time.Minute {
			t.Errorf("it took %v only", time.Since(began))
		}
		w.leave()
	})
}

func TestAnIdleConnectionIsClosed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := dialer(t, serverOf(t, newFake(), Limits{}, Events{}))()
		began := time.Now()
		w.mustBeCut(ErrIdle)
		if d := time.Since(began); d != 10*time.Minute {
			t.Errorf("after %v", d)
		}
	})
}

func TestAConnectionThatIsUsedIsNotIdle(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := dialer(t, serverOf(t, newFake(), Limits{}, Events{}))()
		for range 10 {
			time.Sleep(9 * time.Minute)
			ask[*kmsg.MetadataResponse](w, at(kmsg.NewPtrMetadataRequest(), 12))
		}
		began := time.Now()
		w.mustBeCut(ErrIdle)
		if d := time.Since(began); d < 10*time.Minute || d > 20*time.Minute {
			t.Errorf("idle after %v", d)
		}
	})
}

func TestAConnectionThatAwaitsAnAnswerIsNotIdle(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFake()
		f.wait = make(chan struct{})
		w := dialer(t, serverOf(t, f, Limits{}, Events{}))()
		req := at(kmsg.NewPtrJoinGroupRequest(), 5)
		id := w.send(req)
		time.Sleep(time.Hour)
		close(f.wait)
		if resp := w.receive(req, id).(*kmsg.JoinGroupResponse); resp.ErrorCode != 0 {
			t.Errorf("error %d", resp.ErrorCode)
		}
		w.leave()
	})
}

func TestTheTimeUntilIdleBeginsWithTheLastAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFake()
		f.wait = make(chan struct{})
		w := dialer(t, serverOf(t, f, Limits{}, Events{}))()
		req := at(kmsg.NewPtrJoinGroupRequest(), 5)
		id := w.send(req)
		time.Sleep(9 * time.Minute)
		close(f.wait)
		w.receive(req, id)
		time.Sleep(9 * time.Minute)
		ask[*kmsg.MetadataResponse](w, at(kmsg.NewPtrMetadataRequest(), 12))
		w.leave()
	})
}

func TestAPauseInsideARequestIsLimited(t *testing.T) {
	for name, begun := range map[string][]byte{
		"inside the length": {0, 0},
		"behind the length": {0, 0, 1, 0},
		"inside the body":   {0, 0, 1, 0, 0, 3},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := dialer(t, serverOf(t, newFake(), Limits{}, Events{}))()
				w.write(begun)
				began := time.Now()
				w.mustBeCut(ErrIdle)
				if d := time.Since(began); d > 20*time.Minute {
					t.Errorf("after %v", d)
				}
			})
		})
	}
}

func TestConnectionsOverTheLimitAreClosedAtOnce(t *testing.T) {
	var seen recorded
	s := serverOf(t, newFake(), Limits{Connections: ConnectionLimits{All: 2}}, seen.events())
	served := func(w *wire) { ask[*kmsg.MetadataResponse](w, at(kmsg.NewPtrMetadataRequest(), 12)) }
	a, b := connect(t, context.Background(), s), connect(t, context.Background(), s)
	served(a)
	served(b)
	for range 3 {
		connect(t, context.Background(), s).mustEnd(ErrTooManyConnections)
	}
	served(a)
	a.leave()
	c := connect(t, context.Background(), s)
	served(c)
	served(b)
	b.leave()
	c.leave()
	if seen.connected != 3 || len(seen.disconnected) != 3 || len(seen.refused) != 3 {
		t.Errorf("%d connected, %d disconnected, %d refused", seen.connected, len(seen.disconnected), len(seen.refused))
	}
}

func TestAServerThatEndsAnswersWhatItHasRead(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFake()
		f.add("t", 1)
		var held []func()
		f.hold = func(complete func()) { held = append(held, complete) }
		ctx, stop := context.WithCancel(context.Background())
		w := connect(t, ctx, serverOf(t, f, Limits{}, Events{}))
		produce, fetch := producing(9, -1, "t", 0, batchOf(1)), reading(12, "t", 1)
		fetch.MaxWaitMillis = 60_000
		produceID, fetchID := w.send(produce), w.send(fetch)
		synctest.Wait()
		stop()
		synctest.Wait()
		w.nc.SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := w.nc.Write([]byte{0}); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("writing to a server that reads no more: %v", err)
		}
		began := time.Now()
		time.AfterFunc(3*time.Second, held[0])
		if got := outcome(w.receive(produce, produceID).(*kmsg.ProduceResponse)); got.ErrorCode != 0 {
			t.Errorf("produce: error %d", got.ErrorCode)
		}
		if p := partitionsRead(w.receive(fetch, fetchID).(*kmsg.FetchResponse))[0]; p.ErrorCode != 0 || time.Since(began) != 3*time.Second {
			t.Errorf("fetch: error %d after %v", p.ErrorCode, time.Since(began))
		}
		w.mustBeCut(ErrDrained)
	})
}

func TestAServerThatEndsDoesNotWaitForEver(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFake()
		f.add("t", 1)
		var held []func()
		f.hold = func(complete func()) { held = append(held, complete) }
		ctx, stop := context.WithCancel(context.Background())
		w := connect(t, ctx, serverOf(t, f, Limits{}, Events{}))
		w.send(producing(9, -1, "t", 0, batchOf(1)))
		synctest.Wait()
		stop()
		began := time.Now()
		err := <-w.ended
		if !errors.Is(err, ErrDrained) || !errors.Is(err, ErrOverdue) || time.Since(began) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		held[0]()
	})
}

func TestWhoWaitsForAGroupStopsWhenTheConnectionLeaves(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFake()
		f.wait = make(chan struct{})
		w := dialer(t, serverOf(t, f, Limits{}, Events{}))()
		w.send(at(kmsg.NewPtrJoinGroupRequest(), 5))
		synctest.Wait()
		began := time.Now()
		w.leave()
		if time.Since(began) > 0 {
			t.Errorf("it waited %v longer", time.Since(began))
		}
	})
}

func TestABugClosesItsConnectionOnly(t *testing.T) {
	f := newFake()
	f.panics = true
	var seen recorded
	s := serverOf(t, f, Limits{}, seen.events())
	other := connect(t, context.Background(), s)
	w := connect(t, context.Background(), s)
	w.send(at(kmsg.NewPtrInitProducerIDRequest(), 4))
	w.mustEnd(ErrPanic)
	if len(seen.panicked) != 1 || seen.panicked[0] != "a bug in the fake" {
		t.Errorf("told of %v", seen.panicked)
	}
	ask[*kmsg.MetadataResponse](other, at(kmsg.NewPtrMetadataRequest(), 12))
}

func TestAnErrorWithoutACodeIsToldAndAnswered(t *testing.T) {
	f := newFake()
	f.add("t", 1)
	f.refuse = &Appended{Err: errors.New("the moon is full")}
	var seen recorded
	w := connect(t, context.Background(), serverOf(t, f, Limits{}, seen.events()))
	if got := outcome(ask[*kmsg.ProduceResponse](w, producing(9, -1, "t", 0, batchOf(1)))); got.ErrorCode != kerr.UnknownServerError.Code {
		t.Errorf("error %d", got.ErrorCode)
	}
	if len(seen.failed) != 1 || !strings.Contains(seen.failed[0].Error(), "the moon is full") {
		t.Errorf("told of %v", seen.failed)
	}
}

// scripted is a listener that fails as it is told to.
type scripted struct {
	accept chan func() (net.Conn, error)
	closed chan struct{}
}

func newScripted() *scripted {
	return &scripted{accept: make(chan func() (net.Conn, error)), closed: make(chan struct{})}
}

func (l *scripted) Accept() (net.Conn, error) {
	select {
	case f := <-l.accept:
		return f()
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *scripted) Close() error   { close(l.closed); return nil }
func (l *scripted) Addr() net.Addr { return &net.TCPAddr{} }

func serverWith(t *testing.T, e Events, listeners ...net.Listener) *Server {
	t.Helper()
	cfg := Config{Events: e}
	for _, l := range listeners {
		cfg.Listeners = append(cfg.Listeners, ListenerConfig{Name: "PLAIN", Protocol: "PLAINTEXT", Listener: l})
	}
	s, err := New(cfg, newFake())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAFailedAcceptIsTriedAgainLaterAndLater(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var seen recorded
		events := seen.events()
		tell := events.Disconnected
		events.Disconnected = func(p Peer, err error) {
			time.Sleep(time.Second) // the end of a connection takes its time
			tell(p, err)
		}
		l := newScripted()
		s := serverWith(t, events, l)
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		noFiles := func() (net.Conn, error) { return nil, errors.New("too many open files") }
		var pauses []time.Duration
		for range 12 {
			began := time.Now()
			l.accept <- noFiles
			pauses = append(pauses, time.Since(began))
		}
		if pauses[1] != firstAcceptPause || pauses[2] != 2*firstAcceptPause || pauses[11] != lastAcceptPause {
			t.Errorf("pauses %v", pauses)
		}
		here, there := net.Pipe()
		l.accept <- func() (net.Conn, error) { return there, nil }
		w := &wire{t: t, nc: here}
		ask[*kmsg.MetadataResponse](w, at(kmsg.NewPtrMetadataRequest(), 12))
		if len(seen.refused) != 12 {
			t.Errorf("%d failures were told", len(seen.refused))
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if len(seen.disconnected) != 1 {
			t.Error("the server has ended before its connection")
		}
		if _, _, err := w.frame(); err == nil {
			t.Error("the connection outlives the server")
		}
	})
}

func TestAListenerThatIsClosedByOthersEndsTheServer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a, b := newScripted(), newScripted()
		s := serverWith(t, Events{}, a, b)
		ended := make(chan error)
		go func() { ended <- s.Run(context.Background()) }()
		a.accept <- func() (net.Conn, error) { return nil, net.ErrClosed }
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("it ended with %v", err)
		}
		<-b.closed
	})
}
