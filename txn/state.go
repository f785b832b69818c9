package txn

import (
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kbin"

	"github.com/splashdam/splashdam/broker/record"
)

// stateVersion is that of the encoded state:
//
//	u8 version, then until the end, by target and id
//	u32 target, id, u8 state, i64 held, group, principal, 16 bytes body,
//	i64 prepared, i32 asked, i64 wait, i64 ended, i64 offset
const stateVersion = 1

// ErrState is an encoded state that is damaged or of a newer version.
var ErrState = errors.New("unusable state of half messages")

// View is the state at one moment. It never changes.
type View struct {
	keys   []Key
	halves []*Half
}

// View copies the pointers to all halves.
func (h *Halves) View() *View {
	v := &View{keys: make([]Key, 0, h.known), halves: make([]*Half, 0, h.known)}
	h.each(func(k Key, n *Half) {
		v.keys = append(v.keys, k)
		v.halves = append(v.halves, n)
	})
	return v
}

// Encode is the same for the same state. It may run beside later commands.
func (v *View) Encode() []byte {
	order := make([]int, len(v.keys))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return v.keys[a].compare(v.keys[b]) })
	b := []byte{stateVersion}
	for _, i := range order {
		k, h := v.keys[i], v.halves[i]
		b = kbin.AppendString(kbin.AppendUint32(b, uint32(k.Target)), k.ID)
		b = kbin.AppendInt64(kbin.AppendInt8(b, int8(h.State)), h.Held)
		b = kbin.AppendString(kbin.AppendString(b, h.Group), h.Principal)
		b = append(b, h.Body[:]...)
		b = kbin.AppendInt32(kbin.AppendInt64(b, h.Prepared), int32(h.Asked))
		b = kbin.AppendInt64(kbin.AppendInt64(b, h.Wait), h.Ended)
		b = kbin.AppendInt64(b, h.Offset)
	}
	return b
}

// RestoreHalves reads what Encode wrote. It errors with ErrState.
func RestoreHalves(data []byte) (*Halves, error) {
	if len(data) == 0 || data[0] != stateVersion {
		return nil, fmt.Errorf("%w: not of version %d", ErrState, stateVersion)
	}
	h := NewHalves()
	var last Key
	r := kbin.Reader{Src: data[1:]}
	for len(r.Src) > 0 {
		k := Key{Target: record.PartitionID(r.Uint32()), ID: r.String()}
		n := Half{State: State(r.Int8()), Held: r.Int64(), Group: r.String(), Principal: r.String()}
		copy(n.Body[:], r.Span(len(n.Body)))
		n.Prepared, n.Asked = r.Int64(), int(r.Int32())
		n.Wait, n.Ended, n.Offset = r.Int64(), r.Int64(), r.Int64()
		if r.Complete() != nil {
			return nil, fmt.Errorf("%w: cut off behind %d half messages", ErrState, h.Len())
		}
		if k.ID == "" || k.compare(last) <= 0 {
			return nil, fmt.Errorf("%w: half message %q of %s behind %q of %s", ErrState, clip(k.ID), k.Target, clip(last.ID), last.Target)
		}
		if n.State < Undecided || n.State > RolledBack || n.Held < 0 || n.Asked < 0 || n.Offset < -1 || (n.Offset >= 0) != (n.State == Committed) {
			return nil, fmt.Errorf("%w: half message %q of %s: %v, held at offset %d, asked %d times, committed at offset %d",
				ErrState, clip(k.ID), k.Target, n.State, n.Held, n.Asked, n.Offset)
		}
		h.set(k, n)
		last = k
	}
	return h, nil
}
