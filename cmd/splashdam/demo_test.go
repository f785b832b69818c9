package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/splashdam/splashdam/sdk"
)

// screen is what was written so far. It may be written and read concurrently.
type screen struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// temporary makes a place for temporary directories, in which nothing may be left
// when the returned function is called.
func temporary(t *testing.T) (empty func()) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	return func() {
		t.Helper()
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	}
}

// ran is what a run of the demo printed with --json.
type ran struct {
	messages messageFigures
	orders   orderFigures
	peak     peakFigures
	summary  summaryResult
}

func readDemo(t *testing.T, stdout string) (r ran) {
	t.Helper()
	var steps []string
	for line := range strings.Lines(stdout) {
		var l struct {
			Step    string          `json:"step"`
			OK      bool            `json:"ok"`
			Seconds float64         `json:"seconds"`
			Figures json.RawMessage `json:"figures"`
			Summary *summaryResult  `json:"summary"`
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if l.Summary != nil {
			r.summary = *l.Summary
			continue
		}
		steps = append(steps, l.Step)
		if !l.OK || l.Seconds <= 0 {
			t.Errorf("step %s", line)
		}
		into := map[string]any{"messages": &r.messages, "orders": &r.orders, "peak": &r.peak}[l.Step]
		if err := json.Unmarshal(l.Figures, into); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	if want := "messages orders peak"; strings.Join(steps, " ") != want || r.summary.Steps != 3 {
		t.Errorf("the steps are %v, the summary counts %d", steps, r.summary.Steps)
	}
	return r
}

func TestTheDemoPassesAndLeavesNothingBehind(t *testing.T) {
	empty := temporary(t)
	var stdout, stderr screen
	code := Run(t.Context(), []string{"demo", "--exit", "--json"}, nil, &stdout, &stderr, nil)
	if code != exitOK {
		t.Fatalf("exit code %d\n%s%s", code, &stdout, &stderr)
	}
	empty()
	r := readDemo(t, stdout.String())
	if !r.summary.OK || len(r.summary.Failed) > 0 || r.summary.Brokers == "" {
		t.Errorf("summary %+v", r.summary)
	}
	if m := r.messages; m.Unkeyed != messagesEach || m.Keyed != messagesEach || m.PerSecond < 1 {
		t.Errorf("messages: %+v", m)
	}
	if o := r.orders; o.Database != "SQLite" || o.Orders != o.Cleared || o.Orders+o.Declined+o.Rollbacks != o.Customers || o.Commits != 3 || o.Rollbacks != 2 {
		t.Errorf("orders: %+v", o)
	}
	if k := r.peak; k.Messages != peakMessages || k.PerSecond > peakPerSecond || k.AtOnce > peakAtOnce || k.Samples[len(k.Samples)-1].Done != peakMessages {
		t.Errorf("peak: %+v", k)
	}
	if said := stderr.String(); strings.Contains(said, "\x1b") || strings.Contains(said, "warning") || !strings.Contains(said, "next:") {
		t.Errorf("standard error, which is no terminal:\n%s", said)
	}
}

// demonstrate runs the demo with other steps, until it ends or the test does.
func demonstrate(ctx context.Context, o demoOptions, steps ...demoStep) (stdout, stderr *screen, exit <-chan error) {
	stdout, stderr = &screen{}, &screen{}
	p := &program{stdout: stdout, stderr: stderr, env: environment{}}
	p.openNode = p.openBroker
	ended := make(chan error, 1)
	go func() { ended <- p.demo(ctx, o, steps) }()
	return stdout, stderr, ended
}

func passes(name string) demoStep {
	return demoStep{name, func(context.Context, *stage) (figures, error) {
		return messageFigures{Unkeyed: 1000, PerSecond: 7}, nil
	}}
}

func fails(name string, err error) demoStep {
	return demoStep{name, func(context.Context, *stage) (figures, error) { return nil, err }}
}

func TestAStepThatFailsIsMarkedAndTheOthersRun(t *testing.T) {
	empty := temporary(t)
	broken := &problem{what: "it broke", cause: errors.New("so it was"), next: []string{"mend it"}}
	stdout, _, exit := demonstrate(t.Context(), demoOptions{exit: true}, fails("first", broken), passes("second"), fails("third", errors.New("no more")))
	if err := <-exit; !errors.Is(err, errUnwell) {
		t.Errorf("ended with %v", err)
	}
	empty()
	want := []string{
		"✗ first     it broke: so it was",
		"            mend it",
		"✓ second    1,000 without and 0 with a key: each came once, 0 keys in order; 7 a second  (0.0 s)",
		"✗ third     no more",
		"            without --exit the platform stays up after the last step, to be looked at",
		"✗ 2 of 3 steps failed in ",
	}
	lines := strings.Split(stdout.String(), "\n")
	for i, w := range want {
		if i >= len(lines) || !strings.HasPrefix(lines[i], w) {
			t.Errorf("line %d is not %q:\n%s", i+1, w, stdout)
			break
		}
	}

	stdout, _, exit = demonstrate(t.Context(), demoOptions{exit: true, json: true}, fails("first", broken))
	if err := <-exit; !errors.Is(err, errUnwell) {
		t.Errorf("ended with %v", err)
	}
	if said := stdout.String(); !strings.HasPrefix(said, `{"step":"first","ok":false,`) ||
		!strings.Contains(said, `"error":"it broke: so it was","next":["mend it"]}`+"\n"+`{"summary":{"ok":false,"steps":1,"failed":["first"],`) {
		t.Errorf("as JSON:\n%s", said)
	}
}

func TestTheDemoStaysUpUntilItIsInterrupted(t *testing.T) {
	empty := temporary(t)
	ctx, interrupt := context.WithCancel(t.Context())
	stdout, stderr, exit := demonstrate(ctx, demoOptions{}, passes("only"))
	await(t, stderr, "in another terminal:")
	at, _, _ := strings.Cut(strings.SplitAfter(stderr.String(), "stays up on ")[1], " ")
	if out := (live{t, at}).ok("", "topic", "create", "mine"); !strings.Contains(out, "created") {
		t.Errorf("creating a topic: %s", out)
	}
	interrupt()
	if err := <-exit; err != nil {
		t.Errorf("ended with %v\n%s", err, stdout)
	}
	empty()
}

func TestAnInterruptEndsTheStepsInGoodOrder(t *testing.T) {
	empty := temporary(t)
	ctx, interrupt := context.WithCancel(t.Context())
	var up bool
	stdout, stderr, exit := demonstrate(ctx, demoOptions{}, demoStep{"long", func(ctx context.Context, s *stage) (figures, error) {
		s.say("long: waiting")
		<-ctx.Done()
		over, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		up = s.topic(over, "last", 1, nil) == nil
		return nil, ctx.Err()
	}}, passes("next"))
	await(t, stderr, "long: waiting")
	interrupt()
	if err := <-exit; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	if !up {
		t.Error("the platform ended before the step")
	}
	if stdout.String() != "" {
		t.Errorf("a step that was not done is reported:\n%s", stdout)
	}
	empty()
}

// await waits until a text is on the screen.
func await(t *testing.T, s *screen, text string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(s.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%q does not come:\n%s", text, s)
		}
	}
}

func TestADSNThatCannotBeReadIsWrongUsage(t *testing.T) {
	_, stderr, code := live{t, ""}.run("", "demo", "--mysql", "user:secret@nowhere")
	if code != exitUsage || !strings.HasPrefix(stderr, "error: --mysql: invalid DSN") || strings.Contains(stderr, "secret") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

func TestTheCheckOfMessagesNamesWhatIsWrong(t *testing.T) {
	acked := map[string]location{"a": {0, 0}, "b": {0, 1}, "c": {1, 0}, "d": {1, 1}}
	a, b := received{"a", "k", location{0, 0}}, received{"b", "k", location{0, 1}}
	c, d := received{"c", "", location{1, 0}}, received{"d", "l", location{1, 1}}
	for _, test := range []struct {
		got  []received
		want string
	}{
		{[]received{a, c, b, d}, ""},
		{[]received{c, d, a, b}, ""},
		{[]received{a, d}, "acknowledged and never received: b, c"},
		{[]received{a, b, c, d, c}, "received twice: c"},
		{[]received{a, b, c, d, {"e", "", location{1, 2}}}, "received and never sent: e"},
		{[]received{a, b, d, {"c", "", location{1, 7}}}, "received from another place than acknowledged: c"},
		{[]received{b, a, c, d}, "received after a later message of its key: a"},
		{[]received{a, b, c, {"d", "k", location{1, 1}}}, "keys in more than one partition: k"},
	} {
		if err := checkMessages(acked, test.got); said(err) != test.want {
			t.Errorf("%v: got %q, want %q", test.got, said(err), test.want)
		}
	}
}

// said is what an error says, nothing if there is none.
func said(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestTheCheckOfOrdersNamesWhatIsWrong(t *testing.T) {
	customers := []customer{
		{name: "buys"}, {name: "broke", decline: true},
		{name: "before", until: inserted}, {name: "after", until: committed},
	}
	for _, test := range []struct {
		spoil func(e *ordersEnd)
		want  string
	}{
		{func(*ordersEnd) {}, ""},
		{func(e *ordersEnd) { e.full = append(e.full, "buys") }, "orders whose cart is not cleared: buys"},
		{func(e *ordersEnd) { e.full = []string{"broke"} }, "carts cleared without an order: before"},
		{func(e *ordersEnd) { e.orders, e.full = []string{"after"}, append(e.full, "buys") }, "orders that are not there: buys"},
		{func(e *ordersEnd) { e.orders, e.full = append(e.orders, "broke"), []string{"before"} }, "orders that are there although they failed: broke"},
		{func(e *ordersEnd) { e.early = []string{"after"} }, "held messages that were seen: after"},
		{func(e *ordersEnd) { delete(e.answers, "after") }, "orders of the dead service about which nobody was asked: after"},
		{func(e *ordersEnd) { e.answers["before"] = sdk.Commit }, "wrong answers to the broker: before"},
		{func(e *ordersEnd) { e.answers["buys"] = sdk.Commit }, "orders about which the broker asked although they were decided: buys"},
		{func(e *ordersEnd) { e.late = []string{"before"} }, "messages that could be committed after their rollback: before"},
		{func(e *ordersEnd) { e.visible++ }, "the topic shows 3 messages about 2 orders"},
	} {
		e := &ordersEnd{
			orders: []string{"buys", "after"}, full: []string{"broke", "before"}, visible: 2,
			answers: map[string]sdk.Outcome{"before": sdk.Rollback, "after": sdk.Commit},
		}
		test.spoil(e)
		if err := e.check(customers); said(err) != test.want {
			t.Errorf("got %q, want %q", said(err), test.want)
		}
	}
}

func TestTheCheckOfThePeakNamesWhatIsWrong(t *testing.T) {
	for _, test := range []struct {
		spoil func(k *peak)
		want  string
	}{
		{func(*peak) {}, ""},
		{func(k *peak) { k.refused, k.cause = []string{"z"}, errors.New("too much") }, "sends that failed: z: too much"},
		{func(k *peak) { delete(k.done, "a") }, "sent and never taken: a"},
		{func(k *peak) { k.done["a"]++ }, "taken twice: a"},
		{func(k *peak) { k.done["c"] = 1 }, "taken and never sent: c"},
		{func(k *peak) { k.doneAt = make([]time.Duration, peakAtOnce) }, ""},
		{func(k *peak) { k.doneAt = make([]time.Duration, peakAtOnce+1) }, "the consumer was driven 60 messages above its limit of 5000 a second; 59 may come at once"},
	} {
		k := &peak{in: map[string]bool{"a": true, "b": true}, done: map[string]int{"a": 1, "b": 1}}
		test.spoil(k)
		if err := k.check(); said(err) != test.want {
			t.Errorf("got %q, want %q", said(err), test.want)
		}
	}
}

func TestAboveLimitIsTheWorstStretch(t *testing.T) {
	slow := func(at []time.Duration, perSecond float64) int {
		most := 0.0
		for i := range at {
			for j := i; j < len(at); j++ {
				most = max(most, float64(j-i+1)-perSecond*(at[j]-at[i]).Seconds())
			}
		}
		return int(most)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var at []time.Duration
		now := time.Duration(0)
		for range random.IntN(60) {
			now += time.Duration(random.IntN(3)*random.IntN(500)) * time.Millisecond
			at = append(at, now)
		}
		if got, want := aboveLimit(at, 4), slow(at, 4); got != want {
			t.Fatalf("%v: %d, and by the slow way %d", at, got, want)
		}
	}
}

func TestThePlotNeedsNoColours(t *testing.T) {
	k := &peak{}
	for i := range 1000 {
		k.inAt = append(k.inAt, time.Duration(i)*time.Millisecond/10)
		k.doneAt = append(k.doneAt, time.Duration(i)*time.Millisecond)
	}
	f := k.figures()
	if f.Backlog < 880 || f.Backlog > 920 {
		t.Errorf("a backlog of %d: in come ten while one is taken", f.Backlog)
	}
	plot := f.plot(func(_ color, text string) string { return text })
	for line := range strings.Lines(plot) {
		if n := len([]rune(line)); n > 80 {
			t.Errorf("a line of %d characters: %s", n, line)
		}
	}
	if !strings.HasSuffix(plot, "· in   * backlog   + done") || strings.Contains(plot, "\x1b") || strings.Count(plot, "·") < 10 {
		t.Errorf("plotted as\n%s", plot)
	}
	painted := f.plot(func(c color, text string) string { return fmt.Sprint("<", string(c[2:]), ">", text, "<>") })
	if !strings.Contains(painted, "<31m>*<> backlog") || !strings.Contains(painted, "<32m>+<> done") {
		t.Errorf("painted as\n%s", painted)
	}
}

func TestNamesAreListedUpToALimit(t *testing.T) {
	if got := named([]string{"c", "a", "b"}); got != "a, b, c" {
		t.Error(got)
	}
	if got := named([]string{"g", "f", "e", "d", "c", "b", "a"}); got != "a, b, c, d, e and 2 more" {
		t.Error(got)
	}
}

func TestThousandsHaveCommas(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 123456: "123,456", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("%d is %s", n, got)
		}
	}
}
