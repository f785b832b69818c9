package txn

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kbin"

	"github.com/splashdam/splashdam/broker/record"
)

// Kinds of commands of OwnerTransaction, in the log for ever. Strings and counts have
// Kafka's compact form, numbers are big-endian; times are those of the entry.
//
//	changed    id, u8 phase, i64 producer, i16 epoch, i16 last epoch, i64 last producer,
//	           i64 next producer, i32 timeout ms, u8 bumped
//	enlisted   id, n x u32 partition
//	forgotten  id
//
// Changed keeps the partitions while there is a transaction, and drops them in the
// other phases. Enlisted begins the transaction, if there is none.
const (
	kindChanged   uint8 = 1
	kindEnlisted  uint8 = 2
	kindForgotten uint8 = 3
)

// ErrTransactionCommand is a command that this version does not know or that is
// damaged. The shard cannot go on: its state would no longer be that of its peers.
var ErrTransactionCommand = errors.New("unusable command about a transaction")

func beginTransaction(kind uint8, id string) record.Command {
	return kbin.AppendCompactString(record.NewCommand(record.OwnerTransaction, kind, commandVersion), id)
}

func changedCommand(id string, t *Transaction) record.Command {
	return t.appendFields(beginTransaction(kindChanged, id))
}

func (t *Transaction) appendFields(b []byte) []byte {
	b = kbin.AppendInt64(kbin.AppendInt8(b, int8(t.Phase)), t.Producer)
	b = kbin.AppendInt16(kbin.AppendInt16(b, t.Epoch), t.LastEpoch)
	b = kbin.AppendInt64(kbin.AppendInt64(b, t.LastProducer), t.NextProducer)
	return kbin.AppendBool(kbin.AppendInt32(b, t.TimeoutMs), t.Bumped)
}

// readFields reads what appendFields wrote and says whether a constructor writes it.
func (t *Transaction) readFields(r *kbin.Reader) bool {
	t.Phase, t.Producer = Phase(r.Int8()), r.Int64()
	t.Epoch, t.LastEpoch = r.Int16(), r.Int16()
	t.LastProducer, t.NextProducer = r.Int64(), r.Int64()
	t.TimeoutMs, t.Bumped = r.Int32(), r.Bool()
	return r.Ok() && t.Phase <= CompleteAbort && t.Producer >= 0 && t.Epoch >= 0 && t.LastEpoch >= -1 &&
		t.LastProducer >= -1 && t.NextProducer >= -1 && t.TimeoutMs > 0
}

func enlistedCommand(id string, ps []record.PartitionID) record.Command {
	return appendPartitions(beginTransaction(kindEnlisted, id), ps)
}

func appendPartitions(b []byte, ps []record.PartitionID) []byte {
	b = kbin.AppendCompactArrayLen(b, len(ps))
	for _, p := range ps {
		b = kbin.AppendUint32(b, uint32(p))
	}
	return b
}

// readPartitions lets the slice grow with the bytes that are there, whatever the count
// claims. It makes the reader fail where they are too few.
func readPartitions(r *kbin.Reader) (ps []record.PartitionID) {
	n := r.CompactArrayLen()
	if n < 0 || int64(n)*4 > int64(len(r.Src)) {
		r.Span(-1)
		return nil
	}
	for range n {
		ps = append(ps, record.PartitionID(r.Uint32()))
	}
	return ps
}

func forgottenCommand(id string) record.Command { return beginTransaction(kindForgotten, id) }

// Apply carries out a committed command of OwnerTransaction; now is the time in its
// entry. It refuses nothing that is well formed. The only error is
// ErrTransactionCommand, and then nothing has changed.
func (ts *Transactions) Apply(c record.Command, now int64) error {
	if len(c) < record.CommandHeaderSize || c.Owner() != record.OwnerTransaction {
		return fmt.Errorf("%w: not a command of this owner", ErrTransactionCommand)
	}
	if c.Version() != commandVersion {
		return fmt.Errorf("%w: kind %d has version %d, this build knows %d", ErrTransactionCommand, c.Kind(), c.Version(), commandVersion)
	}
	r := kbin.Reader{Src: c.Payload()}
	id := r.CompactString()
	old := ts.byID[id]
	var next *Transaction // nil: it is forgotten
	ok := id != ""
	switch c.Kind() {
	case kindChanged:
		t := Transaction{Started: -1, Updated: now}
		ok = t.readFields(&r) && ok
		if old != nil && !t.Phase.idle() {
			t.Partitions, t.Started = old.Partitions, old.Started
		}
		next = &t
	case kindEnlisted:
		ps := readPartitions(&r)
		ok = ok && len(ps) > 0
		if old != nil {
			t := old.enlisting(ps, now)
			next = &t
		}
	case kindForgotten:
	default:
		return fmt.Errorf("%w: unknown kind %d", ErrTransactionCommand, c.Kind())
	}
	if r.Complete() != nil || len(r.Src) != 0 || !ok {
		return fmt.Errorf("%w: kind %d with payload %x", ErrTransactionCommand, c.Kind(), c.Payload()[:min(64, len(c.Payload()))])
	}
	if next != nil || c.Kind() == kindForgotten {
		ts.set(id, next)
	}
	return nil
}

// enlisting is t with partitions that become part of its transaction, which begins if
// there is none.
func (t *Transaction) enlisting(ps []record.PartitionID, now int64) Transaction {
	n := *t
	n.Partitions, n.Updated = t.with(ps), now
	if t.Phase != Ongoing {
		n.Phase, n.Started, n.Bumped = Ongoing, now, false
	}
	return n
}
