package commitlog

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

const dir = "shard-1"

// batch makes a batch of n records, one of which, in the middle, has the highest time.
func batch(base int64, epoch int32, n int, maxTime int64, payload []byte) record.Batch {
	records := make([]record.Record, n)
	for i := range records {
		records[i].Value = payload
	}
	records[n/2].TimestampDelta = 10
	return record.Build(record.BuildOptions{
		BaseOffset: base, LeaderEpoch: epoch, BaseTimestamp: maxTime - 10, Codec: record.Codec(base % 5),
		ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1,
	}, records)
}

// history is what a test did to a log, as the log's user knows it: the obvious model
// against which the log is held.
type history struct {
	log *Log
	// entries is the log as it should be; entries[i] has index i+1.
	entries []record.Entry
	// tried is every entry that was ever given to Append, by its bytes; gone are
	// those that a call of TruncateSuffix has cut.
	tried map[string]bool
	gone  map[string]bool
	// life is which script it goes through: 0 is the written one, any other number
	// seeds a random one.
	life uint64
	// appended: up to which index a call of Append has returned.
	appended record.Index
	// synced, committed: up to which index a call has returned.
	synced    record.Index
	committed record.Index
	hard      HardState // the last that was set
	hardTried HardState // the last that setting began with
	snapshot  record.Index
	snapTried record.Index
	// pad is how many bytes longer an entry is, so that it takes several sectors.
	pad int
	// retry a call that found the disk full.
	retry bool
	// judge is what was said to be dead, and may be gone.
	judge starts
	kills []kill
}

// kill is what was said to be dead, as the entry at an index did.
type kill struct {
	at    record.Index
	p     record.PartitionID
	start int64
}

// starts is a judge: where each partition's log begins; -1 is a closed one.
type starts map[record.PartitionID]int64

func (j starts) Judge(p record.PartitionID) Verdict {
	return Verdict{Start: j[p], Closed: j[p] < 0}
}

func (j starts) Compacted() []record.PartitionID { return nil }

func (j starts) lives(p record.PartitionID, b record.Batch) bool {
	v := j.Judge(p)
	return v.lives(rowOf(b, 0))
}

func atOnce(int) error { return nil }

func (h *history) clean() error {
	return h.do(func() error {
		_, err := h.log.Clean(h.judge, CleanOptions{SegmentSize: 1 << 20, Pace: atOnce})
		if errors.Is(err, errNoGain) {
			return nil
		}
		return err
	})
}

// kill moves the start of a partition's log, over n of its batches.
func (h *history) kill(p record.PartitionID, n int) {
	for _, b := range h.batches(p) {
		if h.judge.lives(p, b) && n > 0 {
			h.judge[p] = b.NextOffset()
			h.kills = append(h.kills, kill{h.committed, p, h.judge[p]})
			n--
		}
	}
}

func newHistory() *history {
	return &history{tried: map[string]bool{}, gone: map[string]bool{}, judge: starts{}}
}

// clone is a history that can go on alone; the log stays the same.
func (h *history) clone() *history {
	c := *h
	c.tried, c.gone = maps.Clone(h.tried), maps.Clone(h.gone)
	c.judge, c.kills = maps.Clone(h.judge), slices.Clone(h.kills)
	c.entries = slices.Clone(h.entries)
	return &c
}

// standings is the next offsets and highest times behind the first n entries.
func (h *history) standings(n record.Index) directory {
	d := newDirectory()
	for _, e := range h.entries[:n] {
		e.Each(func(_ int, p record.Part) bool {
			if p.Kind == record.KindBatch {
				d.note(p.Partition, rowOf(p.Bytes, 0))
			}
			return true
		})
	}
	return d
}

// do calls f again while it says that the disk is full, if that is what the test is
// about.
func (h *history) do(f func() error) error {
	err := f()
	for range 3 {
		if !h.retry || !errors.Is(err, vfs.ErrNoSpace) || errors.Is(err, ErrFenced) {
			break
		}
		err = f()
	}
	return err
}

var partitions = []record.PartitionID{1, 2, 7, record.Halves, record.FirstHidden + 9}

// next builds the entry that comes next, of the hard state's term: a command, and
// as many batches as its index says, in rotating partitions.
func (h *history) next(roll bool) record.Entry {
	i := record.Index(len(h.entries) + 1)
	at := h.standings(i - 1)
	var b record.EntryBuilder
	b.Add(record.KindCommand, 0, append(record.NewCommand(record.OwnerShard, 1, 1), make([]byte, h.pad)...))
	for k := range int(i)%4 + 1 {
		p := partitions[(int(i)+k)%len(partitions)]
		n := k + 1
		payload := bytes.Repeat([]byte{byte(i), byte(k), byte(h.hard.Term)}, 5+int(i)%3)
		maxTime := int64(1000*i) + int64(k) - int64(i%3)*1500
		c := batch(at.next(p), h.hard.Term.LeaderEpoch(), n, maxTime, payload)
		at.note(p, rowOf(c, 0))
		b.Add(record.KindBatch, p, c)
	}
	return b.Finish(i, h.hard.Term, int64(1000*i), roll)
}

// append appends one entry for each argument, which says whether it rolls.
func (h *history) append(rolls ...bool) error {
	begin := len(h.entries)
	for _, roll := range rolls {
		e := slices.Clone(h.next(roll))
		h.entries = append(h.entries, e)
		h.tried[string(e)] = true
		delete(h.gone, string(e))
	}
	if err := h.do(func() error { return h.log.Append(h.entries[begin:]) }); err != nil {
		return err
	}
	h.appended = record.Index(len(h.entries))
	return nil
}

func (h *history) sync() error {
	if err := h.do(h.log.Sync); err != nil {
		return err
	}
	h.synced = record.Index(len(h.entries))
	return nil
}

func (h *history) commit(to record.Index) error {
	for h.committed < to {
		h.committed++
		h.log.Committed(h.entries[h.committed-1])
	}
	return nil
}

func (h *history) truncate(last record.Index) error {
	cut := h.entries[last:]
	h.entries = h.entries[:last]
	h.synced, h.appended = min(h.synced, last), min(h.appended, last)
	if err := h.do(func() error { return h.log.TruncateSuffix(last) }); err != nil {
		return err
	}
	for _, e := range cut {
		h.gone[string(e)] = true
	}
	return nil
}

func (h *history) setHard(term record.Term, vote uint64, commit record.Index) error {
	hs := HardState{Term: term, Vote: vote, Commit: commit}
	h.hardTried = hs
	if err := h.do(func() error { return h.log.SetHardState(hs) }); err != nil {
		return err
	}
	h.hard = hs
	return nil
}

// pieces makes room in pieces that suit the segments of a test.
var pieces = Options{roomPiece: 256}

// prepare makes all the room that is wanted now.
func (h *history) prepare() error {
	for h.log.PreparePending() {
		if err := h.log.Prepare(); err != nil {
			return err
		}
	}
	return nil
}

func (h *history) seal() error { return h.do(func() error { return sealAll(h.log) }) }

// sealAll seals all that can be.
func sealAll(l *Log) error {
	for l.SealPending() {
		if err := l.Seal(); err != nil {
			return err
		}
	}
	return nil
}

func (h *history) snap(i record.Index) error {
	s := h.snapshotAt(i)
	h.snapTried = i
	if err := h.do(func() error { return h.log.WriteSnapshot(s) }); err != nil {
		return err
	}
	h.snapshot, h.synced = i, max(h.synced, i)
	return nil
}

func (h *history) snapshotAt(i record.Index) *Snapshot {
	return &Snapshot{
		Index: i, Term: h.entries[i-1].Term(), Level: 3, Time: h.entries[i-1].Time(), ConfState: []byte("members"),
		Sections: []Section{{"partitions", fmt.Appendf(nil, "state behind %d", i)}, {"empty", nil}},
	}
}

// reopen closes the log and opens it, then commits anew what was committed.
func (h *history) reopen(fsys vfs.FS) error {
	if err := h.log.Close(); err != nil {
		return err
	}
	h.synced = record.Index(len(h.entries))
	l, err := Open(fsys, dir, pieces)
	if err != nil {
		return err
	}
	h.log = l
	return h.replay()
}

func (h *history) replay() error {
	to := h.committed
	h.committed = 0
	if s := h.log.Snapshot(); s != nil {
		h.committed = s.Index
	}
	return h.commit(to)
}

// batches is what readers may see of a partition.
func (h *history) batches(p record.PartitionID) []record.Batch {
	var list []record.Batch
	for _, e := range h.entries[:h.committed] {
		e.Each(func(_ int, part record.Part) bool {
			if part.Kind == record.KindBatch && part.Partition == p {
				list = append(list, record.Batch(part.Bytes))
			}
			return true
		})
	}
	return list
}

// check compares the log with the history in every way that a caller can.
func (h *history) check() error {
	l := h.log
	if got := l.Last(); got != record.Index(len(h.entries)) {
		return fmt.Errorf("last is %d, want %d", got, len(h.entries))
	}
	for i := l.First(); i <= l.Last(); i++ {
		want := h.entries[i-1]
		got, err := l.Entry(i)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("entry %d is another", i)
		}
		if k, ok := l.Handle(i); !ok || k != (Handle{Term: want.Term(), Length: uint32(len(want)), Checksum: want.Checksum()}) {
			return fmt.Errorf("handle of %d is %+v", i, k)
		}
	}
	for i := max(l.First(), 1) - 1; i <= l.Last(); i++ {
		want := record.Term(0)
		if i > 0 {
			want = h.entries[i-1].Term()
		}
		if got, ok := l.Term(i); !ok || got != want {
			return fmt.Errorf("term of %d is %d, %v, want %d", i, got, ok, want)
		}
	}
	for _, p := range partitions {
		if err := h.checkBatches(p); err != nil {
			return err
		}
	}
	return l.checkIndexes()
}

// checkBatches reads all of a partition: what lives is there, as it was appended, and of
// what is dead perhaps some, and nothing else.
func (h *history) checkBatches(p record.PartitionID) error {
	l, list := h.log, h.batches(p)
	got, err := l.Read(nil, nil, p, 0, 1<<62, 1<<30, false)
	if err != nil {
		return fmt.Errorf("reading %v: %w", p, err)
	}
	for _, b := range list {
		if bytes.HasPrefix(got, b) {
			got = got[len(b):]
		} else if h.judge.lives(p, b) {
			return fmt.Errorf("%v: the batch at %d is not there", p, b.BaseOffset())
		}
	}
	if len(got) > 0 {
		return fmt.Errorf("%v holds %d bytes that it should not", p, len(got))
	}
	for _, b := range list {
		for o := b.BaseOffset(); o < b.NextOffset() && h.judge.lives(p, b); o++ {
			if got, err := l.Read(nil, nil, p, o, 1<<62, 1, true); err != nil || !bytes.Equal(got, b) {
				return fmt.Errorf("reading %v at %d: %d bytes, want %d, %v", p, o, len(got), len(b), err)
			}
		}
	}
	return nil
}

// checkIndexes compares every index, in memory and on disk, with one made from the
// frames of its segment, and the directory with all that was committed.
func (l *Log) checkIndexes() error {
	d := newDirectory()
	cleaned := l.manifest.cleaned() > 0
	for _, s := range l.set.list {
		mem := newMemIndex()
		scan := newScanner(s.file, s.base, segmentHeaderSize, s.size)
		probe := &segment{segmentMeta: s.segmentMeta, mem: mem}
		for scan.pos < s.size {
			f, err := scan.next()
			if err != nil {
				return fmt.Errorf("%s at %d: %w", s.name(), scan.pos, err)
			}
			if f.entry.Index() > l.committed && !s.sealed {
				break
			}
			if err := probe.indexEntry(f.entry, s.base+Address(f.pos), d); err != nil {
				return err
			}
		}
		if x := s.index.Load(); x != nil {
			if err := x.compare(mem, d, cleaned); err != nil {
				return fmt.Errorf("%s: %w", x.name, err)
			}
			if dirs := int64(d.len()); !cleaned && x.dirs != dirs {
				return fmt.Errorf("%s: %d directory rows, want %d", x.name, x.dirs, dirs)
			}
			continue
		}
		if a, b := rowsByPartition(s.mem), rowsByPartition(mem); !maps.EqualFunc(a, b, slices.Equal) {
			return fmt.Errorf("the index of %s in memory is %v, from scratch it is %v", s.name(), a, b)
		}
	}
	for p, e := range d.all() {
		if have, ok := l.directory.get(p); cleaned && ok && (have.next < e.next || have.maxTime < e.maxTime) {
			return fmt.Errorf("%v stands at %+v, its batches at %+v", p, have, e)
		}
	}
	if !cleaned && !maps.Equal(maps.Collect(l.directory.all()), maps.Collect(d.all())) {
		return fmt.Errorf("the directory is %v, from scratch it is %v", l.directory, d)
	}
	return nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func rowsByPartition(m *memIndex) map[record.PartitionID][]row {
	all := make(map[record.PartitionID][]row)
	for _, p := range m.partitions() {
		all[p] = slices.Collect(m.of(p).all())
	}
	return all
}

// start opens a log on an empty file system with term 1.
func start(t *testing.T, fsys vfs.FS) *history {
	t.Helper()
	h := newHistory()
	var err error
	h.log, err = Open(fsys, dir, lifeOptions)
	must(t, err)
	must(t, h.setHard(1, 1, 0))
	return h
}

// script is a life with everything in it, small. Each step is one call.
func (h *history) script(fsys vfs.FS) []func() error {
	var steps []func() error
	add := func(f func() error) { steps = append(steps, f) }
	appendEntries := func(rolls ...bool) { add(func() error { return h.append(rolls...) }) }
	commit := func(i record.Index) { add(func() error { return h.commit(i) }) }
	snap := func(i record.Index) { add(func() error { return h.snap(i) }) }
	prepare := func() { add(h.prepare) }
	add(func() (err error) { h.log, err = Open(fsys, dir, pieces); return err })
	add(func() error { return h.setHard(1, 1, 0) })
	appendEntries(false, false, false)
	prepare()
	add(h.sync)
	commit(2)
	add(func() error { return h.setHard(1, 1, 2) })
	appendEntries(false, true)
	commit(5)
	add(h.seal)
	appendEntries(false, false)
	prepare()
	add(h.sync)
	commit(7)
	snap(6)
	appendEntries(false, true, false, false)
	add(h.sync)
	commit(8)
	add(func() error { return h.setHard(2, 3, 8) })
	add(func() error { return h.truncate(8) })
	appendEntries(true, false, true, false)
	add(h.sync)
	commit(11)
	add(func() error { return h.setHard(2, 3, 11) })
	add(h.seal)
	snap(10)
	appendEntries(false, false)
	add(func() error { return h.truncate(13) })
	appendEntries(false)
	commit(14) // by the others; here it is not yet durable
	snap(14)
	add(h.sync)
	add(func() error { h.kill(1, 3); h.kill(2, 2); h.kill(7, 2); return h.clean() })
	add(func() error { return h.reopen(fsys) })
	prepare()
	appendEntries(true)
	appendEntries(false)
	add(func() error {
		for _, p := range partitions {
			h.kill(p, 2)
		}
		return h.clean()
	})
	add(h.sync)
	commit(15)
	add(h.seal)
	add(h.close)
	return steps
}

func (h *history) close() error {
	if err := h.log.Close(); err != nil {
		return err
	}
	h.synced = record.Index(len(h.entries))
	return nil
}

func TestALogKeepsWhatItIsGiven(t *testing.T) {
	mem := vfs.NewMem()
	h := newHistory()
	steps := h.script(mem)
	for i, step := range steps {
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		if i < len(steps)-1 {
			if err := h.check(); err != nil {
				t.Fatalf("after step %d: %v", i, err)
			}
			for _, p := range partitions {
				h.checkTimes(t, p)
			}
		}
	}
	if err := h.log.Append(nil); !errors.Is(err, ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	r, err := Verify(mem, dir)
	must(t, err)
	if len(r.Problems) > 0 || r.Last != 16 || r.Indexes != 3 || r.Snapshots != 2 {
		t.Errorf("verify: %+v", r)
	}
}
