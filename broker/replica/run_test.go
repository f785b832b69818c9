package replica

import (
	"context"
	"math/rand/v2"
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

// TestTheCommitIndexNeverSpeaksOfEntriesThatAreNotStored has a follower replace entries
// by others that are committed when they come, and crash at every call.
func TestTheCommitIndexNeverSpeaksOfEntriesThatAreNotStored(t *testing.T) {
	begin := func() *vfs.Mem {
		fs := vfs.NewMem()
		log, err := commitlog.Open(fs, "shard", commitlog.Options{})
		if err != nil {
			t.Fatal(err)
		}
		a := NewAppender(log, FlushSync)
		a.Take([]Work{{hard: &commitlog.HardState{Term: 1, Vote: 1, Commit: 1}, entries: []record.Entry{entry(1, 1, "kept"), entry(2, 1, "stale"), entry(3, 1, "stale")}}})
		if _, err := a.Store(); err != nil {
			t.Fatal(err)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
		return fs
	}
	for n := 1; ; n++ {
		fs := begin()
		opened := 0
		faulty := vfs.NewFault(fs, func(op vfs.Op) error {
			if opened > 0 && op.N >= opened+n {
				return vfs.ErrCrashed
			}
			return nil
		})
		log, err := commitlog.Open(faulty, "shard", commitlog.Options{})
		if err != nil {
			t.Fatal(err)
		}
		opened = faulty.Calls()
		a := NewAppender(log, FlushSync)
		a.Take([]Work{{hard: &commitlog.HardState{Term: 2, Vote: 2, Commit: 2}, entries: []record.Entry{entry(2, 2, "instead")}}})
		_, stored := a.Store()
		for seed := range uint64(8) {
			log, err := commitlog.Open(fs.Crash(rand.New(rand.NewPCG(uint64(n), seed))), "shard", commitlog.Options{})
			if err != nil {
				t.Fatalf("crash at call %d, seed %d: %v", n, seed, err)
			}
			hs := log.HardState()
			if term, _ := log.Term(2); hs.Commit >= 2 && term != 2 {
				t.Errorf("crash at call %d, seed %d: committed is %d, and entry 2 is of term %d", n, seed, hs.Commit, term)
			}
			if stored == nil && hs.Term != 2 {
				t.Errorf("seed %d: term %d after a store that succeeded", seed, hs.Term)
			}
		}
		if stored == nil {
			return
		}
	}
}
