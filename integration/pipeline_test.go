package integration

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/internal/child"
	"github.com/splashdam/splashdam/internal/vfs"
	"github.com/splashdam/splashdam/sinks/arrow"
)

// cluster is what a pipeline runs against.
type cluster struct {
	addr   string
	prefix string // of the names of topics and pipelines
	node   *Node  // nil if it is not ours to kill
}

// ownCluster starts a node for pipelines.
func ownCluster(t *testing.T) cluster {
	n := StartIn(t, filepath.Join(t.ArtifactDir(), "broker"), "--set", "group.initial.rebalance.delay.ms=0", "--set", "num.partitions=3")
	return cluster{n.Addr, "own", n}
}

// eachCluster runs the test on a node of its own and on Apache Kafka.
func eachCluster(t *testing.T, test func(t *testing.T, c cluster)) {
	t.Run("splashdam", func(t *testing.T) { test(t, ownCluster(t)) })
	t.Run("kafka", func(t *testing.T) { test(t, kafkaCluster(t)) })
}

// kafkaCluster is the cluster of Apache Kafka that SPLASHDAM_TEST_KAFKA names. It keeps
// what other tests left there.
func kafkaCluster(t *testing.T) cluster {
	addr := os.Getenv("SPLASHDAM_TEST_KAFKA")
	Need(t, "kafka", addr != "", "SPLASHDAM_TEST_KAFKA is not set: no Apache Kafka to test against")
	return cluster{addr, fmt.Sprintf("test%d", time.Now().UnixNano()), nil}
}

// A pipeline of a source that repeats itself exactly, a topic and a sink of files:
// whatever is killed, and when, every row is in the files once.
func TestAPipelineWritesEveryRowOnceWhateverIsKilled(t *testing.T) {
	eachCluster(t, killPipeline)
}

func killPipeline(t *testing.T, c cluster) {
	kills := 5
	if Long() {
		kills = 60
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))

	const perSecond = 30_000
	rows := kills * perSecond / 2 // more than go through between the kills
	p := newPipeline(t, c.addr, fmt.Sprintf(`
name: %s
source:
  connector: generator
  topic.prefix: %s
  rows: %d
  rows.per.second: %d
sink:
  connector: arrow
  topics: %s.orders
  dir: %%s
  file.age.ms: 100
`, c.prefix, c.prefix, rows, perSecond, c.prefix))

	connectorKills, brokerKills := 0, 0
	p.start()
	for range kills {
		time.Sleep(time.Duration(100+rnd.IntN(600)) * time.Millisecond)
		if c.node != nil && rnd.IntN(3) == 0 {
			brokerKills++
			c.node.Kill()
			time.Sleep(time.Duration(rnd.IntN(200)) * time.Millisecond)
			c.node.Restart()
			continue
		}
		connectorKills++
		p.kill()
		p.start()
	}
	p.waitFor(c.prefix+".orders", rows)
	p.stop()

	// The generator's place is the number of the row, and its order is the places'.
	seen := make(map[uint64]bool, rows)
	last := map[int32]int64{}
	files := p.directory(c.prefix + ".orders")
	err := files.Rows(func(b *arrow.Block) error {
		id := b.Schema.Index("id")
		for i := range b.Offset {
			row := b.Columns[id].Bits(i)
			if b.Place[i] != (connect.Place{End: row}) || seen[row] {
				t.Errorf("row %d of place %v at offset %d of partition %d: seen before: %v", row, b.Place[i], b.Offset[i], b.Partition, seen[row])
			}
			if before, ok := last[b.Partition]; ok && b.Offset[i] <= before {
				t.Errorf("partition %d has offset %d behind %d", b.Partition, b.Offset[i], before)
			}
			seen[row], last[b.Partition] = true, b.Offset[i]
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for row := uint64(1); row <= uint64(rows); row++ {
		if !seen[row] {
			t.Fatalf("row %d of %d is lost", row, rows)
		}
	}
	if len(seen) != rows {
		t.Errorf("%d rows, and there are %d", len(seen), rows)
	}
	t.Logf("%d rows in %d files; the connector was killed %d times, the broker %d times", rows, len(files.Files), connectorKills, brokerKills)
}

// pipeline is a `splashdam connect run` that a test kills and starts again.
type pipeline struct {
	t      testing.TB
	broker string
	file   string
	out    string
	log    string
	cmd    *exec.Cmd
}

// newPipeline writes the pipeline's file; the text has one %s, for the directory of
// the files.
func newPipeline(t testing.TB, broker, text string) *pipeline {
	t.Helper()
	dir, err := os.MkdirTemp(t.ArtifactDir(), "pipeline-") // a test may have several
	if err != nil {
		t.Fatal(err)
	}
	p := &pipeline{
		t: t, broker: broker, file: filepath.Join(dir, "pipeline.yaml"), out: filepath.Join(dir, "out"), log: filepath.Join(dir, "connector.log"),
	}
	if err := os.WriteFile(p.file, fmt.Appendf(nil, text, p.out), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd != nil {
			p.kill()
		}
		if t.Failed() {
			t.Logf("the connector's last output:\n%s", p.said())
		}
	})
	return p
}

func (p *pipeline) start() {
	p.t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		p.t.Fatal(err)
	}
	defer log.Close()
	p.cmd = exec.Command(Binary(p.t), "connect", "run", "-b", p.broker, p.file)
	p.cmd.Stderr = log
	if err := child.Start(p.cmd); err != nil {
		p.t.Fatal(err)
	}
}

// said is the last of what it has said so far.
func (p *pipeline) said() string { return lastLines(p.output(), 30) }

func (p *pipeline) output() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// until waits until the connector has said all of this.
func (p *pipeline) until(texts ...string) {
	p.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		said := p.output()
		missing := slices.DeleteFunc(slices.Clone(texts), func(text string) bool { return strings.Contains(said, text) })
		if len(missing) == 0 {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("the connector has not said %q:\n%s", missing, p.said())
		}
	}
}

// stops waits until the connector has ended with an error, and has said all of this.
func (p *pipeline) stops(texts ...string) {
	p.t.Helper()
	p.until(texts...)
	ended := make(chan error, 1)
	go func() { ended <- p.cmd.Wait() }()
	select {
	case err := <-ended:
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 {
			p.t.Errorf("the connector ended with %v", err)
		}
		p.cmd = nil
	case <-time.After(30 * time.Second):
		p.t.Fatal("the connector does not end")
	}
}

func (p *pipeline) kill() {
	p.t.Helper()
	p.cmd.Process.Kill() // fails only if it has ended, which Wait tells
	err := p.cmd.Wait()
	status := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	p.cmd = nil
	if !status.Signaled() || status.Signal() != syscall.SIGKILL {
		p.t.Fatalf("the connector ended by itself: %v\n%s", err, p.said())
	}
}

// stop ends the connector with SIGTERM and demands an orderly end. It says what the
// connector used.
func (p *pipeline) stop() *syscall.Rusage {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Fatalf("the connector ended with %v\n%s", err, p.said())
	}
	used := p.cmd.ProcessState.SysUsage().(*syscall.Rusage)
	p.cmd = nil
	return used
}

// directory is the files of a topic.
func (p *pipeline) directory(topic string) *arrow.Directory {
	p.t.Helper()
	d, err := arrow.OpenDirectory(vfs.OS(), filepath.Join(p.out, topic))
	if err != nil {
		p.t.Fatal(err)
	}
	return d
}

// rows counts those in the files of a topic.
func (p *pipeline) rows(topic string) (count int) {
	p.t.Helper()
	if _, err := os.Stat(filepath.Join(p.out, topic)); err != nil {
		return 0
	}
	if err := p.directory(topic).Rows(func(b *arrow.Block) error { count += len(b.Offset); return nil }); err != nil {
		p.t.Fatal(err)
	}
	return count
}

// waitFor waits until there are as many rows in the files of a topic.
func (p *pipeline) waitFor(topic string, rows int) {
	p.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		count := p.rows(topic)
		if count >= rows {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%d of %d rows are in the files", count, rows)
		}
	}
}
