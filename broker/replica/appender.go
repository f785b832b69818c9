package replica

import (
	"fmt"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/record"
)

// Work is one message of Raft to its storage: what to store, and what may be said
// when it is stored. Works are stored in the order in which Turn returned them.
type Work struct {
	hard *commitlog.HardState
	// arrival is a shipment that becomes the log, in front of the entries.
	arrival   *Arrival
	entries   []record.Entry
	responses []*raftpb.Message
	// cuts is how often Raft had cut its log when this was asked for.
	cuts int
}

// Appender stores what Raft wants stored: everything that waits is written, then
// synced once. It has no goroutine and no clock; one goroutine at a time may call
// it, which is the log's appender (see package commitlog). Nothing that a Work
// says may be heard by anybody before Store has returned that Work (rules F1, F2).
type Appender struct {
	log      *commitlog.Log
	flush    FlushPolicy
	taken    []Work
	hard     *commitlog.HardState // the newest that was taken and is not stored as a whole
	waiting  []stretch            // of entries that are not stored
	unsynced int                  // bytes of entries that were written and not synced
	wrote    bool                 // entries, in this Store
}

// stretch is entries that follow each other. With cut, what the log has from the first
// one's index on goes first; with an arrival, all of it goes, for the shipment.
type stretch struct {
	arrival *Arrival
	cut     bool
	entries []record.Entry
}

// end is the index behind which the next stretch begins.
func (r stretch) end() record.Index {
	if n := len(r.entries); n > 0 {
		return r.entries[n-1].Index()
	}
	return r.arrival.index()
}

// NewAppender returns an appender with nothing to do.
func NewAppender(log *commitlog.Log, flush FlushPolicy) *Appender {
	return &Appender{log: log, flush: flush}
}

// Take adds work to what the next Store stores.
func (a *Appender) Take(work []Work) {
	for _, w := range work {
		a.taken = append(a.taken, w)
		if w.hard != nil {
			a.hard = w.hard
		}
		if w.arrival != nil {
			a.waiting = append(a.waiting, stretch{arrival: w.arrival})
		}
		if len(w.entries) == 0 {
			continue
		}
		if cut := w.entries[0].Index() <= a.end(); cut || len(a.waiting) == 0 {
			a.waiting = append(a.waiting, stretch{cut: cut})
		}
		last := &a.waiting[len(a.waiting)-1]
		last.entries = append(last.entries, w.entries...)
	}
}

// end is where the log will end when all that was taken is stored.
func (a *Appender) end() record.Index {
	if n := len(a.waiting); n > 0 {
		return a.waiting[n-1].end()
	}
	return a.log.Last()
}

// Idle reports whether nothing was taken that is not stored.
func (a *Appender) Idle() bool { return len(a.taken) == 0 }

// Unsynced reports whether entries were written that no sync has covered: under
// FlushAsync, Sync is due asyncDelay after the first of them.
func (a *Appender) Unsynced() bool { return a.unsynced > 0 }

// Store writes what was taken, makes it durable as the flush policy says, and
// returns it: now Raft may hear of it. After vfs.ErrNoSpace nothing is returned and
// nothing is lost; it is called again, and goes on where it was. Any other error
// has fenced the log.
//
// The newest term and vote are durable before the first frame is written (F1), and
// a suffix is cut durably before other entries take its place (F3). The commit index
// comes last: it may speak of entries that come with it, and in whose place a crash
// would leave others, which nobody has committed.
func (a *Appender) Store() ([]Work, error) {
	if a.hard != nil {
		first := *a.hard
		first.Commit = a.log.HardState().Commit
		if err := a.log.SetHardState(first); err != nil {
			return nil, err
		}
	}
	for len(a.waiting) > 0 {
		if err := a.storeStretch(&a.waiting[0]); err != nil {
			return nil, err
		}
		a.waiting = a.waiting[1:]
	}
	a.waiting = nil
	if a.wrote && (a.flush == FlushSync || a.unsynced >= asyncBytes) {
		if err := a.Sync(); err != nil {
			return nil, err
		}
	}
	if a.hard != nil {
		if err := a.log.SetHardState(*a.hard); err != nil {
			return nil, err
		}
		a.hard = nil
	}
	done := a.taken
	a.taken, a.wrote = nil, false
	return done, nil
}

func (a *Appender) storeStretch(r *stretch) error {
	if r.arrival != nil && !r.arrival.done {
		// Raft has taken the snapshot: a log that cannot must not go on.
		if err := a.log.Install(r.arrival.Stage); err != nil {
			return fmt.Errorf("what Raft has accepted is not installed: %w", err)
		}
		r.arrival.done = true
		a.unsynced = 0
	}
	if len(r.entries) == 0 {
		return nil
	}
	if r.cut {
		if err := a.log.TruncateSuffix(r.entries[0].Index() - 1); err != nil {
			return err
		}
		r.cut = false
	}
	if err := a.log.Append(r.entries); err != nil {
		return err
	}
	a.wrote = true
	for _, e := range r.entries {
		a.unsynced += len(e)
	}
	return nil
}

// Sync makes durable what was written. Its error has fenced the log.
func (a *Appender) Sync() error {
	if err := a.log.Sync(); err != nil {
		return err
	}
	a.unsynced = 0
	return nil
}
