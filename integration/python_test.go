package integration

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

// TestThePythonExampleDoesWhatItsDocumentationSays runs docs/examples/half_message.py
// as docs/messages.md shows it: one order is placed, two senders die half way, and
// another instance settles what they left.
func TestThePythonExampleDoesWhatItsDocumentationSays(t *testing.T) {
	python := os.Getenv("SPLASHDAM_TEST_PYTHON")
	Need(t, "python", python != "", "SPLASHDAM_TEST_PYTHON is not set: the path of a Python with confluent-kafka (.ci/run makes one)")
	n := Start(t, "--set", "half.message.immunity.ms=500", "--set", "half.message.check.interval.ms=1000", "--set", "group.initial.rebalance.delay.ms=0")
	ctx := testContext(t, 2*time.Minute)
	splashdam := Binary(t)
	run(ctx, t, nil, splashdam, "topic", "create", "orders.paid", "-c", "message.type=transaction", "-b", n.Addr)

	e := pythonExample{python: python, broker: n.Addr, database: filepath.Join(t.TempDir(), "orders.db")}
	check := func(when string, orders, messages []string) {
		t.Helper()
		if got := e.orders(ctx, t); !slices.Equal(got, orders) {
			t.Errorf("%s: the orders %q are in the database, want %q", when, got, orders)
		}
		seen := string(run(ctx, t, nil, splashdam, "consume", "orders.paid", "-o", ":end", "-f", `%k %v\n`, "-b", n.Addr))
		var want strings.Builder
		for _, o := range messages {
			want.WriteString(o + ` {"order": "` + o + `"}` + "\n")
		}
		if seen != want.String() {
			t.Errorf("%s: consumers see\n%swant\n%s", when, seen, want.String())
		}
	}

	e.send(ctx, t, 0, `^prepare order-1 \S+ partition=0\ncommit order-1 \S+ partition=0 offset=0\n$`, "order-1")
	check("sent", []string{"order-1"}, []string{"order-1"})
	e.send(ctx, t, 3, `^prepare order-2 \S+ partition=0\n$`, "--die-before", "commit", "order-2")
	e.send(ctx, t, 3, `^prepare order-3 \S+ partition=0\n$`, "--die-before", "local", "order-3")
	check("the senders dead", []string{"order-1", "order-2"}, []string{"order-1"})

	said := e.answer(ctx, t, 2)
	slices.Sort(said)
	for i, want := range []string{`^commit order-2 \S+ partition=0 offset=1$`, `^rollback order-3 \S+ partition=0$`} {
		if !regexp.MustCompile(want).MatchString(said[i]) {
			t.Errorf("the other instance said %q, want %s", said[i], want)
		}
	}
	check("settled", []string{"order-1", "order-2"}, []string{"order-1", "order-2"})
}

type pythonExample struct{ python, broker, database string }

func (e pythonExample) command(ctx context.Context, args ...string) *exec.Cmd {
	script := filepath.Join("..", "docs", "examples", "half_message.py")
	return exec.CommandContext(ctx, e.python, append([]string{script, "--brokers", e.broker, "--database", e.database}, args...)...)
}

// send runs the command "send" and checks its exit code and what it printed.
func (e pythonExample) send(ctx context.Context, t *testing.T, code int, printed string, args ...string) {
	t.Helper()
	cmd := e.command(ctx, append([]string{"send"}, args...)...)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || cmd.ProcessState.ExitCode() != code || complaints(errOut.String()) != "" {
		t.Fatalf("send %v: %v, want exit code %d\n%s", args, err, code, errOut.String())
	}
	if !regexp.MustCompile(printed).Match(out) {
		t.Errorf("send %v printed\n%swant %s", args, out, printed)
	}
}

// complaints is what a program has said on stderr, without what librdkafka logs there
// as mere information: that it has an id for telemetry.
func complaints(said string) string {
	return regexp.MustCompile(`(?m)^%6\|.*GETSUBSCRIPTIONS.*\n`).ReplaceAllString(said, "")
}

// answer runs the command "answer" until it has printed so many different lines,
// interrupts it as a user does, and returns them. A slow answer crosses the next
// question, so the same one may be given twice.
func (e pythonExample) answer(ctx context.Context, t *testing.T, lines int) []string {
	t.Helper()
	cmd := e.command(ctx, "answer", "--seconds", "60")
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said []string
	sc := bufio.NewScanner(out)
	note := func() {
		if line := sc.Text(); !slices.Contains(said, line) {
			said = append(said, line)
		}
	}
	for len(said) < lines && sc.Scan() {
		note()
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Error(err)
	}
	for sc.Scan() {
		note()
	}
	if err := cmd.Wait(); err != nil || complaints(errOut.String()) != "" {
		t.Errorf("answer: %v\n%s", err, errOut.String())
	}
	if len(said) != lines {
		t.Fatalf("answer said %q, want %d different lines", said, lines)
	}
	return said
}

func (e pythonExample) orders(ctx context.Context, t *testing.T) []string {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+e.database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	return texts(ctx, t, db, "SELECT id FROM orders ORDER BY id")
}

// texts is the result of a query for one column.
func texts(ctx context.Context, t *testing.T, db *sql.DB, query string) []string {
	t.Helper()
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
