//go:build race

package commitlog

// raced is that the race detector watches, under which everything takes ten times as long.
const raced = true
