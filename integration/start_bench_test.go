package integration

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// BenchmarkStart fills a node, kills it under load with SIGKILL, and measures how long
// it takes to be ready again, all on one data shard. SPLASHDAM_BENCH_MIB is how much the
// log holds (1,024), SPLASHDAM_BENCH_PARTITIONS over how many partitions (1,000). The
// figure must not depend on the first. The page cache has what it has: after a
// restart of the machine the same reads come from the disk.
func BenchmarkStart(b *testing.B) {
	mib, partitions := variable("SPLASHDAM_BENCH_MIB", 1024), variable("SPLASHDAM_BENCH_PARTITIONS", 1000)
	n := Start(b, "--set", "default.replication.factor=1")
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(n.Addr), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(900_000), kgo.MaxBufferedBytes(64<<20), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, int32(partitions), 1, nil, "start"); err != nil {
		b.Fatal(err)
	}
	value := make([]byte, 64<<10)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(value)
	sent := 0
	send := func(bytes int) {
		for end := sent + bytes/len(value); sent < end; sent++ {
			cl.Produce(ctx, &kgo.Record{Topic: "start", Partition: int32(sent % partitions), Value: value}, func(_ *kgo.Record, err error) {
				if err != nil && !errors.Is(err, context.Canceled) {
					b.Error(err)
				}
			})
		}
	}
	send(mib << 20)
	if err := cl.Flush(ctx); err != nil {
		b.Fatal(err)
	}
	var took []float64
	for b.Loop() {
		send(32 << 20)
		n.Kill() // with some of it on its way
		start := time.Now()
		n.Restart()
		took = append(took, time.Since(start).Seconds()*1e3)
		if err := cl.Flush(ctx); err != nil {
			b.Fatal(err)
		}
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2], "start-ms")
	b.ReportMetric(took[len(took)-1], "slowest-ms")
	b.ReportMetric(float64(sizeOf(b, n.Dir))/(1<<30), "data-GiB")
	b.ReportMetric(0, "ns/op")
}

func variable(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// sizeOf is the bytes of all files under a directory.
func sizeOf(b testing.TB, dir string) (size int64) {
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err != nil {
		b.Fatal(fmt.Errorf("measuring %s: %w", dir, err))
	}
	return size
}
