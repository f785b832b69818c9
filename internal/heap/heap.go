// Package heap measures what a function allocates, for tests that bound what hostile
// input may cost.
package heap

import "runtime/metrics"

// Allocated calls f and returns how many bytes were allocated meanwhile, by f and by
// all other goroutines, whether they are still in use or not. Small objects are
// counted in lots of a few KiB.
func Allocated(f func()) uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	before := sample[0].Value.Uint64()
	f()
	metrics.Read(sample)
	return sample[0].Value.Uint64() - before
}
