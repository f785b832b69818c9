package sim

import (
	"encoding/binary"
	"path"
	"slices"
	"strings"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/record"
)

// checkFiles reads all that a node has on its disk, while nobody writes it.
func (o *oracle) checkFiles(n *node) {
	report, err := commitlog.Verify(n.disk, shardDir)
	if err != nil {
		o.fail(filesSound, "node %d: %v", n.id, err)
	}
	for _, p := range report.Problems {
		if !strings.HasPrefix(p.Do, "Nothing") { // what the next start repairs
			o.fail(filesSound, "node %d: %v", n.id, p)
		}
	}
	for _, s := range n.m.Log.Segments() {
		o.checkSegment(n, s)
	}
}

// checkSegment compares the entries of a segment with those committed, and its ends
// with where leaders have ended segments.
func (o *oracle) checkSegment(n *node, s commitlog.SegmentInfo) {
	if uint64(s.First) > n.m.Replica.Status().Commit+1 {
		return // behind an entry that may be cut
	}
	if _, at := slices.BinarySearch(o.rolls, s.First-1); s.First > 1 && !at {
		o.fail(segmentsEqual, "node %d: %s begins at %d, behind an entry that ends no segment", n.id, s.Name, s.First)
	}
	if i, _ := slices.BinarySearch(o.rolls, s.First); s.Edition == 0 && i < len(o.rolls) && o.rolls[i] < s.Last && uint64(o.rolls[i]) <= n.m.Replica.Status().Commit {
		o.fail(segmentsEqual, "node %d: %s goes from %d to %d, and a segment ends at %d", n.id, s.Name, s.First, s.Last, o.rolls[i])
	}
	if !s.Sealed || s.Edition > 0 {
		return
	}
	if d, ok := o.digests[[2]record.Index{s.First, s.Last}]; ok && d != s.Digest {
		o.fail(segmentsEqual, "node %d: %s, from %d to %d, has digest %+v, another replica's has %+v", n.id, s.Name, s.First, s.Last, s.Digest, d)
	}
	o.digests[[2]record.Index{s.First, s.Last}] = s.Digest
	data := make([]byte, s.Size)
	f, err := n.disk.Open(path.Join(shardDir, s.Name))
	if err == nil {
		defer f.Close()
		_, err = f.ReadAt(data, 0)
	}
	if err != nil {
		o.fail(segmentsEqual, "node %d: reading %s: %v", n.id, s.Name, err)
		return
	}
	const segmentHeader, frameHeader = 64, commitlog.FrameHeaderSize
	next := s.First
	for pos := segmentHeader; pos < len(data); next++ {
		length := int(binary.LittleEndian.Uint32(data[pos+8:]))
		e := record.Entry(data[pos+frameHeader:][:length])
		if c := o.committed[next-1]; e.Index() != next || e.Term() != c.term || e.Checksum() != c.checksum || e.Check() != nil {
			o.fail(segmentsEqual, "node %d: %s has entry %s in the place of %s", n.id, s.Name, entryName(e.Index(), e.Term()), entryName(next, c.term))
			return
		}
		pos += (frameHeader + length + 7) / 8 * 8
	}
	if next != s.Last+1 {
		o.fail(segmentsEqual, "node %d: %s ends at %d, not at %d", n.id, s.Name, next-1, s.Last)
	}
}
