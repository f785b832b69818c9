package commitlog

import (
	"github.com/splashdam/splashdam/broker/compaction"
	"github.com/splashdam/splashdam/broker/record"
)

// Judge says what of the log is still of use. The broker is one.
//
// The cleaner asks on its own goroutine, holding no lock, many times during one
// Clean; each answer may be newer than the one before. Whatever a judge has once
// called dead must be dead for ever: it follows from committed entries only. Before
// anything is deleted the log is durable up to where it ended when the last answer
// was given, so that no power loss can take back what an answer rested on.
type Judge interface {
	Judge(p record.PartitionID) Verdict
	// Compacted lists the partitions whose verdict has a compaction.
	Compacted() []record.PartitionID
}

// Verdict says what lives of one partition.
type Verdict struct {
	// Start is where the partition's log begins: batches that end at or before it
	// are dead.
	Start int64
	// Holds, if not nil, says which of the other batches live, by their base offset.
	Holds func(base int64) bool
	// Closed says that the partition is no more, and all of it is dead.
	Closed bool
	// Compaction, if not nil, is how the partition is compacted.
	Compaction *compaction.Policy
}

// lives reports whether a batch is of use; compaction aside.
func (v *Verdict) lives(r row) bool {
	return r.next() > v.Start && !v.Closed && (v.Holds == nil || v.Holds(r.base))
}
