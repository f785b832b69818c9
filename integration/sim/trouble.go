package sim

import "time"

// startTrouble lets things break, each at its own pace, until the world is calm.
func (w *World) startTrouble() {
	// How much of each there is differs from seed to seed: one that crashes all the
	// time finds other things than one with a bad network.
	every := func(low, high time.Duration, do func()) {
		factor := []time.Duration{1, 1, 2, 10}[w.rnd.IntN(4)]
		var again func()
		again = func() {
			if !w.calm {
				do()
				w.after(factor*w.between(low, high), again)
			}
		}
		w.after(factor*w.between(low, high), again)
	}
	every(500*time.Millisecond, 3*time.Second, w.net.mood)
	every(300*time.Millisecond, 4*time.Second, w.cutLines)
	every(500*time.Millisecond, 3*time.Second, w.stopDisk)
	every(2*time.Second, 10*time.Second, w.killProcess)
	every(5*time.Second, 20*time.Second, w.breakDisk)
	every(5*time.Second, 20*time.Second, w.fillDisk)
	every(3*time.Second, 15*time.Second, w.slowDisk)
	every(3*time.Second, 15*time.Second, w.slowSeals)
	every(2*time.Second, 10*time.Second, w.jumpClock)
	every(2*time.Second, 10*time.Second, w.transferLead)
	every(100*time.Millisecond, 2*time.Second, w.takeSnapshot)
	every(100*time.Millisecond, 1*time.Second, w.read)
	every(500*time.Millisecond, 5*time.Second, w.clean)
	every(1*time.Second, 4*time.Second, w.changeMembers)
}

// some is one of the nodes that run, often the leader.
func (w *World) some() *node {
	up := w.up()
	if len(up) == 0 {
		return nil
	}
	if w.chance(2) {
		for _, n := range up {
			if n.m.Replica.Status().Leader {
				return n
			}
		}
	}
	return up[w.rnd.IntN(len(up))]
}

// cutLines cuts a node off, one line of it, or the group in two.
func (w *World) cutLines() {
	n := w.some()
	if n == nil {
		return
	}
	var cut []line2
	both := func(a, b uint64) { cut = append(cut, line2{a, b}, line2{b, a}) }
	switch w.rnd.IntN(4) {
	case 0, 1:
		for _, other := range w.nodes {
			if other != n {
				both(n.id, other.id)
			}
		}
	case 2:
		other := w.nodes[w.rnd.IntN(len(w.nodes))]
		cut = append(cut, line2{n.id, other.id})
	case 3:
		side := make([]bool, len(w.nodes))
		for i := range side {
			side[i] = w.chance(2)
		}
		for i, a := range w.nodes {
			for j, b := range w.nodes {
				if side[i] && !side[j] {
					both(a.id, b.id)
				}
			}
		}
	}
	w.log(n.id, "lines are cut: %v", cut)
	for _, l := range cut {
		w.net.cut[l] = true
	}
	w.after(w.between(50*time.Millisecond, 5*time.Second), func() {
		for _, l := range cut {
			delete(w.net.cut, l)
		}
		w.log(0, "lines are mended: %v", cut)
	})
}

// stopDisk lets a node's machine stop at one of its next calls.
func (w *World) stopDisk() {
	if n := w.some(); n != nil && n.stopAt == 0 {
		n.stopAt = 1 + w.rnd.IntN(1<<w.rnd.IntN(8))
	}
}

func (w *World) killProcess() {
	if n := w.some(); n != nil {
		n.crash(true)
	}
}

func (w *World) breakDisk() {
	if n := w.some(); n != nil {
		n.ill = true
	}
}

func (w *World) fillDisk() {
	n := w.some()
	if n == nil {
		return
	}
	n.full = true
	w.log(n.id, "the disk is full")
	w.after(w.between(100*time.Millisecond, 3*time.Second), func() { n.full = false })
}

func (w *World) slowDisk() {
	n := w.some()
	if n == nil {
		return
	}
	n.slow = 200 * time.Millisecond
	w.after(w.between(100*time.Millisecond, 5*time.Second), func() { n.slow = 2 * time.Millisecond })
}

// slowSeals has a node's appender run ahead of its sealer, and wait for it.
func (w *World) slowSeals() {
	n := w.some()
	if n == nil {
		return
	}
	n.sealSlow = 2 * time.Second
	w.after(w.between(100*time.Millisecond, 5*time.Second), func() { n.sealSlow = 20 * time.Millisecond })
}

func (w *World) jumpClock() {
	if n := w.some(); n != nil {
		n.skew += w.between(-10*time.Second, 10*time.Second)
	}
}

func (w *World) transferLead() {
	if n := w.some(); n != nil && !n.fenced {
		to := w.nodes[w.rnd.IntN(len(w.nodes))] // perhaps a learner, or nobody's member
		n.m.Replica.TransferLead(to.id)
		n.turn()
	}
}

func (w *World) takeSnapshot() {
	if n := w.some(); n != nil {
		n.m.TakeSnapshot()
	}
}

func (w *World) clean() {
	if n := w.some(); n != nil {
		n.clean()
	}
}

// read reads a partition somewhere.
func (w *World) read() {
	n := w.some()
	if n == nil || len(w.admin.partitions.open) == 0 {
		return
	}
	open := w.admin.partitions.open
	w.oracle.checkReads(n, open[w.rnd.IntN(len(open))])
	n.checkDisk()
}
