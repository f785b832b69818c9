package broker

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/splashdam/splashdam/broker/kafka"
)

// BenchmarkColdReader has 64 producers of 1 KiB, acks=all and sync flush, without and
// with a consumer that reads, again and again, everything that another partition holds:
// SPLASHDAM_BENCH_MIB MiB (1,024), of which the page cache has nothing when it begins.
// What the consumer reads does not stay there either, so that it is as cold the next time.
func BenchmarkColdReader(b *testing.B) {
	const readerPartition = 8
	mib := benchVariable("SPLASHDAM_BENCH_MIB", 1024)
	count := benchVariable("SPLASHDAM_BENCH_BATCHES", 50_000)
	dir := b.TempDir()
	n := benchNode(b, dir, readerPartition+1, map[string]string{"log.segment.bytes": "67108864"})
	done := make(chan kafka.Appended, 1)
	large := benchBatch(512 << 10)
	for range 2 * mib {
		n.Append(kafka.AppendRequest{Topic: benchTopic(0), Partition: readerPartition, Batch: large, Acks: -1}, func(a kafka.Appended) { done <- a })
		must(b, (<-done).Err)
	}
	l := load{64, readerPartition, 1024}
	l.run(b, n, count/10, nil)
	dropped := dropCache(b, dir)
	var without, with []time.Duration
	read, took := 0, 0.0
	for b.Loop() {
		without = append(without, l.run(b, n, count, nil)...)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { read += readAgain(b, n, readerPartition, int64(2*mib), stop) })
		start := time.Now()
		with = append(with, l.run(b, n, count, nil)...)
		took += time.Since(start).Seconds()
		close(stop)
		wg.Wait()
	}
	slices.Sort(without)
	slices.Sort(with)
	cold := n.shards[1].log.ColdReads()
	b.ReportMetric(quantile(without, 0.5), "p50-us")
	b.ReportMetric(quantile(without, 0.99), "p99-us")
	b.ReportMetric(quantile(with, 0.5), "reader-p50-us")
	b.ReportMetric(quantile(with, 0.99), "reader-p99-us")
	b.ReportMetric(quantile(with, 0.99)/quantile(without, 0.99), "with/without")
	b.ReportMetric(float64(read)/1e6/took, "reader-MB/s")
	b.ReportMetric(float64(cold.Bytes)/float64(max(read, 1)), "cold-share")
	b.ReportMetric(float64(cachedBytes(b, dir))/float64(dropped), "cached/size")
	b.ReportMetric(0, "ns/op")
	must(b, n.end())
}

// readAgain reads a partition from its beginning to end, again and again, as a fetch of
// 1 MiB after the other would, until it is stopped. It returns how many bytes that were.
func readAgain(b testing.TB, n *node, p int32, end int64, stop <-chan struct{}) int {
	var buf []byte
	total := 0
	for offset := int64(0); ; offset += 2 {
		select {
		case <-stop:
			return total
		default:
		}
		if offset >= end {
			offset = 0
		}
		got := n.Fetch(kafka.FetchRequest{Topic: benchTopic(0), Partition: p, Offset: offset, MaxBytes: 1<<20 + 4096, LeaderEpoch: -1, LastFetchedEpoch: -1, AtLeastOne: true}, buf[:0])
		if got.Err != nil {
			b.Error(got.Err)
			return total
		}
		buf = got.Records
		total += len(buf)
	}
}

// logFiles calls do for every segment of the node.
func logFiles(b testing.TB, dir string, do func(f *os.File, size int64)) {
	b.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "shards", "*", "*.log"))
	must(b, err)
	if len(names) == 0 {
		b.Fatalf("no segments in %s", dir)
	}
	for _, name := range names {
		f, err := os.Open(name)
		must(b, err)
		info, err := f.Stat()
		must(b, err)
		do(f, info.Size())
		must(b, f.Close())
	}
}

// dropCache takes the segments out of the page cache and returns how large they are.
func dropCache(b testing.TB, dir string) (size int64) {
	b.Helper()
	logFiles(b, dir, func(f *os.File, n int64) {
		size += n
		must(b, unix.Fdatasync(int(f.Fd())))
		must(b, unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
	})
	if left := cachedBytes(b, dir); left > size/10 {
		b.Skipf("%d bytes of %d stay in the page cache", left, size)
	}
	return size
}

// cachedBytes is how much of the segments is in the page cache.
func cachedBytes(b testing.TB, dir string) (n int64) {
	b.Helper()
	logFiles(b, dir, func(f *os.File, _ int64) {
		var st unix.Cachestat_t
		if err := unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{}, &st, 0); err != nil {
			b.Skipf("the system does not tell what is in its cache: %v", err)
		}
		n += int64(st.Cache) * int64(os.Getpagesize())
	})
	return n
}
