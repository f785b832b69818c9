// Package seeds chooses what random tests begin with, in one way for all of them: another
// place each time, so that every run looks where no run has looked, and printed, so that
// a failure can be lived through again.
//
//   - SPLASHDAM_TEST_LONG, if it is set, asks for many.
//   - SPLASHDAM_TEST_SEED names one, and no other is tried.
package seeds

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// Range returns the first seed and how many there are from it on: few, or many in a long
// run. It logs them, and fails the test if the one that is named is no number.
func Range(t testing.TB, few, many uint64) (first, count uint64) {
	t.Helper()
	first, count = rand.Uint64(), few
	if os.Getenv("SPLASHDAM_TEST_LONG") != "" {
		count = many
	}
	if s := os.Getenv("SPLASHDAM_TEST_SEED"); s != "" {
		var err error
		if first, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("SPLASHDAM_TEST_SEED: %v", err)
		}
		count = 1
	}
	t.Logf("seeds %d and the %d that follow", first, count-1)
	return first, count
}
