package sdk

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxMetadata is how many bytes may ride with a committed offset: Kafka's default
// for offset.metadata.max.bytes.
const maxMetadata = 4096

// tracker follows one partition of a group whose messages are handled out of
// order. What is delivered is finished or not:
//
//	      committed                              next
//	          v                                   v
//	... f f f|u f f u u f f f u u|. . . . . . . . .     f finished, u unfinished
//	          \________________/
//	            rides in the commit's metadata
//
// The committed offset is that of the first unfinished message. The finished ones
// above it are written beside it, so that whoever takes the partition over, after
// a crash too, need not run them again. It is not safe for concurrent use.
type tracker struct {
	entries []delivered // by offset; entries[0], if there, is unfinished
	next    int64       // the offset after the last delivered, -1 before the first and without a commit
	epoch   int32       // of the last message below the commit point, -1 if unknown
	before  finishedSet // what the commit that we began with knew to be finished
}

type delivered struct {
	offset   int64
	epoch    int32
	finished bool
}

// position is what a commit stores.
type position struct {
	offset   int64 // -1: none
	epoch    int32
	metadata string
}

// nowhere is the position of a partition for which nothing was ever committed.
var nowhere = position{offset: -1, epoch: -1}

// newTracker begins where a commit left off; its offset is -1 if there was none.
func newTracker(committed position) *tracker {
	t := &tracker{next: committed.offset, epoch: committed.epoch, before: finishedSet{from: -1, end: -1}}
	if committed.offset >= 0 {
		t.before = decodeFinished(committed.offset, committed.metadata)
	}
	return t
}

// deliver notes the next message of the partition and says whether it is to be
// handled: false if it was finished before this tracker began. Offsets rise.
func (t *tracker) deliver(offset int64, epoch int32) bool {
	done := t.before.has(offset)
	t.next = offset + 1
	switch {
	case !done:
		t.entries = append(t.entries, delivered{offset: offset, epoch: epoch})
	case len(t.entries) > 0:
		t.entries = append(t.entries, delivered{offset: offset, epoch: epoch, finished: true})
	default:
		t.epoch = epoch
	}
	return !done
}

// finish notes that a delivered message needs no more handling.
func (t *tracker) finish(offset int64) {
	i, ok := slices.BinarySearchFunc(t.entries, offset, func(d delivered, o int64) int {
		switch {
		case d.offset < o:
			return -1
		case d.offset > o:
			return 1
		}
		return 0
	})
	if !ok {
		return
	}
	t.entries[i].finished = true
	n := 0
	for n < len(t.entries) && t.entries[n].finished {
		t.epoch = t.entries[n].epoch
		n++
	}
	t.entries = t.entries[n:]
}

// span is the distance in offsets between the first unfinished message and the
// last delivered one, both counted: 0 if all are finished.
func (t *tracker) span() int64 {
	if len(t.entries) == 0 {
		return 0
	}
	return t.next - t.entries[0].offset
}

// position is what a commit should store now.
func (t *tracker) position() position {
	s := t.finished()
	if s.from < 0 {
		return nowhere
	}
	return position{offset: s.from, epoch: t.epoch, metadata: s.encode()}
}

// finished is the set of what needs no more handling, here and before.
func (t *tracker) finished() finishedSet {
	var open []int64 // unfinished
	end := t.next    // behind the last finished
	for _, d := range t.entries {
		if !d.finished {
			open = append(open, d.offset)
		}
	}
	if t.before.end > t.next {
		end = t.before.end
		if t.next <= t.before.from {
			open = append(open, t.before.from)
		}
		i, _ := slices.BinarySearch(t.before.open, t.next)
		open = append(open, t.before.open[i:]...)
	}
	return newFinishedSet(open, end)
}

// finishedSet says which messages of a partition are finished: all below end but
// the open ones. It is empty where end is
// at or below 0.
type finishedSet struct {
	from int64   // the first unfinished: the committed offset
	open []int64 // the unfinished below end, rising, without from
	end  int64   // at or behind from; nothing at or above it is finished
}

// newFinishedSet takes the open offsets, rising, below end. What is open at the
// very end need not be listed.
func newFinishedSet(open []int64, end int64) finishedSet {
	for len(open) > 0 && open[len(open)-1] == end-1 {
		open, end = open[:len(open)-1], end-1
	}
	if len(open) == 0 {
		return finishedSet{from: end, end: end}
	}
	return finishedSet{from: open[0], open: open[1:], end: end}
}

func (s finishedSet) has(offset int64) bool {
	if offset >= s.end || offset == s.from {
		return false
	}
	_, open := slices.BinarySearch(s.open, offset)
	return offset < s.from || !open
}

// above counts the finished offsets above the committed one.
func (s finishedSet) above() int64 {
	if s.end <= s.from {
		return 0
	}
	return s.end - s.from - 1 - int64(len(s.open))
}

// The metadata of a commit, text because Kafka's tools print it:
//
//	"sd1:" base64url( uvarint gap, uvarint gap, ... )
//
// Each gap leads from one unfinished offset to the next, from the committed one
// on; the last leads to the end, behind the last finished one. Nothing finished
// above the commit is an empty string. Metadata by others counts as empty.
const finishedPrefix = "sd1:"

// maxFinishedBytes is what fits into maxMetadata once in base64.
const maxFinishedBytes = (maxMetadata - len(finishedPrefix)) * 3 / 4

func (s finishedSet) encode() string {
	if s.above() == 0 {
		return ""
	}
	at, b := s.from, make([]byte, 0, 16)
	for _, o := range append(slices.Clip(s.open), s.end) {
		next := binary.AppendUvarint(b, uint64(o-at))
		if len(next) > maxFinishedBytes {
			// The last gap that fits becomes the end: what lies behind it is
			// delivered again after a crash, which is a repeat and not a loss.
			break
		}
		b, at = next, o
	}
	return finishedPrefix + base64.RawURLEncoding.EncodeToString(b)
}

// decodeFinished reads what encode wrote for a commit at offset from. Metadata
// that is not ours, or damaged, means that nothing above the commit is finished.
func decodeFinished(from int64, metadata string) finishedSet {
	s, err := parseFinished(from, metadata)
	if err != nil {
		return finishedSet{from: from, end: from}
	}
	return s
}

var errFinished = errors.New("not a set of finished messages")

func parseFinished(from int64, metadata string) (finishedSet, error) {
	s := finishedSet{from: from, end: from}
	rest, ours := strings.CutPrefix(metadata, finishedPrefix)
	if !ours || len(metadata) > maxMetadata {
		return s, errFinished
	}
	b, err := base64.RawURLEncoding.DecodeString(rest)
	if err != nil {
		return s, fmt.Errorf("%w: %w", errFinished, err)
	}
	for at := from; len(b) > 0; {
		gap, n := binary.Uvarint(b)
		if n <= 0 || gap == 0 || gap > 1<<40 {
			return finishedSet{from: from, end: from}, errFinished
		}
		if at > from {
			s.open = append(s.open, at)
		}
		at += int64(gap)
		s.end, b = at, b[n:]
	}
	return s, nil
}
