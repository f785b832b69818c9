package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// live is a running broker that the commands are tried on.
type live struct {
	t       *testing.T
	brokers string
}

// withBroker skips the test unless SPLASHDAM_TEST_BROKER names a broker; with
// SPLASHDAM_TEST_REQUIRE=broker (or all) it fails instead.
func withBroker(t *testing.T) live {
	t.Helper()
	brokers := os.Getenv("SPLASHDAM_TEST_BROKER")
	if brokers == "" {
		require := splitList(os.Getenv("SPLASHDAM_TEST_REQUIRE"))
		if slices.Contains(require, "all") || slices.Contains(require, "broker") {
			t.Fatal("SPLASHDAM_TEST_REQUIRE asks for a broker, and SPLASHDAM_TEST_BROKER names none")
		}
		t.Skip("no broker: SPLASHDAM_TEST_BROKER=host:port names one, of Splashdam or of Apache Kafka")
	}
	return live{t, brokers}
}

// run returns what a command printed, and its exit code.
func (l live) run(stdin string, args ...string) (stdout, stderr string, code int) {
	l.t.Helper()
	var out, errs bytes.Buffer
	code = Run(l.t.Context(), args, strings.NewReader(stdin), &out, &errs, []string{"SPLASHDAM_BROKERS=" + l.brokers})
	return out.String(), errs.String(), code
}

// ok demands that a command works, and returns what it printed.
func (l live) ok(stdin string, args ...string) string {
	l.t.Helper()
	stdout, stderr, code := l.run(stdin, args...)
	if code != exitOK {
		l.t.Fatalf("splashdam %s: exit code %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// topic makes a topic of its own for the test.
func (l live) topic(partitions int, configs ...string) string {
	l.t.Helper()
	name := fmt.Sprintf("cli-%d", time.Now().UnixNano())
	args := []string{"topic", "create", name, "-p", fmt.Sprint(partitions)}
	for _, c := range configs {
		args = append(args, "-c", c)
	}
	l.ok("", args...)
	l.t.Cleanup(func() {
		var out, errs bytes.Buffer // the test's own context has ended
		if Run(context.Background(), []string{"topic", "rm", name, "-b", l.brokers}, nil, &out, &errs, nil) != exitOK {
			l.t.Errorf("removing %s: %s", name, errs.String())
		}
	})
	return name
}

func sortedLines(s string) []string { return slices.Sorted(strings.Lines(s)) }

func TestLiveTopics(t *testing.T) {
	l := withBroker(t)
	topic := l.topic(3, "retention.ms=3600000")

	if _, stderr, code := l.run("", "topic", "create", topic); code != exitFailed || !strings.Contains(stderr, "TOPIC_ALREADY_EXISTS (36)") {
		t.Errorf("made twice: exit code %d, %s", code, stderr)
	}
	if out := l.ok("", "topic", "create", topic, "--if-not-exists"); !strings.Contains(out, "exists") {
		t.Errorf("made again, harmlessly: %s", out)
	}
	if _, stderr, code := l.run("", "topic", "create", topic+"x", "-c", "no.such.config=1"); code != exitFailed || !strings.Contains(stderr, "INVALID_CONFIG (40)") {
		t.Errorf("with a config that does not exist: exit code %d, %s", code, stderr)
	}
	var listed []topicRow
	if err := json.Unmarshal([]byte(l.ok("", "topic", "ls", "--json")), &listed); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(listed, func(r topicRow) bool { return r.Topic == topic && r.Partitions == 3 && r.Leaderless == 0 }) {
		t.Errorf("%s is not among %v", topic, listed)
	}

	l.ok("a\nb\n", "produce", topic, "-p", "2")
	var described []topicDescription
	if err := json.Unmarshal([]byte(l.ok("", "topic", "describe", topic, "-o", "json")), &described); err != nil {
		t.Fatal(err)
	}
	d := described[0]
	if len(d.ID) != 22 || len(d.Partitions) != 3 || d.Partitions[2].End != 2 || d.Partitions[0].End != 0 || d.Partitions[2].Leader < 0 {
		t.Errorf("described as %+v", d)
	}
	if !slices.ContainsFunc(d.Configs, func(c topicConfiguration) bool {
		return c.Key == "retention.ms" && c.Set && c.Value != nil && *c.Value == "3600000"
	}) {
		t.Errorf("the configuration lacks what was set: %+v", d.Configs)
	}
	if table := l.ok("", "topic", "describe", topic); !strings.Contains(table, "retention.ms  3600000") {
		t.Errorf("described as\n%s", table)
	}

	typo := strings.Replace(topic, "cli-", "cil-", 1)
	for _, args := range [][]string{{"topic", "describe", typo}, {"consume", typo}, {"produce", typo}, {"topic", "rm", typo}} {
		_, stderr, code := l.run("x\n", args...)
		if code != exitFailed || !strings.Contains(stderr, "does not exist on "+l.brokers) || !strings.Contains(stderr, `did you mean "`+topic+`"?`) {
			t.Errorf("%v: exit code %d, %s", args, code, stderr)
		}
	}
}

func TestLiveProduceAndConsume(t *testing.T) {
	l := withBroker(t)
	topic := l.topic(3)
	before := time.Now()

	acks := l.ok("k1 v1\nk2 v2\nk3 v3\nk4 ", "produce", topic, "-f", `%k %v\n`, "-H", "source:test", "-Z", "-z", "gzip", "-o", `%k %p/%o\n`)
	if len(sortedLines(acks)) != 4 {
		t.Errorf("four messages, acknowledged as\n%s", acks)
	}
	// Whatever the order of the partitions, all is there, once.
	want := []string{"k1=v1 source:test\n", "k2=v2 source:test\n", "k3=v3 source:test\n", "k4= source:test\n"}
	all := []string{"consume", topic, "-f", `%k=%v %h{%k:%v}\n`, "-o"}
	for _, offset := range []string{":end", "start:end", "@-1h:end", fmt.Sprintf("@%d:end", before.UnixMilli()-1000), "-100:end", "0:100"} {
		if got := sortedLines(l.ok("", append(all, offset)...)); !slices.Equal(got, want) {
			t.Errorf("-o %s: got %q", offset, got)
		}
	}
	if got := l.ok("", append(all, "@-2h:-1h")...); got != "" {
		t.Errorf("from a time when there was nothing: %q", got)
	}
	if got := sortedLines(l.ok("", append(all, "start", "-n", "4")...)); !slices.Equal(got, want) {
		t.Errorf("-n 4: got %q", got)
	}
	var tombstones int
	for line := range strings.Lines(l.ok("", "consume", topic, "-o", ":end")) {
		var r jsonRecord
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if string(r.Value) == "null" {
			tombstones++
		}
	}
	if tombstones != 1 {
		t.Errorf("-Z with one empty value made %d tombstones", tombstones)
	}

	one := l.topic(1)
	l.ok("a\nb\nc\nd\ne\n", "produce", one, "--acks", "1", "-q")
	for _, c := range []struct{ offset, want string }{
		{"-2:end", "de"}, {"+3:end", "de"}, {"1:3", "bc"}, {":2", "ab"}, {"4:", "e"}, {"end:end", ""},
	} {
		args := []string{"consume", one, "-f", "%v", "-o", c.offset}
		if c.offset == "4:" {
			args = append(args, "-n", "1")
		}
		if got := l.ok("", args...); got != c.want {
			t.Errorf("-o %s: got %q, want %q", c.offset, got, c.want)
		}
	}
	if _, stderr, code := l.run("", "consume", one, "-o", "50"); code != exitFailed || !strings.Contains(stderr, "offset 50 lies behind the end, which is 5") {
		t.Errorf("behind the end: exit code %d, %s", code, stderr)
	}
	if _, stderr, code := l.run("x\n", "produce", one, "-p", "1"); code != exitFailed || !strings.Contains(stderr, "has no partition 1") {
		t.Errorf("a partition that is not there: exit code %d, %s", code, stderr)
	}
	if _, stderr, code := l.run("a 1\nb\nc 3\n", "produce", one, "-f", `%k %v!\n`); code != exitFailed || !strings.Contains(stderr, "message 1 of the input") {
		t.Errorf("input of another form: exit code %d, %s", code, stderr)
	}
}

func TestLiveGroupsContinueWhereTheyCommitted(t *testing.T) {
	l := withBroker(t)
	topic := l.topic(1)
	group := topic + "-group"
	l.ok("a\nb\nc\nd\ne\n", "produce", topic)
	if got := l.ok("", "consume", topic, "-g", group, "-n", "2", "-f", "%v"); got != "ab" {
		t.Errorf("the first member got %q", got)
	}
	if got := l.ok("", "consume", topic, "-g", group, "-n", "1", "-f", "%v"); got != "c" {
		t.Errorf("the second member got %q: what the first one printed is committed, nothing else", got)
	}

	var rows []groupRow
	if err := json.Unmarshal([]byte(l.ok("", "group", "ls", "-o", "json")), &rows); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(rows, func(r groupRow) bool { return r.Group == group && r.Type == "consumer" }) {
		t.Errorf("%s is not among %v", group, rows)
	}
	var described []groupDescription
	if err := json.Unmarshal([]byte(l.ok("", "group", "describe", group, "--json")), &described); err != nil {
		t.Fatal(err)
	}
	d := described[0]
	if d.State != "Empty" || d.Lag != 2 || len(d.Partitions) != 1 || d.Partitions[0].Committed != 3 || d.Partitions[0].End != 5 {
		t.Errorf("described as %+v", d)
	}
	if s := d.LagSeconds; s == nil || *s < 0 || *s > 600 {
		t.Errorf("the lag in seconds is %v; the messages are a moment old", s)
	}
	if table := l.ok("", "group", "describe", group); !strings.Contains(table, "lag 2 messages") {
		t.Errorf("described as\n%s", table)
	}
	_, stderr, code := l.run("", "group", "describe", group+"x")
	if code != exitFailed || !strings.Contains(stderr, `did you mean "`+group+`"?`) {
		t.Errorf("a group that is not there: exit code %d, %s", code, stderr)
	}
}

func TestLiveHealth(t *testing.T) {
	l := withBroker(t)
	if out := l.ok("", "health"); !strings.Contains(out, "ok") {
		t.Errorf("got %s", out)
	}
	stdout, stderr, code := l.run("", "health", "-q", "-b", l.brokers+",127.0.0.1:1")
	if code != exitFailed || stdout != "" || !strings.Contains(stderr, "127.0.0.1:1: ") {
		t.Errorf("with a broker that is not there: exit code %d, %q, %q", code, stdout, stderr)
	}
}

func TestABrokerThatIsNotThereIsNamed(t *testing.T) {
	l := live{t, "127.0.0.1:1"}
	for _, args := range [][]string{{"topic", "ls"}, {"produce", "t"}, {"consume", "t"}, {"group", "ls"}} {
		_, stderr, code := l.run("x\n", args...)
		if code != exitFailed || !strings.HasPrefix(stderr, "error: no broker answers on 127.0.0.1:1: ") || !strings.Contains(stderr, "splashdam serve") {
			t.Errorf("%v: exit code %d, %s", args, code, stderr)
		}
	}
}

func TestWrongUsageExitsWithTwoAndNamesTheHelp(t *testing.T) {
	l := live{t, "127.0.0.1:1"}
	for _, args := range [][]string{
		{"tpoic"}, {"topic", "crate"}, {"topic", "create"}, {"topic", "create", "t", "-p", "0"}, {"topic", "create", "t", "-c", "x"},
		{"topic", "ls", "-o", "xml"}, {"topic", "ls", "extra"}, {"topic", "ls", "--nope"},
		{"produce"}, {"produce", "t", "-f", "%q"}, {"produce", "t", "-f", `%t %v\n`}, {"produce", "t", "-z", "rar"}, {"produce", "t", "--acks", "2"}, {"produce", "t", "-H", "x"},
		{"consume"}, {"consume", "t", "-o", "never"}, {"consume", "t", "-f", "%q"}, {"consume", "t", "-g", "g", "-o", ":end"}, {"consume", "t", "-g", "g", "-p", "1"},
		{"serve", "--nope"}, {"serve", "extra"}, {"group", "describe"},
	} {
		stdout, stderr, code := l.run("", args...)
		if code != exitUsage || stdout != "" || !strings.HasPrefix(stderr, "error: ") || !strings.Contains(stderr, "--help") {
			t.Errorf("%v: exit code %d\n%s%s", args, code, stdout, stderr)
		}
	}
	for _, args := range [][]string{{"topic", "ls", "-b", "host:port"}, {"serve", "--node-id", "x"}} {
		if _, stderr, code := l.run("", args...); code != exitUsage {
			t.Errorf("%v: exit code %d, %s", args, code, stderr)
		}
	}
}

func TestHelpIsData(t *testing.T) {
	l := live{t, "127.0.0.1:1"}
	for _, args := range [][]string{{}, {"--help"}, {"topic"}, {"topic", "--help"}, {"consume", "--help"}, {"completion", "bash"}} {
		if stdout, stderr, code := l.run("", args...); code != exitOK || stdout == "" || stderr != "" {
			t.Errorf("%v: exit code %d, %q, %q", args, code, stdout, stderr)
		}
	}
}
