package group

import (
	"bytes"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// never is a deadline that does not come.
const never = int64(1<<63 - 1)

// waiter is a request that a member waits with.
type waiter struct {
	token   Token
	version int16
}

type protocol struct {
	name     string
	metadata []byte
}

// member is one member of a group, from its first accepted Join on.
type member struct {
	id        string
	instance  *string // nil for a dynamic member
	client    Client
	rebalance int64 // ms
	session   int64 // ms
	protocols []protocol
	// assignment is what the member was, or would be, told for the current
	// generation of a stable group; empty in the others.
	assignment []byte
	// deadline is when the member is lost unless it is heard of, or waits.
	deadline int64
	// isNew is set until the first Join is answered: such a member can be lost
	// although it waits.
	isNew bool
	// knowsID is false for a member that joined without an id and has no answer
	// yet: if its connection is lost it can never come back.
	knowsID bool
	// owesSync is set from the answer to a Join until the Sync that follows.
	owesSync bool

	join *waiter // a Join that is not answered yet
	sync *waiter // a Sync that is not answered yet
}

// waits reports whether the member cannot be expected to send heartbeats.
func (m *member) waits() bool { return !m.isNew && (m.join != nil || m.sync != nil) }

// matches reports whether a Join would change nothing of what the member supports.
func (m *member) matches(ps []kmsg.JoinGroupRequestProtocol) bool {
	return slices.EqualFunc(m.protocols, ps, func(a protocol, b kmsg.JoinGroupRequestProtocol) bool {
		return a.name == b.Name && bytes.Equal(a.metadata, b.Metadata)
	})
}

// metadata is the member's for a protocol, empty if it does not support it.
func (m *member) metadata(protocol string) []byte {
	for i := range m.protocols {
		if m.protocols[i].name == protocol {
			return m.protocols[i].metadata
		}
	}
	return nil
}

// protocolsOf copies the protocols of a request, whose bytes may be a connection's
// buffer. Of a name that is there twice the first counts.
func protocolsOf(ps []kmsg.JoinGroupRequestProtocol) []protocol {
	out := make([]protocol, 0, len(ps))
	for _, p := range ps {
		if !slices.ContainsFunc(out, func(q protocol) bool { return q.name == p.Name }) {
			out = append(out, protocol{p.Name, bytes.Clone(p.Metadata)})
		}
	}
	return out
}
