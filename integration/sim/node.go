package sim

import (
	"errors"
	"strconv"
	"time"

	"github.com/splashdam/splashdam/broker"
	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/broker/replica"
	"github.com/splashdam/splashdam/internal/vfs"
)

func num(n uint64) string { return strconv.FormatUint(n, 10) }

// segmentBytes is small, so that there are many segments.
const segmentBytes = 24 << 10

const shardDir = "shard"

var errDisk = errors.New("the disk is ill")

// node is a replica and its disk.
type node struct {
	w      *World
	id     uint64
	voters []uint64 // that the group began with
	disk   *vfs.Mem
	fault  *vfs.Fault

	// Of this life. m is nil while the node is down.
	life     int
	m        *broker.Machine
	appender *replica.Appender
	// transfers and what waits for them, while an installation is under way.
	transfers *replica.Transfers
	waiting   []replica.Work
	storing   bool // a store is under way
	syncing   bool // a sync of what was only written is due
	sealing   bool // a seal is due
	sealFails bool // the last one did not come to its end
	written   bool // the last store waits to be told
	snapping  bool
	fenced    bool
	view      shadow

	stopAt  int  // calls until the disk stops, 0 for never
	stopped bool // it has
	// deciding is that the manifest was written in this store: it may have cut what was
	// durable, and the log not know yet.
	deciding bool
	ill      bool // the next sync fails
	full     bool // writes find no room
	saidFull bool
	slow     time.Duration // what a store takes, at most
	sealSlow time.Duration // what a seal takes, at most
	skew     time.Duration // of the clock
	member   bool          // it is or was one of the group
	leaving  bool          // it was taken out
	gone     bool          // it was taken out of the group
}

func (w *World) addNode(id uint64, voters []uint64) *node {
	n := &node{w: w, id: id, voters: voters, disk: vfs.NewMem(), slow: 2 * time.Millisecond, sealSlow: 20 * time.Millisecond}
	n.skew = w.between(-2*time.Second, 2*time.Second)
	w.nodes = append(w.nodes, n)
	n.start()
	return n
}

func (w *World) node(id uint64) *node {
	for _, n := range w.nodes {
		if n.id == id {
			return n
		}
	}
	return nil
}

// up are the nodes that run.
func (w *World) up() []*node {
	var up []*node
	for _, n := range w.nodes {
		if n.m != nil {
			up = append(up, n)
		}
	}
	return up
}

func (n *node) clock() time.Time { return epoch.Add(n.w.now + n.skew) }

// start opens the shard on what the disk holds.
func (n *node) start() {
	if n.gone {
		return
	}
	n.life++
	n.stopped, n.fenced, n.storing, n.written, n.waiting = false, false, false, false, nil
	n.sealing, n.sealFails = false, false
	n.fault = vfs.NewFault(n.disk, n.op)
	fs := vfs.FS(n.fault)
	if n.w.cfg.Plant.FS != nil {
		fs = n.w.cfg.Plant.FS(fs)
	}
	m, err := broker.OpenMachine(1, broker.MachineConfig{
		FS: fs, Dir: shardDir, ID: n.id, Voters: n.voters, SegmentBytes: segmentBytes, Now: n.clock, Logger: n.w.logger,
	}, n.wrap)
	if n.stopped {
		n.crash(false)
		return
	}
	if err != nil {
		// A failing sync or a full disk may end a start; then it is tried again.
		if errors.Is(err, errDisk) || errors.Is(err, vfs.ErrNoSpace) {
			n.w.log(n.id, "does not start: %v", err)
			n.restartIn(n.w.between(100*time.Millisecond, time.Second))
			return
		}
		n.w.oracle.fail(opensAgain, "node %d: %v", n.id, err)
		n.gone = true // nobody looks, and it does not come back
		return
	}
	n.m = m
	n.appender, n.syncing = replica.NewAppender(m.Log, n.w.flush), false
	n.transfers = replica.NewTransfers(n.id, m.Log, transferRate)
	hs := m.Log.HardState()
	n.w.log(n.id, "starts: log %d to %d, snapshot %d, term %d, vote %d, commit %d", m.Log.First(), m.Log.Last(), m.Log.Snapshot().Index, hs.Term, hs.Vote, hs.Commit)
	n.w.oracle.started(n)
	n.tickIn(n.w.between(0, replica.TickInterval))
	n.transferIn(n.w.between(0, replica.TickInterval))
	n.turn()
}

// wrap puts the checkers, and a planted bug, between the replica and the shard.
func (n *node) wrap(sm replica.StateMachine) replica.StateMachine {
	if plant := n.w.cfg.Plant.StateMachine; plant != nil {
		sm = plant(sm, n.clock)
	}
	return &witness{sm, n}
}

// alive runs something later, unless this life has ended by then.
func (n *node) alive(d time.Duration, do func()) {
	life := n.life
	n.w.after(d, func() {
		if n.life == life && n.m != nil {
			do()
			n.checkDisk()
		}
	})
}

func (n *node) tickIn(d time.Duration) {
	n.alive(d, func() {
		if err := n.m.Log.Fenced(); err != nil {
			if n.fence(err); n.m == nil {
				return
			}
		}
		if !n.fenced || n.m.Replica.HandingOver() {
			n.m.Replica.Tick()
		}
		if !n.fenced {
			n.m.Tick(n.clock())
			n.due()
			n.seal()
		}
		n.turn()
		if n.m != nil {
			n.tickIn(replica.TickInterval)
		}
	})
}

// turn is what a Host does behind everything that happens to a replica.
func (n *node) turn() {
	for n.m != nil && (!n.fenced || n.m.Replica.HandingOver()) {
		fx, err := n.m.Replica.Turn()
		if n.checkDisk() {
			return
		}
		if err != nil {
			n.w.fail(understood, "node %d: %v", n.id, err)
		}
		n.w.oracle.turned(n)
		n.handOut(fx)
		if !fx.More {
			return
		}
	}
}

func (n *node) handOut(fx replica.Effects) {
	if len(fx.Store) > 0 {
		n.waiting = append(n.waiting, fx.Store...)
		n.store()
	}
	n.w.net.send(n, fx.Send)
	if fx.Follow {
		n.beside(n.transfers.Follow)
	}
	for _, s := range fx.Ship {
		n.w.log(n.id, "node %d is behind the window", s.To)
		n.beside(func() replica.TransferEffects { return n.transfers.Ship(s.To, s.Lead) })
	}
	for _, err := range fx.Installed {
		n.w.log(n.id, "installed: %v", err)
		if err == nil {
			n.w.result.Installs++
		}
		n.beside(func() replica.TransferEffects { return n.transfers.Installed(err) })
	}
}

// transferRate is slow, so that much happens while a transfer is under way.
const transferRate = 32 << 10

// beside runs something of the transfers a little later, as what runs beside the loop.
func (n *node) beside(do func() replica.TransferEffects) {
	n.alive(n.w.between(time.Microsecond, time.Millisecond), func() { n.transfer(do()) })
}

func (n *node) transferIn(d time.Duration) {
	n.alive(d, func() {
		if n.fenced {
			return
		}
		n.transfer(n.transfers.Tick())
		if n.m != nil {
			n.transferIn(replica.TickInterval)
		}
	})
}

// transfer carries out what the transfers want.
func (n *node) transfer(fx replica.TransferEffects) {
	if n.checkDisk() || n.fenced {
		return
	}
	if fx.Failed != nil {
		n.w.log(n.id, "a transfer failed here: %v", fx.Failed)
	}
	n.w.net.transfer(n, fx.Send)
	for _, e := range fx.Ended {
		n.w.log(n.id, "the transfer to node %d ends: %v", e.To, e.Err)
		n.m.Replica.TransferEnded(e.To, e.Err == nil)
	}
	if fx.Arrived != nil {
		n.m.Replica.Arrived(fx.Arrived)
	}
	if len(fx.Ended) > 0 || fx.Arrived != nil {
		n.turn()
	}
}

// crash ends the node's life: by a loss of power, or of the process only, where what
// was written stays.
func (n *node) crash(process bool) {
	n.w.result.Crashes++
	process = process || n.w.flush == replica.FlushAsync
	n.life++
	n.w.oracle.crashed(n)
	n.m, n.appender, n.transfers, n.stopAt, n.saidFull = nil, nil, nil, 0, false
	if !process {
		n.disk = n.disk.Crash(n.w.rnd)
	}
	n.w.log(n.id, "crashes (power lost: %v)", !process)
	d := n.w.between(10*time.Millisecond, 2*time.Second)
	if n.w.chance(4) {
		d = n.w.between(2*time.Second, 15*time.Second)
	}
	n.restartIn(d)
}

func (n *node) restartIn(d time.Duration) {
	life := n.life
	n.w.after(d, func() {
		if n.life == life {
			n.start()
		}
	})
}

// due writes a snapshot that was captured, a while later.
func (n *node) due() {
	write, due := n.m.Due()
	if !due {
		return
	}
	n.alive(n.w.between(0, 300*time.Millisecond), func() {
		err := write()
		if n.checkDisk() {
			return
		}
		n.w.log(n.id, "snapshot at %d: %v", n.m.Log.Snapshot().Index, err)
		if err != nil && !errors.Is(err, vfs.ErrNoSpace) && !errors.Is(err, commitlog.ErrFenced) {
			n.fence(err)
		}
	})
}

// clean lets a node's cleaner work.
func (n *node) clean() {
	if n.fenced {
		return
	}
	n.w.oracle.cleans(n)
	done, err := n.m.Clean()
	if n.checkDisk() {
		return
	}
	n.w.result.Cleaned += done.Removed + done.Rewritten
	n.w.log(n.id, "cleans: %+v, %v", done, err)
	if done.Removed+done.Rewritten > 0 {
		n.w.oracle.checkAllReads(n)
	}
}

// witness stands between a replica and its shard and shows the oracle what happens.
type witness struct {
	replica.StateMachine
	n *node
}

// Restore comes before anything is applied behind an installation, and that may be in
// the turn that tells of it.
func (x *witness) Restore(s *commitlog.Snapshot) error {
	if err := x.StateMachine.Restore(s); err != nil {
		return err
	}
	x.n.w.oracle.installed(x.n)
	return nil
}

func (x *witness) Apply(e record.Entry) error {
	x.n.w.oracle.applying(x.n, e)
	err := x.StateMachine.Apply(e)
	if err == nil {
		if e.IsConfChange() {
			x.n.w.changed(x.n, int(e.Index()))
		}
		x.n.w.oracle.applied(x.n, e)
	}
	return err
}

func (x *witness) Lead(t record.Term) {
	x.n.w.log(x.n.id, "leads term %d", t)
	x.StateMachine.Lead(t)
	x.n.w.oracle.leads(x.n, t)
}

func (x *witness) Follow() {
	x.n.w.log(x.n.id, "leads no more")
	x.StateMachine.Follow()
}
