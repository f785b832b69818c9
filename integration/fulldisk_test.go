package integration

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// smallDisk mounts a file system of the given size in bytes, which needs root.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options)
	Need(t, "mount", err == nil, "mounting a small tmpfs as root: "+errText(err))
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestFullDiskRefusesBatchesAndRecovers fills the disk: producing fails with Kafka's
// storage error, reading goes on, and when there is room again so does producing,
// without a restart. What was acknowledged is there after a kill.
func TestFullDiskRefusesBatchesAndRecovers(t *testing.T) {
	for name, ballast := range map[string]int64{
		"filled by ourselves":     0,
		"filled to the last byte": 1 << 40, // beside us, while we run: writes themselves fail
	} {
		t.Run(name, func(t *testing.T) {
			disk := smallDisk(t, "size=64m")
			n := StartIn(t, filepath.Join(disk, "data"), "--set", "log.segment.bytes=4194304")
			ctx := testContext(t, 2*time.Minute)
			cl, err := kgo.NewClient(kgo.SeedBrokers(n.Addr), kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic("disk"),
				kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.RecordRetries(0), kgo.UnknownTopicRetries(10),
				kgo.ProducerBatchCompression(kgo.NoCompression()))
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			acked := 0
			value := bytes.Repeat([]byte("x"), 100<<10)
			send := func() error {
				err := cl.ProduceSync(ctx, &kgo.Record{Value: value}).FirstErr()
				if err == nil {
					acked++
				}
				return err
			}
			eventually(ctx, t, "producing at first", send)

			filler := filepath.Join(disk, "filler")
			if ballast > 0 {
				fill(t, filler)
			}
			var refused error
			for range 2000 {
				if refused = send(); refused != nil {
					break
				}
			}
			if !errors.Is(refused, kerr.KafkaStorageError) {
				t.Fatalf("a full disk is answered with %v, after %d messages", refused, acked)
			}
			if got := count(ctx, t, n.Addr, "disk", acked); got < acked {
				t.Fatalf("%d of %d acknowledged messages can be read while the disk is full", got, acked)
			}

			if ballast > 0 {
				if err := os.Remove(filler); err != nil {
					t.Fatal(err)
				}
			} else if err := syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, "size=128m"); err != nil {
				t.Fatal(err)
			}
			eventually(ctx, t, "producing when there is room again", send)

			n.Kill()
			n.Restart()
			if got := count(ctx, t, n.Addr, "disk", acked); got < acked {
				t.Fatalf("%d of %d acknowledged messages are there after a kill", got, acked)
			}
		})
	}
}

// fill writes a file until the disk has no byte left.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size >= 1; {
		_, err := f.Write(make([]byte, size))
		switch {
		case errors.Is(err, syscall.ENOSPC):
			size /= 2
		case err != nil:
			t.Fatal(err)
		}
	}
}

// eventually repeats what until it succeeds or the context ends.
func eventually(ctx context.Context, t *testing.T, name string, what func() error) {
	t.Helper()
	for {
		err := what()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", name, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// count reads a topic of one partition from the start until want messages came, or
// the end of what there is. An unacknowledged one may be among them.
func count(ctx context.Context, t *testing.T, addr, topic string, want int) int {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	got := 0
	for got < want && ctx.Err() == nil {
		fs := cl.PollFetches(ctx)
		for _, e := range fs.Errors() {
			if ctx.Err() == nil {
				t.Fatalf("reading %s: %v", topic, e.Err)
			}
		}
		got += fs.NumRecords()
	}
	return got
}
