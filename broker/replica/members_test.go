package replica

import (
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// idle is a state machine with nothing to do.
type idle struct{}

func (idle) Next(*record.EntryBuilder, record.Index) (int64, bool) { return 0, false }
func (idle) Proposed(record.Index, bool)                           {}
func (idle) Written(record.Index)                                  {}
func (idle) Apply(record.Entry) error                              { return nil }
func (idle) Restore(*commitlog.Snapshot) error                     { return nil }
func (idle) Lead(record.Term)                                      {}
func (idle) Follow()                                               {}

// TestAReplicaThatWasTakenOutStoresWhatWasOnItsWay has Raft's answer to itself come when
// it is no peer of its own any more.
func TestAReplicaThatWasTakenOutStoresWhatWasOnItsWay(t *testing.T) {
	log, err := commitlog.Open(vfs.NewMem(), "shard", commitlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := Bootstrap(log, []uint64{2, 3}, 1); err != nil {
		t.Fatal(err)
	}
	r, err := New(1, log, idle{}, 1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := Work{responses: []*raftpb.Message{{Type: raftpb.MsgAppResp.Enum(), From: new(uint64(1)), To: new(uint64(1)), Index: new(uint64(1))}}}
	if err := r.Stored(w); err != nil {
		t.Error(err)
	}
}
