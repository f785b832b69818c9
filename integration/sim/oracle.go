package sim

import (
	"slices"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/record"
)

// The checkers, by name. All but the last three hold after every step.
const (
	// What was acknowledged to a client is on whoever leads later, where it was said
	// to be, and in the end on every replica, once.
	ackedSurvives = "acknowledged survives"
	// In a term one replica leads, once.
	oneLeader = "one leader per term"
	// A leader has all that was committed before its term.
	leaderComplete = "a leader has all that was committed"
	// Entries of one index and term are the same, and so is all before them.
	logsMatch = "logs match"
	// What any replica applies at an index is the same, and nothing is left out.
	appliedEqual = "committed entries are equal"
	// The applied state is equal where the index is.
	stateEqual = "applied state is equal"
	// A high watermark never falls, on a replica or from leader to leader.
	watermark = "the high watermark never falls"
	// What a log said to be durable is there after a crash.
	durableSurvives = "what was durable survives a crash"
	// A term or a vote that was durable too.
	votesSurvive = "term and vote survive a crash"
	// What is read is what was appended, by the indexes of segments.
	indexesTrue = "indexes find what was committed"
	// The files are sound, their indexes equal to rebuilt ones.
	filesSound = "files are sound"
	// A log opens again on whatever a crash leaves of it.
	opensAgain = "what a crash leaves can be opened"
	// A replica can go on with its own log.
	understood = "the log is understood"
	// A replica sends nothing that another one refuses.
	wellFormed = "messages are well-formed"
	// No invariant of the product is broken, nor Raft's.
	noPanic = "no panic"
	// Where nothing breaks any more, all replicas come to have all entries.
	comesToRest = "the group comes to rest"
	// Segments begin and end at the same entries on all replicas, with equal content.
	segmentsEqual = "segments are equal"
)

// sumEvery is how many entries lie between two checksums over the state.
const sumEvery = 16

// entryID says which entry an index has.
type entryID struct {
	term     record.Term
	checksum uint32
}

// link is what an index and a term determine: the entry, and the term before it.
type link struct {
	checksum uint32
	before   record.Term
}

type place struct {
	index record.Index
	term  record.Term
}

// committedBatch is a batch of a partition as it was applied first.
type committedBatch struct {
	base, next int64
	crc        uint32
	producer   int64
	sequence   int32
}

// oracle sees all replicas at once and knows what must hold.
type oracle struct {
	w         *World
	committed []entryID // by index, from 1
	rolls     []record.Index
	links     map[place]link
	leaders   map[record.Term]leadership
	sums      map[record.Index]uint32
	digests   map[[2]record.Index]commitlog.Digest
	batches   map[record.PartitionID][]committedBatch
	closed    map[record.PartitionID]bool  // or are to be
	deleted   map[record.PartitionID]int64 // in front of it cleaners have deleted
	high      map[record.PartitionID]int64
}

type leadership struct {
	node uint64
	life int
}

// shadow is what the oracle knows of one node.
type shadow struct {
	applied record.Index
	commit  uint64
	first   record.Index
	prev    record.Term
	handles []commitlog.Handle // of the window, as seen last
	high    map[record.PartitionID]int64
	// What the node said before it crashed.
	durable   []commitlog.Handle // from durableAt on
	durableAt record.Index
	doubtful  bool // it crashed while it changed its manifest
	hard      commitlog.HardState
}

func (o *oracle) begin(w *World) {
	*o = oracle{
		w: w, links: make(map[place]link), leaders: make(map[record.Term]leadership),
		digests: make(map[[2]record.Index]commitlog.Digest),
		deleted: make(map[record.PartitionID]int64),
		closed:  make(map[record.PartitionID]bool),
		sums:    make(map[record.Index]uint32), batches: make(map[record.PartitionID][]committedBatch),
		high: make(map[record.PartitionID]int64),
	}
}

func (o *oracle) fail(checker, format string, args ...any) {
	if !slices.Contains(o.w.cfg.Plant.Blind, checker) {
		o.w.fail(checker, format, args...)
	}
}

// started takes a node as it comes back.
func (o *oracle) started(n *node) {
	v := &n.view
	log := n.m.Log
	hs := log.HardState()
	if was := v.hard; hs.Term < was.Term || hs.Term == was.Term && hs.Vote != was.Vote && was.Vote != 0 {
		o.fail(votesSurvive, "node %d: term %d, vote %d before, term %d, vote %d now", n.id, was.Term, was.Vote, hs.Term, hs.Vote)
	}
	for i, was := range v.durable {
		at := v.durableAt + record.Index(i)
		if v.doubtful || at < log.First() {
			continue
		}
		if now, ok := log.Handle(at); !ok || now != was {
			o.fail(durableSurvives, "node %d: entry %s was durable, now there is %v (%v), the log ends at %d", n.id, entryName(at, was.Term), now, ok, log.Last())
		}
	}
	*v = shadow{applied: log.Snapshot().Index, high: make(map[record.PartitionID]int64)}
	o.looked(n)
	o.checkSum(n, v.applied)
	if o.w.chance(4) {
		o.checkFiles(n)
		o.checkAllReads(n)
	}
}

// installed takes a node whose log is another's.
func (o *oracle) installed(n *node) {
	snap := n.m.Log.Snapshot()
	n.view.applied, n.view.handles = snap.Index, nil
	clear(n.view.high)
	if c := o.committed[snap.Index-1]; c.term != snap.Term {
		o.fail(appliedEqual, "node %d has installed snapshot %d of term %d, committed is term %d", n.id, snap.Index, snap.Term, c.term)
	}
	o.looked(n)
	o.checkSum(n, snap.Index)
	o.checkFiles(n)
	o.checkAllReads(n)
}

// crashed remembers what a node has promised.
func (o *oracle) crashed(n *node) {
	v, log := &n.view, n.m.Log
	v.hard, v.durable, v.durableAt = log.HardState(), nil, log.First()
	v.doubtful = n.deciding && (n.stopped || n.fenced)
	for i := log.First(); i <= log.Durable(); i++ {
		h, _ := log.Handle(i)
		v.durable = append(v.durable, h)
	}
}

// looked compares a node's log, as far as it has changed, with all others.
func (o *oracle) looked(n *node) {
	v, log := &n.view, n.m.Log
	first, last := log.First(), log.Last()
	if drop := int(first) - int(v.first); drop > 0 && drop <= len(v.handles) {
		v.handles = v.handles[drop:]
	} else if drop != 0 {
		v.handles = nil
	}
	v.first = first
	v.handles = v.handles[:min(len(v.handles), int(last+1-first))]
	// From the end down to what was seen before.
	var fresh []commitlog.Handle
	for i := last; i >= first; i-- {
		h, ok := log.Handle(i)
		if !ok {
			o.fail(logsMatch, "node %d: no handle of %d in a window of %d to %d", n.id, i, first, last)
		}
		if k := int(i - first); k < len(v.handles) && v.handles[k] == h {
			v.handles = v.handles[:k+1]
			break
		} else if k < len(v.handles) {
			v.handles = v.handles[:k]
			o.w.result.Cuts++
		}
		fresh = append(fresh, h)
	}
	slices.Reverse(fresh)
	at := last + 1 - record.Index(len(fresh))
	before, _ := log.Term(at - 1)
	for i, h := range fresh {
		p := place{at + record.Index(i), h.Term}
		l := link{h.Checksum, before}
		if was, ok := o.links[p]; ok && was != l {
			o.fail(logsMatch, "node %d: entry %s has checksum %08x behind term %d, elsewhere it has %08x behind term %d", n.id, entryName(p.index, p.term), l.checksum, l.before, was.checksum, was.before)
		}
		o.links[p] = l
		before = h.Term
	}
	v.handles = append(v.handles, fresh...)
}

// stored looks at a log that was written.
func (o *oracle) stored(n *node) { o.looked(n) }

// turned looks at a replica behind a turn.
func (o *oracle) turned(n *node) {
	s := n.m.Replica.Status()
	if s.Commit < n.view.commit {
		o.fail(appliedEqual, "node %d: the commit index falls from %d to %d", n.id, n.view.commit, s.Commit)
	}
	n.view.commit = s.Commit
	if !s.Leader || s.Fenced {
		return
	}
	term, me := record.Term(s.Term), leadership{n.id, n.life}
	if was, ok := o.leaders[term]; ok && was != me {
		o.fail(oneLeader, "node %d leads term %d, which node %d did", n.id, term, was.node)
	}
	if _, ok := o.leaders[term]; !ok {
		o.leaders[term] = me
		o.w.result.Terms++
	}
}

// leads looks at a new leader, which has applied the first entry of its term: what it
// has, and what it will serve.
func (o *oracle) leads(n *node, t record.Term) {
	for later := range o.leaders {
		if later > t {
			return // it is behind, and does not know it yet
		}
	}
	log := n.m.Log
	for i := max(log.First(), 1); i <= record.Index(len(o.committed)); i++ {
		h, ok := log.Handle(i)
		if c := o.committed[i-1]; !ok || h.Term != c.term || h.Checksum != c.checksum {
			o.fail(leaderComplete, "node %d leads, its log ends at %d and lacks committed entry %s", n.id, log.Last(), entryName(i, c.term))
			break
		}
	}
	for p, high := range o.high {
		if b, open := n.m.Bounds(p); open && b.HighWatermark < high {
			o.fail(watermark, "node %d leads, %v ends at %d and did at %d", n.id, p, b.HighWatermark, high)
		}
	}
}

// applying takes an entry that a node is about to apply.
func (o *oracle) applying(n *node, e record.Entry) {
	i, id := e.Index(), entryID{e.Term(), e.Checksum()}
	if i != n.view.applied+1 {
		o.fail(appliedEqual, "node %d applies %d behind %d", n.id, i, n.view.applied)
	}
	n.view.applied = i
	switch {
	case int(i) <= len(o.committed):
		if c := o.committed[i-1]; c != id {
			o.fail(appliedEqual, "node %d applies entry %s with checksum %08x, another applied term %d with %08x", n.id, entryName(i, id.term), id.checksum, c.term, c.checksum)
		}
	case int(i) == len(o.committed)+1:
		o.committed = append(o.committed, id)
		o.w.result.Entries++
		if e.Rolls() {
			o.rolls = append(o.rolls, i)
		}
		o.note(e)
	default:
		o.fail(appliedEqual, "node %d applies %d, and nobody has applied %d", n.id, i, len(o.committed)+1)
	}
}

// note keeps the batches of an entry that is applied for the first time.
func (o *oracle) note(e record.Entry) {
	e.Each(func(_ int, p record.Part) bool {
		if p.Kind == record.KindBatch {
			b := record.Batch(p.Bytes)
			o.batches[p.Partition] = append(o.batches[p.Partition], committedBatch{b.BaseOffset(), b.NextOffset(), b.CRC(), b.ProducerID(), b.BaseSequence()})
		}
		return true
	})
}

// applied looks at a node that has applied an entry.
func (o *oracle) applied(n *node, e record.Entry) {
	e.Each(func(_ int, p record.Part) bool {
		if p.Kind != record.KindBatch {
			return true
		}
		b, open := n.m.Bounds(p.Partition)
		if !open {
			return true // closed while the batch was on its way
		}
		if was := n.view.high[p.Partition]; b.HighWatermark < was {
			o.fail(watermark, "node %d: %v ends at %d and did at %d", n.id, p.Partition, b.HighWatermark, was)
		}
		n.view.high[p.Partition] = b.HighWatermark
		o.high[p.Partition] = max(o.high[p.Partition], b.HighWatermark)
		return true
	})
	if e.Index()%sumEvery == 0 {
		o.checkSum(n, e.Index())
	}
}

// checkSum compares the state of a node that has applied an index and no more.
func (o *oracle) checkSum(n *node, at record.Index) {
	sum := n.m.StateSum()
	if was, ok := o.sums[at]; ok && was != sum {
		o.fail(stateEqual, "node %d at %d: the state has checksum %08x, another's had %08x", n.id, at, sum, was)
	}
	o.sums[at] = sum
}
