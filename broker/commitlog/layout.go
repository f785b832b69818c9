package commitlog

import (
	"fmt"
	"slices"

	"github.com/splashdam/splashdam/broker/record"
)

// layout is what the records add up to.
type layout struct {
	// generation of the log: of the last cut, 1 if there was none.
	generation uint32
	// cutLast is the last index that the last cut left. A frame behind it belongs
	// to the log only if it has the generation.
	cutLast record.Index
	// staged is the generation of the files of a receipt, 0 if there never was one
	// or it was installed.
	staged uint32
	// installed is the snapshot that came with the last shipment, and the generation
	// of what came with it: older snapshots count no more. 0 if there was none.
	installed           record.Index
	installedGeneration uint32
	segments            []segmentMeta // oldest first, the sealed ones before the others
}

// apply errors with errDamage for a record that cannot follow the ones before.
func (l *layout) apply(c change) error {
	switch c.kind {
	case segmentAdded:
		return l.add(c)
	case segmentSealed:
		return l.seal(c)
	case suffixCut:
		return l.cut(c)
	case replaced:
		return l.replace(c)
	case removed:
		return l.remove(c)
	case receiptBegun:
		return l.beginReceipt(c)
	case installed:
		return l.install(c)
	}
	return damagef("manifest record of unknown kind %d", c.kind)
}

func (l *layout) add(c change) error {
	if c.generation == 0 || c.generation > l.generation {
		return damagef("segment of generation %d in generation %d", c.generation, l.generation)
	}
	if n := len(l.segments); n > 0 {
		prev := l.segments[n-1]
		if c.first <= max(prev.first, prev.last) || c.base < prev.base+Address(max(prev.size, segmentHeaderSize)) {
			return damagef("segment %d at %s added behind segment %d at %s", c.first, c.base, prev.first, prev.base)
		}
	}
	m := c.segment()
	m.base = c.base
	l.segments = append(l.segments, m)
	return nil
}

// seal seals the oldest segment that is not.
func (l *layout) seal(c change) error {
	i := slices.IndexFunc(l.segments, c.segment().same)
	if i < 0 {
		return damagef("segment %d sealed, which is not there", c.first)
	}
	s := &l.segments[i]
	if s.sealed || i > 0 && !l.segments[i-1].sealed || c.last < c.first || c.size < segmentHeaderSize {
		return damagef("segment %d sealed at %d out of turn", c.first, c.last)
	}
	if i+1 < len(l.segments) {
		if next := l.segments[i+1]; next.first != c.last+1 || next.base != s.base+Address(c.size) {
			return damagef("segment %d sealed at %d, %d bytes, but segment %d follows at %s", c.first, c.last, c.size, next.first, next.base)
		}
	}
	s.sealed, s.last, s.size = true, c.last, c.size
	return nil
}

// cut drops the segments that begin behind the index after the last one that stays.
func (l *layout) cut(c change) error {
	if c.generation <= l.generation {
		return damagef("cut of generation %d in generation %d", c.generation, l.generation)
	}
	n := len(l.segments)
	for n > 0 && l.segments[n-1].first > c.last+1 {
		n--
		if l.segments[n].sealed {
			return damagef("cut at %d drops the sealed segment %d", c.last, l.segments[n].first)
		}
	}
	if n > 0 && l.segments[n-1].sealed && c.last < l.segments[n-1].last {
		return damagef("cut at %d inside the sealed segment %d", c.last, l.segments[n-1].first)
	}
	l.segments = l.segments[:n:n]
	l.generation, l.cutLast = c.generation, c.last
	return nil
}

// replace puts one segment in the place of sealed neighbours.
func (l *layout) replace(c change) error {
	from, to, err := l.sealedRange(c.first, c.last)
	if err != nil {
		return fmt.Errorf("replacing: %w", err)
	}
	old, end := l.segments[from], l.segments[to].base
	if c.generation != old.generation || c.edition <= old.edition || c.size < segmentHeaderSize || Address(c.size) > end-old.base {
		return damagef("segment %d to %d of generation %d, edition %d, %d bytes replaces generation %d, edition %d, %d bytes",
			c.first, c.last, c.generation, c.edition, c.size, old.generation, old.edition, end-old.base)
	}
	m := c.segment()
	m.base, m.sealed, m.last, m.size = old.base, true, c.last, c.size
	l.segments = slices.Replace(l.segments, from, to, m)
	return nil
}

func (l *layout) remove(c change) error {
	from, to, err := l.sealedRange(c.first, c.last)
	if err != nil {
		return fmt.Errorf("removing: %w", err)
	}
	l.segments = slices.Delete(l.segments, from, to)
	return nil
}

func (l *layout) beginReceipt(c change) error {
	if c.generation == 0 || c.generation == l.generation {
		return damagef("receipt of generation %d in generation %d", c.generation, l.generation)
	}
	l.staged = c.generation
	return nil
}

func (l *layout) install(c change) error {
	if c.generation == 0 || c.generation >= l.generation || c.last < l.installed {
		return damagef("snapshot %d of generation %d installed in generation %d", c.last, c.generation, l.generation)
	}
	l.installed, l.installedGeneration = c.last, c.generation
	return nil
}

// nextGeneration is one that nothing has had yet.
func (l *layout) nextGeneration() uint32 { return max(l.generation, l.staged) + 1 }

// segment is the one that a record of kind 1, 2 or 4 is about.
func (c change) segment() segmentMeta {
	return segmentMeta{first: c.first, generation: c.generation, edition: c.edition}
}

// sealedRange finds the sealed segments, from..to-1, that begin with an index and
// end with another, and are not the last. It errors with errDamage if there are none that
// do.
func (l *layout) sealedRange(first, last record.Index) (from, to int, err error) {
	from = slices.IndexFunc(l.segments, func(m segmentMeta) bool { return m.first == first })
	for to = from; from >= 0 && to < len(l.segments) && l.segments[to].sealed; to++ {
		if l.segments[to].last == last && to+1 < len(l.segments) {
			return from, to + 1, nil
		}
	}
	return 0, 0, damagef("no sealed segments from entry %d to %d in front of another", first, last)
}

// changes is the shortest list of records that adds up to the layout. A segment is
// sealed before the next is added: a gap that a removal left is none to be missed.
func (l *layout) changes() []change {
	var list []change
	if l.generation > 1 {
		list = append(list, change{kind: suffixCut, generation: l.generation, last: l.cutLast})
	}
	if l.installed > 0 {
		list = append(list, change{kind: installed, generation: l.installedGeneration, last: l.installed})
	}
	if l.staged > 0 {
		list = append(list, change{kind: receiptBegun, generation: l.staged})
	}
	for _, s := range l.segments {
		c := change{generation: s.generation, edition: s.edition, first: s.first}
		c.kind, c.base = segmentAdded, s.base
		list = append(list, c)
		if s.sealed {
			c.kind, c.base, c.last, c.size = segmentSealed, 0, s.last, s.size
			list = append(list, c)
		}
	}
	return list
}

// bounds says how long the file of segment i is and with which entry it ends: a sealed one
// has both in the manifest; one that has a follower was synced, and had its length, before
// that one was named. Both are 0 for the last, in which the log ends.
func (l *layout) bounds(i int) (size int64, last record.Index) {
	m := l.segments[i]
	if m.sealed || i+1 == len(l.segments) {
		return m.size, m.last
	}
	next := l.segments[i+1]
	return int64(next.base - m.base), next.first - 1
}
