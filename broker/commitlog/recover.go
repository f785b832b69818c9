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
		fs: fsys, dir: dir, cache: newBlockCache(blocks), cold: newColdReads(),
		shipments: make(map[*Shipment]struct{}),
	}
	l.coldDistance = cmp.Or(o.coldDistance, coldDistance)
	l.room.piece = cmp.Or(o.roomPiece, roomPiece)
	l.damage.told = o.Damaged
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

// Step 4.
func (r *recovery) openSegments() error {
	metas := r.manifest.segments
	for i, m := range metas {
		// A sealed one has its length in the manifest; one that has a follower was synced
		// and had its length before that one was named.
		size, last := m.size, m.last
		if i+1 < len(metas) && !m.sealed {
			size, last = int64(metas[i+1].base-m.base), metas[i+1].first-1
		}
		s, err := r.openSegment(m, size)
		if s != nil {
			r.segments = append(r.segments, s)
		}
		if damage, ok := errors.AsType[*CorruptionError](err); ok && size > 0 {
			err = r.lose(last, damage)
		}
		if err != nil {
			return err
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
			if x.holes > 0 {
				r.holed.Store(true)
			}
			continue
		}
		if !isDamage(err) && !errors.Is(err, vfs.ErrNotExist) {
			return err
		}
		r.warn("the index of %s is made anew: %v", s.name(), err)
		if err := r.reindex(r.segments, i, s.last <= r.index); err != nil {
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
		if err = r.reindex(r.segments[:n], n-1, r.segments[n-1].last <= r.index); err == nil {
			d, err = r.segments[n-1].index.Load().directory()
		}
	}
	r.directory = d
	return err
}

// openSegment checks that the file is the one that the manifest names, and has the
// size that follows from it, 0 where none does. With a *CorruptionError it still
// returns the segment, whose frames and batches are verified where they are read.
func (r *recovery) openSegment(m segmentMeta, size int64) (*segment, error) {
	s := &segment{segmentMeta: m}
	s.size = size
	if !m.sealed {
		s.mem = newMemIndex()
	}
	f, err := r.fs.OpenWrite(r.path(m.name()))
	if errors.Is(err, vfs.ErrNotExist) {
		s.file = absentFile{}
		return s, &CorruptionError{m.name(), m.base, err}
	}
	if err != nil {
		return nil, err
	}
	s.file = f
	got, there, err := readSegmentHeader(f, m.name())
	switch {
	case err == nil && (got.base != m.base || got.name() != m.name()):
		err = damagef("header of segment %s at %s", got.name(), got.base)
	case err == nil && size == 0:
		s.size = there
	case err == nil && size < there:
		r.warn("%s has %d bytes, not %d: those behind are not read", m.name(), there, size)
	case err == nil && size > there:
		return s, &CorruptionError{m.name(), m.base + Address(min(size, there)), damagef("%d bytes, not %d", there, size)}
	}
	if err != nil && !errors.Is(err, ErrFutureVersion) {
		err = &CorruptionError{m.name(), m.base, err}
	}
	return s, err
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
		end := record.Index(0)
		if i < last {
			end = r.segments[i+1].first - 1
		}
		if err := r.scanSegment(s, end); err != nil {
			return err
		}
		if i == last {
			break
		}
		if r.chain.index != end {
			c := &CorruptionError{s.name(), s.base + Address(s.size), damagef("it ends at entry %d, the next segment begins behind %d", r.chain.index, end)}
			if err := r.loseEntries(s, end, c); err != nil {
				return err
			}
		}
		if s.full = true; !s.sealed && s.directory == nil && end <= r.index {
			s.directory = r.directory.rows() // the entry that rolls is lost
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
	r.hard.limitCommit(r.chain.index)
	return nil
}

// scanSegment takes in the frames of a segment, which ends with entry end. In the
// last one, where end is 0, it finds the end of the log and cuts what is behind.
func (r *recovery) scanSegment(s *segment, end record.Index) error {
	extent, err := s.extent()
	if err != nil {
		return fmt.Errorf("%s: %w", s.name(), err)
	}
	scan := newScanner(s.file, s.base, segmentHeaderSize, extent)
	scan.room = end == 0
	for {
		pos := scan.pos
		f, err := scan.next()
		if err == nil {
			err = r.chain.admit(f)
		}
		var corrupt *CorruptionError
		switch {
		case err == io.EOF:
			if end == 0 {
				s.size = pos // what is behind is room
			}
			return nil
		case err == nil:
			if err := r.take(s, f); err != nil {
				return err
			}
			continue
		case errors.As(err, &corrupt), errors.Is(err, ErrFutureVersion):
			return err
		}
		corrupt = &CorruptionError{s.name(), s.base + Address(pos), err}
		next, ok := r.findFollower(s, pos+frameAlign, extent)
		lost := end
		if ok {
			lost = next.entry.Index() - 1
		}
		if end == 0 && (!ok || lost > r.index) {
			if !isDamage(err) {
				return corrupt // nobody knows what the disk does not read: it is not cut
			}
			return r.cutTail(s, pos, corrupt.Err)
		}
		if err := r.loseEntries(s, lost, corrupt); err != nil || !ok {
			return err
		}
		scan = newScanner(s.file, s.base, next.pos, extent)
		scan.room = end == 0
	}
}

// findFollower looks for the first frame at or behind pos that may come later in
// the log, also behind what the disk does not read.
func (r *recovery) findFollower(s *segment, pos, extent int64) (frame, bool) {
	for {
		f, ok, _ := findFrame(s.file, s.base, pos, extent)
		if !ok || !r.chain.stale(f) && f.entry.Index() > r.chain.index {
			return f, ok
		}
		pos = f.end()
	}
}

// lose passes over damage to entries up to last, if the state does not need them:
// the newest snapshot covers them. Else it returns the damage.
func (r *recovery) lose(last record.Index, damage *CorruptionError) error {
	if last > r.index || r.index == 0 {
		return damage
	}
	r.warn("%v; readers of that place get an error, all the rest can be read", damage)
	r.noteDamage(damage, 1)
	return nil
}

// loseEntries is lose for the entries behind the last that was read, up to last. The
// Raft window then begins behind the newest snapshot.
func (r *recovery) loseEntries(s *segment, last record.Index, damage *CorruptionError) error {
	if err := r.lose(last, damage); err != nil {
		return err
	}
	if !s.sealed {
		s.mem.holes++
		r.holed.Store(true)
	}
	r.chain.index = last
	r.win = window{first: r.index + 1, prevTerm: r.snapshots[0].Term}
	return nil
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
		if err != nil { // a frame that knows more may be there
			return &CorruptionError{s.name(), s.base + Address(pos), fmt.Errorf("%w; behind it: %w", cause, err)}
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
	cut := change{kind: suffixCut, generation: r.manifest.nextGeneration(), last: last}
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
