package commitlog

import (
	"errors"
	"fmt"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// snapshotName is what the snapshot is called until it counts.
func (s *Stage) snapshotName() string { return stagedSnapshotName(s.list.Index, s.generation) }

func stagedSnapshotName(i record.Index, generation uint32) string {
	return fmt.Sprintf("%020d-%08x%s", uint64(i), generation, snapshotSuffix)
}

func (s *Stage) writeSnapshot(b []byte) error {
	name := s.log.path(s.snapshotName())
	if s.snapshot == nil {
		f, err := s.log.fs.Create(name)
		if errors.Is(err, vfs.ErrExist) {
			if f, err = s.log.fs.OpenWrite(name); err == nil {
				err = f.Truncate(0)
			}
		}
		if err != nil {
			return err
		}
		s.snapshot = f
	}
	if s.next.Offset+uint64(len(b)) > uint64(s.list.Snapshot) {
		return fmt.Errorf("%w: more than the %d bytes of the snapshot", ErrShipment, s.list.Snapshot)
	}
	if _, err := s.snapshot.WriteAt(b, int64(s.next.Offset)); err != nil {
		return err
	}
	s.next.Offset += uint64(len(b))
	if s.next.Offset < uint64(s.list.Snapshot) {
		return nil
	}
	if err := syncFile(s.snapshot); err != nil {
		return err
	}
	content, err := readAll(s.snapshot, s.list.Snapshot)
	if err != nil {
		return err
	}
	snap, err := decodeSnapshot(content)
	if err == nil && (snap.Index != s.list.Index || snap.Term != s.list.Term) {
		err = damagef("it is at index %d of term %d", snap.Index, snap.Term)
	}
	if err != nil && isDamage(err) {
		return fmt.Errorf("%w: snapshot: %w", ErrShipment, err)
	}
	if err != nil {
		return err
	}
	s.head = snap.withoutSections()
	if err := s.open(); err != nil {
		return err
	}
	if err := s.syncDir(); err != nil {
		return err
	}
	s.next = s.list.End()
	return nil
}
