package commitlog

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

var rewrite = flag.Bool("rewrite", false, "rewrite testdata from what the code does")

// The calls that each operation makes, in order: what must be durable before what
// is read off here. Run with -rewrite and read the diff.
func TestEachOperationMakesTheseCalls(t *testing.T) {
	var out strings.Builder
	f := vfs.NewFault(vfs.NewMem(), func(op vfs.Op) error {
		if op.Kind != vfs.OpSize {
			fmt.Fprintf(&out, "\t%v\n", op)
		}
		return nil
	})
	h := newHistory()
	step := func(what string, do func() error) {
		fmt.Fprintf(&out, "%s\n", what)
		must(t, do())
	}
	step("open an empty directory", func() (err error) { h.log, err = Open(f, dir, pieces); return err })
	step("set the term", func() error { return h.setHard(1, 1, 0) })
	step("append two entries", func() error { return h.append(false, false) })
	step("sync", h.sync)
	step("sync with nothing to do", h.sync)
	step("set the commit index", func() error { return h.setHard(1, 1, 2) })
	step("append an entry that rolls", func() error { return h.append(true) })
	must(t, h.commit(3))
	step("seal", h.seal)
	step("append over a roll", func() error { return h.append(true, false) })
	step("cut, over a segment", func() error { return h.truncate(3) })
	step("append again", func() error { return h.append(false) })
	step("write a snapshot", func() error { return h.snap(3) })
	must(t, h.commit(4))
	step("write a second snapshot, of what is not yet durable", func() error { return h.snap(4) })
	step("read from a sealed segment", func() error {
		_, err := h.log.Read(nil, nil, partitions[2], 0, 1<<40, 1<<20, true)
		return err
	})
	step("read an entry", func() error { _, err := h.log.Entry(record.Index(4)); return err })
	step("make room for the next segment", h.prepare)
	step("append over a roll into the room", func() error { return h.append(true, false) })
	step("close", h.close)
	step("open", func() (err error) { h.log, err = Open(f, dir, Options{}); return err })

	const golden = "testdata/calls.txt"
	if *rewrite {
		must(t, os.WriteFile(golden, []byte(out.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	must(t, err)
	if got := out.String(); got != string(want) {
		t.Errorf("the calls have changed (see -rewrite):\n%s", got)
	}
}
