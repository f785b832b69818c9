package commitlog

import (
	"bytes"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/splashdam/splashdam/internal/vfs"
)

// onceFS counts how files are read.
type onceFS struct {
	vfs.FS
	mu      sync.Mutex
	atOnce  int // reads that run now
	most    int
	reads   int
	hold    chan struct{} // a read once waits for it, if there is one
	waiting chan struct{}
}

func (f *onceFS) Create(name string) (vfs.File, error) { return f.wrap(f.FS.Create(name)) }

func (f *onceFS) OpenWrite(name string) (vfs.File, error) { return f.wrap(f.FS.OpenWrite(name)) }

func (f *onceFS) wrap(file vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return onceFile{file, f}, nil
}

type onceFile struct {
	vfs.File
	fs *onceFS
}

func (f onceFile) ReadOnce(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	f.fs.reads++
	f.fs.atOnce++
	f.fs.most = max(f.fs.most, f.fs.atOnce)
	f.fs.mu.Unlock()
	if f.fs.hold != nil {
		f.fs.waiting <- struct{}{}
		<-f.fs.hold
	}
	f.fs.mu.Lock()
	f.fs.atOnce--
	f.fs.mu.Unlock()
	return f.File.ReadOnce(p, off)
}

// distant is a log in whose beginning a read is cold, and at whose end it is not.
func distant(t *testing.T, fsys vfs.FS) *history {
	t.Helper()
	h := newHistory()
	var err error
	h.log, err = Open(fsys, dir, Options{coldDistance: 1500})
	must(t, err)
	must(t, h.setHard(1, 1, 0))
	must(t, h.append(false, false, true, false, false, true, false, false))
	must(t, h.sync())
	must(t, h.commit(8))
	must(t, h.seal())
	return h
}

func TestReadsFarBehindTheEndAreCountedAndPassTheCache(t *testing.T) {
	fsys := &onceFS{FS: vfs.NewMem()}
	h := distant(t, fsys)
	fsys.reads = 0
	p := partitions[1]
	all := h.batches(p)
	got, err := h.log.Read(nil, nil, p, 0, 1<<62, 1, true)
	must(t, err)
	if !bytes.Equal(got, all[0]) {
		t.Error("the first batch is another")
	}
	if c := h.log.ColdReads(); fsys.reads != 1 || c != (ColdReads{Reads: 1, Bytes: int64(len(all[0]))}) {
		t.Errorf("%d reads that pass the cache: %v", fsys.reads, c)
	}
	last := all[len(all)-1]
	got, err = h.log.Read(nil, nil, p, last.BaseOffset(), 1<<62, 1<<20, true)
	must(t, err)
	if !bytes.Equal(got, last) || fsys.reads != 1 {
		t.Errorf("a read at the end passes the cache: %d", fsys.reads)
	}
}

func TestFewColdReadsAreAtTheDiskAtATime(t *testing.T) {
	fsys := &onceFS{FS: vfs.NewMem()}
	h := distant(t, fsys)
	fsys.hold, fsys.waiting = make(chan struct{}), make(chan struct{}, 100)
	const readers = maxColdReads + 6
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			if _, err := h.log.Read(nil, nil, partitions[1], 0, 1<<62, 1, true); err != nil {
				t.Error(err)
			}
		})
	}
	for range maxColdReads {
		<-fsys.waiting
	}
	for h.log.ColdReads().Waited < readers-maxColdReads { // those that found the limit reached
		if _, err := h.log.Read(nil, nil, partitions[1], h.batches(partitions[1])[2].BaseOffset(), 1<<62, 1, true); err != nil && t.Failed() {
			t.Fatal(err)
		}
	}
	close(fsys.hold)
	wg.Wait()
	if fsys.most != maxColdReads {
		t.Errorf("%d reads at a time, the limit is %d", fsys.most, maxColdReads)
	}
}

// slowFile takes a while for every read.
type slowFile struct {
	vfs.File
	takes time.Duration
}

func (f slowFile) ReadOnce(p []byte, _ int64) (int, error) {
	time.Sleep(f.takes)
	return len(p), nil
}

func TestColdReadsLeaveTheDiskAloneWhileTheLogIsSynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newColdReads()
		for _, step := range []struct{ since, takes, want time.Duration }{
			{0, 5 * time.Millisecond, 20 * time.Millisecond},
			{coldBusy - 1, 5 * time.Millisecond, 20 * time.Millisecond},
			{coldBusy, 5 * time.Millisecond, 5 * time.Millisecond},
			{0, time.Second, time.Second + maxColdPause},
		} {
			c.synced.Store(time.Now().UnixNano())
			time.Sleep(step.since)
			start := time.Now()
			must(t, c.read(slowFile{takes: step.takes}, make([]byte, 1), 0))
			if took := time.Since(start); took != step.want {
				t.Errorf("a read of %v, %v after a sync: %v, want %v", step.takes, step.since, took, step.want)
			}
		}
	})
}
