package clients

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
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
	// excused are tests that may fail or be skipped, each with the reason.
	excused map[string]string
}

// run runs the suite and fails the test for each of its tests that is not ok and not
// excused. It errors where fewer than atLeast were ok, since a suite that does not
// find the broker would be skipped as a whole.
func (s suite) run(t *testing.T, atLeast int) {
	t.Helper()
	dir := filepath.Join(s.copy(t), s.dir)
	cmd := exec.Command("go", append([]string{"test", "-json", "-count=1", "-p=1"}, s.args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), s.env...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaints strings.Builder
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r, err := read(out)
	if err != nil {
		t.Errorf("reading what go test says: %v", err)
	}
	failed := cmd.Wait()
	var exit *exec.ExitError
	if failed != nil && !errors.As(failed, &exit) {
		t.Fatal(failed)
	}
	for _, name := range r.leaves("fail") {
		if reason, ok := s.excused[name]; ok {
			t.Logf("%s fails: %s", name, reason)
			continue
		}
		t.Errorf("%s fails:\n%s", name, r.said[name].String())
	}
	for _, name := range r.leaves("skip") {
		if reason, ok := s.excused[name]; ok {
			t.Logf("%s is skipped: %s", name, reason)
			continue
		}
		t.Errorf("%s is skipped:\n%s", name, r.said[name].String())
	}
	for _, name := range r.unfinished() {
		t.Errorf("%s did not end:\n%s", name, tail(r.said[name].String()))
	}
	passed := len(r.leaves("pass"))
	if passed < atLeast || failed != nil && len(r.leaves("fail")) == 0 {
		t.Errorf("%d tests passed, want at least %d: %v\n%s\n%s", passed, atLeast, failed, tail(complaints.String()), tail(r.said[""].String()))
	}
	t.Logf("%s: %d passed", s.module, passed)
}

// copy is a copy of the module that can be changed; the module cache cannot.
func (s suite) copy(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "mod", "download", "-json", s.module).Output()
	if err != nil {
		t.Fatalf("finding %s: %v", s.module, err)
	}
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

// results is what `go test -json` said of each test, by name.
type results struct {
	outcome map[string]string // pass, fail, skip; run while it has none
	said    map[string]*strings.Builder
}

func read(from io.Reader) (results, error) {
	r := results{make(map[string]string), map[string]*strings.Builder{"": {}}}
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e struct{ Action, Test, Output string }
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			r.said[""].Write(lines.Bytes()) // of the build
			continue
		}
		if r.said[e.Test] == nil {
			r.said[e.Test] = new(strings.Builder)
		}
		switch e.Action {
		case "output":
			r.said[e.Test].WriteString(e.Output)
		case "run", "pass", "fail", "skip":
			if e.Test != "" {
				r.outcome[e.Test] = e.Action
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

func (r results) unfinished() []string { return r.leaves("run") }

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
