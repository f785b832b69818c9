package replica

import (
	"errors"
	"slices"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// TestRaftReadsItsEntriesFromMemory has a disk that cannot be read: Raft would panic.
func TestRaftReadsItsEntriesFromMemory(t *testing.T) {
	ill := false
	log, err := commitlog.Open(vfs.NewFault(vfs.NewMem(), func(op vfs.Op) error {
		if ill && op.Kind == vfs.OpRead {
			return errors.New("the disk is ill")
		}
		return nil
	}), "shard", commitlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var b record.EntryBuilder
	b.Add(record.KindConfChange, 0, []byte("change"))
	change := append(record.Entry(nil), b.Finish(2, 1, 0, false)...)
	if err := errors.Join(log.SetHardState(commitlog.HardState{Term: 1}), log.Append([]record.Entry{entry(1, 1, "normal"), change})); err != nil {
		t.Fatal(err)
	}
	s := storage{log: log, changes: make(map[record.Index]record.Entry)}
	if err := s.readChanges(); err != nil {
		t.Fatal(err)
	}
	ill = true
	entries, err := s.Entries(1, 3, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 || entries[1].GetType() != raftpb.EntryConfChangeV2 || !slices.Equal(entries[1].GetData(), []byte("change")) {
		t.Errorf("entries %v", entries)
	}
}
