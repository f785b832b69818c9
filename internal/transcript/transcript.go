// Package transcript runs tests that are told as stories: a state machine is driven by
// commands, a line each, and the lines below a command say what came of it.
package transcript

import (
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "write what the transcripts in testdata now give")

// Run tells every story of testdata/*.txt again and compares. Lines that begin in the
// first column are commands or comments, the indented lines below a command are what
// it had for effects. Begin is called for each story: what it returns does a command,
// and writes the effects, indented, to out. With -rewrite the files become what came.
func Run(t *testing.T, begin func(out *strings.Builder) (do func(Args) error)) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want), begin)
			if *rewrite {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("%s tells another story now (run with -rewrite and read the diff):\n%s", f, got)
			}
		})
	}
}

func play(t *testing.T, script string, begin func(out *strings.Builder) (do func(Args) error)) string {
	var out strings.Builder
	do := begin(&out)
	for line := range strings.SplitAfterSeq(script, "\n") {
		if strings.HasPrefix(line, "  ") {
			continue
		}
		out.WriteString(line)
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if err := do(parse(line)); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	}
	return out.String()
}

// Args are the words of a command: a verb, objects, and what has an equals sign. A
// value of the wrong form panics, as the story is then wrong.
type Args struct {
	Verb    string
	Objects []string
	Values  map[string]string
}

func parse(line string) Args {
	a := Args{Values: map[string]string{}}
	for i, w := range strings.Fields(line) {
		k, v, ok := strings.Cut(w, "=")
		switch {
		case i == 0:
			a.Verb = w
		case ok:
			a.Values[k] = v
		default:
			a.Objects = append(a.Objects, w)
		}
	}
	return a
}

// Text is a value, or otherwise if it is not given.
func (a Args) Text(key, otherwise string) string {
	if v, ok := a.Values[key]; ok {
		return v
	}
	return otherwise
}

// Int is a value that is a number.
func (a Args) Int(key string, otherwise int) int {
	v, ok := a.Values[key]
	if !ok {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		panic(err)
	}
	return n
}

// Duration is a value such as 1m30s.
func (a Args) Duration(key string, otherwise time.Duration) time.Duration {
	v, ok := a.Values[key]
	if !ok {
		return otherwise
	}
	d, err := time.ParseDuration(v)
	if err != nil {
		panic(err)
	}
	return d
}
