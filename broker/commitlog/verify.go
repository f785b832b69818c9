package commitlog

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

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
	// Leftovers are files that belong to nothing: a crash left them, and the next start
	// deletes them.
	Leftovers []string
	// Cut is what Repair would cut off, nil if it has nothing to cut.
	Cut *Cut
	// Term is what Repair would make the hard state from, whose both slots are bad: the
	// highest term that is known. 0 if the hard state is good.
	Term record.Term
}

// Problem is something that is not as it should be.
type Problem struct {
	File  string
	Place string // in the file
	What  string
	Do    string // what to do about it
	// Offsets is what was in the place, where the segment's index tells.
	Offsets []OffsetRange
}

func (p Problem) String() string {
	return fmt.Sprintf("%s, %s: %s. %s", p.File, p.Place, p.What, p.Do)
}

// OffsetRange is offsets of a partition, from one up to but without another.
type OffsetRange struct {
	Partition record.PartitionID
	From, To  int64
}

func (r OffsetRange) String() string { return fmt.Sprintf("%v: %d to %d", r.Partition, r.From, r.To-1) }

// What to do.
const (
	doRestore  = "Do not start this replica: move its directory away and let it catch up from the others, or restore a copy."
	doRepair   = "The log does not open: let the replica catch up from the others, restore a copy, or see what --repair would lose."
	doLost     = "The node starts, and answers for that place with an error. What was in it is lost here, unless a copy of the file is put back."
	doIgnore   = "Nothing: what is behind the segment's end is not read."
	doNothing  = "Nothing: the next start repairs it."
	doUpgrade  = "Use the version of the program that wrote it, or a newer one."
	doLookDisk = "See whether the disk is failing."
	doUnknown  = "Nobody reads it: move it away if you do not know why it is there."
)

// Verify reads everything in the directory of a log that is not open, and changes
// nothing: manifest, hard state, snapshots, every frame, every batch, and the
// indexes against their segments. It errors only if it cannot do its work.
func Verify(fsys vfs.FS, dir string) (Report, error) {
	v := verifier{fs: fsys, dir: dir, directory: newDirectory()}
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
	// snapshot is the index of the newest good one: damage up to it does not matter to
	// the state.
	snapshot record.Index
	found    bool // there is a good one
	cut      *cutting
	end      int64       // where the log ends in its last segment
	ended    bool        // by a torn tail
	maxTerm  record.Term // in snapshots and frames
	failed   error       // the first thing that the disk did not do
}

func (v *verifier) problem(file, place, do string, what error) {
	switch {
	case errors.Is(what, ErrFutureVersion):
		do = doUpgrade
	case !isDamage(what) && !errors.Is(what, vfs.ErrNotExist) && !errors.Is(what, io.ErrUnexpectedEOF):
		do = doLookDisk
		v.failed = cmp.Or(v.failed, what)
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
		if err := v.verifySegment(i, m); err != nil {
			return err
		}
		if v.ended {
			break
		}
	}
	v.Last = v.chain.index
	if v.cut == nil && v.Last < v.evidence {
		m := v.layout.segments[len(v.layout.segments)-1]
		v.beginCut(len(v.layout.segments)-1, v.end)
		v.problem(m.name(), "the end", doRepair, damagef("the log ends at entry %d, it was durable up to %d", v.Last, v.evidence))
	}
	if v.Term > 0 {
		v.Term = max(v.maxTerm, 1)
	}
	if v.cut != nil {
		v.Cut = v.cut.finish(max(v.Last, v.evidence), v.directory)
	}
	if gone := v.layout.cleaned(); gone > v.snapshot || gone > 0 && !v.found {
		v.Cut, v.Term = nil, 0
		v.problem(manifestName, "what was cleaned", doRestore, damagef("entries up to %d were cleaned away, and no good snapshot covers them", gone))
	}
	v.verifyCompacted()
	v.verifyNames()
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
		v.problem(hardStateName, "the file", doRepair, err)
		v.hard.Term = ^record.Term(0) // do not hold it against the frames too
		if !errors.Is(err, ErrFutureVersion) {
			v.Term = 1
		}
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
		// That of an installation which a crash interrupted still has its staged name.
		i, ok := parseSnapshotName(name)
		if ok = ok && i >= v.layout.installed; !ok && (v.layout.installed == 0 || name != stagedSnapshotName(v.layout.installed, v.layout.installedGeneration)) {
			continue
		}
		s, err := v.verifySnapshot(name)
		if err != nil {
			v.problem(name, "the file", "The next start uses the other snapshot or the whole log; the next snapshot replaces this one.", err)
			continue
		}
		v.Snapshots++
		v.found, v.snapshot = true, max(v.snapshot, s.Index)
		v.evidence, v.maxTerm = max(v.evidence, s.Index), max(v.maxTerm, s.Term)
	}
}

func (v *verifier) verifySnapshot(name string) (*Snapshot, error) {
	f, err := v.fs.Open(path.Join(v.dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s, err := readSections(f, func(SectionInfo) error { return nil })
	if err != nil {
		return nil, err
	}
	if snapshotName(s.Index) != name && stagedSnapshotName(s.Index, v.layout.installedGeneration) != name {
		return nil, damagef("snapshot of index %d under the name of another", s.Index)
	}
	return s, nil
}

func (v *verifier) verifyCompacted() {
	b, err := v.read(compactedName, maxCompacted)
	if errors.Is(err, vfs.ErrNotExist) {
		return
	}
	if err == nil {
		_, _, err = decodeCompacted(b)
	}
	if err != nil {
		v.problem(compactedName, "the file", doNothing, err)
	}
}

// verifyNames looks at what is there and belongs to nothing.
func (v *verifier) verifyNames() {
	keep := map[string]bool{manifestName: true, hardStateName: true, scrubName: true, compactedName: true, quarantineName: true}
	for _, m := range v.layout.segments {
		keep[m.name()], keep[indexName(m.name())] = true, m.sealed
	}
	for _, name := range stagedSegments(v.names, v.layout.staged) {
		keep[name], keep[indexName(name)] = true, true
	}
	for _, name := range v.names {
		_, snapshot := parseSnapshotName(name)
		switch {
		case keep[name] || snapshot || v.layout.mayHaveLost(name):
		case strings.HasSuffix(name, segmentSuffix) || strings.HasSuffix(name, indexSuffix) || strings.HasSuffix(name, tmpSuffix) || strings.HasSuffix(name, snapshotSuffix):
			v.Leftovers = append(v.Leftovers, name)
		default:
			v.problem(name, "the file", doUnknown, damagef("it is none of the log's"))
		}
	}
}
