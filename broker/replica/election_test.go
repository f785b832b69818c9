package replica

import (
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/internal/vfs"
)

// TestACandidateAsksForVotesWhenItsTermIsDurable sees no message of a term leave before
// the appender has stored it.
func TestACandidateAsksForVotesWhenItsTermIsDurable(t *testing.T) {
	log, err := commitlog.Open(vfs.NewMem(), "shard", commitlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := Bootstrap(log, []uint64{1, 2, 3}, 1); err != nil {
		t.Fatal(err)
	}
	r, err := New(1, log, idle{}, 1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := NewAppender(log, FlushSync)
	turn := func() (sent []raftpb.MessageType) {
		fx, err := r.Turn()
		if err != nil {
			t.Fatal(err)
		}
		a.Take(fx.Store)
		for _, m := range fx.Send {
			sent = append(sent, m.Raft.GetType())
		}
		return sent
	}
	store := func() {
		work, err := a.Store()
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range work {
			if err := r.Stored(w); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := r.Campaign(); err != nil {
		t.Fatal(err)
	}
	if sent := turn(); len(sent) != 2 || sent[0] != raftpb.MsgPreVote {
		t.Fatalf("sent at first: %v", sent)
	}
	store()
	vote := Message{Raft: &raftpb.Message{Type: raftpb.MsgPreVoteResp.Enum(), From: new(uint64(2)), To: new(uint64(1)), Term: new(uint64(1))}}
	if err := r.Step(vote); err != nil {
		t.Fatal(err)
	}
	if sent := turn(); len(sent) != 0 || log.HardState().Term != 0 {
		t.Fatalf("sent %v, the term that is stored is %d", sent, log.HardState().Term)
	}
	store()
	if sent := turn(); len(sent) != 2 || sent[0] != raftpb.MsgVote || log.HardState().Term != 1 {
		t.Fatalf("sent %v when term %d was stored", sent, log.HardState().Term)
	}
}
