package connecttest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/splashdam/splashdam/connect"
)

// SinkCase is a sink and the outside system that it writes to.
type SinkCase struct {
	// New makes a sink on the same outside system, as a new process would.
	New func(t testing.TB) connect.Sink
	// Record makes the record with this offset: the same one every time.
	Record func(p connect.Partition, offset int64) connect.Record
	// Written reads the outside system: the offsets of a partition's records in the
	// order in which they took effect. One that took effect twice is there twice.
	Written func(t testing.TB, p connect.Partition) []int64
	// Stored says that the sink starts at StoredOffset, since it keeps no offsets of
	// its own; then it may write what was not flushed twice.
	Stored bool
	// Reset empties the outside system before each test.
	Reset func(t testing.TB)
}

// TestSink runs the suite.
func TestSink(t *testing.T, c SinkCase) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, c SinkCase)
	}{
		{"EveryRecordTakesEffectOnceAndInOrder", sinkStraight},
		{"ADurableOffsetIsDurable", sinkDurable},
		{"ARestartWithoutAFlushLosesNothing", sinkRestart},
		{"RecordsThatComeAgainTakeEffectOnce", sinkAgain},
		{"AnIdleSinkFlushes", sinkIdle},
		{"ARevokedPartitionGoesOnElsewhere", sinkRevoke},
		{"AnEmptyFlushIsHarmless", sinkEmpty},
	} {
		t.Run(test.name, func(t *testing.T) {
			c.Reset(t)
			test.run(t, c)
		})
	}
}

var (
	sinkA = connect.Partition{Topic: "suite.rows", TopicID: [16]byte{1}, Partition: 0}
	sinkB = connect.Partition{Topic: "suite.rows", TopicID: [16]byte{1}, Partition: 1}
)

// writer is a sink with what a runtime knows about it.
type writer struct {
	t       testing.TB
	c       SinkCase
	sink    connect.Sink
	next    map[connect.Partition]int64 // what it gets next
	durable map[connect.Partition]int64
}

func (c SinkCase) start(t testing.TB, stored map[connect.Partition]int64, partitions ...connect.Partition) *writer {
	t.Helper()
	w := &writer{t: t, c: c, sink: c.New(t), next: map[connect.Partition]int64{}, durable: map[connect.Partition]int64{}}
	w.open(stored, partitions...)
	return w
}

func (w *writer) open(stored map[connect.Partition]int64, partitions ...connect.Partition) {
	w.t.Helper()
	starts, err := w.sink.Open(w.context(), partitions)
	if err != nil {
		w.t.Fatalf("opening: %v", err)
	}
	if len(starts) != len(partitions) {
		w.t.Fatalf("%d partitions opened, %d starts", len(partitions), len(starts))
	}
	for i, p := range partitions {
		w.next[p] = starts[i]
		switch starts[i] {
		case connect.FirstOffset:
			w.next[p] = 0
		case connect.StoredOffset:
			if !w.c.Stored {
				w.t.Fatalf("partition %d starts at the stored offset, and the case says otherwise", p.Partition)
			}
			w.next[p] = stored[p]
		}
	}
}

func (w *writer) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	w.t.Cleanup(cancel)
	return ctx
}

func (w *writer) write(p connect.Partition, n int) {
	w.t.Helper()
	from := w.next[p]
	if err := w.tryWrite(p, n); err != nil {
		w.t.Fatalf("writing %d records from %d of partition %d: %v", n, from, p.Partition, err)
	}
}

func (w *writer) tryWrite(p connect.Partition, n int) error {
	r := connect.Records{Partition: p, Next: w.next[p] + int64(n)}
	for i := range int64(n) {
		r.Records = append(r.Records, w.c.Record(p, w.next[p]+i))
	}
	w.next[p] = r.Next
	return w.sink.Write(w.context(), r)
}

func (w *writer) flush(all bool) {
	w.t.Helper()
	offsets, err := w.sink.Flush(w.context(), all)
	if err != nil {
		w.t.Fatalf("flushing: %v", err)
	}
	for _, o := range offsets {
		if o.Next < w.durable[o.Partition] || o.Next > w.next[o.Partition] {
			w.t.Fatalf("partition %d is durable up to %d, after %d, and got records up to %d",
				o.Partition.Partition, o.Next, w.durable[o.Partition], w.next[o.Partition])
		}
		w.durable[o.Partition] = o.Next
	}
}

func (w *writer) flushed(p connect.Partition) {
	w.t.Helper()
	w.flush(true)
	if w.durable[p] != w.next[p] {
		w.t.Fatalf("after a flush of all, partition %d is durable up to %d of %d", p.Partition, w.durable[p], w.next[p])
	}
}

func (w *writer) close() {
	w.t.Helper()
	if err := w.sink.Close(w.context()); err != nil {
		w.t.Errorf("closing: %v", err)
	}
}

// written demands that the outside system has the first n records of a partition.
func (c SinkCase) written(t testing.TB, p connect.Partition, n int64) {
	t.Helper()
	got := c.Written(t, p)
	if c.Stored {
		got = slices.Compact(slices.Sorted(slices.Values(got)))
	}
	if int64(len(got)) != n {
		t.Fatalf("partition %d has %d records, and should have %d: %v", p.Partition, len(got), n, got)
	}
	for i, offset := range got {
		if offset != int64(i) {
			t.Fatalf("partition %d has record %d in the place of %d", p.Partition, offset, i)
		}
	}
}

func sinkStraight(t *testing.T, c SinkCase) {
	w := c.start(t, nil, sinkA, sinkB)
	for range 5 {
		w.write(sinkA, 100)
		w.write(sinkB, 37)
		w.flush(false)
	}
	w.flushed(sinkA)
	w.flushed(sinkB)
	w.close()
	c.written(t, sinkA, 500)
	c.written(t, sinkB, 185)
}

func sinkDurable(t *testing.T, c SinkCase) {
	w := c.start(t, nil, sinkA)
	w.write(sinkA, 100)
	w.flushed(sinkA)
	// No Close: the process is gone.
	c.written(t, sinkA, 100)
	again := c.start(t, w.durable, sinkA)
	if again.next[sinkA] != 100 {
		t.Fatalf("after 100 durable records it starts at %d", again.next[sinkA])
	}
	again.close()
}

func sinkRestart(t *testing.T, c SinkCase) {
	durable := map[connect.Partition]int64{}
	for range 4 {
		w := c.start(t, durable, sinkA)
		if w.next[sinkA] > 0 && w.next[sinkA] < durable[sinkA] {
			t.Fatalf("%d records were durable, and it starts at %d", durable[sinkA], w.next[sinkA])
		}
		w.write(sinkA, 50)
		w.flushed(sinkA)
		durable = w.durable
		w.write(sinkA, 50) // dies with the process
	}
	w := c.start(t, durable, sinkA)
	w.write(sinkA, 50)
	w.flushed(sinkA)
	w.close()
	c.written(t, sinkA, 250)
}

// A sink that says itself where it begins may also refuse what lies before, for good:
// then that is no repetition, but a partition which is not what it was.
func sinkAgain(t *testing.T, c SinkCase) {
	w := c.start(t, nil, sinkA)
	w.write(sinkA, 60)
	w.next[sinkA] = 30
	err := w.tryWrite(sinkA, 60)
	if _, refused := errors.AsType[*connect.PermanentError](err); refused && !c.Stored {
		w.close()
		w = c.start(t, nil, sinkA)
		w.write(sinkA, 90-int(w.next[sinkA]))
	} else if err != nil {
		t.Fatalf("writing records again: %v", err)
	}
	w.flushed(sinkA)
	w.write(sinkA, 10)
	w.flushed(sinkA)
	w.close()
	c.written(t, sinkA, 100)
}

func sinkIdle(t *testing.T, c SinkCase) {
	w := c.start(t, nil, sinkA)
	w.write(sinkA, 10)
	for deadline := time.Now().Add(patience); w.durable[sinkA] < 10; {
		if time.Now().After(deadline) {
			t.Fatalf("nothing came for %v, and %d of 10 records are durable", patience, w.durable[sinkA])
		}
		time.Sleep(10 * time.Millisecond)
		w.flush(false)
	}
	w.close()
	c.written(t, sinkA, 10)
}

func sinkRevoke(t *testing.T, c SinkCase) {
	w := c.start(t, nil, sinkA, sinkB)
	w.write(sinkA, 40)
	w.write(sinkB, 40)
	w.flushed(sinkA)
	w.write(sinkA, 10) // not durable: given back with the partition
	if err := w.sink.Revoke(w.context(), []connect.Partition{sinkA}); err != nil {
		t.Fatalf("revoking: %v", err)
	}
	other := c.start(t, w.durable, sinkA)
	other.write(sinkA, 60)
	other.flushed(sinkA)
	w.write(sinkB, 20)
	w.flushed(sinkB)
	other.close()
	w.close()
	c.written(t, sinkA, 100)
	c.written(t, sinkB, 60)
}

func sinkEmpty(t *testing.T, c SinkCase) {
	w := c.start(t, nil)
	w.flush(false)
	w.flush(true)
	w.open(nil, sinkA)
	w.flush(true)
	w.write(sinkA, 1)
	w.flushed(sinkA)
	w.flush(true)
	w.close()
	c.written(t, sinkA, 1)
}
