package integration

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sys/unix"
)

// disk is an ext4 file system in a file, whose power can be cut.
type disk struct {
	t   *testing.T
	img string
	dir string
}

// newDisk needs root and a loop device, which most containers lack. What is not used of
// its size in bytes takes no room.
func newDisk(t *testing.T, size int64) *disk {
	t.Helper()
	base := t.TempDir()
	d := &disk{t, filepath.Join(base, "img"), filepath.Join(base, "mnt")}
	err := os.Mkdir(d.dir, 0o700)
	if err == nil {
		err = os.WriteFile(d.img, nil, 0o600)
	}
	if err == nil {
		err = os.Truncate(d.img, size)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][]string{{"mkfs.ext4", "-q", "-F", d.img}, {"mount", "-o", "loop", d.img, d.dir}} {
		out, err := exec.Command(c[0], c[1:]...).CombinedOutput()
		NeedWhereNamed(t, "power", err == nil, fmt.Sprintf("%v: %v %s", c, err, out))
	}
	t.Cleanup(d.unmount)
	return d
}

func (d *disk) unmount() {
	d.t.Helper()
	var out []byte
	var err error
	for range 100 { // what was killed may not be gone yet
		if out, err = exec.Command("umount", d.dir).CombinedOutput(); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	d.t.Errorf("unmounting: %v %s", err, out)
}

// cutPower makes the file system forget all that was not synced: nothing reaches it
// any more, not even its journal.
func (d *disk) cutPower() {
	d.t.Helper()
	const shutdown, withoutFlush = 0x8004587D, 2 // EXT4_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH
	f, err := os.Open(d.dir)
	if err == nil {
		err = errors.Join(unix.IoctlSetPointerInt(int(f.Fd()), shutdown, withoutFlush), f.Close())
	}
	if err != nil {
		d.t.Fatalf("shutting the file system down: %v", err)
	}
}

// powerUp mounts again what is left.
func (d *disk) powerUp() {
	d.t.Helper()
	d.unmount()
	if out, err := exec.Command("mount", "-o", "loop", d.img, d.dir).CombinedOutput(); err != nil {
		d.t.Fatalf("mounting again: %v %s", err, out)
	}
}

// writer sends numbered messages to its own partition, one request after the other.
type writer struct {
	partition int32
	next      uint64      // number of the next message
	acked     []time.Time // when, of those of this cycle; the first is number begin
	begin     uint64
}

const messageBytes = 1000

// run sends until something fails: the first failure is the loss of power.
func (w *writer) run(ctx context.Context, addr string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic("power"), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.RecordRetries(0), kgo.UnknownTopicRetries(20), kgo.MaxProduceRequestsInflightPerBroker(1),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return err
	}
	defer cl.Close()
	w.begin, w.acked = w.next, nil
	for ctx.Err() == nil {
		var records []*kgo.Record
		for i := range uint64(20) {
			value := binary.BigEndian.AppendUint64(make([]byte, 0, messageBytes), w.next+i)
			records = append(records, &kgo.Record{Partition: w.partition, Value: value[:messageBytes]})
		}
		if cl.ProduceSync(ctx, records...).FirstErr() != nil {
			return nil
		}
		w.next += uint64(len(records))
		now := time.Now()
		for range records {
			w.acked = append(w.acked, now)
		}
	}
	return nil
}

// TestPowerLoss cuts the power of the disk under load. With flush=sync all that was
// acknowledged is there. With flush=async the last moments may be gone, no more than
// docs/storage.md says. Either way what is there has no hole and nothing twice.
func TestPowerLoss(t *testing.T) {
	cycles := Rounds(t, 3, 10)
	for _, flush := range []string{"sync", "async"} {
		t.Run(flush, func(t *testing.T) {
			d := newDisk(t, 1<<30+int64(cycles)*64<<20)
			n := StartIn(t, filepath.Join(d.dir, "data"), "--set", "flush="+flush, "--set", "num.partitions=3", "--set", "log.segment.bytes=2097152")
			ctx := testContext(t, time.Duration(cycles+10)*30*time.Second)
			createPowerTopic(ctx, t, n.Addr)
			seed := rand.Uint64()
			rnd := rand.New(rand.NewPCG(seed, 0))
			writers := []*writer{{partition: 0}, {partition: 1}, {partition: 2}}
			lost, late, total := 0, 0, 0
			for c := range cycles {
				loading, stop := context.WithCancel(ctx)
				var wg sync.WaitGroup
				for _, w := range writers {
					wg.Go(func() {
						if err := w.run(loading, n.Addr); err != nil {
							t.Error(err)
						}
					})
				}
				time.Sleep(300*time.Millisecond + time.Duration(rnd.IntN(500))*time.Millisecond)
				cut := time.Now()
				d.cutPower()
				n.Kill()
				stop()
				wg.Wait()
				d.powerUp()
				n.Restart()
				bytes := 0
				for _, w := range writers {
					end := readNumbers(ctx, t, n.Addr, w.partition, w.begin)
					total += len(w.acked)
					for i, at := range w.acked {
						if w.begin+uint64(i) < end {
							continue
						}
						age := cut.Sub(at)
						if age <= 0 {
							// The call takes a moment, in which the kernel may say of an fdatasync that it
							// has succeeded when it has not: its journal has ended, and was not asked. A
							// machine without power says nothing any more.
							late++
							continue
						}
						bytes += messageBytes
						lost++
						if flush == "sync" || age > asyncBound {
							t.Fatalf("cycle %d, seed %d: partition %d ends at %d, %d was acknowledged %v before the loss", c, seed, w.partition, end, w.begin+uint64(i), age)
						}
					}
					w.next = end
				}
				if bytes > 4<<20 {
					t.Fatalf("cycle %d, seed %d: %d acknowledged bytes are lost", c, seed, bytes)
				}
			}
			for _, w := range writers { // all of it, from the beginning
				if end := readNumbers(ctx, t, n.Addr, w.partition, 0); end != w.next {
					t.Errorf("partition %d ends at %d, not %d", w.partition, end, w.next)
				}
			}
			if total < 100*cycles {
				t.Errorf("only %d messages were acknowledged", total)
			}
			t.Logf("%d power losses, seed %d: %d of %d acknowledged messages are lost, and %d that were acknowledged while the power went", cycles, seed, lost, total, late)
		})
	}
}

func createPowerTopic(ctx context.Context, t *testing.T, addr string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, 3, 1, nil, "power"); err != nil {
		t.Fatal(err)
	}
}

// asyncBound is how old what an asynchronous flush loses may be: the delay of the
// flush, and a second for the flush itself on a busy machine.
const asyncBound = time.Second + 100*time.Millisecond

// readNumbers reads a partition from an offset on and returns where it ends: each
// message has its offset as its number.
func readNumbers(ctx context.Context, t *testing.T, addr string, partition int32, from uint64) (end uint64) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"power": {partition: kgo.NewOffset().At(int64(from))}}))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	// A fetch says nothing where there is nothing new, as when a busy machine left no
	// time to write before the loss.
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, "power")
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	last, ok := ends.Lookup("power", partition)
	if !ok || uint64(last.Offset) < from {
		t.Fatalf("partition %d ends at %d, and did at %d before", partition, last.Offset, from)
	}
	next := from
	for next < uint64(last.Offset) {
		fs := cl.PollFetches(ctx)
		if err := fs.Err0(); err != nil {
			t.Fatal(err)
		}
		fs.EachPartition(func(p kgo.FetchTopicPartition) {
			if p.Err != nil {
				t.Fatalf("reading partition %d from %d: %v", partition, from, p.Err)
			}
		})
		fs.EachRecord(func(r *kgo.Record) {
			number := binary.BigEndian.Uint64(r.Value)
			if number != uint64(r.Offset) || number != next {
				t.Fatalf("partition %d: message %d at offset %d, where %d is due", partition, number, r.Offset, next)
			}
			next++
		})
	}
	return next
}
