package commitlog

import (
	"errors"
	"sync"
	"testing"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// Readers of every kind beside an appender that rolls, seals, cuts and snapshots.
// The race detector watches; every batch read must be sound and in its place.
func TestReadersRunBesideEverything(t *testing.T) {
	h := newHistory()
	var err error
	h.log, err = Open(vfs.NewMem(), dir, pieces)
	must(t, err)
	must(t, h.setHard(1, 1, 0))
	stop := make(chan struct{})
	var readers sync.WaitGroup
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := h.log.Prepare(); err != nil {
				t.Errorf("preparing: %v", err)
			}
		}
	})
	readers.Go(func() {
		s, err := h.log.Scrub()
		if err != nil {
			t.Error(err)
			return
		}
		defer s.Close()
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, _, err := s.Step(1, 500); err != nil {
				t.Errorf("scrubbing: %v", err)
			}
		}
	})
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := sealAll(h.log); err != nil {
				t.Errorf("sealing: %v", err)
			}
		}
	})
	for i := range 3 {
		readers.Go(func() {
			p := partitions[i]
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				got, err := h.log.Read(nil, nil, p, 0, 1<<62, 1<<20, true)
				if err != nil {
					t.Errorf("reading: %v", err)
					return
				}
				next := int64(0)
				for len(got) > 0 {
					var b record.Batch
					if b, got, err = record.SplitBatch(got); err != nil || b.Validate() != nil || b.BaseOffset() != next {
						t.Errorf("batch at %d instead of %d: %v", b.BaseOffset(), next, err)
						return
					}
					next = b.NextOffset()
				}
				if _, _, _, err := h.log.OffsetForTime(p, int64(n%100)*1000, 0, 1<<62); err != nil {
					t.Errorf("searching: %v", err)
				}
				if _, _, _, err := h.log.MaxTimestamp(p, 0, 1<<62); err != nil {
					t.Errorf("searching: %v", err)
				}
				first, last := h.log.First(), h.log.Last()
				for j := first; j <= last; j++ {
					if _, err := h.log.Entry(j); err != nil && !errors.Is(err, ErrNoEntry) {
						t.Errorf("entry %d: %v", j, err)
					}
					h.log.Term(j)
					h.log.Handle(j)
				}
				h.log.Segments()
				h.log.OpenSegmentSize()
			}
		})
	}
	for i := range 60 {
		must(t, h.append(i%3 == 0, i%4 == 0, false))
		if i%5 == 4 {
			must(t, h.truncate(h.committed+(h.log.Last()-h.committed)/2))
			must(t, h.setHard(h.hard.Term+1, 1, h.committed))
		}
		must(t, h.sync())
		must(t, h.commit(h.synced-min(h.synced-h.committed, record.Index(i%3))))
		if i%10 == 9 {
			var background sync.WaitGroup
			s := h.snapshotAt(h.committed - 1)
			background.Go(func() {
				if err := h.log.WriteSnapshot(s); err != nil {
					t.Errorf("snapshot: %v", err)
				}
			})
			must(t, h.append(false, true))
			must(t, h.sync())
			background.Wait()
		}
	}
	must(t, h.check())
	if n := h.log.Damage(); n > 0 {
		t.Errorf("%d damaged places", n)
	}
	// Closing does not wait for readers; they finish with what they hold.
	close(stop)
	readers.Wait()
	must(t, h.close())
	if _, err := h.log.Read(nil, nil, 1, 0, 1, 1, true); !errors.Is(err, ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
}
