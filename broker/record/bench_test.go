package record

import (
	"hash/crc32"
	"testing"
	"time"
)

// BenchmarkIterate looks at every record of a batch of 100-byte records, as a broker
// does before it takes it, against the checksum of the same bytes.
func BenchmarkIterate(b *testing.B) {
	records := make([]Record, 10_000)
	for i := range records {
		records[i] = Record{OffsetDelta: int32(i), TimestampDelta: int64(i / 10), Value: make([]byte, 100)}
	}
	batch := Build(BuildOptions{BaseTimestamp: 1}, records)
	castagnoli := crc32.MakeTable(crc32.Castagnoli)
	var looked, summed time.Duration
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		if err := batch.Iterate(1<<20, func(r Record) bool { n += len(r.Headers); return true }); err != nil {
			b.Fatal(err)
		}
		looked += time.Since(start)
		start = time.Now()
		n += int(crc32.Checksum(batch, castagnoli))
		summed += time.Since(start)
	}
	b.ReportMetric(float64(looked.Nanoseconds())/float64(b.N*len(records)), "ns/record")
	b.ReportMetric(float64(looked)/float64(summed), "looked/summed")
}
