package replica

import (
	"encoding/binary"
	"fmt"
	"maps"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/invariant"
)

// storage is the commit log as Raft sees it: the window of recent entries as
// handles, and the newest snapshot for everything older. Raft calls it inside the
// loop, and panics where it is told of an error that it does not know: so nothing here
// reads a disk.
type storage struct {
	log *commitlog.Log
	// members is the group's members of this moment; nil where nobody asks for them.
	members func() *raftpb.ConfState
	// changes has the content of the changes of members that are in the window, which
	// Raft must see.
	changes map[record.Index]record.Entry
}

// readChanges reads the changes of members in the window, when a replica starts.
func (s storage) readChanges() error {
	for i := s.log.First(); i <= s.log.Last(); i++ {
		if h, ok := s.log.Handle(i); !ok || !h.ConfChange {
			continue
		}
		e, err := s.log.Entry(i)
		if err != nil {
			return fmt.Errorf("reading the membership change at index %d: %w", i, err)
		}
		s.changes[i] = e
	}
	return nil
}

// addChange keeps a change of members that is about to be stored, and forgets those
// that the window has passed.
func (s storage) addChange(e record.Entry) {
	s.changes[e.Index()] = e
	first := s.log.First()
	maps.DeleteFunc(s.changes, func(i record.Index, _ record.Entry) bool { return i < first })
}

// handleSize is the length of the data that Raft carries for an entry.
const handleSize = 8

// handle is what Raft carries in place of an entry.
func handle(length, checksum uint32) []byte {
	h := make([]byte, handleSize)
	binary.LittleEndian.PutUint32(h, length)
	binary.LittleEndian.PutUint32(h[4:], checksum)
	return h
}

// handleLength is the length of the entry that a handle stands for, 0 for what is no
// handle.
func handleLength(h []byte) int {
	if len(h) != handleSize {
		return 0
	}
	return int(binary.LittleEndian.Uint32(h))
}

// matches says whether the bytes are those that the handle stands for.
func matches(h []byte, e record.Entry) bool {
	return len(h) == handleSize &&
		binary.LittleEndian.Uint32(h) == uint32(len(e)) &&
		binary.LittleEndian.Uint32(h[4:]) == e.Checksum()
}

func (s storage) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	snap := s.log.Snapshot()
	invariant.That(snap != nil, "a replica without its first snapshot")
	var cs raftpb.ConfState
	if err := proto.Unmarshal(snap.ConfState, &cs); err != nil {
		return nil, nil, fmt.Errorf("reading the membership in snapshot %d: %w", snap.Index, err)
	}
	hs := s.log.HardState()
	// The commit index is written lazily: what a snapshot covers was committed,
	// and what the log does not hold cannot have been.
	commit := min(max(hs.Commit, snap.Index), s.log.Last())
	return &raftpb.HardState{
		Term:   new(uint64(hs.Term)),
		Vote:   new(hs.Vote),
		Commit: new(uint64(commit)),
	}, raftpb.EnsureConfState(&cs), nil
}

func (s storage) Entries(lo, hi, maxSize uint64) ([]*raftpb.Entry, error) {
	if record.Index(lo) < s.log.First() {
		return nil, raft.ErrCompacted
	}
	if record.Index(hi) > s.log.Last()+1 {
		return nil, raft.ErrUnavailable
	}
	const least = 16 // bytes of an entry with its handle
	entries := make([]*raftpb.Entry, 0, min(hi-lo, 1+maxSize/least, 1024))
	var size uint64
	for i := record.Index(lo); i < record.Index(hi); i++ {
		h, ok := s.log.Handle(i)
		if !ok && i < s.log.First() {
			return nil, raft.ErrCompacted // by a snapshot that was written meanwhile
		}
		if !ok {
			return nil, raft.ErrUnavailable
		}
		e := &raftpb.Entry{Index: new(uint64(i)), Term: new(uint64(h.Term)), Type: raftpb.EntryNormal.Enum()}
		switch {
		case h.ConfChange:
			change := s.changes[i]
			invariant.That(change != nil && change.Term() == h.Term, "the membership change at index %d is not in memory", i)
			e.Type, e.Data = raftpb.EntryConfChangeV2.Enum(), confChangeOf(change)
		case h.Length > record.EntryHeaderSize:
			e.Data = handle(h.Length, h.Checksum)
		}
		size += uint64(proto.Size(e))
		if len(entries) > 0 && size > maxSize {
			break
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func (s storage) Term(i uint64) (uint64, error) {
	t, ok := s.log.Term(record.Index(i))
	switch {
	case ok:
		return uint64(t), nil
	case record.Index(i) < s.log.First():
		return 0, raft.ErrCompacted
	default:
		return 0, raft.ErrUnavailable
	}
}

func (s storage) LastIndex() (uint64, error)  { return uint64(s.log.Last()), nil }
func (s storage) FirstIndex() (uint64, error) { return uint64(s.log.First()), nil }

// Snapshot tells Raft what the newest snapshot covers. Its data stays where it is:
// a follower that needs it gets a transfer, not a message. There is none for now if
// it does not name every member: who is not named must refuse it.
func (s storage) Snapshot() (*raftpb.Snapshot, error) {
	snap := s.log.Snapshot()
	if snap == nil {
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	var cs raftpb.ConfState
	if err := proto.Unmarshal(snap.ConfState, &cs); err != nil {
		return nil, fmt.Errorf("reading the membership in snapshot %d: %w", snap.Index, err)
	}
	if s.members != nil && !namesAll(&cs, s.members()) {
		return nil, raft.ErrSnapshotTemporarilyUnavailable
	}
	return raftpb.EnsureSnapshot(&raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
		ConfState: &cs,
		Index:     new(uint64(snap.Index)),
		Term:      new(uint64(snap.Term)),
	}}), nil
}

// confChangeOf returns the encoded membership change that is an entry's only part.
func confChangeOf(e record.Entry) []byte {
	var data []byte
	e.Each(func(_ int, p record.Part) bool {
		if p.Kind == record.KindConfChange {
			data = p.Bytes
		}
		return false
	})
	return data
}
