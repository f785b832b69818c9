package sdk_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	_ "modernc.org/sqlite"

	"github.com/splashdam/splashdam/sdk"
)

// The tests in this file need a broker: SPLASHDAM_TEST_BROKER=host:port. Without
// one they are skipped, or fail where SPLASHDAM_TEST_REQUIRE is "broker" or "all".
// All but those about half messages pass against any Kafka-compatible cluster.

func liveBroker(t *testing.T) []string {
	t.Helper()
	addr := os.Getenv("SPLASHDAM_TEST_BROKER")
	if addr == "" {
		skip(t, "SPLASHDAM_TEST_BROKER is not set: no broker to test against")
	}
	return strings.Split(addr, ",")
}

func skip(t *testing.T, reason string) {
	t.Helper()
	switch os.Getenv("SPLASHDAM_TEST_REQUIRE") {
	case "all", "broker":
		t.Fatal(reason)
	}
	t.Skip(reason)
}

func admin(t *testing.T, brokers []string) *kadm.Client {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return kadm.NewClient(client)
}

// unique makes a name that no other run of the tests has used.
func unique(t *testing.T) string {
	return fmt.Sprintf("%s-%d", t.Name(), time.Now().UnixNano())
}

func topic(t *testing.T, brokers []string, partitions int32, config map[string]*string) string {
	t.Helper()
	name := unique(t)
	if _, err := admin(t, brokers).CreateTopic(t.Context(), partitions, -1, config, name); err != nil {
		if _, half := config["message.type"]; half && errors.Is(err, kerr.InvalidConfig) {
			skip(t, "the broker has no half messages: it does not know message.type")
		}
		t.Fatalf("creating topic %q: %v", name, err)
	}
	return name
}

func producer(t *testing.T, brokers []string, opts ...sdk.ProducerOption) *sdk.Producer {
	t.Helper()
	p, err := sdk.NewProducer(brokers, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(context.Background()) })
	return p
}

// fill sends n messages with the values 0..n-1.
func fill(t *testing.T, brokers []string, topic string, n int) {
	t.Helper()
	p := producer(t, brokers)
	var failed atomic.Pointer[error]
	for i := range n {
		p.SendAsync(t.Context(), &sdk.Message{Topic: topic, Key: fmt.Append(nil, "key-", i%17), Value: fmt.Append(nil, i)}, func(_ sdk.Result, err error) {
			if err != nil {
				failed.Store(&err)
			}
		})
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := failed.Load(); err != nil {
		t.Fatal(*err)
	}
}

// seen counts how often each value was acknowledged.
type seen struct {
	mu     sync.Mutex
	times  map[string]int
	change chan struct{}
}

func newSeen() *seen { return &seen{times: map[string]int{}, change: make(chan struct{}, 1)} }

func (s *seen) add(m *sdk.Message) {
	s.mu.Lock()
	s.times[string(m.Value)]++
	s.mu.Unlock()
	select {
	case s.change <- struct{}{}:
	default:
	}
}

func (s *seen) snapshot() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.times)
}

// until waits for a condition on what was seen.
func (s *seen) until(t *testing.T, what string, ok func(map[string]int) bool) {
	t.Helper()
	limit := time.After(40 * time.Second)
	for !ok(s.snapshot()) {
		select {
		case <-s.change:
		case <-limit:
			t.Fatalf("waiting for %s: saw %d values", what, len(s.snapshot()))
		}
	}
}

func count(n int) func(map[string]int) bool {
	return func(m map[string]int) bool { return len(m) >= n }
}

// run starts a consumer; the function returned stops it and returns Run's error.
func run(t *testing.T, brokers []string, group, topic string, handler sdk.Handler, opts ...sdk.ConsumerOption) (*sdk.Consumer, func() error) {
	t.Helper()
	c, err := sdk.NewConsumer(brokers, group, []string{topic}, handler, opts...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	end := make(chan error, 1)
	go func() { end <- c.Run(ctx) }()
	stop := sync.OnceValue(func() error { cancel(); return <-end })
	t.Cleanup(func() { stop() })
	return c, stop
}

func TestEveryMessageIsHandledByAGroupOfTwo(t *testing.T) {
	t.Parallel()
	brokers := liveBroker(t)
	name, group := topic(t, brokers, 4, nil), unique(t)
	fill(t, brokers, name, 3000)
	all, second := newSeen(), newSeen()
	_, stopA := run(t, brokers, group, name, func(_ context.Context, m *sdk.Message) error {
		time.Sleep(time.Millisecond)
		all.add(m)
		return nil
	})
	all.until(t, "the first member", count(100))
	_, stopB := run(t, brokers, group, name, func(_ context.Context, m *sdk.Message) error {
		all.add(m)
		second.add(m)
		return nil
	})
	all.until(t, "all messages", count(3000))
	for limit := time.Now().Add(30 * time.Second); len(second.snapshot()) == 0; {
		if time.Now().After(limit) {
			t.Fatal("the second member got nothing")
		}
		fill(t, brokers, name, 50) // it is still joining
	}
	for _, stop := range []func() error{stopA, stopB} {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}
}

func TestARebalanceAndARestartRepeatNothing(t *testing.T) {
	t.Parallel()
	brokers := liveBroker(t)
	name, group := topic(t, brokers, 6, nil), unique(t)
	const messages = 1400
	fill(t, brokers, name, messages)
	got, second := newSeen(), newSeen()
	slow := func(also *seen) sdk.Handler {
		return func(_ context.Context, m *sdk.Message) error {
			time.Sleep(2 * time.Second)
			got.add(m)
			also.add(m)
			return nil
		}
	}
	// The first member holds all messages at once and has handlers in most partitions
	// when the second one comes. A short session makes for frequent heartbeats, by
	// which members hear of each other.
	opts := []sdk.ConsumerOption{sdk.WithConcurrency(500), sdk.WithSessionTimeout(6 * time.Second)}
	_, stopA := run(t, brokers, group, name, slow(newSeen()), opts...)
	got.until(t, "the first member", count(1))
	_, stopB := run(t, brokers, group, name, slow(second), opts...)
	second.until(t, "the second member to take partitions over", count(1))
	if err := stopA(); err != nil {
		t.Error(err)
	}
	if err := stopB(); err != nil {
		t.Error(err)
	}
	_, stopC := run(t, brokers, group, name, slow(newSeen()), opts...)
	got.until(t, "all messages", count(messages))
	if err := stopC(); err != nil {
		t.Error(err)
	}
	for value, times := range got.snapshot() {
		if times != 1 {
			t.Errorf("message %s was handled %d times, though every member ended in good order", value, times)
		}
	}
}

func TestAFailingMessageHoldsUpNothingAndIsAllThatIsLeft(t *testing.T) {
	t.Parallel()
	brokers := liveBroker(t)
	name, group := topic(t, brokers, 1, nil), unique(t)
	fill(t, brokers, name, 300)
	got := newSeen()
	var failures atomic.Int32
	_, stop := run(t, brokers, group, name, func(_ context.Context, m *sdk.Message) error {
		if string(m.Value) == "7" {
			if int(failures.Add(1)) != m.Attempt {
				t.Errorf("attempt %d, after %d failures", m.Attempt, failures.Load())
			}
			return errors.New("poison")
		}
		got.add(m)
		return nil
	}, sdk.WithConcurrency(2), sdk.WithListener(func(sdk.Event) {}))
	got.until(t, "the others", count(299))
	if err := stop(); err != nil {
		t.Error(err)
	}
	if failures.Load() == 0 {
		t.Fatal("the poisoned message was not delivered")
	}
	again := newSeen()
	c, stop := run(t, brokers, group, name, func(_ context.Context, m *sdk.Message) error { again.add(m); return nil })
	again.until(t, "the poisoned message", count(1))
	if err := stop(); err != nil {
		t.Error(err)
	}
	if s := again.snapshot(); len(s) != 1 || s["7"] != 1 {
		t.Errorf("after a restart these came again: %v; want only 7, since the commit's metadata has the others", s)
	}
	lag, err := c.Lag(t.Context())
	if err != nil || lag.Messages != 0 || len(lag.Partitions) != 0 {
		t.Errorf("lag %+v, %v", lag, err)
	}
}

func TestAPartitionPausesBehindAMessageThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	brokers := liveBroker(t)
	name, group := topic(t, brokers, 1, nil), unique(t)
	fill(t, brokers, name, 6000)
	got, release := newSeen(), make(chan struct{})
	c, stop := run(t, brokers, group, name, func(_ context.Context, m *sdk.Message) error {
		if string(m.Value) == "0" {
			<-release
		}
		got.add(m)
		return nil
	})
	got.until(t, "the span to fill", count(1999))
	// Nothing tells that no more comes; a moment in which it could have will do.
	time.Sleep(1500 * time.Millisecond)
	if n := len(got.snapshot()); n > 3000 {
		t.Errorf("%d messages were handled in front of an unfinished one", n)
	}
	lag, err := c.Lag(t.Context())
	if err != nil || len(lag.Partitions) != 1 || lag.Messages < 3000 || lag.Messages > 4001 || lag.Age <= 0 || lag.Age > time.Minute {
		t.Errorf("lag %+v, %v: the finished messages must not count, nor the unfinished be missing", lag, err)
	}
	close(release)
	got.until(t, "all", count(6000))
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestPeaksAreShavedToTheRateAndAPauseStopsThem(t *testing.T) {
	t.Parallel()
	brokers := liveBroker(t)
	name, group := topic(t, brokers, 1, nil), unique(t)
	fill(t, brokers, name, 400)
	got := newSeen()
	var first, last atomic.Int64
	c, stop := run(t, brokers, group, name, func(_ context.Context, m *sdk.Message) error {
		now := time.Now().UnixNano()
		first.CompareAndSwap(0, now)
		last.Store(now)
		got.add(m)
		return nil
	}, sdk.WithRateLimit(200))
	got.until(t, "200 messages", count(200))
	took := time.Duration(last.Load() - first.Load())
	if took < 900*time.Millisecond {
		t.Errorf("200 messages in %v, at most 200 a second are allowed", took)
	}
	c.Pause()
	time.Sleep(50 * time.Millisecond) // what was handed out before the pause
	before := len(got.snapshot())
	time.Sleep(300 * time.Millisecond)
	if n := len(got.snapshot()); n != before {
		t.Errorf("%d messages were handled during a pause", n-before)
	}
	c.Resume()
	got.until(t, "the rest", count(400))
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestAHandlerThatHangsDoesNotHangRun(t *testing.T) {
	t.Parallel()
	brokers := liveBroker(t)
	name, group := topic(t, brokers, 1, nil), unique(t)
	fill(t, brokers, name, 1)
	began, cause := make(chan struct{}), make(chan error, 1)
	_, stop := run(t, brokers, group, name, func(ctx context.Context, m *sdk.Message) error {
		close(began)
		<-ctx.Done()
		cause <- context.Cause(ctx)
		return ctx.Err()
	}, sdk.WithDrainTimeout(100*time.Millisecond))
	<-began
	if err := stop(); err != nil {
		t.Errorf("a handler that heeds its context ends in time, and Run is fine: %v", err)
	}
	if err := <-cause; !errors.Is(err, sdk.ErrRevoked) {
		t.Errorf("its context ended because of %v", err)
	}
}

func TestSendsThatFailSayWhatToDo(t *testing.T) {
	t.Parallel()
	brokers := liveBroker(t)
	p := producer(t, brokers)
	if _, err := p.Send(t.Context(), &sdk.Message{Topic: unique(t)}); !errors.Is(err, kerr.UnknownTopicOrPartition) || !strings.Contains(err.Error(), "create the topic") {
		t.Errorf("a topic that is not there: %v", err)
	}
	large := "4194304"
	name := topic(t, brokers, 1, map[string]*string{"max.message.bytes": &large})
	noise := make([]byte, 3<<20)
	for i := range noise {
		noise[i] = byte(i * i >> 3)
	}
	if res, err := p.Send(t.Context(), &sdk.Message{Topic: name, Value: noise, ID: "mine"}); err != nil || res.ID != "mine" || res.Offset != 0 {
		t.Errorf("a message of 3 MiB for a topic that takes 4: %+v, %v", res, err)
	}
	if _, err := p.Send(t.Context(), &sdk.Message{Topic: name, Value: make([]byte, 5<<20)}); !errors.Is(err, kerr.MessageTooLarge) || sdk.Retryable(err) {
		t.Errorf("a message of 5 MiB: %v", err)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Send(done, &sdk.Message{Topic: name}); !errors.Is(err, sdk.ErrInDoubt) {
		t.Errorf("a caller who gave up: %v", err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := p.Send(t.Context(), &sdk.Message{Topic: name}); !errors.Is(err, sdk.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestADialerReplacesTheNetwork(t *testing.T) {
	t.Parallel()
	brokers := liveBroker(t)
	name := topic(t, brokers, 1, nil)
	var dialed atomic.Int32
	p := producer(t, brokers, sdk.WithDialer(func(ctx context.Context, network, host string) (net.Conn, error) {
		dialed.Add(1)
		var d net.Dialer
		return d.DialContext(ctx, network, host)
	}))
	if _, err := p.Send(t.Context(), &sdk.Message{Topic: name}); err != nil || dialed.Load() == 0 {
		t.Errorf("%v, %d connections dialed", err, dialed.Load())
	}
}

func TestASendToNobodyEndsAtItsDeadline(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := producer(t, []string{l.Addr().String()}, sdk.WithDeadline(time.Second))
	start := time.Now()
	_, err = p.Send(t.Context(), &sdk.Message{Topic: "t"})
	if !errors.Is(err, sdk.ErrInDoubt) || !sdk.Retryable(err) {
		t.Error(err)
	}
	// The look at the topic's limit comes on top, and is bounded too.
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("it took %v", took)
	}
}

// ---- half messages ----

func halfTopic(t *testing.T, brokers []string) string {
	t.Helper()
	kind := "transaction"
	return topic(t, brokers, 3, map[string]*string{"message.type": &kind})
}

func transactions(t *testing.T, brokers []string, group string, check sdk.CheckFunc) *sdk.TransactionProducer {
	t.Helper()
	p, err := sdk.NewTransactionProducer(brokers, group, check)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(context.Background()) })
	return p
}

func unanswered(context.Context, sdk.Question) sdk.Outcome { return sdk.Unknown }

func TestOnlyCommittedHalfMessagesAreSeen(t *testing.T) {
	t.Parallel()
	brokers := liveBroker(t)
	name := halfTopic(t, brokers)
	p := transactions(t, brokers, unique(t), unanswered)
	got := newSeen()
	var offsets sync.Map
	_, stop := run(t, brokers, unique(t), name, func(_ context.Context, m *sdk.Message) error {
		offsets.Store(string(m.Value), fmt.Sprint(m.Partition, "@", m.Offset, " ", m.ID))
		got.add(m)
		return nil
	})
	var wg sync.WaitGroup
	want := map[string]string{}
	var mu sync.Mutex
	for i := range 60 {
		wg.Go(func() {
			outcome := sdk.Commit
			if i%3 == 0 {
				outcome = sdk.Rollback
			}
			value := fmt.Sprint(i)
			res, err := p.Send(t.Context(), &sdk.Message{Topic: name, Value: []byte(value), Headers: []sdk.Header{{Key: "h", Value: []byte("1")}}},
				func(context.Context, sdk.Tx) (sdk.Outcome, error) { return outcome, nil })
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if outcome == sdk.Commit {
				want[value] = fmt.Sprint(res.Partition, "@", res.Offset, " ", res.ID)
			}
		})
	}
	wg.Wait()
	h, err := p.Prepare(t.Context(), &sdk.Message{Topic: name, Key: []byte("k"), Value: []byte("undecided")})
	if err != nil {
		t.Fatal(err)
	}
	got.until(t, "the committed messages", count(40))
	if err := stop(); err != nil {
		t.Error(err)
	}
	for value := range got.snapshot() {
		if at, _ := offsets.Load(value); at != want[value] {
			t.Errorf("message %s was seen at %v; its commit said %q", value, at, want[value])
		}
	}
	if err := h.Rollback(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTheFirstDecisionStands(t *testing.T) {
	t.Parallel()
	brokers := liveBroker(t)
	p := transactions(t, brokers, unique(t), unanswered)
	name := halfTopic(t, brokers)
	h, err := p.Prepare(t.Context(), &sdk.Message{Topic: name, Value: []byte("v")})
	if err != nil {
		t.Fatal(err)
	}
	first, err := h.Commit(t.Context())
	if err != nil || first.Offset < 0 {
		t.Fatalf("%+v, %v", first, err)
	}
	if again, err := h.Commit(t.Context()); err != nil || again.Offset != first.Offset {
		t.Errorf("the same decision again: %+v, %v", again, err)
	}
	if err := h.Rollback(t.Context()); !errors.Is(err, sdk.ErrDecided) {
		t.Errorf("the opposite: %v", err)
	}
	if _, err := p.Half(name, h.Partition, "nobody").Commit(t.Context()); !errors.Is(err, sdk.ErrNotHeld) {
		t.Errorf("a message that was never prepared: %v", err)
	}
}

func TestHalfMessagesAreRefusedWhereTheyWouldBeSeen(t *testing.T) {
	t.Parallel()
	brokers := liveBroker(t)
	p := transactions(t, brokers, unique(t), unanswered)
	plain := topic(t, brokers, 1, nil)
	local := func(context.Context, sdk.Tx) (sdk.Outcome, error) {
		t.Error("the local transaction ran")
		return sdk.Commit, nil
	}
	if _, err := p.Send(t.Context(), &sdk.Message{Topic: plain}, local); !errors.Is(err, sdk.ErrNoHalfMessages) || sdk.Retryable(err) {
		t.Errorf("a topic for normal messages, or a cluster that has no others: %v", err)
	}
	if res, err := producer(t, brokers).Send(t.Context(), &sdk.Message{Topic: plain}); err != nil || res.Offset != 0 {
		t.Errorf("something was stored before: %+v, %v", res, err)
	}
	if _, err := p.Send(t.Context(), &sdk.Message{Topic: unique(t)}, local); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("a topic that is not there: %v", err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := p.Send(t.Context(), &sdk.Message{Topic: plain}, local); !errors.Is(err, sdk.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestTheGroupAnswersForADeadSender prepares messages in a producer that then goes
// away, with some local transactions committed and some not; another instance with
// the same database settles them.
func TestTheGroupAnswersForADeadSender(t *testing.T) {
	t.Parallel()
	brokers := liveBroker(t)
	name, group := halfTopic(t, brokers), unique(t)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "service.db")+"?_pragma=busy_timeout(5000)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	fence := sdk.Fence{}
	if err := fence.CreateTable(t.Context(), db); err != nil {
		t.Fatal(err)
	}

	dead := transactions(t, brokers, group, unanswered)
	var want []string
	for i := range 10 {
		value := fmt.Sprint(i)
		h, err := dead.Prepare(t.Context(), &sdk.Message{Topic: name, Value: []byte(value)})
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			tx, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(fence.Committed(t.Context(), tx, h.ID), tx.Commit()); err != nil {
				t.Fatal(err)
			}
			want = append(want, value)
		}
	}
	if err := dead.Close(t.Context()); err != nil {
		t.Fatal(err)
	}

	var mu sync.Mutex
	asked := map[string]bool{}
	survivor := transactions(t, brokers, group, func(ctx context.Context, q sdk.Question) sdk.Outcome {
		mu.Lock()
		asked[string(q.Message.Value)] = true
		mu.Unlock()
		return fence.CheckDB(db)(ctx, q)
	})
	got := newSeen()
	_, stop := run(t, brokers, unique(t), name, func(_ context.Context, m *sdk.Message) error { got.add(m); return nil })
	got.until(t, "the committed ones", count(len(want)))
	// A local transaction beside them goes its own way.
	if _, err := survivor.SendWithDB(t.Context(), db, &sdk.Message{Topic: name, Value: []byte("own")}, func(context.Context, *sql.Tx) error { return nil }); err != nil {
		t.Error(err)
	}
	got.until(t, "its own", count(len(want)+1))
	if err := errors.Join(stop(), survivor.Close(t.Context())); err != nil {
		t.Error(err)
	}
	values := slices.Sorted(maps.Keys(got.snapshot()))
	if want = append(want, "own"); !slices.Equal(values, want) {
		t.Errorf("seen %v, want %v", values, want)
	}
	for i := range 10 {
		if !asked[fmt.Sprint(i)] && i%2 == 0 {
			t.Errorf("nobody was asked about message %d", i)
		}
	}
}
