package sim

import (
	"errors"
	"strings"
	"time"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/replica"
	"github.com/splashdam/splashdam/internal/vfs"
)

// op is asked before each call of the disk.
func (n *node) op(op vfs.Op) error {
	if n.stopped {
		return vfs.ErrCrashed
	}
	if op.Kind == vfs.OpWrite && strings.HasSuffix(op.Name, "/manifest") || op.Kind == vfs.OpRename && strings.HasSuffix(op.NewName, "/manifest") {
		n.deciding = true
	}
	if n.stopAt > 0 {
		if n.stopAt--; n.stopAt == 0 {
			n.stopped = true
			n.w.log(n.id, "the disk stops at: %v", op)
			if op.Kind == vfs.OpWrite && n.w.chance(2) {
				return vfs.ShortWrite(n.w.rnd.IntN(op.Bytes+1), vfs.ErrCrashed)
			}
			return vfs.ErrCrashed
		}
	}
	if n.ill && op.Kind == vfs.OpSync {
		n.ill = false
		n.w.log(n.id, "a sync fails: %v", op)
		return errDisk
	}
	if n.full && op.Kind == vfs.OpWrite && op.Bytes > 0 {
		return vfs.ErrNoSpace
	}
	return nil
}

// store is the appender: it takes all that waits, some time passes, and some more
// until the loop hears of it, while the next lot may be stored already.
func (n *node) store() {
	if n.storing || len(n.waiting) == 0 && n.appender.Idle() || n.fenced {
		return
	}
	n.seal()
	if n.m.Log.SealBehind() && !n.sealFails {
		return // until one is sealed
	}
	n.storing = true
	n.alive(n.w.between(20*time.Microsecond, n.slow), func() {
		n.appender.Take(n.waiting)
		n.waiting = nil
		n.tryStore()
	})
}

func (n *node) tryStore() {
	n.deciding = false
	work, err := n.appender.Store()
	if n.checkDisk() {
		return
	}
	n.deciding = n.deciding && err != nil
	n.w.oracle.stored(n)
	switch {
	case errors.Is(err, vfs.ErrNoSpace) && !errors.Is(err, commitlog.ErrFenced):
		n.noSpace(true)
		n.alive(100*time.Millisecond, n.tryStore)
		return
	case err != nil:
		n.fence(err)
		return
	}
	n.noSpace(false)
	if n.appender.Unsynced() && !n.syncing {
		n.syncing = true
		n.alive(asyncDelay, n.sync)
	}
	n.tell(work)
}

// seal is the sealer: what is full is sealed one segment at a time, each a while after the
// one before, and the log goes on meanwhile.
func (n *node) seal() {
	if n.sealing || n.fenced || !n.m.Log.SealPending() {
		return
	}
	n.sealing = true
	n.alive(n.w.between(0, n.sealSlow), func() {
		n.sealing = false
		if n.fenced {
			return
		}
		deciding := n.deciding
		err := n.m.Log.Seal()
		n.deciding = deciding // it cuts nothing
		if n.checkDisk() {
			return
		}
		n.sealFails = err != nil
		if err != nil && (!errors.Is(err, vfs.ErrNoSpace) || errors.Is(err, commitlog.ErrFenced)) {
			n.fence(err)
			return
		}
		n.store()
		if err == nil {
			n.seal() // else at the next tick
		}
	})
}

// asyncDelay is when a Host syncs what was only written.
const asyncDelay = 50 * time.Millisecond

func (n *node) sync() {
	n.syncing = false
	if n.fenced {
		return
	}
	if err := n.appender.Sync(); err != nil && !n.checkDisk() {
		n.fence(err)
	}
}

// tell lets the loop hear what was stored. One lot may wait to be heard while the
// next is stored, no more.
func (n *node) tell(work []replica.Work) {
	if n.written {
		n.alive(50*time.Microsecond, func() { n.tell(work) })
		return
	}
	n.written, n.storing = true, false
	n.alive(n.w.between(time.Microsecond, 500*time.Microsecond), func() {
		n.written = false
		if n.fenced {
			return
		}
		for _, w := range work {
			if err := n.m.Replica.Stored(w); err != nil {
				n.w.fail(understood, "node %d: %v", n.id, err)
			}
		}
		n.turn()
	})
	n.store()
}

func (n *node) noSpace(full bool) {
	if n.saidFull != full {
		n.saidFull = full
		n.m.NoSpace(full)
	}
}

// fence is a log that takes nothing any more: the node hands the lead over, and an
// operator starts it again.
func (n *node) fence(err error) {
	if n.fenced {
		return
	}
	n.w.log(n.id, "is fenced: %v", err)
	n.fenced = true
	n.m.Replica.Fence()
	n.m.Fenced(err)
	n.turn()
	n.alive(n.w.between(500*time.Millisecond, 3*time.Second), func() { n.crash(true) })
}

// checkDisk crashes the node if its disk has stopped.
func (n *node) checkDisk() bool {
	if n.stopped && n.m != nil {
		n.crash(false)
	}
	return n.m == nil
}
