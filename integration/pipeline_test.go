package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/internal/child"
	"github.com/splashdam/splashdam/internal/vfs"
	"github.com/splashdam/splashdam/sinks/arrow"
)

// A pipeline of a source that repeats itself exactly, a topic and a sink of files:
// whatever is killed, and when, every row is in the files once.
func TestAPipelineWritesEveryRowOnceWhateverIsKilled(t *testing.T) {
	kills := 5
	if Long() {
		kills = 60
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))

	const perSecond = 30_000
	rows := kills * perSecond / 2 // more than go through between the kills
	n := Start(t, "--set", "group.initial.rebalance.delay.ms=0", "--set", "num.partitions=3")
	p := newPipeline(t, n.Addr, fmt.Sprintf(`
name: load
source:
  connector: generator
  topic.prefix: load
  rows: %d
  rows.per.second: %d
sink:
  connector: arrow
  topics: load.orders
  dir: %%s
  file.age.ms: 100
`, rows, perSecond))

	connectorKills, brokerKills := 0, 0
	p.start()
	for range kills {
		time.Sleep(time.Duration(100+rnd.IntN(600)) * time.Millisecond)
		if rnd.IntN(3) == 0 {
			brokerKills++
			n.Kill()
			time.Sleep(time.Duration(rnd.IntN(200)) * time.Millisecond)
			n.Restart()
			continue
		}
		connectorKills++
		p.kill()
		p.start()
	}
	p.waitFor(rows)
	p.stop()

	// The generator's place is the number of the row, and its order is the places'.
	seen := make(map[uint64]bool, rows)
	last := map[int32]int64{}
	files := p.directory()
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
	t      *testing.T
	broker string
	file   string
	out    string
	log    string
	cmd    *exec.Cmd
}

// newPipeline writes the pipeline's file; the text has one %s, for the directory of
// the files.
func newPipeline(t *testing.T, broker, text string) *pipeline {
	t.Helper()
	dir, err := os.MkdirTemp(t.ArtifactDir(), "pipeline-")
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
func (p *pipeline) said() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return lastLines(string(text), 30)
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

// stop ends the connector with SIGTERM and demands an orderly end.
func (p *pipeline) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Fatalf("the connector ended with %v\n%s", err, p.said())
	}
	p.cmd = nil
}

func (p *pipeline) directory() *arrow.Directory {
	p.t.Helper()
	d, err := arrow.OpenDirectory(vfs.OS(), filepath.Join(p.out, "load.orders"))
	if err != nil {
		p.t.Fatal(err)
	}
	return d
}

// waitFor waits until there are as many rows in the files.
func (p *pipeline) waitFor(rows int) {
	p.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		count := 0
		if _, err := os.Stat(filepath.Join(p.out, "load.orders")); err == nil {
			if err := p.directory().Rows(func(b *arrow.Block) error { count += len(b.Offset); return nil }); err != nil {
				p.t.Fatal(err)
			}
		}
		if count >= rows {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%d of %d rows are in the files", count, rows)
		}
	}
}
