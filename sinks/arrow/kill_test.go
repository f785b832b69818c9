package arrow

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/internal/vfs"
)

// killedIn is the variable that makes this program the one that is killed: it
// names the directory.
const killedIn = "SPLASHDAM_ARROW_KILLED_IN"

// killedTopic has rows some of which come twice, one partition, far more than are
// written in the time that a process has.
func killedTopic() topic {
	w := topic{}
	for i := range 3000 {
		w.add(0, i/1250, [...]connect.Op{connect.Create, connect.Update, connect.Delete}[i%3], i%50, i, "")
		if i%97 == 96 {
			w.again(0, 30)
		}
	}
	return w
}

// TestMain is the process that is killed, if it was asked for.
func TestMain(m *testing.M) {
	dir := os.Getenv(killedIn)
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := writeUntilKilled(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func writeUntilKilled(dir string) error {
	connector := Connector(vfs.OS())
	c, _ := connect.ParseConfig(connector.Settings, map[string]string{settingDir: dir, settingRows: "40"})
	sink, err := connector.New(c, environment("lake"))
	if err != nil {
		return err
	}
	r := &runner{sink: sink.(*Sink), topic: killedTopic()}
	if err := r.open(0); err != nil {
		return err
	}
	return r.drain(70)
}

// Processes that write to real files are killed, one after another, until one
// comes to the end: every row is there once.
func TestRowsAreInTheFilesOnceThoughProcessesAreKilled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lake")
	w := killedTopic()
	rnd := rand.New(rand.NewPCG(uint64(os.Getpid()), 1))
	kills := 0
	for {
		// Too short for the first, on the fastest disk, and longer every time.
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(20*(kills+1)+rnd.IntN(40))*time.Millisecond)
		if kills == 40 {
			ctx, cancel = context.WithCancel(t.Context()) // slow as the machine may be
		}
		command := exec.CommandContext(ctx, os.Args[0])
		command.Env = append(os.Environ(), killedIn+"="+dir)
		output, err := command.CombinedOutput()
		killed := ctx.Err() != nil
		cancel()
		if err == nil {
			break
		}
		if !killed {
			t.Fatalf("%v\n%s", err, output)
		}
		kills++
	}
	if kills == 0 {
		t.Error("nobody was killed")
	}
	rows := map[int32][]string{}
	d, err := OpenDirectory(vfs.OS(), filepath.Join(dir, "orders"))
	must(t, err)
	must(t, d.Rows(func(b *Block) error {
		for row := range b.Len() {
			rows[b.Partition] = append(rows[b.Partition], fmt.Sprintf("%d %v", b.Offset[row], b.Place[row]))
		}
		return nil
	}))
	want := w.wanted(0, w.end(0))
	if len(rows[0]) != len(want) {
		t.Fatalf("%d rows instead of %d, after %d kills", len(rows[0]), len(want), kills)
	}
	for i := range want {
		if rows[0][i] != want[i] {
			t.Fatalf("row %d is %q instead of %q, after %d kills", i, rows[0][i], want[i], kills)
		}
	}
	t.Logf("%d kills, %d files", kills, len(d.Files))
}
