package sim

import (
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// TestALeaderThatIsTakenOutOfTheGroupGoesQuietly has it write on while it learns that
// it is no member any more: what its own log says then has no peer to hear it.
func TestALeaderThatIsTakenOutOfTheGroupGoesQuietly(t *testing.T) {
	v := tell(t, Config{Nodes: 3}, func(s *script) {
		s.elect(1, 2, 3)
		s.settle()
		n := s.w.node(1)
		err := n.m.Replica.ChangeMembers(&raftpb.ConfChangeV2{Changes: []*raftpb.ConfChangeSingle{
			{Type: raftpb.ConfChangeRemoveNode.Enum(), NodeId: new(uint64(1))},
		}})
		if err != nil {
			t.Fatal(err)
		}
		n.turn()
		s.until(func() bool { return len(n.waiting) == 0 })
		// The next entry is on its way to the disk when the change is applied.
		n.slow = time.Second
		if err := n.m.OpenPartition(1, func(error) {}); err != nil {
			t.Fatal(err)
		}
		n.turn()
		s.until(func() bool { return s.w.leader() != nil && s.w.leader() != n })
		s.until(func() bool { return len(s.w.leader().m.Replica.Members().Voters) == 2 })
		s.run(2 * time.Second)
	})
	if v != nil {
		t.Fatal(v)
	}
}
