package replica

import "github.com/splashdam/splashdam/broker/record"

// maxStaged bounds the bytes of the entries that are kept in memory until they are
// applied. A leader proposes nothing beyond it. A follower first forgets what the
// log has, and then drops what comes, which Raft sends again. One entry is always
// taken, whatever its size.
const maxStaged = 64 << 20

// staging holds entries from the moment they are proposed or received until they
// are applied, so that storing, sending and applying need not read them.
type staging struct {
	entries map[record.Index]record.Entry
	bytes   int
	low     record.Index // no entry is below
}

func newStaging() staging { return staging{entries: make(map[record.Index]record.Entry)} }

func (s *staging) put(e record.Entry) {
	i := e.Index()
	s.drop(i)
	s.entries[i] = e
	s.bytes += len(e)
	s.low = min(s.low, i)
}

func (s *staging) get(i record.Index) record.Entry { return s.entries[i] }

func (s *staging) drop(i record.Index) {
	if e, ok := s.entries[i]; ok {
		s.bytes -= len(e)
		delete(s.entries, i)
	}
}

// full reports whether the leader must wait.
func (s *staging) full() bool { return s.bytes >= maxStaged }

// takes reports whether n more bytes may be taken; for them it lets go of entries up to
// written, which can be read from the log.
func (s *staging) takes(n int, written record.Index) bool {
	for s.bytes > 0 && s.bytes+n > maxStaged && s.low <= written {
		s.drop(s.low)
		s.low++
	}
	return s.bytes == 0 || s.bytes+n <= maxStaged
}

// forget drops what was applied.
func (s *staging) forget(applied record.Index) {
	s.drop(applied)
	s.low = max(s.low, applied+1)
}
