package commitlog

import (
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// Report is what Verify saw.
type Report struct {
	Segments  int
	Frames    int
	Batches   int
	Bytes     int64 // of the segments
	Snapshots int
	Indexes   int
	First     record.Index
	Last      record.Index
	Problems  []Problem
}

// Problem is something that is not as it should be.
type Problem struct {
	File  string
	Place string // in the file
	What  string
	Do    string // what to do about it
}

func (p Problem) String() string {
	return fmt.Sprintf("%s, %s: %s. %s", p.File, p.Place, p.What, p.Do)
}

// What to do.
const (
	doRestore  = "Do not start this replica: move its directory away and let it catch up from the others, or restore a copy."
	doNothing  = "Nothing: the next start repairs it."
	doUpgrade  = "Use the version of the program that wrote it, or a newer one."
	doLookDisk = "See whether the disk is failing."
)

// Verify reads everything in the directory of a log that is not open, and changes
// nothing: manifest, hard state, snapshots, every frame, every batch, and the
// indexes against their segments. It errors only if it cannot do its work.
func Verify(fsys vfs.FS, dir string) (Report, error) {
	v := verifier{fs: fsys, dir: dir, directory: directory{}}
	err := v.run()
	return v.Report, err
}

type verifier struct {
	Report
	fs        vfs.FS
	dir       string
	names     []string
	layout    layout
	hard      hardStateRecord
	evidence  record.Index
	directory directory
	chain     chain
}

func (v *verifier) problem(file, place, do string, what error) {
	switch {
	case errors.Is(what, ErrFutureVersion):
		do = doUpgrade
	case !isDamage(what) && !errors.Is(what, vfs.ErrNotExist):
		do = doLookDisk
	}
	v.Problems = append(v.Problems, Problem{File: file, Place: place, What: what.Error(), Do: do})
}

func (v *verifier) run() error {
	var err error
	if v.names, err = v.fs.List(v.dir); err != nil {
		return err
	}
	if !v.verifyManifest() {
		return nil // without it nobody knows which files count
	}
	v.verifyHardState()
	v.verifySnapshots()
	first := v.layout.segments[0].first
	v.chain = chain{layout: &v.layout, maxTerm: v.hard.Term, index: first - 1, gaps: first > 1}
	v.First = v.layout.segments[0].first
	for i, m := range v.layout.segments {
		v.Segments++
		if !v.verifySegment(i, m) {
			break
		}
	}
	v.Last = v.chain.index
	if len(v.Problems) == 0 && v.Last < v.evidence {
		m := v.layout.segments[len(v.layout.segments)-1]
		v.problem(m.name(), "end", doRestore, damagef("the log ends at entry %d, it was durable up to %d", v.Last, v.evidence))
	}
	return nil
}

func (v *verifier) read(name string, limit int64) ([]byte, error) {
	f, err := v.fs.Open(path.Join(v.dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, limit)
}

func (v *verifier) verifyManifest() bool {
	b, err := v.read(manifestName, maxManifestSize)
	var n uint64
	if err == nil {
		v.layout, n, err = decodeManifest(b)
	}
	if err != nil {
		v.problem(manifestName, "the file", doRestore, err)
		return false
	}
	if end := int(n+1) * manifestRecord; len(b) > end {
		v.problem(manifestName, fmt.Sprintf("record %d", n+1), doNothing, damagef("not whole, as a crash leaves it"))
	}
	for _, name := range v.names {
		if !v.layout.mayHaveLost(name) {
			continue
		}
		if frames, err := holdsFrames(v.fs, path.Join(v.dir, name)); err != nil || frames {
			v.problem(manifestName, "the end", doRestore, damagef("%s holds frames and is not named", name))
		}
	}
	return true
}

func (v *verifier) verifyHardState() {
	b, err := v.read(hardStateName, 2*hardStateSlot)
	var damaged error
	if err == nil {
		v.hard, _, damaged, err = decodeHardState(b)
	}
	if err != nil {
		v.problem(hardStateName, "the file", doRestore, err)
		v.hard.Term = ^record.Term(0) // do not hold it against the frames too
		return
	}
	if damaged != nil {
		v.problem(hardStateName, "one slot", doNothing, damaged)
	}
	if v.hard.generation == v.layout.generation {
		v.evidence = v.hard.durable
	}
}

func (v *verifier) verifySnapshots() {
	for _, name := range v.names {
		if _, ok := parseSnapshotName(name); !ok {
			continue
		}
		s, err := readSnapshot(v.fs, v.dir, name)
		if err != nil {
			v.problem(name, "the file", "The next start uses the other snapshot or the whole log; the next snapshot replaces this one.", err)
			continue
		}
		v.Snapshots++
		v.evidence = max(v.evidence, s.Index)
	}
}

// verifySegment reports whether the log can be followed into the next segment.
func (v *verifier) verifySegment(i int, m segmentMeta) bool {
	last := i == len(v.layout.segments)-1
	f, err := v.fs.Open(path.Join(v.dir, m.name()))
	if err != nil {
		v.problem(m.name(), "the file", doRestore, err)
		return false
	}
	defer f.Close()
	head, size, err := readSegmentHeader(f, m.name())
	if err == nil && (head.base != m.base || head.name() != m.name()) {
		err = damagef("it is not the segment that the manifest names")
	}
	if err != nil {
		v.problem(m.name(), "the header", doRestore, err)
		return false
	}
	v.Bytes += size
	s := &segment{segmentMeta: m, file: f, mem: newMemIndex()}
	s.size = size
	if m.sealed && size != m.size {
		v.problem(m.name(), "the end", doRestore, damagef("%d bytes, not %d", size, m.size))
		return false
	}
	v.chain.skip(m)
	if pos, err := v.verifyFrames(s); err != nil {
		do := doRestore
		if last && v.tornTail(s, pos) {
			do = doNothing
		}
		v.problem(m.name(), (m.base + Address(pos)).String(), do, err)
		return false
	}
	end := m.last
	if !m.sealed && !last {
		end = v.layout.segments[i+1].first - 1
	}
	if end > 0 && v.chain.index != end {
		v.problem(m.name(), "the end", doRestore, damagef("it ends at entry %d, not %d", v.chain.index, end))
		return false
	}
	if m.sealed {
		v.verifyIndex(s)
	}
	return true
}

// verifyFrames returns the position of the first frame that is not sound.
func (v *verifier) verifyFrames(s *segment) (int64, error) {
	scan := newScanner(s.file, s.base, segmentHeaderSize, s.size)
	scan.room = !s.sealed && s.first == v.layout.segments[len(v.layout.segments)-1].first
	for {
		pos := scan.pos
		f, err := scan.next()
		if err == io.EOF {
			return pos, nil
		}
		if err == nil && s.edition > 0 {
			err = s.admitRewritten(f)
		} else if err == nil {
			err = v.chain.admit(f)
		}
		if err == nil {
			err = s.indexEntry(f.entry, s.base+Address(f.pos), v.directory)
		}
		if err != nil {
			return pos, err
		}
		v.Frames++
		v.evidence = max(v.evidence, f.header.durable)
		for _, p := range describe(f, s.base).Parts {
			if p.Kind != record.KindBatch {
				continue
			}
			v.Batches++
			if p.Err != nil {
				v.problem(s.name(), (s.base + Address(pos)).String(), "It was appended as it is: see who produced it.",
					damagef("entry %d, batch of %v at offset %d: %w", f.entry.Index(), p.Partition, p.BaseOffset, p.Err))
			}
		}
	}
}

// tornTail reports whether bad bytes at the end of the log are what a crash leaves.
func (v *verifier) tornTail(s *segment, pos int64) bool {
	for {
		f, ok, err := findFrame(s.file, s.base, pos, s.size)
		if err != nil || !ok {
			return err == nil && v.chain.index >= v.evidence
		}
		if !v.chain.stale(f) {
			v.evidence = max(v.evidence, f.header.durable)
		}
		pos = f.end()
	}
}

// verifyIndex compares the index of a segment with what its frames say.
func (v *verifier) verifyIndex(s *segment) {
	const do = "The next start makes it anew if the file is removed."
	x, err := openIndex(v.fs, v.dir, s.segmentMeta, newBlockCache(1))
	if err != nil {
		v.problem(indexName(s.name()), "the file", do, err)
		return
	}
	defer x.file.Close()
	v.Indexes++
	if err := x.compare(s.mem, v.directory, v.chain.gaps); err != nil {
		v.problem(x.name, "the file", do, err)
	}
}

// compare errors with errDamage if the index does not say the same as one made from
// the frames. A partition that was closed may be missing in its directory; where
// something was cleaned away, the directory may stand further than the frames tell.
func (x *indexFile) compare(mem *memIndex, d directory, cleaned bool) error {
	if x.digest != mem.digest {
		return damagef("entries %+v, not %+v", x.digest, mem.digest)
	}
	i := int64(0)
	for _, p := range mem.partitions() {
		for want := range mem.rows[p].all() {
			if i == x.rows {
				return damagef("it ends at row %d", i)
			}
			q, got, err := x.row(i)
			if err != nil {
				return err
			}
			if q != p || got != want {
				return damagef("row %d is %v %+v, not %v %+v", i, q, got, p, want)
			}
			i++
		}
	}
	if i != x.rows {
		return damagef("%d rows, not %d", x.rows, i)
	}
	for i := range x.dirs {
		got, err := x.directoryRow(i)
		if err != nil {
			return err
		}
		want, ok := d[got.partition]
		if got != want && !(cleaned && (!ok || got.next >= want.next && got.maxTime >= want.maxTime)) {
			return damagef("directory row %d is %+v, not %+v", i, got, want)
		}
	}
	return nil
}
