package commitlog

import (
	"fmt"
	"slices"

	"github.com/splashdam/splashdam/internal/invariant"
)

// Install makes what a complete Stage has received the log: the segments that were
// kept, those that came, and the snapshot, from which everything goes on. What the log
// had behind the kept ones is no more. Up to the snapshot it came again; what lay behind
// that was not committed as far as this log knows, and the caller must know that it was
// not in any other either: Raft takes a snapshot only where the log has another entry in
// its place, or none. When it returns all this is durable, and nothing but the snapshot's
// entry is before the Raft window. The caller, which is the appender, then takes the state
// from Snapshot.
//
// In this order: the received files are durable under names of their own; one manifest
// names them, with a higher generation; the snapshot gets its name; the rest is
// deleted. A crash before the manifest leaves the log as it was, and the files for
// another Stage; behind it, the next start does what is left.
//
// After vfs.ErrNoSpace nothing has changed, and it may be called again. With ErrStale
// the log has overtaken the shipment: what was committed, also as the hard state says
// it, reaches up to the snapshot. The Stage is of no use then. Any other error fences the
// log.
func (l *Log) Install(s *Stage) error {
	if err := l.writable(); err != nil {
		return err
	}
	invariant.That(s.log == l && s.Complete(), "installing a shipment that has not arrived")
	hs := l.HardState()
	invariant.That(hs.Term >= s.list.Term, "installing a snapshot of term %d, the hard state has %d", s.list.Term, hs.Term)
	l.sealMu.Lock()
	defer l.sealMu.Unlock()
	l.snapMu.Lock()
	defer l.snapMu.Unlock()
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	doing := fmt.Sprintf("installing the snapshot at %d", s.list.Index)
	l.mu.RLock()
	committed := max(l.committed, hs.Commit)
	l.mu.RUnlock()
	if s.list.Index <= committed {
		return fmt.Errorf("%s, the log is committed up to %d: %w", doing, committed, ErrStale)
	}
	if err := l.manifest.install(s.kept, s.received, s.list.Index); err != nil {
		return l.fail(doing, err)
	}
	l.giveUpRoom() // its file would go with what is not the log
	err := l.reopen()
	s.Close()
	if err == nil {
		hs.Commit = max(hs.Commit, s.list.Index)
		err = l.hard.set(hs, true, l.Durable(), l.generation)
	}
	if err != nil {
		// Even a full disk: the manifest has decided.
		return l.fail(doing, &syncError{err})
	}
	return nil
}

// reopen takes the log from its directory, as Open does, for everybody who has it open.
// Damage that it goes around is told as that which Open finds.
func (l *Log) reopen() error {
	r := recovery{Log: &Log{fs: l.fs, dir: l.dir, cache: l.cache, door: l.door, manifest: l.manifest, hard: l.hard, generation: l.manifest.now()}}
	var err error
	if r.names, err = l.fs.List(l.dir); err != nil {
		return err
	}
	for _, step := range []func() error{r.readSnapshots, r.openSegments, r.scan, r.removeOrphans} {
		if err := step(); err != nil {
			for _, s := range r.segments {
				r.closeUnused(s)
			}
			if r.set != nil {
				r.set.release()
			}
			return err
		}
	}
	l.generation = r.generation
	l.durable.Store(r.durable.Load())
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.set
	l.set, l.win, l.committed, l.directory, l.snapshots = r.set, r.win, r.committed, r.directory, r.snapshots
	l.warnings = append(l.warnings, r.warnings...)
	for s := range l.shipments {
		s.expired.Store(true)
	}
	clear(l.shipments)
	old.release()
	return nil
}

// finishInstall gives the snapshot of the last installation its name, if a crash came
// before.
func (r *recovery) finishInstall() error {
	name, final := stagedSnapshotName(r.manifest.installed, r.manifest.installedGeneration), snapshotName(r.manifest.installed)
	i := slices.Index(r.names, name)
	if r.manifest.installed == 0 || i < 0 {
		return nil
	}
	if err := r.fs.Rename(r.path(name), r.path(final)); err != nil {
		return err
	}
	if err := syncDir(r.fs, r.dir); err != nil {
		return err
	}
	r.names = slices.Delete(slices.Clone(r.names), i, i+1)
	if !slices.Contains(r.names, final) {
		r.names = append(r.names, final)
	}
	return nil
}
