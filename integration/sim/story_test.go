package sim

import (
	"testing"
	"time"

	"github.com/splashdam/splashdam/broker/record"
)

// produce has a node take some batches, one entry each if it can.
func (s *script) produce(n *node, batches int, pause time.Duration) {
	for range batches {
		b := record.Build(record.BuildOptions{ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}, []record.Record{{Value: make([]byte, 100)}})
		if err := n.m.Produce(1, b, -1, func(int64, error) {}); err != nil {
			panic(missed{})
		}
		n.turn()
		s.run(pause)
	}
}

// TestAnOldLeaderGivesUpWhatWasNeverCommitted has it write on for a second while it is
// cut off, over several segments, and come back to a group that went on without it.
func TestAnOldLeaderGivesUpWhatWasNeverCommitted(t *testing.T) {
	var tail, cuts int
	v := tell(t, Config{Nodes: 3}, func(s *script) {
		s.elect(1, 2, 3)
		s.settle()
		old := s.w.node(1)
		if err := old.m.OpenPartition(1, func(error) {}); err != nil {
			panic(missed{})
		}
		old.turn()
		s.until(func() bool { _, open := old.m.Bounds(1); return open })
		s.connect(2, 3)
		s.produce(old, 400, 2*time.Millisecond)
		tail = int(old.m.Log.Last()) - int(old.m.Replica.Status().Commit)
		s.until(func() bool { return s.w.leader() != nil && s.w.leader() != old })
		s.produce(s.w.leader(), 20, 5*time.Millisecond)
		cuts = s.w.result.Cuts
		s.connect(1, 2, 3)
		s.settle()
		s.w.oracle.final()
		cuts = s.w.result.Cuts - cuts
	})
	if v != nil {
		t.Fatal(v)
	}
	if tail < 300 || cuts == 0 {
		t.Errorf("%d entries of the old leader were not committed, and %d cuts made", tail, cuts)
	}
}
