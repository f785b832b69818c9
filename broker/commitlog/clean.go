package commitlog

import (
	"errors"
	"fmt"
	"path"

	"github.com/splashdam/splashdam/broker/compaction"
	"github.com/splashdam/splashdam/broker/record"
)

// CleanOptions say how Clean goes about it. SegmentSize and Pace are required, and
// where partitions are compacted KeyMapBytes and Now.
type CleanOptions struct {
	// SegmentSize is what segments that are merged may come to together, in bytes.
	SegmentSize int64
	// KeyMapBytes is the memory for the keys of partitions that are compacted, in
	// bytes. If they do not fit there are several passes.
	KeyMapBytes int
	// Now is the time by which compaction goes, ms.
	Now int64
	// Pace is told of bytes that are about to be read or written and returns when
	// it is their turn. An error ends the cleaning, and Clean returns it.
	Pace func(bytes int) error
	// MinFree is how much of the disk a new file must leave free, in bytes.
	MinFree int64
	// Urgent asks to rewrite also where little is gained: the disk is nearly full.
	Urgent bool
}

// Cleaned is what Clean did and what it had to leave.
type Cleaned struct {
	Removed   int   // segments of which nothing lived
	Rewritten int   // segments that were replaced by shorter ones
	Freed     int64 // bytes of segment files
	NoSpace   bool  // something was left as it is for want of space on the disk
	// SealedWaste are the dead bytes of full segments that the older snapshot does
	// not cover yet, OpenWaste those of the segment that is appended to. What is to be
	// compacted is counted too: how much of it will go nobody knows yet.
	SealedWaste, OpenWaste int64
	// SealedOverdue and OpenOverdue are that there is something to be compacted that
	// is older than its MaxLag.
	SealedOverdue, OpenOverdue bool
}

// Clean deletes what the judge calls dead, as far as it lies in sealed segments at
// or below the older snapshot: Raft needs nothing of those any more, and their
// commands are in both snapshots. Segments without anything alive are removed;
// those that are mostly dead are rewritten with what lives, neighbours as one.
// Offsets never change, and readers that are at it go on with what they have.
//
// One call at a time, from any goroutine, not beside Close. Appending goes on
// meanwhile. Damage, a full disk, a failed write or sync of a new file end the
// attempt and leave the segments as they were: the error tells; so does a shipment
// that begins to arrive, or is installed, with ErrStale. Only a failure of the manifest
// fences the log.
func (l *Log) Clean(j Judge, o CleanOptions) (Cleaned, error) {
	if err := l.writable(); err != nil {
		return Cleaned{}, err
	}
	c := cleaning{Log: l, judge: j, installed: l.manifest.installedIndex(), CleanOptions: o}
	err := c.pinned(c.run)
	if err == nil || isCorrupt(err) || errors.Is(err, errNoGain) {
		err = errors.Join(err, c.compact(), c.pinned(c.waste))
	}
	return c.Cleaned, err
}

// pinned calls do with the segments of this moment.
func (l *Log) pinned(do func(*segmentSet) error) error {
	set, err := l.pin()
	if err != nil {
		return err
	}
	defer set.release()
	return do(set)
}

// cleaning is one call of Clean.
type cleaning struct {
	*Log
	CleanOptions
	Cleaned
	judge Judge
	// filters are those of the compaction that is going on.
	filters map[record.PartitionID]*compaction.Pass
	// installed is the last installation when the segments were looked at.
	installed record.Index
}

// surveyed is a sealed segment and how much of it lives, in bytes. usable is false if
// its index or a batch in it is damaged, or was: then nothing is touched, as nobody
// knows what of it lives.
type surveyed struct {
	*segment
	live   int64
	usable bool
}

func (s surveyed) waste() int64 { return s.size - segmentHeaderSize - s.live }

func (c *cleaning) run(set *segmentSet) error {
	list, err := c.survey(c.cleanable(set))
	if err != nil {
		return err
	}
	var rest []surveyed
	for len(list) > 0 {
		n := 0
		for n < len(list) && list[n].usable && list[n].live == 0 {
			n++
		}
		if n > 0 {
			if err := c.remove(list[:n]); err != nil {
				return err
			}
			list = list[n:]
			continue
		}
		rest, list = append(rest, list[0]), list[1:]
	}
	var failed error
	for _, group := range groups(rest, c.SegmentSize, c.Urgent) {
		err := c.rewrite(group)
		switch {
		case errors.Is(err, errNoSpace):
			c.NoSpace = true
		case isCorrupt(err), errors.Is(err, errNoGain):
			failed = errors.Join(failed, err)
		case err != nil:
			return errors.Join(failed, err)
		}
	}
	return failed
}

// cleanable is the segments that may be cleaned: those in front of the Raft window,
// as it is and as a start would have it; none while a shipment is received, which
// counts on them.
func (l *Log) cleanable(set *segmentSet) []*segment {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.stage != nil {
		return nil
	}
	return l.coveredTo(set, l.win.first-1)
}

// coveredTo is the sealed segments at or below the older snapshot and an index. Log.mu
// is held.
func (l *Log) coveredTo(set *segmentSet, most record.Index) []*segment {
	if len(l.snapshots) < keptSnapshots {
		return nil
	}
	most = min(most, l.snapshots[keptSnapshots-1].Index)
	n := 0
	for n < len(set.list) && set.list[n].sealed && set.list[n].last <= most {
		n++
	}
	return set.list[:n]
}

// survey reads the indexes. The judge is asked about every partition in them.
func (c *cleaning) survey(list []*segment) ([]surveyed, error) {
	all := make([]surveyed, 0, len(list))
	for _, s := range list {
		live, err := c.liveBytes(s)
		if err != nil && !isCorrupt(err) {
			return nil, err
		}
		all = append(all, surveyed{s, live, err == nil && !s.badBatch.Load() && s.holes() == 0})
	}
	return all, nil
}

// liveBytes is what the living batches of a sealed segment take in an entry.
func (c *cleaning) liveBytes(s *segment) (int64, error) {
	var live int64
	rows := c.living([]*segment{s})
	for {
		_, ok, err := rows.next()
		if err != nil || !ok {
			return live, err
		}
		live += record.PartHeaderSize + int64(rows.row.size)
	}
}

// settle makes durable what the verdicts so far rest on.
func (l *Log) settle() error {
	l.mu.RLock()
	committed := l.committed
	l.mu.RUnlock()
	if l.Durable() >= committed {
		return nil
	}
	return l.Sync()
}

// remove takes segments out of the log: from the manifest first, then from the disk
// (rule F6).
func (c *cleaning) remove(list []surveyed) error {
	n := change{kind: removed, first: list[0].first, last: list[len(list)-1].last}
	if err := c.replace(n, list, nil); err != nil {
		return fmt.Errorf("removing segments %s to %s: %w", list[0].name(), list[len(list)-1].name(), err)
	}
	c.Removed += len(list)
	return nil
}

// replace makes a change of sealed neighbours durable, then puts by, if there is
// one, into their place, then deletes their files.
func (c *cleaning) replace(n change, old []surveyed, by *segment) error {
	if err := c.settle(); err != nil {
		return err
	}
	c.snapMu.Lock() // no installation comes between
	defer c.snapMu.Unlock()
	if err := c.writable(); err != nil { // perhaps one has failed
		return err
	}
	if c.manifest.installedIndex() != c.installed {
		return fmt.Errorf("what was looked at is not the log any more: %w", ErrStale)
	}
	if c.receiving() {
		return fmt.Errorf("a shipment is received, and counts on what was looked at: %w", ErrStale)
	}
	if err := c.manifest.record(n); err != nil {
		return c.fail("changing the manifest", err)
	}
	c.mu.Lock()
	var list []*segment
	for _, s := range c.set.list {
		switch {
		case s.first > n.last || s.sealed && s.last < n.first || !s.sealed:
			list = append(list, s)
		case s.first == n.first && by != nil:
			list = append(list, by)
		}
	}
	c.setSegments(list)
	c.mu.Unlock()
	var failed error
	for _, s := range old {
		c.Freed += s.size
		if x := s.index.Load(); x != nil {
			c.cache.drop(x)
		}
		failed = errors.Join(failed, c.discard(s.segmentMeta))
	}
	if by != nil {
		c.Freed -= by.size
	}
	return failed
}

// discard deletes the files of a segment that is not, or not yet, part of the log.
// Those that a crash brings back are deleted by the next start.
func (l *Log) discard(m segmentMeta) error {
	name := path.Join(l.dir, m.name())
	return errors.Join(removeIfThere(l.fs, name), removeIfThere(l.fs, path.Join(l.dir, indexName(m.name()))))
}
