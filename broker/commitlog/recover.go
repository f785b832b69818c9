package commitlog

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// Open opens the log in a directory, or makes one if there is none. After a crash
// it finds everything that was durable, and may find more of what was appended. It
// errors with a *CorruptionError if something durable is not there, and then has
// touched no segment; with ErrFutureVersion if a newer binary wrote it.
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
	l := &Log{fs: fsys, dir: dir, compacted: make(map[record.PartitionID]compactedTo), cache: newBlockCache(blocks)}
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
	if torn {
		r.warn("%s: the last record was not whole and was dropped", manifestName)
	}
	r.manifest = m
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
	return ok && m.generation >= l.generation && m.edition == 0 && m.first > l.segments[len(l.segments)-1].first
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
	var found []record.Index
	for _, name := range r.names {
		if i, ok := parseSnapshotName(name); ok {
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

// Step 4.
func (r *recovery) openSegments() error {
	metas := r.manifest.segments
	for i, m := range metas {
		s, err := r.openSegment(m)
		if err != nil {
			return err
		}
		r.segments = append(r.segments, s)
		if i+1 < len(metas) && !m.sealed {
			// It was synced and had its length before the next one was named.
			if want := int64(metas[i+1].base - m.base); s.size != want {
				return &CorruptionError{m.name(), m.base + Address(min(s.size, want)), damagef("%d bytes, not %d", s.size, want)}
			}
		}
		if m.sealed && s.size != m.size {
			return &CorruptionError{m.name(), m.base + Address(min(s.size, m.size)), damagef("%d bytes, not %d", s.size, m.size)}
		}
	}
	reach := record.Index(0)
	if s := r.older(); s != nil {
		reach = s.Index
	}
	if gone := r.manifest.cleaned(); gone > reach {
		first := r.segments[0]
		return &CorruptionError{first.name(), first.base, damagef("entries up to %d were cleaned away, but there is no good snapshot from which to go on", gone)}
	}
	r.directory = directory{}
	for i, s := range r.segments {
		if !s.sealed {
			break
		}
		x, err := openIndex(r.fs, r.dir, s.segmentMeta, r.cache)
		if err == nil {
			s.index.Store(x)
			continue
		}
		if !isDamage(err) && !errors.Is(err, vfs.ErrNotExist) {
			return err
		}
		r.warn("the index of %s is made anew: %v", s.name(), err)
		if err := r.reindex(r.segments, i); err != nil {
			return err
		}
	}
	return r.readDirectory()
}

// cleaned is the highest index up to which entries are not there any more as they
// were appended, 0 if all are.
func (l *layout) cleaned() record.Index {
	gone := l.segments[0].first - 1
	for i, m := range l.segments {
		if m.edition > 0 {
			gone = m.last
		}
		if m.sealed && i+1 < len(l.segments) && l.segments[i+1].first > m.last+1 {
			gone = l.segments[i+1].first - 1
		}
	}
	return gone
}

// readDirectory takes the directory of the last sealed segment.
func (r *recovery) readDirectory() error {
	n := len(r.segments)
	for n > 0 && !r.segments[n-1].sealed {
		n--
	}
	if n == 0 {
		return nil
	}
	d, err := r.segments[n-1].index.Load().directory()
	var corrupt *CorruptionError
	if errors.As(err, &corrupt) {
		r.warn("the index of %s is made anew: %v", r.segments[n-1].name(), err)
		if err = r.reindex(r.segments[:n], n-1); err == nil {
			d, err = r.segments[n-1].index.Load().directory()
		}
	}
	r.directory = d
	return err
}

// openSegment checks that the file is the one that the manifest names.
func (r *recovery) openSegment(m segmentMeta) (*segment, error) {
	f, err := r.fs.OpenWrite(r.path(m.name()))
	if errors.Is(err, vfs.ErrNotExist) {
		return nil, &CorruptionError{m.name(), m.base, err}
	}
	if err != nil {
		return nil, err
	}
	got, size, err := readSegmentHeader(f, m.name())
	if err == nil && (got.base != m.base || got.name() != m.name()) {
		err = damagef("header of segment %s at %s", got.name(), got.base)
	}
	if err != nil {
		_ = f.Close()
		if isDamage(err) {
			err = &CorruptionError{m.name(), m.base, err}
		}
		return nil, err
	}
	s := &segment{segmentMeta: m, file: f}
	s.size = size
	if !m.sealed {
		s.mem = newMemIndex()
	}
	return s, nil
}

// Step 5.
func (r *recovery) scan() error {
	r.win.first = 1
	from := record.Index(1) // the first index to be scanned
	if s := r.older(); s != nil {
		r.win.first, r.win.prevTerm = s.Index+1, s.Term
		from = s.Index // itself: its term is checked
	}
	last := len(r.segments) - 1
	r.chain = chain{layout: &r.manifest.layout, maxTerm: r.hard.now.Term}
	begun := false
	for i, s := range r.segments {
		if s.sealed && (s.last < from || s.edition > 0) {
			continue // all of it is behind a snapshot
		}
		if !begun {
			r.chain.index, begun = s.first-1, true
		}
		if err := r.scanSegment(s, i == last); err != nil {
			return err
		}
		if i < last {
			if want := r.segments[i+1].first - 1; r.chain.index != want {
				return &CorruptionError{s.name(), s.base + Address(s.size), damagef("it ends at entry %d, the next segment begins behind %d", r.chain.index, want)}
			}
			s.full = true
		}
	}
	if r.chain.index < r.evidence {
		open := r.segments[last]
		return &CorruptionError{open.name(), open.base + Address(open.size), damagef("the log ends at entry %d, it was durable up to %d", r.chain.index, r.evidence)}
	}
	open := r.segments[last]
	if err := syncFile(open.file); err != nil {
		return fmt.Errorf("%s: %w", open.name(), err)
	}
	r.committed = r.index
	r.durable.Store(uint64(r.chain.index))
	r.set = newSegmentSet(r.segments)
	r.hard.now.Commit = min(r.hard.now.Commit, r.chain.index)
	return nil
}

// scanSegment takes in the frames of a segment. In the last one it finds the end of
// the log and cuts what is behind.
func (r *recovery) scanSegment(s *segment, last bool) error {
	scan := newScanner(s.file, s.base, segmentHeaderSize, s.size)
	scan.room = last
	for {
		pos := scan.pos
		f, err := scan.next()
		if err == nil {
			err = r.chain.admit(f)
		}
		var corrupt *CorruptionError
		switch {
		case err == io.EOF:
			s.size = pos // what is behind is room
			return nil
		case err == nil:
			if err := r.take(s, f); err != nil {
				return err
			}
		case !isDamage(err) || errors.As(err, &corrupt):
			return err
		case last:
			return r.cutTail(s, pos, err)
		default:
			return &CorruptionError{s.name(), s.base + Address(pos), err}
		}
	}
}

// take puts an entry into the window, and into the index as far as the snapshot
// covers it.
func (r *recovery) take(s *segment, f frame) error {
	e, at := f.entry, s.base+Address(f.pos)
	r.evidence = max(r.evidence, f.header.durable)
	for _, snap := range r.snapshots {
		if e.Index() == snap.Index && e.Term() != snap.Term {
			return &CorruptionError{s.name(), at, damagef("entry %d of term %d, the snapshot says %d", e.Index(), e.Term(), snap.Term)}
		}
	}
	if e.Index() >= r.win.first {
		r.win.entries = append(r.win.entries, place(e, at))
	}
	s.full = e.Rolls()
	if s.sealed || e.Index() > r.index {
		return nil
	}
	if err := s.indexEntry(e, at, r.directory); err != nil {
		return &CorruptionError{s.name(), at, err}
	}
	if e.Rolls() {
		s.directory = r.directory.rows()
	}
	return nil
}

// cutTail decides about bytes at the end of the log that are not its next frame.
// Frames behind them may know that the log was durable past this place: then it is
// damage, and is left as it is. Else it is what a crash left of appends that nobody
// was told of, or of a cut, and goes.
func (r *recovery) cutTail(s *segment, pos int64, cause error) error {
	for next := pos; ; {
		f, ok, err := findFrame(s.file, s.base, next, s.size)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if !r.chain.stale(f) {
			r.evidence = max(r.evidence, f.header.durable)
		}
		next = f.end()
	}
	last := r.chain.index
	if last < r.evidence {
		return &CorruptionError{s.name(), s.base + Address(pos), fmt.Errorf("entry %d, and the log was durable up to %d: %w", last+1, r.evidence, cause)}
	}
	cut := change{kind: suffixCut, generation: r.manifest.generation + 1, last: last}
	if err := r.manifest.record(cut); err != nil {
		return err
	}
	r.generation = cut.generation
	if err := s.file.Truncate(pos); err != nil {
		return err
	}
	r.warn("%s: cut %d bytes behind entry %d that were not durable: %v", s.name(), s.size-pos, last, cause)
	s.size = pos
	return nil
}

// chain is what the next frame must fit to.
type chain struct {
	*layout
	maxTerm record.Term // the hard state's

	index record.Index
	term  record.Term
	frame uint32 // generation of the last frame
	gaps  bool   // something was cleaned away on the way
}

// skip passes over entries in front of a segment that were cleaned away, and over
// those of a segment that was rewritten: they are no links of the chain any more.
func (c *chain) skip(m segmentMeta) {
	if m.first > c.index+1 || m.edition > 0 {
		c.gaps = true
	}
	c.index = m.first - 1
	if m.edition > 0 {
		c.index = m.last
	}
}

// admitRewritten takes a frame of a rewritten segment. It errors with errDamage for
// one that does not belong there.
func (s *segment) admitRewritten(f frame) error {
	e := f.entry
	if !e.Rewritten() || e.Index() != s.last || f.header.generation != s.generation || f.header.durable != 0 {
		return damagef("entry %d of generation %d in what was rewritten of entries %d to %d", e.Index(), f.header.generation, s.first, s.last)
	}
	return nil
}

// stale reports whether a frame is older than a cut that it lies behind.
func (c *chain) stale(f frame) bool {
	return f.header.generation < c.frame || f.entry.Index() > c.cutLast && f.header.generation < c.generation
}

// errLost is a frame that proves that another file has lost something.
var errLost = errors.New("lost record")

// admit takes a frame that follows. It errors with errDamage for one that does not,
// and with a *CorruptionError for one that cannot be.
func (c *chain) admit(f frame) error {
	e := f.entry
	switch {
	case e.Rewritten():
		return damagef("entry %d is a rewritten one", e.Index())
	case f.header.generation > c.generation:
		return &CorruptionError{manifestName, 0, damagef("generation %d, but entry %d was written in %d: %w", c.generation, e.Index(), f.header.generation, errLost)}
	case e.Index() != c.index+1:
		return damagef("entry %d behind entry %d", e.Index(), c.index)
	case c.stale(f):
		return damagef("entry %d of generation %d was cut", e.Index(), f.header.generation)
	case e.Term() < c.term:
		return damagef("entry %d of term %d behind term %d", e.Index(), e.Term(), c.term)
	case f.header.durable >= e.Index():
		return damagef("entry %d says it was durable up to %d before it was written", e.Index(), f.header.durable)
	case e.Term() > c.maxTerm:
		return &CorruptionError{hardStateName, 0, damagef("term %d, but entry %d has term %d: %w", c.maxTerm, e.Index(), e.Term(), errLost)}
	}
	c.index, c.term, c.frame = e.Index(), e.Term(), f.header.generation
	return nil
}

// Step 6.
func (r *recovery) removeOrphans() error {
	keep := map[string]bool{manifestName: true, hardStateName: true}
	for _, s := range r.segments {
		keep[s.name()] = true
		keep[indexName(s.name())] = s.sealed
	}
	for _, s := range r.snapshots {
		keep[snapshotName(s.Index)] = true
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
