package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/splashdam/splashdam/sdk"
)

// stepTimeout bounds one step of the demo. Each takes a few seconds.
const stepTimeout = time.Minute

// demoStep is one part of the demo: it does something with the platform, asserts
// what came of it, and returns what it measured.
type demoStep struct {
	name string
	run  func(ctx context.Context, s *stage) (figures, error)
}

// demoSteps is the programme, in its order. No step needs another one.
var demoSteps = []demoStep{
	{"messages", showMessages},
	{"orders", showOrders},
	{"peak", showPeak},
	{"pipeline", showPipeline},
}

// stage is what the steps have in common.
type stage struct {
	*report // of what goes on

	brokers []string
	admin   *kadm.Client
	dir     string // for files of the services
	mysql   string // as the flag has it
	files   string // of the pipeline, once there are any
}

// topic makes a topic and waits until it can be used.
func (s *stage) topic(ctx context.Context, name string, partitions int32, configs map[string]*string) error {
	if _, err := s.admin.CreateTopic(ctx, partitions, -1, configs, name); err != nil {
		return &problem{what: fmt.Sprintf("creating topic %q", name), cause: err}
	}
	awaitLeaders(ctx, s.admin, []outcome{{Topic: name, Status: "created"}})
	return nil
}

// events shows what the SDK dealt with by itself: in the demo nothing should go
// wrong but what is made to.
func (s *stage) events() sdk.Option {
	return sdk.WithListener(func(e sdk.Event) { s.warn("%s", e) })
}

type demoOptions struct {
	exit  bool
	json  bool
	mysql string
}

func (p *program) demoCommand() *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Start the whole platform and see it work",
		Long: `Start the whole platform in this process, on a temporary directory and a free port of
the loopback interface, and run services on it. Each step checks its own outcome and is
one line: its figures, and whether all was as it must be.

  messages  with and without keys: each comes once, those of a key in order
  orders    an order is in a database if and only if its cart is cleared by a message,
            although some orders fail and a service dies between the two
  peak      far more is sent than a consumer may take: no send fails, nothing is lost,
            and the consumer keeps to its limit
  pipeline  a table of MySQL or MariaDB changes while a connector brings it through a
            topic into Arrow files, and is killed three times: in the end the files are
            the table, and no change is in them twice

The pipeline starts the mariadbd or mysqld that is installed, in the temporary directory.
Where there is none it reads a recording of one, and says so. --mysql tape has it read
that in any case, and --mysql with a data source name, user:password@tcp(host:port)/database,
has orders and pipeline use a server that runs.

Then the platform stays up, to be looked at with any Kafka client, until it is
interrupted; its data goes with it. The exit code is 1 if a step failed.

With --json each step is one JSON object on a line of its own:

  {"step":"messages","ok":true,"seconds":0.6,"figures":{...}}

with "error" and "next" if it failed; the last line is {"summary":{...}}.`,
		Example: `  splashdam demo
  splashdam demo --exit --json | jq .summary`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if isServerName(o.mysql) {
				if _, err := mysql.ParseDSN(o.mysql); err != nil {
					return usage(cmd, fmt.Errorf("--mysql: %w", err))
				}
			}
			return p.demo(cmd.Context(), o, demoSteps)
		},
	}
	cmd.Flags().BoolVar(&o.exit, "exit", false, "do not stay up after the last step")
	cmd.Flags().BoolVar(&o.json, "json", false, "one JSON object per step, then one of the whole")
	cmd.Flags().StringVar(&o.mysql, "mysql", mysqlAuto, "`SERVER`: auto, tape, or a DSN, user:password@tcp(host:port)/database, which keeps the orders, too")
	return cmd
}

func (p *program) demo(ctx context.Context, o demoOptions, steps []demoStep) (err error) {
	dir, err := os.MkdirTemp("", "splashdam-demo-")
	if err != nil {
		return &problem{
			what: "the demo needs a temporary directory", cause: err,
			next: []string{"another place for it:  TMPDIR=DIR splashdam demo"},
		}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// Nobody who reads any more ends the demo in good order, too: head, for one.
	signal.Ignore(syscall.SIGPIPE)

	r := &report{p: p, json: o.json, started: time.Now()}
	r.say("starting the platform in %s", dir)
	// The steps end before the platform, so that they can end in good order; only
	// until they begin an interrupt is the platform's own.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	early := context.AfterFunc(ctx, end)
	outcome := context.Canceled // unless the steps are reached
	err = p.runNode(life, demoConfig(dir), func(node context.Context, _ string, on []BoundListener) error {
		early()
		defer end()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(node, cancel)()
		at := on[0].HostPort.String()
		st := &stage{report: r, brokers: []string{at}, dir: dir, mysql: o.mysql}
		outcome = perform(ctx, st, steps)
		switch {
		case ctx.Err() != nil, outcome != nil && !errors.Is(outcome, errUnwell):
		case o.exit:
			r.nextRuns()
		default:
			r.nextLooks(at, st.files)
			<-ctx.Done()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return outcome
}

// demoConfig is serve's configuration for a node that nobody else needs to find.
func demoConfig(dir string) ServeConfig {
	return ServeConfig{
		Data: filepath.Join(dir, "data"), NodeID: 1, Shards: 1,
		Listeners: []Listener{{Name: "PLAINTEXT", Protocol: "PLAINTEXT", HostPort: HostPort{Host: "127.0.0.1"}}},
		// All members of a group start together here: there is nobody to wait for.
		Settings: map[string]string{"group.initial.rebalance.delay.ms": "0"},
	}
}

// perform runs all steps and reports them. A step that fails does not keep the
// others from running; its error has been reported then, and errUnwell is returned.
func perform(ctx context.Context, s *stage, steps []demoStep) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(s.brokers...), kgo.ClientID("splashdam-demo"))
	if err != nil {
		return err
	}
	defer client.Close()
	s.admin = kadm.NewClient(client)
	s.say("the platform answers on %s", s.brokers[0])
	var failed []string
	for _, step := range steps {
		began := time.Now()
		f, err := s.try(ctx, step)
		if ctx.Err() != nil {
			s.clear()
			return ctx.Err()
		}
		if err != nil {
			failed = append(failed, step.name)
		}
		if err := s.step(step.name, time.Since(began), f, err); err != nil {
			return err
		}
	}
	if err := s.summary(len(steps), failed, s.brokers[0]); err != nil {
		return err
	}
	if len(failed) > 0 {
		return errUnwell
	}
	return nil
}

func (s *stage) try(ctx context.Context, step demoStep) (figures, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, stepTimeout, fmt.Errorf("not done after %v", stepTimeout))
	defer cancel()
	f, err := step.run(ctx, s)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return f, err
}

// settleTimeout is how long a step waits for what must come. It is longer than a
// half message can stay undecided if its first question gets lost.
const settleTimeout = 45 * time.Second

// wait looks every now and then whether done, until it is, but not for ever: what
// comes after it checks what there is, and can say what is missing.
func wait(ctx context.Context, done func() bool) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// calledAs is how this program is called in a command to try: the name by which it
// was, or the command that built it for this one time.
func calledAs(name string) string {
	if strings.Contains(name, "go-build") {
		return "go run ./cmd/splashdam"
	}
	return name
}
