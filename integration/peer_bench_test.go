package integration

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The benchmarks in this file put a node beside a real Apache Kafka of one node on the
// same machine, each with the same client in turn, and print what each needs and the
// ratios of ours to Kafka's. SPLASHDAM_BENCH_KAFKA is its address,
// SPLASHDAM_BENCH_KAFKA_PID its process:
//
//	SPLASHDAM_BENCH_KAFKA=127.0.0.1:9092 SPLASHDAM_BENCH_KAFKA_PID=4711 \
//	  go test -run XXX -bench BesideKafka -benchtime 5x -timeout 1h ./integration
//
// The first round warms both up and is not counted. Client and servers share the cores,
// so MB/s say how fast the three are together, and CPU seconds per GB what a server costs.
// SPLASHDAM_BENCH_MIB is how much a round sends to each (256).

// peer is a server that is measured.
type peer struct {
	name, addr string
	pid        int
	admin      *kadm.Client

	produced, consumed         []float64 // MB/s
	producedCost, consumedCost []float64 // CPU seconds a GB
}

// beside starts a node and finds the Kafka beside which it is to be measured.
func beside(b *testing.B, args ...string) [2]*peer {
	addr, pid := os.Getenv("SPLASHDAM_BENCH_KAFKA"), variable("SPLASHDAM_BENCH_KAFKA_PID", 0)
	if addr == "" || pid == 0 {
		b.Skip("needs SPLASHDAM_BENCH_KAFKA and SPLASHDAM_BENCH_KAFKA_PID")
	}
	n := Start(b, args...)
	peers := [2]*peer{{name: "splashdam", addr: n.Addr, pid: n.Pid()}, {name: "kafka", addr: addr, pid: pid}}
	for _, p := range peers {
		cl, err := kgo.NewClient(kgo.SeedBrokers(p.addr))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(cl.Close)
		p.admin = kadm.NewClient(cl)
	}
	return peers
}

// create makes a topic of its own for a round.
func (p *peer) create(ctx context.Context, b *testing.B, partitions int, configs map[string]*string) (topic string) {
	topic = fmt.Sprintf("bench-%d", time.Now().UnixNano())
	if _, err := p.admin.CreateTopic(ctx, int32(partitions), 1, configs, topic); err != nil {
		b.Fatalf("%s: creating a topic: %v", p.name, err)
	}
	return topic
}

func (p *peer) drop(ctx context.Context, b *testing.B, topic string) {
	if _, err := p.admin.DeleteTopic(ctx, topic); err != nil {
		b.Fatalf("%s: deleting a topic: %v", p.name, err)
	}
}

// ticksPerSecond is USER_HZ of proc(5), which is 100 on every architecture of Linux.
const ticksPerSecond = 100

// cpu is the CPU seconds that a process has used, of all its threads.
func cpu(b *testing.B, pid int) float64 {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		b.Fatal(err)
	}
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	ticks := 0
	for _, f := range fields[11:13] { // utime and stime, the 14th and 15th of proc(5)
		n, err := strconv.Atoi(string(f))
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return float64(ticks) / ticksPerSecond
}

// resident is the most memory that a process has had, in MiB.
func resident(b *testing.B, pid int) float64 {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			if err != nil {
				b.Fatal(err)
			}
			return float64(kib) / 1024
		}
	}
	b.Fatal("no VmHWM in the status of the process")
	return 0
}

// sending is what is sent.
type sending struct {
	size, partitions int
	acks             kgo.Acks
	configs          map[string]*string // of Kafka's topic
	bytes            int
}

// round sends to a server and reads it back.
func (p *peer) round(ctx context.Context, b *testing.B, s sending, counts bool) {
	configs := s.configs
	if p.name != "kafka" {
		configs = nil
	}
	topic := p.create(ctx, b, s.partitions, configs)
	defer p.drop(ctx, b, topic)
	count := s.bytes / s.size
	gb := float64(count) * float64(s.size) / 1e9
	used := cpu(b, p.pid)
	took := produceAll(ctx, b, p.addr, topic, s, count)
	cost := (cpu(b, p.pid) - used) / gb
	used = cpu(b, p.pid)
	read := consumeAll(ctx, b, p.addr, topic, count)
	if counts {
		p.produced, p.producedCost = append(p.produced, gb*1e3/took.Seconds()), append(p.producedCost, cost)
		p.consumed, p.consumedCost = append(p.consumed, gb*1e3/read.Seconds()), append(p.consumedCost, (cpu(b, p.pid)-used)/gb)
	}
}

// produceAll sends count records, and returns when all are acknowledged.
func produceAll(ctx context.Context, b *testing.B, addr, topic string, s sending, count int) time.Duration {
	value := make([]byte, s.size)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(value)
	opts := []kgo.Opt{
		kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.MaxBufferedRecords(200_000), kgo.MaxBufferedBytes(64 << 20), kgo.RequiredAcks(s.acks),
		kgo.RecordPartitioner(kgo.RoundRobinPartitioner()),
	}
	if s.acks != kgo.AllISRAcks() {
		opts = append(opts, kgo.DisableIdempotentWrite())
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	if err := cl.Ping(ctx); err != nil {
		b.Fatal(err)
	}
	var failed atomic.Pointer[error]
	start := time.Now()
	for range count {
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
	return time.Since(start)
}

func consumeAll(ctx context.Context, b *testing.B, addr, topic string, count int) time.Duration {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxBytes(50<<20), kgo.FetchMaxPartitionBytes(1<<20))
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	start := time.Now()
	for got := 0; got < count; {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			b.Fatal(err)
		}
		got += fs.NumRecords()
	}
	return time.Since(start)
}

func BenchmarkBesideKafka(b *testing.B) {
	sent := variable("SPLASHDAM_BENCH_MIB", 256) << 20
	async := []string{"--set", "flush=async", "--set", "default.replication.factor=1"} // as Kafka does by default
	for _, c := range []struct {
		name string
		args []string
		sending
	}{
		{"size=1000/acks=all/partitions=1", async, sending{1000, 1, kgo.AllISRAcks(), nil, sent}},
		{"size=1000/acks=all/partitions=64", async, sending{1000, 64, kgo.AllISRAcks(), nil, sent}},
		{"size=1000/acks=1/partitions=1", async, sending{1000, 1, kgo.LeaderAck(), nil, sent}},
		{"size=1000/acks=1/partitions=64", async, sending{1000, 64, kgo.LeaderAck(), nil, sent}},
		{"size=100/acks=all/partitions=1", async, sending{100, 1, kgo.AllISRAcks(), nil, sent / 4}},
		{"size=100/acks=all/partitions=64", async, sending{100, 64, kgo.AllISRAcks(), nil, sent / 4}},
		// Acknowledged is on the disk, which Kafka does by a flush for each batch.
		{"durable/size=1000/partitions=1", nil, sending{1000, 1, kgo.AllISRAcks(), map[string]*string{"flush.messages": kadm.StringPtr("1")}, sent}},
		{"durable/size=1000/partitions=64", nil, sending{1000, 64, kgo.AllISRAcks(), map[string]*string{"flush.messages": kadm.StringPtr("1")}, sent / 4}},
	} {
		b.Run(c.name, func(b *testing.B) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			defer cancel()
			peers := beside(b, c.args...)
			for _, p := range peers {
				p.round(ctx, b, c.sending, false)
			}
			order := slices.Clone(peers[:])
			for b.Loop() {
				for _, p := range order {
					p.round(ctx, b, c.sending, true)
				}
				slices.Reverse(order) // what the one leaves to the disk is the other's as often
			}
			ours, kafkas := peers[0], peers[1]
			report := func(what string, unit string, of func(*peer) float64) {
				b.ReportMetric(of(ours), what+unit)
				b.ReportMetric(of(kafkas), "kafka-"+what+unit)
				b.ReportMetric(of(ours)/of(kafkas), what+"/kafka")
			}
			report("produce", "-MB/s", func(p *peer) float64 { return middle(p.produced) })
			report("consume", "-MB/s", func(p *peer) float64 { return middle(p.consumed) })
			report("produce-cpu", "-s/GB", func(p *peer) float64 { return middle(p.producedCost) })
			report("consume-cpu", "-s/GB", func(p *peer) float64 { return middle(p.consumedCost) })
			report("resident", "-MiB", func(p *peer) float64 { return resident(b, p.pid) })
			b.ReportMetric(0, "ns/op")
		})
	}
}

// middle is the median.
func middle(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

// BenchmarkLatencyBesideKafka sends 1,000 messages of 1 KB a second, acks=all, one at a
// time, for five seconds to each server in turn, and measures from the call that sends a
// message until a consumer has it. Kafka acknowledges before the disk has it; with
// flush=sync a node does so after.
func BenchmarkLatencyBesideKafka(b *testing.B) {
	for _, flush := range []string{"async", "sync"} {
		b.Run("flush="+flush, func(b *testing.B) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
			defer cancel()
			peers := beside(b, "--set", "flush="+flush)
			took := make(map[string][]float64)
			for _, p := range peers {
				p.latencies(ctx, b, 2*time.Second)
			}
			order := slices.Clone(peers[:])
			for b.Loop() {
				for _, p := range order {
					took[p.name] = append(took[p.name], p.latencies(ctx, b, 5*time.Second)...)
				}
				slices.Reverse(order)
			}
			for _, q := range []struct {
				name string
				part float64
			}{{"p50", 0.5}, {"p99", 0.99}} {
				at := func(name string) float64 {
					list := slices.Sorted(slices.Values(took[name]))
					return list[int(q.part*float64(len(list)-1))] * 1e3
				}
				b.ReportMetric(at("splashdam"), q.name+"-ms")
				b.ReportMetric(at("kafka"), "kafka-"+q.name+"-ms")
				b.ReportMetric(at("splashdam")/at("kafka"), q.name+"/kafka")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// latencies is the seconds that each message of a fixed rate needed from the producer
// to the consumer.
func (p *peer) latencies(ctx context.Context, b *testing.B, length time.Duration) []float64 {
	topic := p.create(ctx, b, 1, nil)
	defer p.drop(ctx, b, topic)
	client := func(opts ...kgo.Opt) *kgo.Client {
		cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(p.addr))...)
		if err != nil {
			b.Fatal(err)
		}
		return cl
	}
	producer := client(kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()))
	defer producer.Close()
	consumer := client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer consumer.Close()
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	must(producer.ProduceSync(ctx, &kgo.Record{Value: []byte("first")}).FirstErr())
	must(consumer.PollFetches(ctx).Err()) // both have found the leader
	const every = time.Millisecond
	count := int(length / every)
	took := make([]float64, 0, count)
	go func() {
		start := time.Now()
		for i := range count {
			time.Sleep(time.Until(start.Add(time.Duration(i) * every)))
			value := make([]byte, 1000)
			binary.BigEndian.PutUint64(value, uint64(time.Now().UnixNano()))
			producer.Produce(ctx, &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
				if err != nil {
					b.Error(err)
				}
			})
		}
	}()
	for len(took) < count {
		fs := consumer.PollFetches(ctx)
		now := time.Now()
		must(fs.Err())
		fs.EachRecord(func(r *kgo.Record) {
			took = append(took, float64(now.UnixNano()-int64(binary.BigEndian.Uint64(r.Value)))/1e9)
		})
	}
	return took
}
