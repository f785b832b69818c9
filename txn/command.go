package txn

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kbin"

	"github.com/splashdam/splashdam/broker/record"
)

// Kinds of commands, in the log for ever. Each is about the partition that the
// message is meant for.
//
//	prepared   id, i64 held, group, principal, 16 bytes body, i64 wait
//	asked      id, i32 number, i64 wait
//	parked     id
//	ended      id, u8 state, i64 offset
//	expired    id
const (
	kindPrepared uint8 = 1
	kindAsked    uint8 = 2
	kindParked   uint8 = 3
	kindEnded    uint8 = 4
	kindExpired  uint8 = 5
)

const commandVersion uint8 = 1

// ErrCommand is a command that this version does not know or that is damaged. The
// shard cannot go on: its state would no longer be that of its peers.
var ErrCommand = errors.New("unusable command about a half message")

func begin(kind uint8, id string) record.Command {
	return kbin.AppendString(record.NewCommand(record.OwnerTxn, kind, commandVersion), id)
}

func preparedCommand(id string, r PrepareRequest, wait int64) record.Command {
	c := kbin.AppendInt64(begin(kindPrepared, id), r.Held)
	c = kbin.AppendString(kbin.AppendString(c, r.Group), r.Principal)
	return kbin.AppendInt64(append(c, r.Body[:]...), wait)
}

func askedCommand(id string, n int, wait int64) record.Command {
	return kbin.AppendInt64(kbin.AppendInt32(begin(kindAsked, id), int32(n)), wait)
}

func parkedCommand(id string) record.Command { return begin(kindParked, id) }

func endedCommand(id string, s State, offset int64) record.Command {
	return kbin.AppendInt64(kbin.AppendInt8(begin(kindEnded, id), int8(s)), offset)
}

func expiredCommand(id string) record.Command { return begin(kindExpired, id) }

// Apply carries out a committed command about a half message for target; now is
// the time in its entry. A command that a retry doubled, or that another has
// overtaken, changes nothing. The only error is ErrCommand.
func (h *Halves) Apply(target record.PartitionID, c record.Command, now int64) error {
	if len(c) < record.CommandHeaderSize || c.Owner() != record.OwnerTxn {
		return fmt.Errorf("%w: not a command of this owner", ErrCommand)
	}
	if c.Version() != commandVersion {
		return fmt.Errorf("%w: kind %d has version %d, this build knows %d", ErrCommand, c.Kind(), c.Version(), commandVersion)
	}
	r := kbin.Reader{Src: c.Payload()}
	k := Key{target, r.String()}
	old := h.find(k)
	ok := k.ID != "" // and the values are such as a constructor writes
	var change func()
	switch c.Kind() {
	case kindPrepared:
		n := Half{State: Undecided, Held: r.Int64(), Group: r.String(), Principal: r.String(), Prepared: now, Offset: -1}
		copy(n.Body[:], r.Span(len(n.Body)))
		n.Wait = r.Int64()
		ok = ok && n.Held >= 0
		change = func() {
			if old == nil {
				h.set(k, n)
			}
		}
	case kindAsked:
		number, wait := int(r.Int32()), r.Int64()
		ok = ok && number > 0
		change = func() {
			if old != nil && old.State == Undecided && number == old.Asked+1 {
				n := *old
				n.Asked, n.Wait = number, wait
				h.set(k, n)
			}
		}
	case kindParked:
		change = func() {
			if old != nil && old.State == Undecided {
				n := *old
				n.State = Parked
				h.set(k, n)
			}
		}
	case kindEnded:
		s, offset := State(r.Int8()), r.Int64()
		ok = ok && (s == Committed && offset >= 0 || s == RolledBack && offset == -1)
		change = func() {
			if old != nil && !old.State.Ended() {
				n := *old
				n.State, n.Offset, n.Ended = s, offset, now
				h.set(k, n)
			}
		}
	case kindExpired:
		change = func() {
			if old != nil && old.State.Ended() {
				h.remove(k)
			}
		}
	default:
		return fmt.Errorf("%w: unknown kind %d", ErrCommand, c.Kind())
	}
	if r.Complete() != nil || len(r.Src) != 0 || !ok {
		return fmt.Errorf("%w: kind %d with payload %x", ErrCommand, c.Kind(), c.Payload()[:min(64, len(c.Payload()))])
	}
	change()
	return nil
}
