package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/splashdam/splashdam/internal/dbserver"
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

// TestMain is the program itself where the demo starts it once more as a connector.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "connect" {
		main()
	}
	os.Exit(m.Run())
}

// ran is what a run of the demo printed with --json.
type ran struct {
	messages messageFigures
	orders   orderFigures
	peak     peakFigures
	pipeline pipelineFigures
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
		into := map[string]any{"messages": &r.messages, "orders": &r.orders, "peak": &r.peak, "pipeline": &r.pipeline}[l.Step]
		if err := json.Unmarshal(l.Figures, into); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	if want := "messages orders peak pipeline"; strings.Join(steps, " ") != want || r.summary.Steps != 4 {
		t.Errorf("the steps are %v, the summary counts %d", steps, r.summary.Steps)
	}
	return r
}

func TestTheDemoPassesAndLeavesNothingBehind(t *testing.T) {
	empty := temporary(t)
	var stdout, stderr screen
	code := Run(t.Context(), []string{"demo", "--exit", "--json", "--mysql", "tape"}, nil, &stdout, &stderr, nil)
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
	if l := r.pipeline; l.Server != "MariaDB 10.11.19" || !l.Recording || l.Rows < 1000 || l.Before < 1 || l.Before >= l.FileRows || l.Kills != pipelineKills {
		t.Errorf("pipeline: %+v", l)
	}
	if said := stderr.String(); strings.Contains(said, "server is ending") {
		t.Errorf("the node's own end is logged as news:\n%s", said)
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

// closedPipe is standard output when nobody reads it any more.
type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestTheDemoEndsWhenNobodyReadsIt(t *testing.T) {
	empty := temporary(t)
	var stderr screen
	p := &program{stdout: closedPipe{}, stderr: &stderr, env: environment{}}
	p.openNode = p.openBroker
	if err := p.demo(t.Context(), demoOptions{}, []demoStep{passes("first"), passes("second")}); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("ended with %v", err)
	}
	empty()
}

func TestAnInterruptAtTheStartIsOneToo(t *testing.T) {
	empty := temporary(t)
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	_, _, exit := demonstrate(ctx, demoOptions{exit: true}, passes("only"))
	if err := <-exit; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	empty()
}

func TestCommandsToTryAreCalledAsTheDemoWas(t *testing.T) {
	for name, want := range map[string]string{
		"splashdam": "splashdam", "./splashdam": "./splashdam",
		"/tmp/go-build123/b001/exe/splashdam": "go run ./cmd/splashdam",
	} {
		if got := calledAs(name); got != want {
			t.Errorf("called as %s: %s", name, got)
		}
	}
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

// It needs servers: SPLASHDAM_TEST_MYSQL has their DSNs, with commas between, of
// users who may do everything, each with what the MySQL source needs of a binlog.
func TestLiveOrdersAndPipelineUseTheServerThatIsNamed(t *testing.T) {
	servers := splitList(os.Getenv("SPLASHDAM_TEST_MYSQL"))
	if len(servers) == 0 {
		require := splitList(os.Getenv("SPLASHDAM_TEST_REQUIRE"))
		if slices.Contains(require, "all") || slices.Contains(require, "mysql") {
			t.Fatal("SPLASHDAM_TEST_REQUIRE asks for MySQL, and SPLASHDAM_TEST_MYSQL names none")
		}
		t.Skip("no MySQL: SPLASHDAM_TEST_MYSQL=user:password@tcp(host:port)/ names one")
	}
	for _, dsn := range servers {
		c, err := mysql.ParseDSN(dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(c.Addr, func(t *testing.T) {
			c.DBName = "splashdam_demo_test"
			db, err := sql.Open("mysql", dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			for _, q := range []string{"DROP DATABASE IF EXISTS " + c.DBName, "CREATE DATABASE " + c.DBName} {
				if _, err := db.ExecContext(t.Context(), q); err != nil {
					t.Fatal(err)
				}
			}
			stdout, stderr, exit := demonstrate(t.Context(), demoOptions{exit: true, mysql: c.FormatDSN()},
				demoStep{"orders", showOrders}, demoStep{"pipeline", showPipeline})
			if err := <-exit; err != nil {
				t.Errorf("ended with %v\n%s%s", err, stdout, stderr)
			}
			if !strings.Contains(stdout.String(), "103 orders in MySQL = 103 carts cleared") {
				t.Errorf("it says\n%s", stdout)
			}
			if said := stdout.String(); !strings.Contains(said, "✓ pipeline") || strings.Contains(said, "recording") {
				t.Errorf("it says\n%s", said)
			}
			left, err := names(t.Context(), db, "SELECT table_name FROM information_schema.tables WHERE table_schema = '"+c.DBName+"'")
			if err != nil || len(left) > 0 {
				t.Errorf("left in the database: %v, %v", left, err)
			}
			if _, err := db.ExecContext(t.Context(), "DROP DATABASE "+c.DBName); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestThePipelineReadsTheServerThatIsInstalled(t *testing.T) {
	program, err := dbserver.Find()
	if errors.Is(err, dbserver.ErrNoProgram) {
		require := splitList(os.Getenv("SPLASHDAM_TEST_REQUIRE"))
		if slices.Contains(require, "all") || slices.Contains(require, "mysqld") {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	empty := temporary(t)
	stdout, stderr, exit := demonstrate(t.Context(), demoOptions{exit: true, mysql: mysqlAuto}, demoStep{"pipeline", showPipeline})
	if err := <-exit; err != nil {
		t.Errorf("ended with %v\n%s%s", err, stdout, stderr)
	}
	if want := " rows in " + program.String() + " = "; !strings.Contains(stdout.String(), want) {
		t.Errorf("it says\n%s", stdout)
	}
	empty()
}

func TestOnlyWithoutAServerThePipelineReadsTheTape(t *testing.T) {
	finding := func(err error) findServer {
		return func(...string) (dbserver.Program, error) { return dbserver.Program{}, err }
	}
	o, err := openOrigin(t.Context(), &stage{mysql: mysqlAuto}, finding(dbserver.ErrNoProgram))
	if err != nil {
		t.Fatal(err)
	}
	if got := o.named(); got != "a recording of MariaDB 10.11.19" {
		t.Errorf("it is %s", got)
	}
	if err := o.close(t.Context()); err != nil {
		t.Error(err)
	}
	broken := errors.New("it does not say its version")
	if o, err := openOrigin(t.Context(), &stage{mysql: mysqlAuto}, finding(broken)); !errors.Is(err, broken) {
		t.Errorf("a server that is broken gives %v, %v", o, err)
	}
}

func TestAConnectorThatEndsByItselfFailsTheStep(t *testing.T) {
	for _, test := range []struct {
		spoil func(c *connector)
		want  string
	}{
		{func(c *connector) { c.password = "wrong" }, "Access denied"},
		{func(c *connector) { c.pipeline += ".gone" }, "the connector ended by itself: exit status 2"},
	} {
		empty := temporary(t)
		stdout, _, exit := demonstrate(t.Context(), demoOptions{exit: true}, demoStep{"pipeline", func(ctx context.Context, s *stage) (figures, error) {
			o, err := playTape()
			if err != nil {
				return nil, err
			}
			defer o.close(ctx)
			c, err := newConnector(s, o)
			if err != nil {
				return nil, err
			}
			test.spoil(c)
			if err := c.start(); err != nil {
				return nil, err
			}
			c.wait(ctx, func() bool { return false })
			return nil, c.kill()
		}})
		if err := <-exit; !errors.Is(err, errUnwell) {
			t.Errorf("ended with %v", err)
		}
		if said := stdout.String(); !strings.Contains(said, test.want) {
			t.Errorf("it says\n%s, and not %s", said, test.want)
		}
		empty()
	}
}

func TestADSNThatCannotBeReadIsWrongUsage(t *testing.T) {
	_, stderr, code := live{t, ""}.run("", "demo", "--mysql", "user:secret@nowhere")
	if code != exitUsage || !strings.HasPrefix(stderr, "error: --mysql: invalid DSN") || strings.Contains(stderr, "secret") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}
