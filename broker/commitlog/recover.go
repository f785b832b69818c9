package commitlog

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// Open opens the log in a directory, or makes one if there is none. After a crash
// it finds everything that was durable, and may find more of what was appended. It
// errors with a *CorruptionError if something durable that is needed to go on is not
// there, and then has touched no segment; with ErrFutureVersion if a newer binary
// wrote it. What is damaged at or below the newest good snapshot is not needed: it
// is told (Options.Damaged, Warnings), and readers of that place get the error.
//
// What is there when Open returns is durable. The entries above the newest
// snapshot are not yet visible to readers: the caller passes them to Committed as
// far as they are. Only one Log at a time may have a directory open. The parent
// directory must be durable already.
func Open(fsys vfs.FS, dir string, o Options) (*Log, error) {
	blocks := indexCacheBlocks
	if o.IndexCache > 0 {
		blocks = max(1, o.IndexCache/blockSize)
	}
	l := &Log{
		fs: fsys, dir: dir, cache: newBlockCache(blocks),
		door:      &door{knownDamage: knownDamage{told: o.Damaged}, cold: newColdReads()},
		shipments: make(map[*Shipment]struct{}),
	}
	l.coldDistance = cmp.Or(o.coldDistance, coldDistance)
	l.room.piece = cmp.Or(o.roomPiece, roomPiece)
	r := recovery{Log: l}
	if err := r.run(); err != nil {
		for _, s := range r.segments {
			l.closeUnused(s)
		}
		l.closeFiles()
		return nil, fmt.Errorf("opening log %s: %w", dir, err)
	}
	return l, nil
}

// closeUnused closes a segment that never became part of the log.
func (l *Log) closeUnused(s *segment) {
	if l.set == nil {
		s.refs.Store(1)
		s.release()
	}
}

// recovery is what Open knows on the way. Its steps, in order:
//
//  1. The manifest says which segments there are.
//  2. The hard state.
//  3. The newest good snapshot, and the one to fall back to.
//  4. The segments are opened; the sealed ones with their indexes, made anew where
//     they are missing or damaged.
//  5. Frames are scanned, from the older snapshot and from the first segment that is
//     not sealed, up to the end; bad bytes there are damage or a torn tail, which is
//     cut.
//  6. What does not belong to the log is deleted.
type recovery struct {
	*Log
	names    []string // in the directory
	damaged  []string // snapshots that are not good: they stay until the next is written
	segments []*segment
	index    record.Index // newest snapshot's, 0 if there is none
	chain    chain
	evidence record.Index // the log was durable at least up to here
	torn     bool         // the manifest's last record is not whole
}

func (r *recovery) run() error {
	if err := r.fs.MkdirAll(r.dir); err != nil {
		return err
	}
	if err := syncDir(r.fs, path.Dir(r.dir)); err != nil {
		return err
	}
	var err error
	if r.names, err = r.fs.List(r.dir); err != nil {
		return err
	}
	if !slices.Contains(r.names, manifestName) {
		if err := r.create(); err != nil {
			return err
		}
	}
	for _, step := range []func() error{
		r.readManifest, r.readHardState, r.readSnapshots, r.openSegments, r.scan, r.removeOrphans,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (r *recovery) warn(format string, args ...any) {
	r.warnings = append(r.warnings, fmt.Sprintf(format, args...))
}

// create makes an empty log: one segment, and the manifest last, since a directory
// without a manifest holds no log. Finding one's remains there all the same means
// that the manifest was lost.
func (r *recovery) create() error {
	for _, name := range r.names {
		lost := strings.HasSuffix(name, snapshotSuffix)
		switch {
		case strings.HasSuffix(name, segmentSuffix):
			frames, err := holdsFrames(r.fs, r.path(name))
			if err != nil {
				return err
			}
			lost = frames
		case name == hardStateName:
			h, err := r.readHardStateFile()
			if err != nil {
				return err
			}
			lost = h.Term > 0
		}
		if lost {
			return &CorruptionError{manifestName, 0, damagef("there is none, but there is %s", name)}
		}
	}
	if err := createHardState(r.fs, r.dir); err != nil {
		return err
	}
	m := segmentMeta{first: 1, generation: 1}
	s, err := createSegment(r.fs, r.dir, m)
	if err != nil {
		return err
	}
	if err := s.file.Close(); err != nil {
		return err
	}
	if err := syncDir(r.fs, r.dir); err != nil {
		return err
	}
	l := layout{generation: 1, segments: []segmentMeta{m}}
	if err := createManifest(r.fs, r.dir, l); err != nil {
		return err
	}
	r.names, err = r.fs.List(r.dir)
	return err
}

func (r *recovery) readHardStateFile() (hardStateRecord, error) {
	f, err := r.fs.Open(r.path(hardStateName))
	if err != nil {
		return hardStateRecord{}, err
	}
	defer f.Close()
	b, err := readAll(f, 2*hardStateSlot)
	if err != nil {
		return hardStateRecord{}, err
	}
	h, _, _, err := decodeHardState(b)
	return h, err
}

// Step 1.
func (r *recovery) readManifest() error {
	m, torn, err := openManifest(r.fs, r.dir)
	if err != nil {
		return err
	}
	r.manifest, r.torn = m, torn
	for _, name := range r.names {
		if !m.mayHaveLost(name) {
			continue
		}
		frames, err := holdsFrames(r.fs, r.path(name))
		if err != nil {
			return err
		}
		if frames {
			return &CorruptionError{manifestName, Address(m.records+1) * manifestRecord, damagef("%s holds frames and is not named", name)}
		}
	}
	return nil
}

// mayHaveLost reports whether a segment of that name, if there are frames in it,
// shows that the manifest has lost a record. A file that the manifest does not name
// is what a crash left of a roll, of a cut or of a cleaning; but of the roll there
// are no frames, the cut has raised the generation, and what is cleaned lies before
// the last segment.
func (l *layout) mayHaveLost(name string) bool {
	m, ok := parseSegmentName(name)
	return ok && m.generation >= l.generation && m.generation != l.staged && m.edition == 0 && m.first > l.segments[len(l.segments)-1].first
}

// Step 2.
func (r *recovery) readHardState() error {
	h, damaged, err := openHardState(r.fs, r.dir)
	if errors.Is(err, vfs.ErrNotExist) {
		return &CorruptionError{hardStateName, 0, err}
	}
	if err != nil {
		return err
	}
	if damaged != nil {
		r.warn("%s: %v; the other slot was used", hardStateName, damaged)
	}
	r.hard, r.generation = h, r.manifest.generation
	if h.now.generation == r.manifest.generation {
		r.evidence = h.now.durable
	}
	return nil
}

// Step 3.
func (r *recovery) readSnapshots() error {
	if err := r.finishInstall(); err != nil {
		return err
	}
	var found []record.Index
	for _, name := range r.names {
		if i, ok := parseSnapshotName(name); ok && i >= r.manifest.installed {
			found = append(found, i)
		}
	}
	slices.Sort(found)
	slices.Reverse(found)
	for _, i := range found {
		if len(r.snapshots) == keptSnapshots {
			break // older than the older one: an orphan
		}
		s, err := readSnapshot(r.fs, r.dir, snapshotName(i))
		if isDamage(err) {
			r.damaged = append(r.damaged, snapshotName(i))
			r.warn("snapshot %s is damaged and was not used: %v", snapshotName(i), err)
			continue
		}
		if err != nil {
			return err
		}
		if len(r.snapshots) > 0 {
			s = s.withoutSections()
		}
		r.snapshots = append(r.snapshots, s)
	}
	if len(r.snapshots) > 0 {
		r.index = r.snapshots[0].Index
		r.evidence = max(r.evidence, r.index)
	}
	return nil
}

// older is the snapshot from whose index on the log is scanned, nil for all of it.
func (r *recovery) older() *Snapshot {
	if len(r.snapshots) == 0 {
		return nil
	}
	return r.snapshots[len(r.snapshots)-1]
}

// Step 6.
func (r *recovery) removeOrphans() error {
	if r.torn {
		// Only now: until everything else fits, a disk that once read it wrong may have been at
		// fault, and the record is needed.
		if err := r.manifest.dropTorn(); err != nil {
			return err
		}
		r.warn("%s: the last record was not whole and was dropped", manifestName)
	}
	keep := map[string]bool{manifestName: true, hardStateName: true}
	for _, s := range r.segments {
		keep[s.name()] = true
		keep[indexName(s.name())] = s.sealed
	}
	for _, s := range r.snapshots {
		keep[snapshotName(s.Index)] = true
	}
	for _, name := range stagedSegments(r.names, r.manifest.staged) {
		keep[name], keep[indexName(name)] = true, true // a receipt that may go on
	}
	for _, name := range r.damaged {
		keep[name] = true
	}
	for _, name := range r.names {
		ours := false
		for _, suffix := range []string{segmentSuffix, indexSuffix, snapshotSuffix, tmpSuffix} {
			ours = ours || strings.HasSuffix(name, suffix)
		}
		if !ours || keep[name] {
			continue
		}
		if err := r.fs.Remove(r.path(name)); err != nil {
			return err
		}
	}
	return syncDir(r.fs, r.dir)
}
