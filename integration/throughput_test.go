package integration

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// BenchmarkThroughput sends messages of 1 KB, acks=all with sync flush, over TCP to
// the real binary, reads them back, and writes the same number of bytes to a plain
// file with one sync at the end, all in one run:
//
//	go test -run XXX -bench Throughput -benchtime 500000x ./integration
//
// It prints MB/s for each and the ratios to the file, which are what to compare
// between machines. Client and broker share the cores.
func BenchmarkThroughput(b *testing.B) {
	for _, partitions := range []string{"1", "64"} {
		b.Run("partitions="+partitions, func(b *testing.B) {
			n := Start(b, "--set", "num.partitions="+partitions)
			value := make([]byte, 1000)
			rnd := rand.New(rand.NewPCG(1, 2))
			for i := range value {
				value[i] = byte(rnd.Uint32())
			}
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
			defer cancel()
			b.ResetTimer()
			produced := produceRate(ctx, b, n.Addr, value)
			consumed := consumeRate(ctx, b, n.Addr)
			b.StopTimer()
			file := fileRate(b, filepath.Join(b.TempDir(), "plain"), len(value))
			b.ReportMetric(produced, "produce-MB/s")
			b.ReportMetric(consumed, "consume-MB/s")
			b.ReportMetric(file, "file-MB/s")
			b.ReportMetric(produced/file, "produce/file")
			b.ReportMetric(consumed/file, "consume/file")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func rate(messages, size int, since time.Time) float64 {
	return float64(messages) * float64(size) / 1e6 / time.Since(since).Seconds()
}

func produceRate(ctx context.Context, b *testing.B, addr string, value []byte) float64 {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic("bench"),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(50_000))
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	// The topic's creation is not what is measured.
	if err := cl.ProduceSync(ctx, &kgo.Record{Value: value}).FirstErr(); err != nil {
		b.Fatal(err)
	}
	var failed atomic.Pointer[error]
	start := time.Now()
	for range b.N {
		cl.Produce(ctx, &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		b.Fatal(err)
	}
	if p := failed.Load(); p != nil {
		b.Fatal(*p)
	}
	return rate(b.N, len(value), start)
}

func consumeRate(ctx context.Context, b *testing.B, addr string) float64 {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics("bench"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxBytes(50<<20), kgo.FetchMaxPartitionBytes(4<<20))
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	start := time.Now()
	size := 0
	for got := 0; got < b.N; {
		fs := cl.PollFetches(ctx)
		if err := fs.Err0(); err != nil {
			b.Fatal(err)
		}
		fs.EachRecord(func(r *kgo.Record) { size = len(r.Value) })
		got += fs.NumRecords()
	}
	return rate(b.N, size, start)
}

func fileRate(b *testing.B, name string, size int) float64 {
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	const chunk = 1000 // messages per write: about 1 MB, as an entry of the log
	buf := bytes.Repeat([]byte("x"), chunk*size)
	start := time.Now()
	for left := b.N; left > 0; left -= chunk {
		if _, err := f.Write(buf[:min(left, chunk)*size]); err != nil {
			b.Fatal(err)
		}
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	return rate(b.N, size, start)
}
