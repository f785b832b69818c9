package integration

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Need skips the test unless ok: something from outside that it cannot do without.
// The name is what SPLASHDAM_TEST_REQUIRE may list.
func Need(t testing.TB, name string, ok bool, reason string) {
	t.Helper()
	need(t, ok, reason, name, "all")
}

// NeedWhereNamed is Need for what cannot be installed everywhere: a kernel or a
// container has it or not. It is required only where its own name is, not with "all".
func NeedWhereNamed(t testing.TB, name string, ok bool, reason string) {
	t.Helper()
	need(t, ok, reason, name)
}

func need(t testing.TB, ok bool, reason string, names ...string) {
	t.Helper()
	if ok {
		return
	}
	required := os.Getenv("SPLASHDAM_TEST_REQUIRE")
	for want := range strings.SplitSeq(required, ",") {
		if slices.Contains(names, want) {
			t.Fatalf("%s is required (SPLASHDAM_TEST_REQUIRE=%s) and missing: %s", names[0], required, reason)
		}
	}
	t.Skipf("needs %s: %s", names[0], reason)
}

// NeedProgram skips the test unless the program is in PATH, and returns its path.
func NeedProgram(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	Need(t, name, err == nil, "no "+name+" in PATH")
	return path
}

// Rounds is how often a test goes through what it does: usual times, long times where
// tests may take minutes, and as often as SPLASHDAM_TEST_ROUNDS says if that is more.
func Rounds(t testing.TB, usual, long int) int {
	t.Helper()
	rounds := usual
	if Long() {
		rounds = long
	}
	if s := os.Getenv("SPLASHDAM_TEST_ROUNDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("SPLASHDAM_TEST_ROUNDS: %v", err)
		}
		rounds = max(rounds, n)
	}
	return rounds
}

// Long reports whether tests may take minutes.
func Long() bool { return os.Getenv("SPLASHDAM_TEST_LONG") != "" }
