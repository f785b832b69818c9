package arrow

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/internal/vfs"
)

func TestChunksOfAllPartitionsFitTheSink(t *testing.T) {
	l := limits{rows: 1_000_000, bytes: 128 << 20}
	for _, n := range []int{0, 1, 8, 9, 100, 4000} {
		chunk := l.chunkBytes(n)
		if total := chunk * int64(n); total > maxSinkBytes && chunk > minChunkBytes || chunk > maxChunkBytes || chunk < minChunkBytes {
			t.Errorf("%d partitions hold back %d bytes each", n, chunk)
		}
	}
	if chunk := (limits{bytes: 5000}).chunkBytes(1); chunk != 5000 {
		t.Errorf("a file of 5000 bytes has chunks of %d", chunk)
	}
}

func TestAFileIsFullOrDueExactlyAtItsLimits(t *testing.T) {
	l := limits{rows: 10, bytes: 100, age: time.Second}
	for _, test := range []struct {
		rows, bytes int64
		full        bool
	}{{9, 99, false}, {10, 0, true}, {0, 100, true}} {
		if got := l.full(test.rows, test.bytes); got != test.full {
			t.Errorf("%d rows of %d bytes: %v", test.rows, test.bytes, got)
		}
	}
	at := time.Unix(100, 0)
	if l.due(at, at.Add(time.Second-1)) || !l.due(at, at.Add(time.Second)) {
		t.Error("a second is not a second")
	}
}

// A Rows takes a gigabyte of records, however little of them is in its columns:
// then it is written, and the rest goes on.
func TestRecordsOfMoreThanAGigabyteAreWrittenInParts(t *testing.T) {
	if os.Getenv("SPLASHDAM_TEST_LONG") == "" {
		t.Skip("takes seconds: SPLASHDAM_TEST_LONG is not set")
	}
	mem, w := vfs.NewMem(), topic{}
	padding := append(append([]byte(`{"source":"`), bytes.Repeat([]byte("x"), 64<<20)...), `","after":{"id":1},"op":"c"}`...)
	for i := range 20 {
		w.add(0, 0, connect.Create, i, i, "")
		w[0][i].Value = padding
	}
	r := &runner{sink: newSink(t, mem), topic: w}
	must(t, r.open(0))
	must(t, r.drain(100))
	checkAll(t, w, mem, r.next, "at the end")
}
