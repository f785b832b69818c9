// Package invariant states what must be true whatever the input. A violated
// invariant is a bug in this program: it panics, so that it can never look like
// a disk or network error. What a peer, a disk or a user can cause is an error.
package invariant

import "fmt"

// That panics with the formatted message unless ok.
func That(ok bool, format string, args ...any) {
	if !ok {
		panic("invariant violated: " + fmt.Sprintf(format, args...))
	}
}
