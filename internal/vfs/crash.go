package vfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// CrashClean returns a clone that holds exactly what was synced: the least that a
// power loss leaves.
func (m *Mem) CrashClean() *Mem { return m.crash(nil) }

// Crash returns a clone as a power loss might leave it. All that was synced is
// there. Of the rest, rnd decides:
//
//   - each write to a file is there, is not, or is there in part. Where it is not
//     but the file is long enough, the old bytes are, or zeros where there were
//     none;
//   - the length of a file that grew lies anywhere between the old and the new;
//   - each change to a directory is there or is not.
//
// The original goes on unharmed; handles and locks on it mean nothing to the
// clone. The same tree and the same state of rnd give the same clone.
func (m *Mem) Crash(rnd *rand.Rand) *Mem { return m.crash(rnd) }

func (m *Mem) crash(rnd *rand.Rand) *Mem {
	m.mu.RLock()
	defer m.mu.RUnlock()
	c := crasher{rnd: rnd, inodes: map[*memInode]*memInode{}, dirs: map[*memDir]*memDir{}, kept: map[uint64]bool{}}
	clone := &Mem{root: c.dir(m.root), capacity: m.capacity}
	for _, f := range c.inodes {
		clone.used += int64(len(f.data))
	}
	return clone
}

// crasher copies a tree. Without rnd it drops all that is not durable. It keeps
// what it made, since a file may have several names, and what it decided for a
// call that changed two directories.
type crasher struct {
	rnd    *rand.Rand
	inodes map[*memInode]*memInode
	dirs   map[*memDir]*memDir
	kept   map[uint64]bool
}

// fate of the changes to one file or directory. Half of them see the extremes:
// single coins alone would almost never give a file that is wholly there beside
// one of which nothing is.
type fate int

const (
	dropAll fate = iota
	keepAll
	mix
)

func (c *crasher) fate() fate {
	if c.rnd == nil {
		return dropAll
	}
	return min(fate(c.rnd.IntN(4)), mix)
}

func (c *crasher) dir(d *memDir) *memDir {
	if done := c.dirs[d]; done != nil {
		return done
	}
	entries := maps.Clone(d.durable)
	if c.rnd != nil {
		how := c.fate()
		for _, change := range d.pending {
			kept, decided := c.kept[change.id]
			if !decided {
				kept = how == keepAll || how == mix && c.rnd.IntN(2) == 0
				c.kept[change.id] = kept
			}
			if kept {
				setEntry(entries, change.name, change.node)
			}
		}
	}
	clone := newMemDir()
	c.dirs[d] = clone
	for _, name := range slices.Sorted(maps.Keys(entries)) { // the order decides what rnd gives to whom
		switch n := entries[name].(type) {
		case *memDir:
			clone.entries[name] = c.dir(n)
		case *memInode:
			f := c.file(n)
			f.names++
			clone.entries[name] = f
		}
	}
	clone.durable = maps.Clone(clone.entries)
	return clone
}

func (c *crasher) file(f *memInode) *memInode {
	if done := c.inodes[f]; done != nil {
		return done
	}
	content := slices.Clone(f.durable)
	switch c.fate() {
	case keepAll:
		content = slices.Clone(f.data)
	case mix:
		content = c.mix(content, f.pending)
	}
	clone := &memInode{data: content, durable: slices.Clone(content)}
	c.inodes[f] = clone
	return clone
}

// mix applies some of the changes in order. Since the last truncation that came
// through, the file was never shorter than floor and could be as long as grown.
func (c *crasher) mix(content []byte, changes []fileChange) []byte {
	floor := int64(len(content))
	grown := floor
	for _, change := range changes {
		if change.data == nil {
			if c.rnd.IntN(2) == 0 {
				content = change.apply(content)
				floor, grown = change.at, change.at
			}
			continue
		}
		grown = max(grown, change.at+int64(len(change.data)))
		switch c.rnd.IntN(3) {
		case 0: // lost
		case 1:
			content = change.apply(content)
		case 2:
			for _, part := range c.tear(change) {
				content = part.apply(content)
			}
		}
	}
	if c.rnd.IntN(2) == 0 {
		content = resize(content, floor+c.rnd.Int64N(grown-floor+1))
	}
	return content
}

// tear cuts a write at two places and gives the middle, or the two ends.
func (c *crasher) tear(w fileChange) []fileChange {
	i := c.rnd.IntN(len(w.data) + 1)
	j := i + c.rnd.IntN(len(w.data)-i+1)
	parts := []fileChange{{w.at + int64(i), w.data[i:j]}}
	if c.rnd.IntN(2) == 0 {
		parts = []fileChange{{w.at, w.data[:i]}, {w.at + int64(j), w.data[j:]}}
	}
	// An empty part would be taken for one that reaches to its offset.
	return slices.DeleteFunc(parts, func(p fileChange) bool { return len(p.data) == 0 })
}
