package clients

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/splashdam/splashdam/integration"
)

// suite is the tests of another project: those of the version that go.mod names.
type suite struct {
	// module is the project's, dir the folder in it whose tests are run.
	module, dir string
	// edit changes the copy of the project before it is built.
	edit func(t *testing.T, dir string)
	// env and args are for `go test`.
	env, args []string
	// slow are tests that take minutes: they run where tests may.
	slow []string
	// skipped are tests that skip themselves, each with the reason; those of packages
	// below dir begin with the package.
	skipped map[string]string
	// failing are tests that fail against Apache Kafka 4.3.1 too, each with the reason.
	failing map[string]string
}

// run runs the suite and judges it.
func (s suite) run(t *testing.T, atLeast int) {
	t.Helper()
	s.start(t).judge(t, atLeast)
}

// running is a suite that has been started.
type running struct {
	suite
	complaints *strings.Builder
	// began is closed with its first test, ended when the others are there.
	began, ended chan struct{}

	results results
	failed  error // what go test ended with
	broken  error // what kept us from knowing
}

func (s suite) start(t *testing.T) *running {
	t.Helper()
	dir := filepath.Join(s.copy(t), s.dir)
	cmd := exec.Command("go", append([]string{"test", "-json", "-count=1", "-p=1"}, s.args...)...)
	if len(s.slow) > 0 && !integration.Long() {
		cmd.Args = slices.Insert(cmd.Args, 2, "-skip="+pattern(s.slow))
	}
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), s.env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	r := &running{suite: s, complaints: new(strings.Builder), began: make(chan struct{}), ended: make(chan struct{})}
	cmd.Stderr = r.complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(r.ended)
		r.results, r.broken = read(out, path.Join(s.module, s.dir), sync.OnceFunc(func() { close(r.began) }))
		r.failed = cmd.Wait()
	}()
	return r
}

// judge waits for the end and fails the test for each of the suite's that is not ok
// and not excused. It errors where fewer than atLeast were ok, since a suite that
// does not find the broker would be skipped as a whole.
func (r *running) judge(t *testing.T, atLeast int) {
	t.Helper()
	<-r.ended
	if r.broken != nil {
		t.Errorf("reading what go test says: %v", r.broken)
	}
	if exit := (*exec.ExitError)(nil); r.failed != nil && !errors.As(r.failed, &exit) {
		t.Fatal(r.failed)
	}
	passed, failed, skipped := r.results.leaves("pass"), r.results.leaves("fail"), r.results.leaves("skip")
	r.excuse(t, "fails", failed, r.failing)
	r.excuse(t, "is skipped", skipped, r.skipped)
	r.excuse(t, "did not end", r.results.leaves("run"), nil)
	for name := range r.skipped {
		if o, ran := r.results.outcome[name]; ran && o != "skip" {
			t.Errorf("%s is not skipped any more", name)
		}
	}
	if len(passed) < atLeast || r.failed != nil && len(failed) == 0 {
		t.Errorf("%d tests passed, want at least %d: %v\n%s\n%s", len(passed), atLeast, r.failed, tail(r.complaints.String()), tail(r.results.said[""].String()))
	}
	t.Logf("%s: %d passed, %d failed, %d skipped; the slowest: %s", r.module, len(passed), len(failed), len(skipped), r.results.slowest())
}

// excuse fails the test for each of the suite's tests for which there is no reason.
func (r *running) excuse(t *testing.T, what string, names []string, reasons map[string]string) {
	t.Helper()
	for _, name := range names {
		if reason, ok := reasons[name]; ok {
			t.Logf("%s %s: %s", name, what, reason)
			continue
		}
		t.Errorf("%s %s:\n%s", name, what, tail(r.results.said[name].String()))
	}
}

// pattern is that of `go test` for tests and subtests of these names.
func pattern(names []string) string {
	var all []string
	for _, name := range names {
		all = append(all, "^"+strings.ReplaceAll(name, "/", "$/^")+"$")
	}
	return strings.Join(all, "|")
}

// copy is a copy of the module that can be changed; the module cache cannot.
func (s suite) copy(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "mod", "download", "-json", s.module).Output()
	integration.Need(t, "suites", err == nil, fmt.Sprintf("downloading %s: %v\n%s", s.module, err, out))
	var found struct{ Dir string }
	if err := json.Unmarshal(out, &found); err != nil || found.Dir == "" {
		t.Fatalf("finding %s: %v in %s", s.module, err, out)
	}
	dir := filepath.Join(t.TempDir(), "suite")
	if err := os.CopyFS(dir, os.DirFS(found.Dir)); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if d.IsDir() {
			mode = 0o755
		}
		return os.Chmod(path, mode)
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.edit != nil {
		s.edit(t, dir)
	}
	return dir
}

// replace changes one place in a file of a suite.
func replace(t *testing.T, file, old, by string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(text), old) != 1 {
		t.Fatalf("%s is not as it was known", file)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), old, by, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// results is what `go test -json` said of each test, by name, behind that of its
// package where it is another one than the suite's first.
type results struct {
	outcome map[string]string  // pass, fail, skip; run while it has none
	took    map[string]float64 // seconds
	said    map[string]*strings.Builder
}

// read reads it to its end, and calls began for each test that begins.
func read(from io.Reader, first string, began func()) (results, error) {
	r := results{make(map[string]string), make(map[string]float64), map[string]*strings.Builder{"": {}}}
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e struct {
			Action, Package, Test, Output string
			Elapsed                       float64
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			r.said[""].Write(lines.Bytes()) // of the build
			continue
		}
		name := e.Test
		if below, ok := strings.CutPrefix(e.Package, first+"/"); ok && name != "" {
			name = below + "." + name
		}
		if r.said[name] == nil {
			r.said[name] = new(strings.Builder)
		}
		switch e.Action {
		case "output":
			r.said[name].WriteString(e.Output)
		case "run", "pass", "fail", "skip":
			if name != "" {
				began()
				r.outcome[name], r.took[name] = e.Action, e.Elapsed
			}
		}
	}
	return r, lines.Err()
}

// leaves are the tests with an outcome that have no subtest with the same.
func (r results) leaves(outcome string) []string {
	var names []string
	for name, o := range r.outcome {
		if o == outcome && !r.anyBelow(name, outcome) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func (r results) anyBelow(name, outcome string) bool {
	for other, o := range r.outcome {
		if o == outcome && strings.HasPrefix(other, name+"/") {
			return true
		}
	}
	return false
}

// slowest tells the tests that took the longest.
func (r results) slowest() string {
	names := slices.SortedFunc(maps.Keys(r.took), func(a, b string) int { return cmp.Compare(r.took[b], r.took[a]) })
	var b strings.Builder
	for _, name := range names[:min(len(names), 20)] {
		fmt.Fprintf(&b, "\n%6.1f s %s", r.took[name], name)
	}
	return b.String()
}

func tail(s string) string {
	lines := strings.Split(s, "\n")
	return strings.Join(lines[max(0, len(lines)-60):], "\n")
}

// needPort skips the test unless a port that a suite has fixed is free.
func needPort(t *testing.T, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err == nil {
		err = l.Close()
	}
	integration.Need(t, "port "+addr, err == nil, "it is taken, and the tests know no other")
}

// needTime skips the test unless it is asked for: it takes minutes, and downloads what
// the suite's tests need.
func needTime(t *testing.T) {
	t.Helper()
	if os.Getenv("SPLASHDAM_TEST_SUITES") == "" {
		t.Skip("takes minutes and downloads what the tests need: SPLASHDAM_TEST_SUITES=1")
	}
}

// alongside runs the shorter suites side by side: they mostly wait. With the longer
// ones the machine has enough to do.
func alongside(t *testing.T) {
	if !integration.Long() {
		t.Parallel()
	}
}
