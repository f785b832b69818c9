package integration

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Need skips the test unless ok: something from outside that it cannot do without.
// The name is what SPLASHDAM_TEST_REQUIRE may list.
func Need(t testing.TB, name string, ok bool, reason string) {
	t.Helper()
	if ok {
		return
	}
	required := os.Getenv("SPLASHDAM_TEST_REQUIRE")
	for want := range strings.SplitSeq(required, ",") {
		if want == "all" || want == name {
			t.Fatalf("%s is required (SPLASHDAM_TEST_REQUIRE=%s) and missing: %s", name, required, reason)
		}
	}
	t.Skipf("needs %s: %s", name, reason)
}

// NeedProgram skips the test unless the program is in PATH, and returns its path.
func NeedProgram(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	Need(t, name, err == nil, "no "+name+" in PATH")
	return path
}

// Long reports whether tests may take minutes.
func Long() bool { return os.Getenv("SPLASHDAM_TEST_LONG") != "" }
