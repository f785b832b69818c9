package commitlog

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/splashdam/splashdam/broker/compaction"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// shelf is a log of keyed records, and a list of all that was ever put into it.
type shelf struct {
	fs       vfs.FS
	log      *Log
	index    record.Index
	snapshot record.Index
	put      map[record.PartitionID][]placedRecord
	verdicts map[record.PartitionID]Verdict
}

type placedRecord struct {
	offset     int64
	key, value string // "" for none
	time       int64
}

func (r placedRecord) String() string {
	if r.value == "" {
		return fmt.Sprintf("%d:%s", r.offset, r.key)
	}
	return fmt.Sprintf("%d:%s=%s", r.offset, r.key, r.value)
}

func newShelf(fsys vfs.FS) (*shelf, error) {
	s := &shelf{fs: fsys, put: map[record.PartitionID][]placedRecord{}, verdicts: map[record.PartitionID]Verdict{}}
	if err := s.open(); err != nil {
		return nil, err
	}
	return s, s.log.SetHardState(HardState{Term: 1, Vote: 1})
}

func (s *shelf) open() (err error) {
	s.log, err = Open(s.fs, dir, Options{})
	return err
}

func (s *shelf) Judge(p record.PartitionID) Verdict { return s.verdicts[p] }

func (s *shelf) Compacted() (list []record.PartitionID) {
	for p, v := range s.verdicts {
		if v.Compaction != nil {
			list = append(list, p)
		}
	}
	return list
}

// compact makes a partition a compacted one, by the strictest rules but for change.
func (s *shelf) compact(p record.PartitionID, change func(*compaction.Policy)) {
	c := &compaction.Policy{MaxLag: math.MaxInt64 / 2, DeleteRetention: 1000, Stable: math.MaxInt64}
	if change != nil {
		change(c)
	}
	s.verdicts[p] = Verdict{Compaction: c}
}

func (s *shelf) append(roll bool, p record.PartitionID, b record.Batch) error {
	s.index++
	var e record.EntryBuilder
	if b != nil {
		e.Add(record.KindBatch, p, b)
	}
	entry := e.Finish(s.index, 1, int64(s.index), roll)
	if err := s.log.Append([]record.Entry{entry}); err != nil {
		return err
	}
	if err := s.log.Sync(); err != nil {
		return err
	}
	s.log.Committed(entry)
	return nil
}

// produce puts one batch: "a=1 b=2 c" are two records and a delete marker, "=1" has no key.
func (s *shelf) produce(p record.PartitionID, time int64, text string, o record.BuildOptions) error {
	next := int64(0)
	if n := len(s.put[p]); n > 0 {
		next = s.put[p][n-1].offset + 1
	}
	var records []record.Record
	for i, word := range strings.Fields(text) {
		key, value, has := strings.Cut(word, "=")
		r := record.Record{Value: []byte(value)}
		if key != "" {
			r.Key = []byte(key)
		}
		if !has {
			r.Value = nil
		}
		records = append(records, r)
		s.put[p] = append(s.put[p], placedRecord{next + int64(i), key, value, time})
	}
	o.BaseOffset, o.BaseTimestamp = next, time
	if !o.Transactional {
		o.ProducerID, o.ProducerEpoch, o.BaseSequence = -1, -1, -1
	}
	return s.append(false, p, record.Build(o, records))
}

// end ends a transaction by a marker.
func (s *shelf) end(p record.PartitionID, time, producer int64, commit byte) error {
	next := s.put[p][len(s.put[p])-1].offset + 1
	s.put[p] = append(s.put[p], placedRecord{next, "\x00\x00\x00" + string(rune(commit)), "x", time})
	return s.append(false, p, record.Build(record.BuildOptions{
		BaseOffset: next, BaseTimestamp: time, ProducerID: producer, BaseSequence: -1, Transactional: true, Control: true,
	}, []record.Record{{Key: []byte{0, 0, 0, commit}, Value: []byte("x")}}))
}

// cover ends the segment and takes two snapshots behind it.
func (s *shelf) cover() error {
	if err := s.append(true, 0, nil); err != nil {
		return err
	}
	for range 2 {
		if err := s.append(false, 0, nil); err != nil {
			return err
		}
		if err := s.log.WriteSnapshot(&Snapshot{Index: s.index, Term: 1}); err != nil {
			return err
		}
		s.snapshot = s.index
	}
	return sealAll(s.log)
}

func (s *shelf) clean(now int64, keyMap int) error {
	_, err := s.log.Clean(s, CleanOptions{SegmentSize: 1 << 20, KeyMapBytes: keyMap, Now: now, Pace: atOnce})
	return err
}

// read returns the records that are there, and the offset behind the last batch.
func (s *shelf) read(p record.PartitionID) (list []placedRecord, end int64, err error) {
	data, err := s.log.Read(nil, nil, p, 0, math.MaxInt64, 1<<30, false)
	if err != nil {
		return nil, 0, err
	}
	for len(data) > 0 {
		var b record.Batch
		if b, data, err = record.SplitBatch(data); err != nil {
			return nil, 0, err
		}
		if err := b.ValidateStored(); err != nil {
			return nil, 0, err
		}
		records, err := b.Decode(1 << 20)
		if err != nil {
			return nil, 0, err
		}
		for _, r := range records {
			list = append(list, placedRecord{b.BaseOffset() + int64(r.OffsetDelta), string(r.Key), string(r.Value), b.BaseTimestamp() + r.TimestampDelta})
		}
		end = b.NextOffset()
	}
	return list, end, nil
}

// text is what there is, markers as their offset and A or C.
func (s *shelf) text(t *testing.T, p record.PartitionID) string {
	t.Helper()
	list, _, err := s.read(p)
	must(t, err)
	var words []string
	for _, r := range list {
		switch r.key {
		case "\x00\x00\x00\x00":
			words = append(words, fmt.Sprintf("%d:A", r.offset))
		case "\x00\x00\x00\x01":
			words = append(words, fmt.Sprintf("%d:C", r.offset))
		default:
			words = append(words, r.String())
		}
	}
	return strings.Join(words, " ")
}

func TestTheRulesOfCompaction(t *testing.T) {
	in := func(id int64) record.BuildOptions { return record.BuildOptions{ProducerID: id, Transactional: true} }
	for name, c := range map[string]struct {
		change func(*compaction.Policy)
		do     func(s *shelf) error
		at     []int64 // cleanings, by their times
		want   string
	}{
		"the newest record of each key stays, at its offset": {
			do: func(s *shelf) error {
				return errors.Join(s.produce(1, 10, "a=1 b=1 a=2", record.BuildOptions{}), s.produce(1, 20, "c=1 b=2", record.BuildOptions{}))
			},
			at: []int64{100}, want: "2:a=2 3:c=1 4:b=2",
		},
		"also over segments": {
			do: func(s *shelf) error {
				return errors.Join(s.produce(1, 10, "a=1 b=1", record.BuildOptions{}), s.cover(), s.produce(1, 20, "a=2", record.BuildOptions{}), s.cover(), s.produce(1, 30, "c=1", record.BuildOptions{}))
			},
			at: []int64{100}, want: "1:b=1 2:a=2 3:c=1",
		},
		"a record without a key goes": {
			do: func(s *shelf) error { return s.produce(1, 10, "=1 a=1 =2", record.BuildOptions{}) },
			at: []int64{100}, want: "1:a=1",
		},
		"the same key of another partition is another key": {
			do: func(s *shelf) error {
				s.compact(2, nil)
				return errors.Join(s.produce(1, 10, "a=1", record.BuildOptions{}), s.produce(2, 20, "b=1 a=2", record.BuildOptions{}))
			},
			at: []int64{100}, want: "0:a=1",
		},
		"what lies behind the last stable offset is not touched": {
			change: func(c *compaction.Policy) { c.Stable = 3 },
			do: func(s *shelf) error {
				return errors.Join(s.produce(1, 10, "a=1 b=1 a=2", record.BuildOptions{}), s.produce(1, 20, "a=3 a=4", record.BuildOptions{}))
			},
			at: []int64{100}, want: "1:b=1 2:a=2 3:a=3 4:a=4",
		},
		"what is younger than min.compaction.lag.ms is not touched, nor what is behind it": {
			change: func(c *compaction.Policy) { c.MinLag = 50 },
			do: func(s *shelf) error {
				return errors.Join(s.produce(1, 10, "a=1 a=2", record.BuildOptions{}), s.produce(1, 80, "a=3 a=4", record.BuildOptions{}), s.produce(1, 20, "a=5 a=6", record.BuildOptions{}))
			},
			at: []int64{100}, want: "1:a=2 2:a=3 3:a=4 4:a=5 5:a=6",
		},
		"with less dirt than min.cleanable.dirty.ratio nothing is done": {
			change: func(c *compaction.Policy) { c.MinDirtyRatio = 0.5 },
			do: func(s *shelf) error {
				err := errors.Join(s.produce(1, 10, "a=1 b=1", record.BuildOptions{}), s.produce(1, 10, "c=1 d=1", record.BuildOptions{}), s.cover(), s.clean(20, 1<<20))
				return errors.Join(err, s.produce(1, 20, "a=2", record.BuildOptions{}))
			},
			at: []int64{100}, want: "0:a=1 1:b=1 2:c=1 3:d=1 4:a=2",
		},
		"max.compaction.lag.ms forces it": {
			change: func(c *compaction.Policy) { c.MinDirtyRatio, c.MaxLag = 0.5, 70 },
			do: func(s *shelf) error {
				err := errors.Join(s.produce(1, 10, "a=1 b=1", record.BuildOptions{}), s.produce(1, 10, "c=1 d=1", record.BuildOptions{}), s.cover(), s.clean(20, 1<<20))
				return errors.Join(err, s.produce(1, 20, "a=2", record.BuildOptions{}))
			},
			at: []int64{100}, want: "1:b=1 2:c=1 3:d=1 4:a=2",
		},
		"what has no time is never older than max.compaction.lag.ms": {
			change: func(c *compaction.Policy) { c.MinDirtyRatio, c.MaxLag = 0.5, 70 },
			do: func(s *shelf) error {
				err := errors.Join(s.produce(1, 10, "a=1 b=1", record.BuildOptions{}), s.produce(1, 10, "c=1 d=1", record.BuildOptions{}), s.cover(), s.clean(20, 1<<20))
				return errors.Join(err, s.produce(1, -1, "a=2", record.BuildOptions{}))
			},
			at: []int64{100}, want: "0:a=1 1:b=1 2:c=1 3:d=1 4:a=2",
		},
		"a delete marker hides what is before it, and stays for a while": {
			do: func(s *shelf) error {
				return errors.Join(s.produce(1, 10, "a=1 b=1", record.BuildOptions{}), s.produce(1, 20, "a", record.BuildOptions{}), s.produce(1, 30, "c=1", record.BuildOptions{}))
			},
			at: []int64{100, 1099}, want: "1:b=1 2:a 3:c=1",
		},
		"a delete marker goes delete.retention.ms after it was first cleaned": {
			do: func(s *shelf) error {
				return errors.Join(s.produce(1, 10, "a=1 b=1", record.BuildOptions{}), s.produce(1, 20, "a", record.BuildOptions{}), s.produce(1, 30, "c=1", record.BuildOptions{}))
			},
			at: []int64{100, 1099, 1100}, want: "1:b=1 3:c=1",
		},
		"a delete marker that was superseded goes at once": {
			do: func(s *shelf) error { return s.produce(1, 10, "a=1 a a=2", record.BuildOptions{}) },
			at: []int64{100}, want: "2:a=2",
		},
		"records of an aborted transaction go, its marker stays": {
			do: func(s *shelf) error {
				return errors.Join(s.produce(1, 10, "a=1", record.BuildOptions{}), s.produce(1, 20, "a=2", in(7)), s.produce(1, 20, "b=2", in(8)),
					s.end(1, 30, 7, 0), s.produce(1, 30, "c=2", in(7)), s.end(1, 40, 8, 1), s.end(1, 40, 7, 1))
			},
			at: []int64{100}, want: "0:a=1 2:b=2 3:A 4:c=2 5:C 6:C",
		},
		"nothing behind the beginning of a transaction that is not ended is touched": {
			do: func(s *shelf) error {
				return errors.Join(s.produce(1, 10, "a=1 a=2", record.BuildOptions{}), s.produce(1, 20, "b=1 b=2", in(7)), s.produce(1, 30, "a=3", record.BuildOptions{}))
			},
			at: []int64{100}, want: "1:a=2 2:b=1 3:b=2 4:a=3",
		},
		"the marker of a transaction of which something is left stays": {
			do: func(s *shelf) error {
				return errors.Join(s.produce(1, 10, "a=1", in(7)), s.end(1, 20, 7, 1), s.produce(1, 30, "b=1", record.BuildOptions{}))
			},
			at: []int64{100, 5000}, want: "0:a=1 1:C 2:b=1",
		},
		"the marker of a transaction of which nothing is left goes as a delete marker does": {
			do: func(s *shelf) error {
				return errors.Join(s.produce(1, 10, "a=1", in(7)), s.end(1, 20, 7, 1), s.produce(1, 30, "a=2", record.BuildOptions{}), s.cover(), s.clean(50, 1<<20),
					s.produce(1, 40, "b=1", record.BuildOptions{}))
			},
			at: []int64{100, 1100}, want: "2:a=2 3:b=1",
		},
		"what lies before the log start goes": {
			do: func(s *shelf) error {
				err := errors.Join(s.produce(1, 10, "a=1 b=1", record.BuildOptions{}), s.produce(1, 20, "c=1 a=2", record.BuildOptions{}))
				v := s.verdicts[1]
				v.Start = 2
				s.verdicts[1] = v
				return err
			},
			at: []int64{100}, want: "2:c=1 3:a=2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := newShelf(vfs.NewMem())
			must(t, err)
			s.compact(1, c.change)
			must(t, c.do(s))
			must(t, s.cover())
			for _, at := range c.at {
				must(t, s.clean(at, 1<<20))
			}
			if got := s.text(t, 1); got != c.want {
				t.Errorf("there is  %s\nnot       %s", got, c.want)
			}
			must(t, s.log.Close())
			r, err := Verify(s.fs, dir)
			must(t, err)
			if len(r.Problems) > 0 {
				t.Error(r.Problems)
			}
			must(t, s.open())
			must(t, s.clean(c.at[len(c.at)-1], 1<<20)) // goes on where it was
			if got := s.text(t, 1); got != c.want {
				t.Errorf("after a start there is  %s\nnot                     %s", got, c.want)
			}
			if c.change != nil {
				return
			}
			must(t, s.log.Close())
			must(t, errors.Join(removeIfThere(s.fs, dir+"/"+compactedName), s.open()))
			must(t, s.clean(c.at[len(c.at)-1], 1<<20)) // begins anew, and finds nothing to do
			if got := s.text(t, 1); got != c.want {
				t.Errorf("after a start from nothing there is  %s\nnot                                  %s", got, c.want)
			}
		})
	}
}

func TestTheLastBatchStaysSoThatAReaderComesToTheEnd(t *testing.T) {
	s, err := newShelf(vfs.NewMem())
	must(t, err)
	s.compact(1, nil)
	must(t, s.produce(1, 10, "a=1 b=1", record.BuildOptions{}))
	must(t, s.produce(1, 20, "a b", record.BuildOptions{}))
	must(t, s.cover())
	must(t, s.clean(100, 1<<20))
	must(t, s.clean(1100, 1<<20))
	list, end, err := s.read(1)
	must(t, err)
	if len(list) != 0 || end != 4 {
		t.Errorf("%v up to %d", list, end)
	}
	must(t, s.produce(1, 2000, "c=1", record.BuildOptions{}))
	must(t, s.cover())
	must(t, s.clean(3000, 1<<20))
	if got := s.text(t, 1); got != "4:c=1" {
		t.Error(got)
	}
	if offset, _, ok, err := s.log.OffsetForTime(1, 0, 0, 5); err != nil || !ok || offset != 4 {
		t.Errorf("%d, %v, %v", offset, ok, err)
	}
}

// check holds what is there against what was put: every record is at its offset, as it was;
// what is gone was hidden by a newer one; and up to clean there is one for each key.
func (s *shelf) check(p record.PartitionID, clean int64) error {
	list, _, err := s.read(p)
	if err != nil {
		return err
	}
	there := map[int64]bool{}
	for _, r := range list {
		if int(r.offset) >= len(s.put[p]) || s.put[p][r.offset] != r {
			return fmt.Errorf("there is %v of %d", r, r.time)
		}
		there[r.offset] = true
	}
	newest := map[string]int64{}
	for _, r := range s.put[p] {
		newest[r.key] = r.offset
	}
	for i := len(s.put[p]) - 1; i >= 0; i-- {
		r := s.put[p][i]
		if !there[r.offset] && newest[r.key] == r.offset && r.value != "" {
			return fmt.Errorf("%v is gone, and nothing is newer", r)
		}
		if r.offset < clean {
			if n, ok := newest[r.key+"\x00clean"]; ok && there[r.offset] {
				return fmt.Errorf("%v is there beside %d", r, n)
			}
			newest[r.key+"\x00clean"] = r.offset
		}
	}
	return nil
}

func (s *shelf) random(rnd *rand.Rand, p record.PartitionID, keys, n int) error {
	for range n {
		var words []string
		for range 1 + rnd.IntN(6) {
			word := fmt.Sprintf("k%d", rnd.IntN(keys))
			if rnd.IntN(6) > 0 {
				word += fmt.Sprintf("=%d", rnd.IntN(1000))
			}
			words = append(words, word)
		}
		if err := s.produce(p, 10+rnd.Int64N(5), strings.Join(words, " "), record.BuildOptions{Codec: record.Codec(rnd.IntN(5))}); err != nil {
			return err
		}
	}
	return nil
}

func TestSeveralPassesLeaveWhatOneLeaves(t *testing.T) {
	var texts []string
	for _, memory := range []int{1 << 20, 1} { // one byte is room for 58 keys, of 600
		s, err := newShelf(vfs.NewMem())
		must(t, err)
		rnd := rand.New(rand.NewPCG(1, 2))
		for p := range record.PartitionID(3) {
			s.compact(p+1, nil)
			for range 3 {
				must(t, s.random(rnd, p+1, 200, 60))
				must(t, s.cover())
			}
		}
		must(t, s.clean(100, memory))
		for p := range record.PartitionID(3) {
			n := len(s.put[p+1])
			must(t, s.check(p+1, int64(n)))
			texts = append(texts, s.text(t, p+1))
		}
	}
	for i := range 3 {
		if texts[i] != texts[i+3] || len(texts[i]) == 0 {
			t.Errorf("partition %d is\n%s\nin one pass, and in several\n%s", i+1, texts[i], texts[i+3])
		}
	}
}

func TestARandomLifeOfACompactedLogLosesNoNewestRecord(t *testing.T) {
	seeds := 12
	if long {
		seeds = 500
	}
	first := rand.Uint64()
	t.Logf("seeds from %d", first)
	for seed := range seeds {
		rnd := rand.New(rand.NewPCG(first+uint64(seed), 3))
		mem := vfs.NewMem()
		s, err := newShelf(mem)
		must(t, err)
		s.compact(1, nil)
		s.compact(2, func(c *compaction.Policy) { c.MinDirtyRatio = 0.4 })
		fail := func(err error) {
			if err != nil {
				t.Fatalf("seed %d: %v", first+uint64(seed), err)
			}
		}
		now := int64(100)
		for range 25 {
			switch rnd.IntN(6) {
			case 0, 1:
				fail(s.random(rnd, record.PartitionID(1+rnd.IntN(3)), 10+rnd.IntN(60), 10))
			case 2:
				fail(s.cover())
			case 3, 4:
				fail(s.clean(now, 1<<rnd.IntN(16)))
			case 5:
				fail(s.log.Close())
				s.fs = mem.Crash(rnd)
				mem = s.fs.(*vfs.Mem)
				fail(s.restart())
			}
			now += rnd.Int64N(600)
			for p := range record.PartitionID(3) {
				fail(s.check(p+1, 0))
			}
		}
		fail(s.cover())
		fail(s.clean(now, 1))
		fail(s.check(1, int64(len(s.put[1]))))
	}
}

// restart opens the log and commits what is behind its snapshot.
func (s *shelf) restart() error {
	if err := s.open(); err != nil {
		return err
	}
	from := record.Index(0)
	if snap := s.log.Snapshot(); snap != nil {
		from = snap.Index
	}
	for i := from + 1; i <= s.log.Last(); i++ {
		e, err := s.log.Entry(i)
		if err != nil {
			return err
		}
		s.log.Committed(e)
	}
	return nil
}

// Of a partition of which nothing is left a directory made anew may know nothing: it says
// no wrong thing, and readers get the same answers.
func TestADirectoryMadeAnewMayHaveForgottenAPartitionOfWhichNothingIsLeft(t *testing.T) {
	mem := vfs.NewMem()
	s, err := newShelf(mem)
	must(t, err)
	must(t, s.produce(1, 50, "a=1 b=1", record.BuildOptions{}))
	must(t, s.cover())
	for range 2 {
		must(t, s.produce(2, 20, "a=1 b=1", record.BuildOptions{}))
		must(t, s.cover())
	}
	s.verdicts[1] = Verdict{Start: 2}
	must(t, s.clean(100, 1<<20))
	first := s.log.set.list[0]
	rows := func() directory {
		d, err := s.log.set.list[0].index.Load().directory()
		must(t, err)
		return d
	}
	answers := func() string {
		var b strings.Builder
		for p := record.PartitionID(1); p <= 2; p++ {
			list, end, err := s.read(p)
			offset, time, ok, err2 := s.log.OffsetForTime(p, 15, 0, 10)
			at, most, any, err3 := s.log.MaxTimestamp(p, 0, 10)
			must(t, errors.Join(err, err2, err3))
			fmt.Fprintln(&b, p, list, end, offset, time, ok, at, most, any)
		}
		return b.String()
	}
	before := answers()
	if _, ok := rows().get(1); !ok || first.first == 1 {
		t.Fatalf("segment %s, directory %v", first.name(), rows())
	}
	must(t, s.log.Close())
	for _, i := range s.log.Segments() {
		if i.Sealed {
			must(t, mem.Remove(dir+"/"+indexName(i.Name)))
		}
	}
	must(t, s.restart())
	if _, ok := rows().get(1); ok {
		t.Error("it is still there: docs/storage.md says otherwise")
	}
	if after := answers(); after != before {
		t.Errorf("%s\nbefore it was\n%s", after, before)
	}
	// The partition goes on.
	must(t, s.produce(1, 30, "c=1", record.BuildOptions{}))
	must(t, s.cover())
	offset, time, ok, err := s.log.MaxTimestamp(1, 0, 10)
	if must(t, err); !ok || offset != 2 || time != 30 {
		t.Errorf("the highest time is %d, of offset %d: %v", time, offset, ok)
	}
	must(t, s.log.Close())
	r, err := Verify(mem, dir)
	must(t, err)
	for _, p := range r.Problems {
		t.Error(p)
	}
}

func TestACrashOrAnErrorAtAnyCallOfACompactionLosesNoNewestRecord(t *testing.T) {
	errDisk := errors.New("input/output error")
	for name, fault := range map[string]func(n int) func(vfs.Op) error{
		"crash":         func(n int) func(vfs.Op) error { return vfs.CrashAt(n) },
		"error":         func(n int) func(vfs.Op) error { return func(op vfs.Op) error { return errAt(op, n, errDisk) } },
		"no more space": func(n int) func(vfs.Op) error { return func(op vfs.Op) error { return errAt(op, n, vfs.ErrNoSpace) } },
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			for n := 0; n <= calls; n += stride(3, 1) { // the first time nothing happens
				mem := vfs.NewMem()
				s, err := newShelf(mem)
				must(t, err)
				s.compact(1, nil)
				rnd := rand.New(rand.NewPCG(5, 5))
				for range 3 {
					must(t, s.random(rnd, 1, 20, 12))
					must(t, s.random(rnd, 2, 20, 3))
					must(t, s.cover())
				}
				must(t, s.log.Close())
				f := vfs.NewFault(mem, fault(cmp.Or(n, math.MaxInt)))
				s.fs = f
				if err := s.restart(); err == nil {
					for _, now := range []int64{100, 2000} {
						_ = s.clean(now, 1)
					}
				}
				calls = max(calls, f.Calls())
				s.fs = mem.Crash(rnd)
				if err := s.restart(); err != nil {
					t.Fatalf("call %d: %v", n, err)
				}
				for p := range record.PartitionID(2) {
					if err := s.check(p+1, 0); err != nil {
						t.Fatalf("call %d: %v", n, err)
					}
				}
				must(t, s.clean(4000, 1<<20))
				if err := s.check(1, int64(len(s.put[1]))); err != nil {
					t.Fatalf("call %d, and cleaned again: %v", n, err)
				}
			}
			if calls < 60 {
				t.Errorf("only %d calls", calls)
			}
		})
	}
}

func errAt(op vfs.Op, n int, err error) error {
	if op.N == n {
		return err
	}
	return nil
}

func TestNoDeleteMarkerGoesBehindASegmentThatCannotBeCompacted(t *testing.T) {
	mem := vfs.NewMem()
	s, err := newShelf(mem)
	must(t, err)
	s.compact(1, nil)
	must(t, s.produce(1, 10, "a=1 b=1", record.BuildOptions{}))
	must(t, s.cover())
	must(t, s.produce(1, 20, "a", record.BuildOptions{}))
	must(t, s.produce(1, 30, "c=1", record.BuildOptions{}))
	must(t, s.cover())
	old := s.log.set.list[0]
	_, r, err := old.index.Load().row(0)
	must(t, err)
	must(t, s.log.Close())
	edit(t, mem, old.name(), func(b []byte) []byte { b[int(r.at-old.base)+65] ^= 1; return b })
	must(t, s.restart())
	for _, now := range []int64{100, 1100, 5000} {
		if err := s.clean(now, 1<<20); err != nil && !isCorrupt(err) {
			t.Fatal(err)
		}
	}
	data, err := s.log.Read(nil, nil, 1, 2, math.MaxInt64, 1<<20, false)
	must(t, err)
	if b := record.Batch(data); b.BaseOffset() != 2 || b.Records() != 1 {
		t.Errorf("the marker is gone, and a=1 would be back: there is a batch of %d records at %d", b.Records(), b.BaseOffset())
	}
}

func TestHowFarPartitionsAreCompactedIsReadBack(t *testing.T) {
	want := map[record.PartitionID]compactedTo{3: {end: 5, horizon: 7}, 1: {end: math.MaxInt64, horizon: 9}, record.Halves: {horizon: math.MaxInt64}}
	b := encodeCompacted(77, want)
	installed, rows, err := decodeCompacted(b)
	got := map[record.PartitionID]compactedTo{}
	for _, r := range rows {
		got[r.partition] = r.compactedTo
	}
	if err != nil || installed != 77 || !maps.Equal(got, want) {
		t.Errorf("%d, %v, %v", installed, got, err)
	}
	for i := range b {
		b[i] ^= 0x40
		if _, _, err := decodeCompacted(b); err == nil {
			t.Errorf("a flip at %d is not seen", i)
		}
		b[i] ^= 0x40
	}
	for n := range b {
		if _, _, err := decodeCompacted(b[:n]); !isDamage(err) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	b[4] = compactedVersion + 1
	if _, _, err := decodeCompacted(b); !errors.Is(err, ErrFutureVersion) {
		t.Error(err)
	}
}

func TestADeleteMarkerWhoseKeyHadNoRoomInTheMapStays(t *testing.T) {
	s, err := newShelf(vfs.NewMem())
	must(t, err)
	s.compact(1, nil)
	must(t, s.produce(1, 10, "z=1", record.BuildOptions{}))
	must(t, s.cover())
	var words []string
	for i := range 70 { // a map of one byte has room for 58
		words = append(words, fmt.Sprintf("k%d=1", i))
	}
	must(t, s.produce(1, 20, strings.Join(append(words, "z"), " "), record.BuildOptions{}))
	must(t, s.cover())
	must(t, s.produce(1, 30, "last=1", record.BuildOptions{}))
	must(t, s.cover())
	for _, at := range []int64{100, 5000, 10000} {
		must(t, s.clean(at, 1))
		if got := s.text(t, 1); strings.Contains(got, "0:z=1") && !strings.Contains(got, "71:z") {
			t.Errorf("at %d the deleted value is back: %s", at, got)
		}
	}
	// With more memory, and from the beginning again, both go.
	must(t, errors.Join(s.log.Close(), s.restart()))
	must(t, errors.Join(s.clean(20000, 1<<20), s.clean(30000, 1<<20)))
	if got := s.text(t, 1); strings.Contains(got, "z") || !strings.HasSuffix(got, "70:k69=1 72:last=1") {
		t.Errorf("left is %s", got)
	}
}

func TestADeleteMarkerBehindABatchThatCannotBeLookedIntoStays(t *testing.T) {
	s, err := newShelf(vfs.NewMem())
	must(t, err)
	s.compact(1, nil)
	// No compressed bytes, as one that is too long once inflated but quicker to make.
	b := record.Build(record.BuildOptions{BaseTimestamp: 10, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}, []record.Record{{Key: []byte("a"), Value: []byte("1")}})
	b[22] |= byte(record.Zstd)
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
	must(t, b.Validate())
	s.put[1] = append(s.put[1], placedRecord{0, "a", "1", 10})
	must(t, s.append(false, 1, b))
	must(t, s.cover())
	must(t, s.produce(1, 20, "a", record.BuildOptions{}))
	must(t, s.cover())
	must(t, s.produce(1, 30, "c=1", record.BuildOptions{}))
	must(t, s.cover())
	for _, restart := range []bool{false, true} {
		if restart {
			must(t, errors.Join(s.log.Close(), s.restart()))
		}
		for _, at := range []int64{100, 5000, 10000} {
			must(t, s.clean(at, 1<<20))
			data, err := s.log.Read(nil, nil, 1, 1, math.MaxInt64, 1<<20, false)
			must(t, err)
			if got := record.Batch(data); got.BaseOffset() != 1 || got.Records() != 1 {
				t.Errorf("at %d the deleted value is back: behind it there are %d records at %d", at, got.Records(), got.BaseOffset())
			}
		}
	}
}

func TestADeleteRetentionWithoutEndKeepsDeleteMarkersAndTheCleanerAtRest(t *testing.T) {
	s, err := newShelf(vfs.NewMem())
	must(t, err)
	s.compact(1, func(c *compaction.Policy) { c.DeleteRetention = math.MaxInt64 })
	must(t, s.produce(1, 10, "a=1 b=1", record.BuildOptions{}))
	must(t, s.produce(1, 20, "a", record.BuildOptions{}))
	must(t, s.produce(1, 30, "c=1", record.BuildOptions{}))
	must(t, s.cover())
	now := int64(1_700_000_000_000)
	must(t, s.clean(now, 1<<20))
	must(t, s.clean(now+1, 1<<20))
	if got := s.text(t, 1); got != "1:b=1 2:a 3:c=1" {
		t.Errorf("there is %s", got)
	}
	if at := s.log.compacted[1].horizon; at <= now+1 {
		t.Errorf("with the horizon %d it is compacted anew in every round", at)
	}
}

func TestDeleteMarkersThatMustStayDoNotKeepTheCleanerBusy(t *testing.T) {
	mem := vfs.NewMem()
	s, err := newShelf(mem)
	must(t, err)
	s.compact(1, nil)
	must(t, s.produce(1, 10, "a=1 b=1", record.BuildOptions{}))
	must(t, s.cover())
	must(t, s.produce(1, 20, "a d=1", record.BuildOptions{}))
	must(t, s.cover())
	must(t, s.produce(1, 30, "c=1", record.BuildOptions{}))
	must(t, s.cover())
	_, r, err := s.log.set.list[0].index.Load().row(0)
	must(t, err)
	edit(t, mem, s.log.Segments()[0].Name, func(b []byte) []byte { b[r.at+Address(r.size)-1] ^= 1; return b })
	for _, at := range []int64{100, 5000, 20000} {
		if err := s.clean(at, 1<<20); err != nil && !isCorrupt(err) {
			t.Fatal(err)
		}
		if next := s.log.compacted[1].horizon; next <= at {
			t.Errorf("at %d the whole partition is to be read again from %d on", at, next)
		}
	}
}

func TestABatchWithoutATimeIsNotOverdue(t *testing.T) {
	s, err := newShelf(vfs.NewMem())
	must(t, err)
	s.compact(1, func(c *compaction.Policy) { c.MaxLag, c.MinDirtyRatio = 7*86400000, 0.5 })
	must(t, s.cover())
	options := CleanOptions{SegmentSize: 1 << 20, KeyMapBytes: 1 << 20, Now: 1_700_000_000_000, Pace: atOnce}
	must(t, s.produce(1, -1, "a=1", record.BuildOptions{}))
	got, err := s.log.Clean(s, options)
	must(t, err)
	if got.OpenOverdue || got.SealedOverdue {
		t.Errorf("%+v: the leader ends the segment in every round", got)
	}
	must(t, s.produce(1, 1000, "a=2", record.BuildOptions{}))
	got, err = s.log.Clean(s, options)
	must(t, err)
	if !got.OpenOverdue {
		t.Errorf("%+v: what has a time is old", got)
	}
}
