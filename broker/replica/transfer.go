package replica

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/record"
)

// A snapshot transfer brings a follower that is behind the Raft window the leader's
// log and its newest snapshot, as a commitlog.Shipment:
//
//	leader                                      follower
//	MsgSnap from Raft: Ship
//	  begin: which shipment         ─────────▶
//	                                ◀─────────  want: from where, how far
//	  piece, piece, piece           ─────────▶  the list, then what is needed of the rest
//	                                ◀─────────  want: got that far
//	                                            complete: MsgSnap to its own Raft,
//	                                            install it, restore the state
//	                                ◀─────────  done
//	Ended: ReportSnapshot to Raft
//
// The follower asks, the leader answers; all that matters is in what the follower has
// received. So messages may be lost, doubled and reordered, either end may start
// anew, and another leader goes on with the same shipment where the last one was.

// TransferKind says what a TransferMessage is.
type TransferKind uint8

const (
	// TransferBegin offers a shipment, and asks how it goes. Length is that of the list.
	TransferBegin TransferKind = 1
	// TransferWant tells up to where all has come and asks for what follows, up to the
	// end of the object Through; with Again, for what was sent before too.
	TransferWant TransferKind = 2
	// TransferPiece is bytes of a shipment from At on; with Last, of an object there
	// are no more.
	TransferPiece TransferKind = 3
	// TransferDone ends a transfer: the shipment is installed, or the follower has no
	// need of it; with Failed, the follower could not take it, and Data says why.
	TransferDone TransferKind = 4
)

// TransferKey names a shipment: where its snapshot stands, and the checksum of its
// list. What two leaders send under one key is the same, byte for byte.
type TransferKey struct {
	Index record.Index
	Term  record.Term
	List  uint32
}

// TransferMessage is what the two ends of a transfer say. On the wire:
//
//	 0  u32  magic "SDTR"
//	 4  u16  version, 1
//	 6  u8   kind
//	 7  u8   flags       bit 0: again, bit 1: last, bit 2: failed
//	 8  u64  from        replica ids
//	16  u64  to
//	24  u64  lead        the leader's term
//	32  u64  index       of the snapshot: these three are the key
//	40  u64  term
//	48  u32  list        CRC-32C of the shipment's list
//	52  u32  length      of the list, in begin
//	56  u32  object      at
//	60  u32  through
//	64  u64  offset      at
//	72  u32  data
//	76  u32  CRC-32C     over the whole message without this field
//	80       data
//
// Numbers are little-endian.
type TransferMessage struct {
	Kind     TransferKind
	From, To uint64
	// Lead is the term of the leader that sends the shipment: of two, the one with the
	// higher term counts.
	Lead    record.Term
	Key     TransferKey
	Length  uint32
	At      commitlog.Cursor
	Through uint32

	Again, Last, Failed bool

	Data []byte
}

const (
	transferMagic   = 0x52544453 // "SDTR"
	transferVersion = 1
	transferHeader  = 80
	// transferPiece is how many bytes a piece has at most.
	transferPiece = 256 << 10
)

// ErrTransfer is a message of a transfer that no working replica sends.
var ErrTransfer = errors.New("malformed transfer message")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Encode is the message as it is sent.
func (m TransferMessage) Encode() []byte {
	b := make([]byte, transferHeader, transferHeader+len(m.Data))
	binary.LittleEndian.PutUint32(b, transferMagic)
	binary.LittleEndian.PutUint16(b[4:], transferVersion)
	b[6] = byte(m.Kind)
	for i, flag := range []bool{m.Again, m.Last, m.Failed} {
		if flag {
			b[7] |= 1 << i
		}
	}
	binary.LittleEndian.PutUint64(b[8:], m.From)
	binary.LittleEndian.PutUint64(b[16:], m.To)
	binary.LittleEndian.PutUint64(b[24:], uint64(m.Lead))
	binary.LittleEndian.PutUint64(b[32:], uint64(m.Key.Index))
	binary.LittleEndian.PutUint64(b[40:], uint64(m.Key.Term))
	binary.LittleEndian.PutUint32(b[48:], m.Key.List)
	binary.LittleEndian.PutUint32(b[52:], m.Length)
	binary.LittleEndian.PutUint32(b[56:], m.At.Object)
	binary.LittleEndian.PutUint32(b[60:], m.Through)
	binary.LittleEndian.PutUint64(b[64:], m.At.Offset)
	binary.LittleEndian.PutUint32(b[72:], uint32(len(m.Data)))
	b = append(b, m.Data...)
	binary.LittleEndian.PutUint32(b[76:], transferChecksum(b))
	return b
}

func transferChecksum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:76], castagnoli), castagnoli, b[transferHeader:])
}

// DecodeTransfer reads what Encode wrote; the data is shared. It errors with
// ErrTransfer, and for a newer version with commitlog.ErrFutureVersion.
func DecodeTransfer(b []byte) (TransferMessage, error) {
	if len(b) < transferHeader {
		return TransferMessage{}, fmt.Errorf("%w: %d bytes", ErrTransfer, len(b))
	}
	if magic := binary.LittleEndian.Uint32(b); magic != transferMagic {
		return TransferMessage{}, fmt.Errorf("%w: it begins with %08x", ErrTransfer, magic)
	}
	if v := binary.LittleEndian.Uint16(b[4:]); v > transferVersion {
		return TransferMessage{}, fmt.Errorf("%w: a transfer message of version %d, this binary knows %d", commitlog.ErrFutureVersion, v, transferVersion)
	}
	if n := binary.LittleEndian.Uint32(b[72:]); int64(n) != int64(len(b)-transferHeader) {
		return TransferMessage{}, fmt.Errorf("%w: it claims %d bytes of data, there are %d", ErrTransfer, n, len(b)-transferHeader)
	}
	if want, got := binary.LittleEndian.Uint32(b[76:]), transferChecksum(b); want != got {
		return TransferMessage{}, fmt.Errorf("%w: checksum %08x, computed %08x", ErrTransfer, want, got)
	}
	m := TransferMessage{
		Kind: TransferKind(b[6]),
		From: binary.LittleEndian.Uint64(b[8:]),
		To:   binary.LittleEndian.Uint64(b[16:]),
		Lead: record.Term(binary.LittleEndian.Uint64(b[24:])),
		Key: TransferKey{
			Index: record.Index(binary.LittleEndian.Uint64(b[32:])),
			Term:  record.Term(binary.LittleEndian.Uint64(b[40:])),
			List:  binary.LittleEndian.Uint32(b[48:]),
		},
		Length:  binary.LittleEndian.Uint32(b[52:]),
		At:      commitlog.Cursor{Object: binary.LittleEndian.Uint32(b[56:]), Offset: binary.LittleEndian.Uint64(b[64:])},
		Through: binary.LittleEndian.Uint32(b[60:]),
		Again:   b[7]&1 > 0, Last: b[7]&2 > 0, Failed: b[7]&4 > 0,
		Data: b[transferHeader:],
	}
	return m, m.check()
}

// check is whether a replica would say this.
func (m TransferMessage) check() error {
	ok := m.From != m.To && m.From > 0 && m.To > 0 && m.Lead > 0 && m.Key.Index > 0 && m.Key.Term > 0 && m.Key.Term <= m.Lead
	switch m.Kind {
	case TransferBegin:
		ok = ok && m.Length > 0 && m.Length <= commitlog.MaxShipList && len(m.Data) == 0
	case TransferWant:
		ok = ok && len(m.Data) == 0
	case TransferPiece, TransferDone:
		ok = ok && len(m.Data) <= transferPiece
	default:
		ok = false
	}
	if !ok {
		return fmt.Errorf("%w: kind %d from replica %d to %d, of term %d, about snapshot %d of term %d, with %d bytes",
			ErrTransfer, m.Kind, m.From, m.To, m.Lead, m.Key.Index, m.Key.Term, len(m.Data))
	}
	return nil
}

// answer is a message to where m came from, about the same transfer.
func (m TransferMessage) answer(kind TransferKind) TransferMessage {
	return TransferMessage{Kind: kind, From: m.To, To: m.From, Lead: m.Lead, Key: m.Key}
}
