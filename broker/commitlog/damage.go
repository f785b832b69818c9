package commitlog

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/splashdam/splashdam/internal/vfs"
)

// maxDamage is how many damaged places are remembered, so that each is told once.
// Where there are more the disk is lost anyway, and no more are told.
const maxDamage = 4096

// damageList remembers where damage was found. mu is a leaf.
type damageList struct {
	mu    sync.Mutex
	known []damagedPlace
	told  func(*CorruptionError)
}

// damagedPlace is bytes of a file, from an address up to another.
type damagedPlace struct {
	file     string
	from, to Address
}

// noteDamage tells of damage, size bytes if that is known, if err is some and neither a
// part of it nor what it touches was told before.
func (l *Log) noteDamage(err error, size int64) {
	c, ok := errors.AsType[*CorruptionError](err)
	if !ok {
		return
	}
	place := damagedPlace{c.Segment, c.Address, c.Address + Address(max(size, 1))}
	d := &l.damage
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

// Damage is how many damaged places were found since the log was opened, at most
// 4096.
func (l *Log) Damage() int {
	l.damage.mu.Lock()
	defer l.damage.mu.Unlock()
	return len(l.damage.known)
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
