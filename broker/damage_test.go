package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// fetchAt fetches once, from an offset of partition 0, and returns the values.
func (a asker) fetchAt(ctx context.Context, topic string, offset int64) ([]string, error) {
	req := kmsg.NewPtrFetchRequest()
	req.MaxBytes, req.SessionEpoch = 1<<20, -1
	p := kmsg.NewFetchRequestTopicPartition()
	p.FetchOffset, p.PartitionMaxBytes = offset, 1<<20
	ft := kmsg.NewFetchRequestTopic()
	ft.Topic, ft.Partitions = topic, append(ft.Partitions, p)
	req.Topics = append(req.Topics, ft)
	resp, err := req.RequestWith(ctx, a)
	if err != nil {
		return nil, err
	}
	got := resp.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		return nil, err
	}
	var values []string
	for batches := got.RecordBatches; len(batches) > 0; {
		b, rest, err := record.SplitBatch(batches)
		if err != nil {
			return nil, err
		}
		records, err := b.Decode(1 << 20)
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			values = append(values, string(r.Value))
		}
		batches = rest
	}
	return values, nil
}

// flip changes one bit of a text in the segment of a shard that holds it.
func flip(t *testing.T, mem *vfs.Mem, dir, text string) {
	t.Helper()
	names, err := mem.List(dir)
	must(t, err)
	for _, name := range names {
		if !strings.HasSuffix(name, ".log") {
			continue
		}
		found := false
		overwrite(t, mem, path.Join(dir, name), func(b []byte) []byte {
			if i := bytes.Index(b, []byte(text)); i >= 0 {
				b[i], found = b[i]^1, true
			}
			return b
		})
		if found {
			return
		}
	}
	t.Fatalf("%q is in no segment", text)
}

// TestDamageIsToldOnceNeverServedAndCostsNothingElse flips a bit in what is read, and
// one in what nobody reads.
func TestDamageIsToldOnceNeverServedAndCostsNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		mem := vfs.NewMem()
		cfg := small(t, mem)
		cfg.Shards = 1
		n := run(t, cfg)
		ask := n.asker(t)
		must(t, ask.createTopic(ctx, orders, 1))
		var want []string
		for i := range 100 {
			value := fmt.Sprintf("value %03d %s", i, strings.Repeat("x", 100))
			want = append(want, value)
			_, err := ask.produce(ctx, orders, 0, batch(-1, 0, value))
			must(t, err)
		}
		// Snapshots of what there is, so that a start does not need it.
		for range 2 {
			n.snapshot()
			_, err := ask.produce(ctx, orders, 0, batch(-1, 0, "more"))
			must(t, err)
			want = append(want, "more")
			time.Sleep(time.Second)
		}
		const dir = "data/shards/0001"
		flip(t, mem, dir, want[10])
		flip(t, mem, dir, want[20])

		check := func(offset int64, values []string) {
			t.Helper()
			if got, err := ask.fetchAt(ctx, orders, offset); err != nil || strings.Join(got, ",") != strings.Join(values, ",") {
				t.Errorf("at %d: %d values, want %d: %v", offset, len(got), len(values), err)
			}
		}
		told := func(lines int) {
			t.Helper()
			if got := n.log.find("damage on the disk"); len(got) != lines {
				t.Errorf("%d lines tell of damage, want %d: %q", len(got), lines, got)
			}
		}
		for range 2 {
			check(0, want[:10])
			if got, err := ask.fetchAt(ctx, orders, 10); !errors.Is(err, kerr.CorruptMessage) {
				t.Errorf("at the damaged batch: %q, %v", got, err)
			}
			check(11, want[11:20])
			told(2) // the second one was met on the way
		}
		check(21, want[21:])
		flip(t, mem, dir, want[70])
		time.Sleep(scrubDelay + time.Minute)
		told(3) // of the two others it was told before

		// A start does not change what can be read.
		must(t, n.end())
		n = run(t, cfg)
		ask = n.asker(t)
		check(0, want[:10])
		check(11, want[11:20])
		check(21, want[21:70])
		check(71, want[71:])
		if got, err := ask.fetchAt(ctx, orders, 20); !errors.Is(err, kerr.CorruptMessage) {
			t.Errorf("at the damaged batch: %q, %v", got, err)
		}
		_, err := ask.produce(ctx, orders, 0, batch(-1, 0, "more"))
		must(t, err)
		must(t, n.end())
	})
}

// TestAShardWithoutSnapshotsStartsFromItsWholeLog: what is cleaned away would be
// missed, nothing else.
func TestAShardWithoutSnapshotsStartsFromItsWholeLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		mem := vfs.NewMem()
		cfg := small(t, mem)
		cfg.Shards = 1
		n := run(t, cfg)
		ask := n.asker(t)
		must(t, ask.createTopic(ctx, orders, 1))
		for i := range 20 {
			_, err := ask.produce(ctx, orders, 0, batch(-1, 0, fmt.Sprint(i)))
			must(t, err)
		}
		must(t, n.end())
		for _, dir := range []string{"data/shards/0000", "data/shards/0001"} {
			names, err := mem.List(dir)
			must(t, err)
			for _, name := range names {
				if strings.HasSuffix(name, ".snap") {
					overwrite(t, mem, path.Join(dir, name), func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
				}
			}
		}
		n = run(t, cfg)
		ask = n.asker(t)
		if got, err := ask.read(ctx, orders, 0); err != nil || len(got) != 20 {
			t.Errorf("%d values, %v", len(got), err)
		}
		if len(n.log.find("is damaged and was not used")) < 2 {
			t.Errorf("logged: %q", n.log.find(""))
		}
		must(t, n.end())
	})
}
