package replica

import (
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/invariant"
)

// cursors say how far a replica has come with the entries of Raft's log:
//
//	    applied        low           written          last
//	───────┼────────────┼───────────────┼───────────────┤
//	       │ in the log │ in the log,   │ in memory; on │
//	       │            │ some in memory│ the way to it │
//
// applied < low <= written+1 <= last+1, and every entry behind written is in memory
// (staging): it can be read from nowhere else. low is staging's. What Raft has committed
// lies between applied and written, since Raft commits here only what is stored here; so
// a cut, which begins behind that, takes back last and written, never applied.
//
// An installation moves written and last to its snapshot when Raft decides for it, and
// applied when the appender has installed it: until then the log lacks what written
// promises, and Raft asks for none of it.
type cursors struct {
	applied record.Index // by the state machine
	written record.Index // what the appender has stored
	last    record.Index // in Raft's log, stored or not
	cuts    int          // how often Raft has cut its log: what was stored for an older one counts for nothing
}

// check holds the cursors and what is in memory against each other.
func (c *cursors) check(s *staging) {
	ok := c.applied < s.low && s.low <= c.written+1 && c.written <= c.last
	unwritten := int(c.last) - int(c.written)
	if ok && unwritten > 0 {
		ok = len(s.entries) >= unwritten && s.get(c.last) != nil && s.get(c.written+1) != nil
	}
	if !ok { // the arguments would be allocated in every turn
		invariant.That(false, "applied is %d, in memory are %d entries from %d on, written is %d, last is %d", c.applied, len(s.entries), s.low, c.written, c.last)
	}
}
