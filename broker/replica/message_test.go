package replica

import (
	"errors"
	"testing"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/splashdam/splashdam/broker/record"
)

// carrying is a MsgApp to replica 2 with one entry, as a leader sends it.
func carrying(e record.Entry) Message {
	return Message{
		Raft: &raftpb.Message{
			Type: raftpb.MsgApp.Enum(), From: new(uint64(1)), To: new(uint64(2)), Term: new(uint64(e.Term())),
			Index: new(uint64(e.Index() - 1)), LogTerm: new(uint64(e.Term())),
			Entries: []*raftpb.Entry{{
				Index: new(uint64(e.Index())), Term: new(uint64(e.Term())), Type: raftpb.EntryNormal.Enum(),
				Data: handle(uint32(len(e)), e.Checksum()),
			}},
		},
		Payload: e,
	}
}

func TestAMessageThatNoReplicaSendsIsRefused(t *testing.T) {
	e := entry(7, 3, "payload")
	if err := carrying(e).check(2); err != nil {
		t.Fatalf("a good one: %v", err)
	}
	for name, spoil := range map[string]func(m *Message){
		"a flipped bit":                   func(m *Message) { m.Payload = append(record.Entry(nil), e...); m.Payload[50] ^= 1 },
		"a payload cut short":             func(m *Message) { m.Payload = e[:len(e)-1] },
		"no payload":                      func(m *Message) { m.Payload = nil },
		"another index's payload":         func(m *Message) { m.Payload = entry(8, 3, "payload") },
		"another term's payload":          func(m *Message) { m.Payload = entry(7, 2, "payload") },
		"another payload":                 func(m *Message) { m.Payload = entry(7, 3, "another") },
		"a payload without an entry":      func(m *Message) { m.Raft.Entries = nil },
		"a payload of Raft's own":         func(m *Message) { m.Raft.Entries[0].Data = nil },
		"two entries":                     func(m *Message) { m.Raft.Entries = append(m.Raft.Entries, m.Raft.Entries[0]) },
		"an entry that does not follow":   func(m *Message) { m.Raft.Index = new(uint64(5)) },
		"an entry of a later term":        func(m *Message) { m.Raft.Term = new(uint64(2)) },
		"a term that falls":               func(m *Message) { m.Raft.LogTerm = new(uint64(4)) },
		"a proposal":                      func(m *Message) { m.Raft.Type = raftpb.MsgProp.Enum() },
		"a snapshot":                      func(m *Message) { m.Raft.Type = raftpb.MsgSnap.Enum() },
		"a message of its own storage":    func(m *Message) { m.Raft.Type = raftpb.MsgStorageAppendResp.Enum() },
		"an election that nobody called":  func(m *Message) { m.Raft.Type = raftpb.MsgHup.Enum() },
		"one to somebody else":            func(m *Message) { m.Raft.To = new(uint64(3)) },
		"one from itself":                 func(m *Message) { m.Raft.From = new(uint64(2)) },
		"one from its own storage thread": func(m *Message) { m.Raft.From = new(raft.LocalAppendThread) },
	} {
		m := carrying(e)
		spoil(&m)
		if err := m.check(2); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// big is a message whose handle stands for an entry of so many bytes.
func big(index uint64, size int) Message {
	return Message{Raft: &raftpb.Message{
		Type:    raftpb.MsgApp.Enum(),
		Entries: []*raftpb.Entry{{Index: new(index), Type: raftpb.EntryNormal.Enum(), Data: handle(uint32(size), 0)}},
	}}
}

func TestPayloadsOnTheirWayToAFollowerAreBoundedInBytes(t *testing.T) {
	var f flow
	if !f.admit(big(1, 2*maxInflightBytes)) {
		t.Fatal("one payload may always go")
	}
	for i := uint64(2); i <= 5; i++ {
		if f.admit(big(i, maxInflightBytes/2)) {
			t.Fatalf("message %d goes, with %d bytes on their way", i, f.bytes)
		}
	}
	answer := func(index uint64, reject bool) []Message {
		return f.answered(&raftpb.Message{Index: new(index), Reject: new(reject)})
	}
	if free := answer(0, false); len(free) != 0 {
		t.Fatalf("%d messages go, and nothing was acknowledged", len(free))
	}
	free := answer(1, false)
	if len(free) != 2 || free[0].entry().GetIndex() != 2 || free[1].entry().GetIndex() != 3 || f.bytes != maxInflightBytes {
		t.Fatalf("after an acknowledgement %d messages go, %d bytes are on their way", len(free), f.bytes)
	}
	if free := answer(2, true); len(free) != 0 || len(f.held) != 0 || f.bytes != 0 {
		t.Fatalf("after a rejection %d messages go, %d are held, %d bytes are on their way", len(free), len(f.held), f.bytes)
	}
}

func TestStagingForgetsWhatTheLogHasAndThenTakesNothing(t *testing.T) {
	s := newStaging()
	s.low = 1
	text := string(make([]byte, maxStaged/4))
	for i := record.Index(1); i <= 3; i++ {
		s.put(entry(i, 1, text))
	}
	if s.takes(maxStaged/2, 0) {
		t.Fatal("there is room, and nothing of what is there was written")
	}
	if !s.takes(maxStaged/2, 3) || s.get(1) != nil || s.get(3) == nil {
		t.Fatalf("no room beside what was written, or more was forgotten than needed: %d bytes", s.bytes)
	}
	for i := record.Index(1); i <= 3; i++ {
		s.forget(i)
	}
	if s.bytes != 0 || len(s.entries) != 0 {
		t.Fatalf("%d bytes of %d entries are left of nothing", s.bytes, len(s.entries))
	}
	if !s.takes(2*maxStaged, 0) {
		t.Fatal("one entry is always taken")
	}
}
