package arrow

import "time"

// limits say when a file ends.
type limits struct {
	rows, bytes int64
	age         time.Duration
}

// full is whether a file of so many rows and bytes ends here.
func (l limits) full(rows, bytes int64) bool { return rows >= l.rows || bytes >= l.bytes }

// due is whether what came first at since has waited long enough.
func (l limits) due(since, now time.Time) bool { return now.Sub(since) >= l.age }

// Limits of chunks: what of a file is written at once, and what its readers hold
// at least.
const (
	maxChunkRows  = 128 << 10
	maxChunkBytes = 32 << 20
	maxSinkBytes  = 256 << 20 // in the chunks of all partitions
	minChunkBytes = 64 << 10  // however many they are
	maxParsed     = 4096      // records between two looks at the limits
)

// chunkBytes is how much one of so many partitions may hold back, as columns.
func (l limits) chunkBytes(partitions int) int64 {
	share := max(minChunkBytes, maxSinkBytes/int64(max(1, partitions)))
	return min(share, maxChunkBytes, l.bytes)
}
