package broker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/splashdam/splashdam/broker/kafka"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// The benchmarks of this package run a whole node on the disk and call it as its
// protocol server does, so that neither protocol nor clients count. How large they are
// is set by variables, each named where it is read; docs/benchmarks.md lists them.

func benchVariable(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// benchNode starts a node with topics of 10,000 partitions or fewer, together as many
// as are asked for.
func benchNode(b testing.TB, dir string, partitions int, set map[string]string) *node {
	b.Helper()
	n := run(b, Config{FS: vfs.OS(), Dir: dir, Settings: settings(b, set)})
	for made := 0; made < partitions; made += topicPartitions {
		created := n.CreateTopics(context.Background(), []kafka.NewTopic{{
			Name: benchTopic(made), Partitions: int32(min(topicPartitions, partitions-made)), ReplicationFactor: 1,
		}}, false)
		must(b, created[0].Err)
	}
	return n
}

const topicPartitions = 10_000

func benchTopic(partition int) string { return fmt.Sprint("bench-", partition/topicPartitions) }

// benchBatch is a batch of one record, about as large as asked for.
func benchBatch(size int) record.Batch {
	value := make([]byte, size-record.BatchHeaderSize-16)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(value)
	return batch(-1, 0, string(value))
}

// load is what producers do at the same time, each with one batch of acks=all in flight.
type load struct {
	producers, partitions, size int
}

// run sends batches until there were count, or, where count is 0, until stop is closed.
// It returns how long each waited for its answer, sorted.
func (l load) run(b testing.TB, n *node, count int, stop <-chan struct{}) []time.Duration {
	b.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var all []time.Duration
	for i := range l.producers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			batch := benchBatch(l.size)
			rnd := rand.New(rand.NewPCG(1, uint64(i)))
			done := make(chan kafka.Appended, 1)
			var mine []time.Duration
			for k := i; count == 0 || k < count; k += l.producers {
				select {
				case <-stop:
					count = -1
				default:
				}
				if count < 0 {
					break
				}
				p := rnd.IntN(l.partitions)
				start := time.Now()
				n.Append(kafka.AppendRequest{Topic: benchTopic(p), Partition: int32(p % topicPartitions), Batch: batch, Acks: -1},
					func(a kafka.Appended) { done <- a })
				if a := <-done; a.Err != nil {
					b.Error(a.Err)
					return
				}
				mine = append(mine, time.Since(start))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, mine...)
		}()
	}
	wg.Wait()
	slices.Sort(all)
	return all
}

func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[int(q*float64(len(sorted)-1))].Microseconds())
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// BenchmarkProduce has 256 producers that send batches of 1 KiB with acks=all and sync
// flush into 8 partitions, against a plain loop that writes 256 KiB and syncs, as many
// bytes. SPLASHDAM_BENCH_BATCHES is how many batches a round has.
func BenchmarkProduce(b *testing.B) {
	count := benchVariable("SPLASHDAM_BENCH_BATCHES", 100_000)
	dir := b.TempDir()
	l := load{producers: 256, partitions: 8, size: 1024}
	n := benchNode(b, filepath.Join(dir, "data"), l.partitions, nil)
	l.run(b, n, count/10, nil)
	plain, err := os.Create(filepath.Join(dir, "plain"))
	must(b, err)
	defer plain.Close()
	chunk := make([]byte, l.producers*l.size)
	var ours, theirs []float64
	var waits []time.Duration
	for b.Loop() {
		start := time.Now()
		waits = append(waits, l.run(b, n, count, nil)...)
		ours = append(ours, time.Since(start).Seconds())
		start = time.Now()
		for range count * l.size / len(chunk) {
			_, err := plain.Write(chunk)
			must(b, err)
			must(b, syscall.Fdatasync(int(plain.Fd())))
		}
		theirs = append(theirs, time.Since(start).Seconds())
	}
	slices.Sort(waits)
	mb := float64(count) * float64(l.size) / 1e6
	b.ReportMetric(mb/median(ours), "MB/s")
	b.ReportMetric(mb/median(theirs), "plain-MB/s")
	b.ReportMetric(median(theirs)/median(ours), "node/plain")
	b.ReportMetric(quantile(waits, 0.5), "p50-us")
	b.ReportMetric(quantile(waits, 0.99), "p99-us")
	b.ReportMetric(0, "ns/op")
	must(b, n.end())
}

// BenchmarkSpread sends the same batches into 8,192 partitions and into 8, in turn, and
// counts open files and goroutines of the one and the other.
func BenchmarkSpread(b *testing.B) {
	count := benchVariable("SPLASHDAM_BENCH_BATCHES", 100_000)
	type side struct {
		load
		n                 *node
		took              []float64
		files, goroutines int
	}
	sides := []*side{{load: load{256, 8, 1024}}, {load: load{256, 8192, 1024}}}
	for _, s := range sides {
		files, goroutines := openFiles(), runtime.NumGoroutine()
		s.n = benchNode(b, b.TempDir(), s.partitions, nil)
		s.run(b, s.n, count/10, nil)
		s.files, s.goroutines = openFiles()-files, runtime.NumGoroutine()-goroutines
	}
	few, many := sides[0], sides[1]
	for b.Loop() {
		for _, s := range sides {
			start := time.Now()
			s.run(b, s.n, count, nil)
			s.took = append(s.took, time.Since(start).Seconds())
		}
		slices.Reverse(sides) // what the one leaves to the disk is the other's as often
	}
	b.ReportMetric(float64(count)/median(few.took), "few/s")
	b.ReportMetric(float64(count)/median(many.took), "many/s")
	b.ReportMetric(median(few.took)/median(many.took), "many/few")
	b.ReportMetric(float64(many.files-few.files), "more-files")
	b.ReportMetric(float64(many.goroutines-few.goroutines), "more-goroutines")
	b.ReportMetric(0, "ns/op")
	for _, s := range sides {
		must(b, s.n.end())
	}
}

func openFiles() int {
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0 // not on this system
	}
	return len(names)
}

// BenchmarkManyPartitions is a node with many partitions that all were written once:
// bytes of memory for each, how long it takes to be ready again, and how long producers
// wait while snapshots are taken one behind the other. SPLASHDAM_BENCH_PARTITIONS is how
// many (10,000), SPLASHDAM_BENCH_BATCHES how many batches each of the two phases has.
func BenchmarkManyPartitions(b *testing.B) {
	count := benchVariable("SPLASHDAM_BENCH_BATCHES", 100_000)
	partitions := benchVariable("SPLASHDAM_BENCH_PARTITIONS", 10_000)
	for b.Loop() {
		dir := b.TempDir()
		n := benchNode(b, dir, 0, nil)
		empty := heap()
		must(b, n.end())
		n = benchNode(b, dir, partitions, nil)
		created := heap()
		done := make(chan kafka.Appended, 1024)
		one := benchBatch(256)
		for p := range partitions {
			n.Append(kafka.AppendRequest{Topic: benchTopic(p), Partition: int32(p % topicPartitions), Batch: slices.Clone(one), Acks: -1},
				func(a kafka.Appended) { done <- a })
			if p%cap(done) == cap(done)-1 || p == partitions-1 {
				for range p%cap(done) + 1 {
					must(b, (<-done).Err)
				}
			}
		}
		n.snapshot()
		l := load{64, partitions, 1024}
		l.run(b, n, 64, nil) // an entry, with which the snapshots are taken
		n.settle(b)
		written := heap()
		must(b, n.end())
		before := heap() // what is left of the first node, until the end of the benchmark
		start := time.Now()
		n = run(b, Config{FS: vfs.OS(), Dir: dir, Settings: settings(b, nil)})
		b.ReportMetric(float64(time.Since(start).Milliseconds()), "start-ms")
		idle := heap()
		without := l.run(b, n, count, nil)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		taken := 0
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					n.snapshot()
					n.settle(b)
					taken++
				}
			}
		})
		with := l.run(b, n, count, nil)
		close(stop)
		wg.Wait()
		each := func(bytes uint64) float64 { return (float64(bytes) - float64(empty)) / float64(partitions) }
		b.ReportMetric(each(created), "B/created")
		b.ReportMetric(each(written), "B/written")
		b.ReportMetric(each(empty+idle-before), "B/restarted")
		b.ReportMetric(quantile(without, 0.99), "p99-us")
		b.ReportMetric(quantile(with, 0.99), "snapshot-p99-us")
		b.ReportMetric(quantile(with, 0.999), "snapshot-p99.9-us")
		b.ReportMetric(float64(taken), "snapshots")
		b.ReportMetric(0, "ns/op")
		must(b, n.end())
	}
}

// settle waits until no snapshot is due or being written.
func (n *node) settle(b testing.TB) {
	for _, s := range n.allShards() {
		for running := true; running; time.Sleep(time.Millisecond) {
			must(b, s.host.Do(context.Background(), func() { running = s.since.running }))
		}
	}
}

// heap is the bytes of memory in use.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkFetchMany fetches what is new in each of 2,000 partitions, a batch of 1 KiB
// that lies between those of the others, against the same bytes of one partition.
func BenchmarkFetchMany(b *testing.B) {
	const partitions = 2000
	n := benchNode(b, b.TempDir(), partitions+1, nil)
	done := make(chan kafka.Appended, partitions)
	for range 4 {
		for p := range partitions {
			n.Append(kafka.AppendRequest{Topic: benchTopic(p), Partition: int32(p), Batch: benchBatch(1024), Acks: -1}, func(a kafka.Appended) { done <- a })
			n.Append(kafka.AppendRequest{Topic: benchTopic(p), Partition: partitions, Batch: benchBatch(1024), Acks: -1}, func(a kafka.Appended) { done <- a })
			must(b, (<-done).Err)
			must(b, (<-done).Err)
		}
	}
	var buf []byte
	fetch := func(p int32, offset int64, maxBytes int) {
		got := n.Fetch(kafka.FetchRequest{Topic: benchTopic(0), Partition: p, Offset: offset, MaxBytes: maxBytes, LeaderEpoch: -1, LastFetchedEpoch: -1, AtLeastOne: true}, buf[:0])
		must(b, got.Err)
		if len(got.Records) < 1000 {
			b.Fatalf("%d bytes", len(got.Records))
		}
		buf = got.Records
	}
	var many, one []float64
	for b.Loop() {
		start := time.Now()
		for p := range partitions {
			fetch(int32(p), 3, 1<<20)
		}
		many = append(many, float64(time.Since(start).Nanoseconds())/partitions)
		start = time.Now()
		for k := range partitions * 1024 >> 20 {
			fetch(partitions, int64(k)*1000, 1<<20)
		}
		one = append(one, float64(time.Since(start).Nanoseconds())/partitions)
	}
	b.ReportMetric(median(many), "ns/KiB-of-many")
	b.ReportMetric(median(one), "ns/KiB-of-one")
	b.ReportMetric(0, "ns/op")
	must(b, n.end())
}
