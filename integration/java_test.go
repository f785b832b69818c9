package integration

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/splashdam/splashdam/internal/child"
)

// java runs programs of testdata/java.
type java struct{ path, jars string }

func needJava(t *testing.T) java {
	t.Helper()
	path := NeedProgram(t, "java")
	jars := os.Getenv("SPLASHDAM_TEST_JAVA_CLASSPATH")
	Need(t, "kafka-clients", jars != "", "SPLASHDAM_TEST_JAVA_CLASSPATH is not set (.ci/run builds testdata/java with Maven and sets it)")
	return java{path, jars}
}

// arguments are those of the JVM for a class: what starts fast, for programs that live
// for seconds.
func (j java) arguments(class string, args ...string) []string {
	options := []string{"-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"}
	return append(append(options, "-cp", j.jars, class), args...)
}

// run runs a class and returns what it printed; it must end well.
func (j java) run(ctx context.Context, t *testing.T, class string, args ...string) string {
	t.Helper()
	return string(run(ctx, t, nil, j.path, j.arguments(class, args...)...))
}

// start starts a class, which is killed at the end of the test. What it prints is shown
// when the test fails.
func (j java) start(t *testing.T, class string, args ...string) *javaProcess {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "java-*.log")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command(j.path, j.arguments(class, args...)...)
	cmd.Stdout, cmd.Stderr = file, file
	if err := child.Start(cmd); err != nil {
		t.Fatal(err)
	}
	p := &javaProcess{cmd: cmd, output: file.Name(), ended: make(chan struct{})}
	go func() { p.err = cmd.Wait(); close(p.ended) }()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s %s:\n%s", class, strings.Join(args, " "), lastLines(p.said(t), 60))
		}
	})
	return p
}

// javaProcess is a JVM. Not safe for concurrent use.
type javaProcess struct {
	cmd    *exec.Cmd
	output string // the file that it prints into
	ended  chan struct{}
	err    error
}

func (p *javaProcess) said(t *testing.T) string {
	t.Helper()
	out, err := os.ReadFile(p.output)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// waitFor waits until it has printed a text.
func (p *javaProcess) waitFor(ctx context.Context, t *testing.T, text string) {
	t.Helper()
	for !strings.Contains(p.said(t), text) {
		select {
		case <-p.ended:
			t.Fatalf("it has ended, with %v, before it printed %q", p.err, text)
		case <-ctx.Done():
			t.Fatalf("waiting for %q: %v", text, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// kill ends it as kill -9 does.
func (p *javaProcess) kill() {
	p.cmd.Process.Kill() // or it has ended
	<-p.ended
}

// wait waits for it to end by itself.
func (p *javaProcess) wait(ctx context.Context) error {
	select {
	case <-p.ended:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}
