package replica

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

func entry(i record.Index, term record.Term, text string) record.Entry {
	var b record.EntryBuilder
	b.Add(record.KindCommand, 0, []byte(text))
	return append(record.Entry(nil), b.Finish(i, term, 0, false)...)
}

// TestAFullDiskIsWaitedOutWhereASuffixIsCut has the appender overwrite entries, as a
// new leader makes a follower do, on a disk that is full for a while.
func TestAFullDiskIsWaitedOutWhereASuffixIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		full := false
		fs := vfs.NewFault(vfs.NewMem(), func(op vfs.Op) error {
			if full && op.Kind == vfs.OpWrite && op.Name == "shard/manifest" {
				if tries++; tries <= 3 {
					return vfs.ErrNoSpace
				}
			}
			return nil
		})
		log, err := commitlog.Open(fs, "shard", commitlog.Options{})
		if err != nil {
			t.Fatal(err)
		}
		h := &Host{cfg: Config{Log: log}, done: make(chan stored)}
		a := NewAppender(log, FlushAsync)
		var told []bool // whether the disk is full
		go func() {
			for s := range h.done {
				told = append(told, s.full)
			}
		}()
		write := func(term record.Term, entries ...record.Entry) {
			t.Helper()
			hard := commitlog.HardState{Term: term, Vote: 1}
			a.Take([]Work{{hard: &hard, entries: entries}})
			if _, err := h.storeRetrying(context.Background(), a); err != nil {
				t.Fatal(err)
			}
		}
		write(1, entry(1, 1, "kept"), entry(2, 1, "cut"), entry(3, 1, "cut"))
		full = true
		write(2, entry(2, 2, "instead"))
		if err := log.Sync(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if tries != 4 || len(told) != 2 || !told[0] || told[1] {
			t.Errorf("%d tries, and told %v: want 4, and true and false", tries, told)
		}
		if term, _ := log.Term(2); log.Last() != 2 || term != 2 {
			t.Errorf("the log ends at %d, of term %d; want 2 of term 2", log.Last(), term)
		}
		close(h.done)
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
