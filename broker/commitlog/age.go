package commitlog

import "github.com/splashdam/splashdam/broker/record"

// BatchInfo is what the log knows of a batch without reading it.
type BatchInfo struct {
	Base, Next   int64
	Size         int   // bytes
	MaxTimestamp int64 // ms, as the producer or the topic has it; below 0 for none
}

// Batches calls do for the batches of a partition, from the one that holds offset,
// or the first behind it, in order, until do returns false. It holds no lock
// meanwhile, and reads segment indexes.
func (l *Log) Batches(p record.PartitionID, offset int64, do func(BatchInfo) bool) error {
	v, err := l.view(p)
	if err != nil {
		return err
	}
	defer v.release()
	return v.walk(offset, func(r row) bool {
		return do(BatchInfo{Base: r.base, Next: r.next(), Size: int(r.size), MaxTimestamp: r.maxTime})
	})
}

// OlderThan returns the offset behind the last of the batches from start on that are
// older than ts (ms) and have no younger one before them; start if there are none.
// It stops at end. A batch without a timestamp is as old as the one before it, once
// one behind it is seen to be old.
func (l *Log) OlderThan(p record.PartitionID, ts, start, end int64) (int64, error) {
	v, err := l.view(p)
	if err != nil {
		return start, err
	}
	defer v.release()
	// Where the highest timestamp so far is old, all is.
	_, before, err := v.firstSealed(func(e directoryRow) bool { return e.maxTime >= ts })
	if err != nil {
		return start, err
	}
	if before.maxTime >= 0 && before.next <= end {
		start = max(start, before.next)
	}
	err = v.walk(start, func(r row) bool {
		if r.next() > end || r.maxTime >= ts {
			return false
		}
		if r.maxTime >= 0 {
			start = r.next()
		}
		return true
	})
	return start, err
}
