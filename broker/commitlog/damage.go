package commitlog

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/splashdam/splashdam/internal/vfs"
)

// maxDamage is how many damaged places are remembered, so that each is told once.
// Where there are more the disk is lost anyway, and no more are told.
const maxDamage = 4096

// knownDamage is what is known of damage in the files of a log that is open. It may be used
// by anyone; mu is a leaf.
type knownDamage struct {
	told func(*CorruptionError)
	// holed is that an index is made around damage, or was (segment.holes): where it is not
	// so a reader need not ask whether a gap of offsets is one.
	holed atomic.Bool
	// suspect is that a segment's badIndex is set, or was not long ago: so nobody need
	// look at all of them.
	suspect atomic.Bool

	mu    sync.Mutex
	known []damagedPlace
}

// segmentDamage is what is known of damage in one segment, beside its holes.
type segmentDamage struct {
	// badIndex is that a block of the index is damaged: Seal makes the index anew.
	badIndex atomic.Bool
	// badBatch is that the cleaner met a damaged batch: it leaves the segment as it is.
	badBatch atomic.Bool
}

// holes is how many runs of damaged bytes the index of a segment was made around. Log.mu is
// held, unless the segment is sealed.
func (s *segment) holes() uint32 {
	if x := s.index.Load(); x != nil {
		return x.holes
	}
	return s.mem.holes
}

// condemnIndex has Seal make the index of a sealed segment anew.
func (s *segment) condemnIndex() {
	s.badIndex.Store(true)
	s.door.suspect.Store(true)
}

// damagedPlace is bytes of a file, from an address up to another.
type damagedPlace struct {
	file     string
	from, to Address
}

// noteDamage tells of damage, size bytes if that is known, if err is some and neither a
// part of it nor what it touches was told before.
func (d *knownDamage) noteDamage(err error, size int64) {
	c, ok := errors.AsType[*CorruptionError](err)
	if !ok {
		return
	}
	place := damagedPlace{c.Segment, c.Address, c.Address + Address(max(size, 1))}
	d.mu.Lock()
	i := slices.IndexFunc(d.known, func(p damagedPlace) bool {
		return p.file == place.file && p.from <= place.to && place.from <= p.to
	})
	tell := i < 0 && len(d.known) < maxDamage
	if tell {
		d.known = append(d.known, place)
	} else if i >= 0 {
		d.known[i].from, d.known[i].to = min(d.known[i].from, place.from), max(d.known[i].to, place.to)
	}
	d.mu.Unlock()
	if tell && d.told != nil {
		d.told(c)
	}
}

// knowsDamage reports whether damage in a file was told.
func (d *knownDamage) knowsDamage(file string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.known, func(p damagedPlace) bool { return p.file == file })
}

// Damage is how many damaged places were found since the log was opened, at most
// 4096.
func (l *Log) Damage() int {
	l.door.mu.Lock()
	defer l.door.mu.Unlock()
	return len(l.door.known)
}

// unread makes damage of the error of a read of size bytes: what the disk does not
// give is a *CorruptionError. It is nil if err is.
func unread(file string, at Address, size int, err error) error {
	if err == nil {
		return nil
	}
	return &CorruptionError{file, at, fmt.Errorf("reading %d bytes: %w", size, err)}
}

// absentFile stands for a segment that the manifest names and nobody finds.
type absentFile struct{}

var errAbsent = damagef("the file is missing: %w", vfs.ErrNotExist)

func (absentFile) ReadAt([]byte, int64) (int, error)   { return 0, errAbsent }
func (absentFile) ReadOnce([]byte, int64) (int, error) { return 0, errAbsent }
func (absentFile) WriteAt([]byte, int64) (int, error)  { return 0, errAbsent }
func (absentFile) Size() (int64, error)                { return 0, nil }
func (absentFile) Truncate(int64) error                { return errAbsent }
func (absentFile) Allocate(int64) error                { return errAbsent }
func (absentFile) Sync() error                         { return errAbsent }
func (absentFile) Close() error                        { return nil }
