package commitlog

import (
	"errors"
	"sync"

	"github.com/splashdam/splashdam/internal/vfs"
)

// maxDamage is how many damaged places are remembered, so that each is told once.
// Where there are more the disk is lost anyway, and no more are told.
const maxDamage = 4096

// damageList remembers where damage was found. mu is a leaf.
type damageList struct {
	mu    sync.Mutex
	known map[damagedPlace]bool
	told  func(*CorruptionError)
}

type damagedPlace struct {
	file string
	at   Address
}

// noteDamage tells of damage, if err is some and it was not told before.
func (l *Log) noteDamage(err error) {
	c, ok := errors.AsType[*CorruptionError](err)
	if !ok {
		return
	}
	d := &l.damage
	d.mu.Lock()
	place := damagedPlace{c.Segment, c.Address}
	tell := !d.known[place] && len(d.known) < maxDamage
	if tell {
		if d.known == nil {
			d.known = make(map[damagedPlace]bool)
		}
		d.known[place] = true
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

// absentFile stands for a segment that the manifest names and nobody finds.
type absentFile struct{}

var errAbsent = damagef("the file is missing: %w", vfs.ErrNotExist)

func (absentFile) ReadAt([]byte, int64) (int, error)  { return 0, errAbsent }
func (absentFile) WriteAt([]byte, int64) (int, error) { return 0, errAbsent }
func (absentFile) Size() (int64, error)               { return 0, nil }
func (absentFile) Truncate(int64) error               { return errAbsent }
func (absentFile) Sync() error                        { return errAbsent }
func (absentFile) Close() error                       { return nil }
