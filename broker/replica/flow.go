package replica

import (
	"go.etcd.io/raft/v3/raftpb"

	"github.com/splashdam/splashdam/broker/record"
)

const (
	// maxInflightBytes bounds the payloads that are on their way to one follower and
	// not acknowledged. Raft bounds the messages, and sees of an entry its handle
	// only. One payload may always go, whatever its size.
	maxInflightBytes = 16 << 20
	// maxInflightMessages bounds the messages on their way to one follower.
	maxInflightMessages = 32
)

// flow is what is on its way to one follower, and what waits until there is room:
// messages without payloads, so that they need next to no memory.
type flow struct {
	sent  []sentPayload // oldest first
	bytes int
	held  []Message
}

type sentPayload struct {
	index record.Index
	size  int
}

// admit says whether a message with a payload may go now; if not it is held.
func (f *flow) admit(m Message) bool {
	size := payloadSize(m)
	if len(f.held) > 0 || f.bytes > 0 && f.bytes+size > maxInflightBytes {
		if len(f.held) < maxInflightMessages { // else Raft has given up on what was held
			f.held = append(f.held, m)
		}
		return false
	}
	f.sent = append(f.sent, sentPayload{record.Index(m.entry().GetIndex()), size})
	f.bytes += size
	return true
}

// answered takes a follower's answer to a MsgApp, and returns what may go now. A
// rejection makes Raft begin anew: nothing is on its way that will be accepted.
func (f *flow) answered(m *raftpb.Message) []Message {
	if m.GetReject() {
		*f = flow{}
		return nil
	}
	for len(f.sent) > 0 && f.sent[0].index <= record.Index(m.GetIndex()) {
		f.bytes -= f.sent[0].size
		f.sent = f.sent[1:]
	}
	held := f.held
	f.held = nil
	var free []Message
	for _, h := range held {
		if f.admit(h) {
			free = append(free, h)
		}
	}
	return free
}

func payloadSize(m Message) int { return handleLength(m.entry().GetData()) }
