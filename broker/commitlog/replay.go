package commitlog

import (
	"fmt"
	"io"
	"path"
	"slices"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// Replay reads what a state can be made from out of the directory of a log that is not
// open, and changes nothing: restore gets the newest snapshot that is good, if there is one,
// then apply the entries behind it, in order, up to the log's end or the first damage;
// each is valid until the call after it. Whether the last entries are committed Replay does
// not know. It errors with what restore or apply return, with ErrFutureVersion, with a
// *CorruptionError where it stopped before the end, or with what the disk said.
func Replay(fsys vfs.FS, dir string, restore func(*Snapshot) error, apply func(record.Entry) error) error {
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	l, err := readLayout(fsys, dir)
	if err != nil {
		return err
	}
	snap, err := newestSnapshot(fsys, dir, names, l.installed)
	if err != nil {
		return err
	}
	c := chain{layout: &l, maxTerm: ^record.Term(0), index: l.segments[0].first - 1}
	after := record.Index(0)
	if snap != nil {
		after = snap.Index
		if err := restore(snap); err != nil {
			return err
		}
	}
	if gone := l.cleaned(); gone > after {
		return &CorruptionError{l.segments[0].name(), l.segments[0].base, damagef("entries up to %d were cleaned away, and no good snapshot covers them", gone)}
	}
	for i, m := range l.segments {
		size, last := l.bounds(i)
		c.skip(m)
		if last > 0 && last <= after {
			c.index = last
			continue
		}
		if err := replaySegment(fsys, dir, m, size, &c, func(e record.Entry) error {
			if e.Index() <= after {
				return nil
			}
			return apply(e)
		}); err != nil {
			return err
		}
		if last > 0 && c.index != last {
			return &CorruptionError{m.name(), m.base + Address(size), damagef("it ends at entry %d, not %d", c.index, last)}
		}
	}
	return nil
}

func readLayout(fsys vfs.FS, dir string) (layout, error) {
	f, err := fsys.Open(path.Join(dir, manifestName))
	if err != nil {
		return layout{}, err
	}
	defer f.Close()
	b, err := readAll(f, maxManifestSize)
	if err != nil {
		return layout{}, fmt.Errorf("%s: %w", manifestName, err)
	}
	l, _, err := decodeManifest(b)
	return l, err
}

// newestSnapshot is the newest good one that counts, nil if there is none.
func newestSnapshot(fsys vfs.FS, dir string, names []string, installed record.Index) (*Snapshot, error) {
	for _, name := range slices.Backward(names) { // sorted, and so are the indexes in them
		if i, ok := parseSnapshotName(name); !ok || i < installed {
			continue
		}
		s, err := readSnapshot(fsys, dir, name)
		if !isDamage(err) {
			return s, err
		}
	}
	return nil, nil
}

// replaySegment calls apply with the entries of a segment; size is 0 where that is the
// file's.
func replaySegment(fsys vfs.FS, dir string, m segmentMeta, size int64, c *chain, apply func(record.Entry) error) error {
	f, err := fsys.Open(path.Join(dir, m.name()))
	if err != nil {
		return err
	}
	defer f.Close()
	s := &segment{segmentMeta: m, file: f}
	s.size = size
	there, err := m.readOwnHeader(f)
	if err != nil {
		return err
	}
	if size == 0 {
		s.size = there
	}
	w, err := s.walk(c, size == 0)
	if err != nil {
		return err
	}
	for {
		f, err := w.next()
		switch {
		case err == io.EOF:
			return nil
		case err != nil && isDamage(err):
			return &CorruptionError{m.name(), w.at(), err}
		case err != nil:
			return err
		}
		if err := apply(f.entry); err != nil {
			return err
		}
	}
}
