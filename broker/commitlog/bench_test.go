package commitlog

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// The benchmarks of this package measure rounds: in each, the log does its work and a
// plain loop does the same bytes, one after the other, so that whatever else the
// machine does meets both. SPLASHDAM_BENCH_MIB is how many MiB a round moves.

// roundBytes is the size of a round.
func roundBytes(b *testing.B) int {
	n, err := strconv.Atoi(os.Getenv("SPLASHDAM_BENCH_MIB"))
	if err != nil {
		n = 128
	}
	return n << 20
}

// ratios gathers rounds and reports the medians.
type ratios struct {
	bytes       int
	ours, plain []float64 // seconds
}

func (r *ratios) report(b *testing.B) {
	slices.Sort(r.ours)
	slices.Sort(r.plain)
	ours, plain := r.ours[len(r.ours)/2], r.plain[len(r.plain)/2]
	b.ReportMetric(float64(r.bytes)/1e6/ours, "log-MB/s")
	b.ReportMetric(float64(r.bytes)/1e6/plain, "plain-MB/s")
	b.ReportMetric(plain/ours, "log/plain")
	b.ReportMetric(0, "ns/op")
}

func seconds(f func()) float64 {
	start := time.Now()
	f()
	return time.Since(start).Seconds()
}

// benchEntries makes entries of about size bytes each, with batches of one record of
// batchSize bytes, over partitions in turn.
func benchEntries(count, size, batchSize, partitions int) []record.Entry {
	rnd := rand.NewChaCha8([32]byte{1})
	value := make([]byte, batchSize-record.BatchHeaderSize-16)
	_, _ = rnd.Read(value)
	next := make([]int64, partitions)
	entries := make([]record.Entry, count)
	template := record.Build(record.BuildOptions{BaseTimestamp: 1, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}, []record.Record{{Value: value}})
	turn := 0
	for i := range entries {
		var builder record.EntryBuilder
		for builder.Size()+len(template) <= size || builder.Parts() == 0 {
			p := turn % partitions
			turn++
			record.Batch(template).SetBaseOffset(next[p])
			next[p]++
			builder.Add(record.KindBatch, record.PartitionID(p+1), template)
		}
		entries[i] = builder.Finish(record.Index(i+1), 1, 1, false)
	}
	return entries
}

// benchLog opens a new log on the disk.
func benchLog(b testing.TB, dir string) *Log {
	b.Helper()
	return benchLogOn(b, vfs.OS(), dir)
}

func benchLogOn(b testing.TB, fsys vfs.FS, dir string) *Log {
	b.Helper()
	l, err := Open(fsys, dir, Options{})
	must(b, err)
	must(b, l.SetHardState(HardState{Term: 1, Vote: 1}))
	return l
}

// plainFile is the ceiling: a new file on the same disk.
func plainFile(b testing.TB, name string) *os.File {
	b.Helper()
	f, err := os.Create(name)
	must(b, err)
	return f
}

// gone removes what a round left, and with it what the disk would still have to write.
func gone(b testing.TB, dir string) {
	b.Helper()
	must(b, os.RemoveAll(dir))
}

var benchSizes = []struct {
	name string
	size int
}{{"64KiB", 64 << 10}, {"1MiB", 1 << 20}}

// BenchmarkAppend appends entries without a sync, against writes of the same bytes.
func BenchmarkAppend(b *testing.B) {
	for _, s := range benchSizes {
		b.Run(s.name, func(b *testing.B) {
			b.ReportAllocs()
			r := ratios{bytes: roundBytes(b)}
			entries := benchEntries(r.bytes/s.size, s.size, s.size-1024, 1)
			for b.Loop() {
				dir := b.TempDir()
				l := benchLog(b, filepath.Join(dir, "log"))
				r.ours = append(r.ours, seconds(func() {
					for i := range entries {
						must(b, l.Append(entries[i:i+1]))
					}
				}))
				must(b, l.Close())
				f := plainFile(b, filepath.Join(dir, "plain"))
				r.plain = append(r.plain, seconds(func() {
					for _, e := range entries {
						_, err := f.Write(e)
						must(b, err)
					}
				}))
				must(b, f.Close())
				gone(b, dir)
			}
			r.report(b)
		})
	}
}

// BenchmarkAppendSync has 64 producers that each wait until their entry is durable,
// before an appender that writes all that waits and syncs once, against the plain loop
// with one sync for each entry.
func BenchmarkAppendSync(b *testing.B) {
	const producers = 64
	for _, s := range benchSizes {
		b.Run(s.name, func(b *testing.B) {
			r := ratios{bytes: roundBytes(b)}
			entries := benchEntries(r.bytes/s.size, s.size, s.size-1024, 1)
			for b.Loop() {
				dir := b.TempDir()
				l := benchLog(b, filepath.Join(dir, "log"))
				r.ours = append(r.ours, seconds(func() { appendDurably(b, l, entries, producers) }))
				must(b, l.Close())
				f := plainFile(b, filepath.Join(dir, "plain"))
				r.plain = append(r.plain, seconds(func() {
					for _, e := range entries {
						_, err := f.Write(e)
						must(b, err)
						must(b, syscall.Fdatasync(int(f.Fd())))
					}
				}))
				must(b, f.Close())
				gone(b, dir)
			}
			r.report(b)
		})
	}
}

// appendDurably is the appender's loop with producers in front of it, each with one
// entry in flight.
func appendDurably(b testing.TB, l *Log, entries []record.Entry, producers int) {
	work := make(chan struct{}, producers)
	acks := make(chan struct{}, producers)
	var wg sync.WaitGroup
	for i := range producers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for n := i; n < len(entries); n += producers {
				work <- struct{}{}
				<-acks
			}
		}()
	}
	for at := 0; at < len(entries); {
		<-work
		n := 1
		for n < len(entries)-at {
			select {
			case <-work:
				n++
				continue
			default:
			}
			break
		}
		must(b, l.Append(entries[at:at+n]))
		must(b, l.Sync())
		at += n
		for range n {
			acks <- struct{}{}
		}
	}
	wg.Wait()
}

// BenchmarkFetch reads hot data in pieces of a fetch and writes them to a socket,
// against sendfile of the same file to the same socket. The CPU time is the process's,
// the receiver's included.
func BenchmarkFetch(b *testing.B) {
	for _, c := range []struct {
		name              string
		batch, partitions int
	}{{"64KiB", 64 << 10, 1}, {"1MiB", 1<<20 - 1024, 1}, {"16KiB-of-16-partitions", 16 << 10, 16}} {
		b.Run(c.name, func(b *testing.B) {
			dir := b.TempDir()
			size := roundBytes(b)
			l := benchLog(b, filepath.Join(dir, "log"))
			for _, e := range benchEntries(size>>20, 1<<20, c.batch, c.partitions) {
				must(b, l.Append([]record.Entry{e}))
				l.Committed(e)
			}
			must(b, l.Sync())
			conn := drain(b)
			r := ratios{bytes: size}
			var cpu, plainCPU time.Duration
			var buf []byte
			for b.Loop() {
				used := cpuTime()
				r.ours = append(r.ours, seconds(func() {
					for p := range c.partitions {
						for offset := int64(0); ; {
							got, err := l.Read(buf[:0], nil, record.PartitionID(p+1), offset, 1<<62, 1<<20, true)
							must(b, err)
							if len(got) == 0 {
								break
							}
							buf = got
							_, err = conn.Write(got)
							must(b, err)
							for rest := got; len(rest) > 0; {
								first, tail, err := record.SplitBatch(rest)
								must(b, err)
								offset, rest = first.NextOffset(), tail
							}
						}
					}
				}))
				cpu += cpuTime() - used
				f, err := os.Open(filepath.Join(dir, "log", l.Segments()[0].Name))
				must(b, err)
				used = cpuTime()
				r.plain = append(r.plain, seconds(func() {
					_, err := io.CopyN(conn, f, l.OpenSegmentSize())
					must(b, err)
				}))
				plainCPU += cpuTime() - used
				must(b, f.Close())
			}
			r.report(b)
			gb := float64(size) / 1e9 * float64(b.N)
			b.ReportMetric(cpu.Seconds()/gb, "log-CPU-s/GB")
			b.ReportMetric(plainCPU.Seconds()/gb, "sendfile-CPU-s/GB")
			must(b, l.Close())
		})
	}
}

// drain returns a connection over loopback whose other end reads and forgets.
func drain(b testing.TB) *net.TCPConn {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(b, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		buf := make([]byte, 1<<20)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
		}
	}()
	conn, err := net.Dial("tcp", ln.Addr().String())
	must(b, err)
	b.Cleanup(func() {
		conn.Close()
		ln.Close()
		<-done
	})
	return conn.(*net.TCPConn)
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(fmt.Sprintf("reading the CPU time: %v", err))
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkFind looks for offsets and times in a log of many small segments, each with
// a directory of 100 partitions, in a partition that every segment has and in one that
// 1 of 50 has. SPLASHDAM_BENCH_SEGMENTS is how many (1,000); each takes two open files.
func BenchmarkFind(b *testing.B) {
	segments, err := strconv.Atoi(os.Getenv("SPLASHDAM_BENCH_SEGMENTS"))
	if err != nil {
		segments = 1000
	}
	const partitions, often, seldom, every = 100, 1, 2, 50
	l := benchLogOn(b, unsynced{vfs.OS()}, filepath.Join(b.TempDir(), "log"))
	next := make([]int64, partitions+1)
	for i := range segments {
		var builder record.EntryBuilder
		add := func(p int) {
			t := record.Build(record.BuildOptions{BaseOffset: next[p], BaseTimestamp: int64(i), ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}, []record.Record{{Value: []byte("x")}})
			next[p]++
			builder.Add(record.KindBatch, record.PartitionID(p), t)
		}
		if i == 0 {
			for p := range partitions {
				add(p + 1)
			}
		}
		add(often)
		if i%every == 0 {
			add(seldom)
		}
		e := builder.Finish(record.Index(i+1), 1, 1, true)
		must(b, l.Append([]record.Entry{e}))
		l.Committed(e)
		must(b, sealAll(l))
	}
	must(b, l.Append(nil)) // rolls
	must(b, sealAll(l))
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name      string
		partition int
	}{{"often", often}, {"seldom", seldom}} {
		p := record.PartitionID(c.partition)
		b.Run("offset/"+c.name, func(b *testing.B) {
			for b.Loop() {
				want := rnd.Int64N(next[c.partition])
				v, err := l.view(p)
				must(b, err)
				found := int64(-1)
				must(b, v.walk(want, func(r row) bool { found = r.base; return false }))
				v.release()
				if found != want {
					b.Fatalf("found %d, want %d", found, want)
				}
			}
		})
		b.Run("time/"+c.name, func(b *testing.B) {
			for b.Loop() {
				want := rnd.Int64N(int64(segments - every))
				_, at, ok, err := l.OffsetForTime(p, want, 0, 1<<62)
				must(b, err)
				if !ok || at < want || at >= want+every {
					b.Fatalf("found time %d, want %d", at, want)
				}
			}
		})
	}
	must(b, l.Close())
}

// unsynced never waits for the disk, where only the log's structure counts.
type unsynced struct{ vfs.FS }

func (unsynced) SyncDir(string) error { return nil }

func (u unsynced) Create(name string) (vfs.File, error) { return u.wrap(u.FS.Create(name)) }

func (u unsynced) OpenWrite(name string) (vfs.File, error) { return u.wrap(u.FS.OpenWrite(name)) }

func (unsynced) wrap(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return unsyncedFile{f}, nil
}

type unsyncedFile struct{ vfs.File }

func (unsyncedFile) Sync() error { return nil }

// BenchmarkSeal appends and syncs entries of 64 KiB, one by one, while a segment of batches
// of 1 KiB, of one partition and of 10,000, is sealed beside: the longest that one took, of
// as many that nothing ran beside, and of the seal, for which an append would wait if it ran
// in front. SPLASHDAM_BENCH_MIB=1024 is a whole segment.
func BenchmarkSeal(b *testing.B) {
	for _, partitions := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("partitions=%d", partitions), func(b *testing.B) {
			size := roundBytes(b)
			entries := benchEntries(size>>20, 1<<20, 1024, partitions)
			entries = append(entries, rolling(record.Index(len(entries)+1)))
			var seals, beside, alone []float64
			for b.Loop() {
				dir := b.TempDir()
				l := benchLog(b, filepath.Join(dir, "log"))
				must(b, l.Append(entries))
				for _, e := range entries {
					l.Committed(e)
				}
				must(b, l.Append(nil)) // rolls
				must(b, l.Sync())
				began, sealed := make(chan struct{}), make(chan float64)
				go func() {
					close(began)
					sealed <- seconds(func() {
						if err := l.Seal(); err != nil {
							b.Error(err)
						}
					})
				}()
				<-began
				longest, n := 0.0, 0
				for done := false; !done; n++ {
					longest = max(longest, appendOne(b, l))
					select {
					case took := <-sealed:
						seals, done = append(seals, took), true
					default:
					}
				}
				beside = append(beside, longest)
				for longest = 0; n > 0; n-- {
					longest = max(longest, appendOne(b, l))
				}
				alone = append(alone, longest)
				must(b, l.Close())
				gone(b, dir)
			}
			for _, list := range [][]float64{seals, beside, alone} {
				slices.Sort(list)
			}
			mid := len(seals) / 2
			b.ReportMetric(seals[mid]*1e3, "seal-ms")
			b.ReportMetric(beside[mid]*1e3, "beside-ms")
			b.ReportMetric(alone[mid]*1e3, "alone-ms")
			b.ReportMetric(beside[mid]/seals[mid], "beside/seal")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// appendOne appends an entry of 64 KiB and syncs it: how long that takes, in seconds.
func appendOne(b testing.TB, l *Log) float64 {
	var builder record.EntryBuilder
	builder.Add(record.KindCommand, 0, make([]byte, 64<<10))
	e := builder.Finish(l.Last()+1, 1, 1, false)
	return seconds(func() {
		must(b, l.Append([]record.Entry{e}))
		must(b, l.Sync())
	})
}

// rolling is an entry without content behind which the segment ends.
func rolling(i record.Index) record.Entry {
	var builder record.EntryBuilder
	return builder.Finish(i, 1, 1, true)
}

// BenchmarkSync is what a single producer waits: an entry of 4 KiB, or 64 KiB, appended
// and synced, in a segment that grows as it is written and in one that was prepared, in
// turn.
func BenchmarkSync(b *testing.B) {
	for _, s := range []struct {
		name string
		size int
	}{{"4KiB", 4 << 10}, {"64KiB", 64 << 10}} {
		b.Run(s.name, func(b *testing.B) {
			const each = 200
			entries := benchEntries(2*each+1, s.size, s.size-1024, 1)
			entries[each] = rolling(each + 1)
			var grown, prepared []float64
			for b.Loop() {
				dir := b.TempDir()
				for _, prepare := range []bool{false, true} {
					l, err := Open(vfs.OS(), filepath.Join(dir, fmt.Sprint(prepare)), Options{roomPiece: 64 << 10})
					must(b, err)
					must(b, l.SetHardState(HardState{Term: 1, Vote: 1}))
					must(b, l.Append(entries[:each]))
					for prepare && l.PreparePending() {
						must(b, l.Prepare())
					}
					must(b, l.Append(entries[each:each+1]))
					must(b, l.Append(nil)) // rolls
					for i := each + 1; i < len(entries); i++ {
						took := seconds(func() {
							must(b, l.Append(entries[i:i+1]))
							must(b, l.Sync())
						})
						if prepare {
							prepared = append(prepared, took)
						} else {
							grown = append(grown, took)
						}
					}
					must(b, l.Close())
				}
				gone(b, dir)
			}
			slices.Sort(grown)
			slices.Sort(prepared)
			n := len(grown)
			b.ReportMetric(grown[n/2]*1e6, "grown-p50-us")
			b.ReportMetric(grown[n*99/100]*1e6, "grown-p99-us")
			b.ReportMetric(prepared[n/2]*1e6, "prepared-p50-us")
			b.ReportMetric(prepared[n*99/100]*1e6, "prepared-p99-us")
			b.ReportMetric(prepared[n/2]/grown[n/2], "prepared/grown")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkARewrite rewrites segments of which half lives, and prints how fast that is
// beside a copy of as many bytes, call for call, to a file that is synced.
func BenchmarkARewrite(b *testing.B) {
	const batches, size = 1024, 64 << 10
	var cleaned, copied time.Duration
	for b.Loop() {
		b.StopTimer()
		fsys, dir := vfs.OS(), b.TempDir()
		l, err := Open(fsys, dir, Options{})
		if err == nil {
			err = l.SetHardState(HardState{Term: 1, Vote: 1})
		}
		var e record.EntryBuilder
		payload := make([]byte, size)
		for i := record.Index(1); err == nil && i <= batches+2; i++ {
			if i <= batches {
				e.Add(record.KindBatch, record.PartitionID(1+i%2), record.Build(record.BuildOptions{
					BaseOffset: int64(i-1) / 2, BaseTimestamp: 1, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1,
				}, []record.Record{{Value: payload}}))
			}
			entry := e.Finish(i, 1, 1, i == batches)
			if err = l.Append([]record.Entry{entry}); err == nil {
				l.Committed(entry)
			}
			if e.Reset(); err == nil && i > batches {
				err = l.WriteSnapshot(&Snapshot{Index: i, Term: 1})
			}
		}
		if err == nil {
			err = sealAll(l)
		}
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		begin := time.Now()
		got, err := l.Clean(starts{1: -1}, CleanOptions{SegmentSize: 1 << 30, Pace: atOnce})
		cleaned += time.Since(begin)
		b.StopTimer()
		if err != nil || got.Rewritten != 1 {
			b.Fatalf("%+v, %v", got, err)
		}
		s := l.set.list[0]
		f, err := fsys.Create(dir + "/copy")
		if err != nil {
			b.Fatal(err)
		}
		begin = time.Now()
		for pos := int64(0); pos < s.size && err == nil; pos += size {
			n := min(size, s.size-pos)
			if err = readFull(s.file, payload[:n], pos); err == nil {
				_, err = f.WriteAt(payload[:n], pos)
			}
		}
		if err == nil {
			err = f.Sync()
		}
		copied += time.Since(begin)
		if err := errors.Join(err, f.Close(), l.Close()); err != nil {
			b.Fatal(err)
		}
		b.SetBytes(s.size)
		b.StartTimer()
	}
	b.ReportMetric(copied.Seconds()/cleaned.Seconds(), "of-a-copy")
}
