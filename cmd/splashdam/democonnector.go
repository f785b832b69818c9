package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/splashdam/splashdam/internal/child"
)

// connector is this program once more, as `connect run`, so that it can be killed.
type connector struct {
	brokers  []string
	pipeline string // the file that says what it does
	log      string
	lake     string // where its files go
	password string
	process  *exec.Cmd
	ended    <-chan error
}

// passwordVariable has the password in the connector's environment: its file has none.
const passwordVariable = "DEMO_DATABASE_PASSWORD"

func newConnector(s *stage, from *origin) (*connector, error) {
	host, port, err := net.SplitHostPort(from.config.Addr)
	if err != nil {
		return nil, err
	}
	c := &connector{
		brokers: s.brokers, password: from.config.Passwd,
		pipeline: filepath.Join(s.dir, "pipeline.yaml"), log: filepath.Join(s.dir, "connector.log"), lake: filepath.Join(s.dir, "lake"),
	}
	text := fmt.Sprintf(`name: demo-pipeline
source:
  connector: mysql
  database.hostname: %q
  database.port: %s
  database.user: %q
  database.password: ${env:%s}
  database.server.id: %d
  topic.prefix: demo
  table.include.list: %q
  incremental.snapshot.chunk.size: 200
sink:
  connector: arrow
  topics: %s
  dir: %q
  format: arrow
  file.age.ms: 200
`, host, port, from.config.User, passwordVariable, 1<<31+rand.Uint32N(1<<31-1), regexp.QuoteMeta(from.database+"."+from.table), from.topic(), c.lake)
	return c, os.WriteFile(c.pipeline, []byte(text), 0o600)
}

func (c *connector) start() error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	cmd := exec.Command(program, "connect", "run", "-b", strings.Join(c.brokers, ","), c.pipeline)
	cmd.Env = append(os.Environ(), passwordVariable+"="+c.password)
	cmd.Stderr = log
	if err := child.Start(cmd); err != nil {
		return fmt.Errorf("starting the connector: %w", err)
	}
	c.process, c.ended = cmd, exitOf(cmd)
	return nil
}

// kill ends the connector as kill -9 does. If it has ended or stopped by itself
// before, that is the error. No connector, no matter.
func (c *connector) kill() error {
	if c.process == nil {
		return nil
	}
	signalled := c.process.Process.Kill()
	err := <-c.ended
	c.process = nil
	if signalled == nil && exitCode(err) < 0 {
		return c.complaint()
	}
	return errors.Join(fmt.Errorf("the connector ended by itself: %w", cmp.Or(err, signalled)), c.complaint())
}

// exitCode is -1 of a process that a signal has ended.
func exitCode(err error) int {
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode()
	}
	return 0
}

// stop has the connector end in good order.
func (c *connector) stop() error {
	signalled := c.process.Process.Signal(syscall.SIGTERM)
	err := cmp.Or(<-c.ended, signalled)
	c.process = nil
	if err != nil {
		err = fmt.Errorf("the connector ended: %w", err)
	}
	return errors.Join(err, c.complaint())
}

// wait waits until something is done, or the connector is of no use any more, which
// kill and stop say.
func (c *connector) wait(ctx context.Context, done func() bool) {
	wait(ctx, func() bool { return len(c.ended) > 0 || c.complaint() != nil || done() })
}

// complaint is the error that the connector has logged last, if any: its process goes
// on, for other pipelines.
func (c *connector) complaint() error {
	text, err := os.ReadFile(c.log)
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for _, line := range slices.Backward(lines) {
		if strings.Contains(line, "level=ERROR") {
			return fmt.Errorf("the connector says: %s", line)
		}
	}
	return nil
}
