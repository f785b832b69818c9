//go:build !race

package commitlog

// raced is that the race detector watches.
const raced = false
