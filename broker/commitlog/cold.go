package commitlog

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/splashdam/splashdam/internal/vfs"
)

const (
	// coldDistance is how far behind the log's end, in bytes, a read counts as cold: a
	// consumer that far behind reads what the disk must fetch and what no other is about
	// to want, so it must neither wear the disk out for those at the end nor fill the
	// page cache in their place.
	coldDistance = 256 << 20
	// maxColdReads is how many cold reads a log has at the disk at the same time, each
	// of readSpan bytes or of one batch. Others wait.
	maxColdReads = 2
	// While somebody syncs the log, a cold read is followed by a pause of coldPause times
	// what it took: so cold reads leave the disk, and the processor, alone for most of
	// the time, however fast either is. A log counts as synced for coldBusy after it was.
	coldPause    = 3
	coldBusy     = 100 * time.Millisecond
	maxColdPause = 50 * time.Millisecond
)

// coldReads lets few of the cold reads at the disk at a time. The reader waits in its
// own goroutine: it is a connection's, which has nothing else to do until it has its
// bytes, so workers of our own would only be more goroutines to hand them over.
type coldReads struct {
	slots                chan struct{}
	reads, bytes, waited atomic.Int64
	synced               atomic.Int64 // when the log was synced last, Unix ns
}

func newColdReads() *coldReads { return &coldReads{slots: make(chan struct{}, maxColdReads)} }

// read is readFull for what is far behind the end.
func (c *coldReads) read(f vfs.File, b []byte, pos int64) error {
	select {
	case c.slots <- struct{}{}:
	default:
		c.waited.Add(1)
		c.slots <- struct{}{}
	}
	defer func() { <-c.slots }()
	c.reads.Add(1)
	c.bytes.Add(int64(len(b)))
	start := time.Now()
	err := readOnce(f, b, pos)
	if start.UnixNano()-c.synced.Load() < int64(coldBusy) {
		time.Sleep(min(coldPause*time.Since(start), maxColdPause))
	}
	return err
}

// once reads a file of which nothing shall stay in the page cache: for what goes
// through whole segments too.
type once struct{ vfs.File }

func (o once) ReadAt(p []byte, off int64) (int, error) { return o.File.ReadOnce(p, off) }

// readOnce is readFull by it.
func readOnce(f vfs.File, b []byte, pos int64) error { return readFull(once{f}, b, pos) }

// ColdReads counts the reads that were far behind the end since the log was opened.
type ColdReads struct {
	Reads, Bytes int64
	Waited       int64 // of Reads, those that found the limit reached
}

// ColdReads returns the counts of this moment.
func (l *Log) ColdReads() ColdReads {
	return ColdReads{Reads: l.cold.reads.Load(), Bytes: l.cold.bytes.Load(), Waited: l.cold.waited.Load()}
}

// String is the counts on one line.
func (c ColdReads) String() string {
	return fmt.Sprintf("%d cold reads of %d bytes, %d waited", c.Reads, c.Bytes, c.Waited)
}
