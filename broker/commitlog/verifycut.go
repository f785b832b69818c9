package commitlog

import (
	"github.com/splashdam/splashdam/broker/record"
)

// Cut is a piece of the log that Repair would cut off.
type Cut struct {
	// Last is the last entry that stays. Of what follows, up to End, Readable entries
	// can be read, but must go too: they follow what cannot.
	Last, End record.Index
	Readable  int
	// Offsets is what is known to go: of every partition that is seen behind the
	// damage, in frames or indexes, all from where it stood in front of it.
	Offsets []OffsetRange

	segment int          // in the manifest
	pos     int64        // in its file
	at      record.Index // the last entry in front of it
}

// cutting collects what is behind the first damage that the state needs.
type cutting struct {
	Cut
	before directory // where the partitions stood
}

// beginCut notes the first place from which on the log cannot be kept.
func (v *verifier) beginCut(i int, pos int64) {
	if v.cut == nil {
		v.cut = &cutting{Cut: Cut{Last: max(v.chain.index, v.snapshot), segment: i, pos: pos, at: v.chain.index}, before: directory{v.directory.clone()}}
	}
}

// finish sums up; after is where the partitions stand at the end of the log.
func (c *cutting) finish(end record.Index, after directory) *Cut {
	c.End = end
	for _, p := range after.partitions() {
		from, _ := c.before.get(p)
		if to, _ := after.get(p); to.next > from.next {
			c.Offsets = append(c.Offsets, OffsetRange{p, from.next, to.next})
		}
	}
	return &c.Cut
}
