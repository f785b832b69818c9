package txn

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kbin"
)

// transactionStateVersion is that of the encoded state:
//
//	u8 version, then until the end, by id
//	id, the fields of the command changed, i64 started, i64 updated, n x u32 partition
const transactionStateVersion = 1

// ErrTransactionState is an encoded state that is damaged or of a newer version.
var ErrTransactionState = errors.New("unusable state of transactions")

// TransactionsView is the state at one moment. It never changes.
type TransactionsView struct{ byID map[string]*Transaction }

// View copies the pointers to all transactions.
func (ts *Transactions) View() *TransactionsView { return &TransactionsView{maps.Clone(ts.byID)} }

// Encode is the same for the same state. It may run beside later commands.
func (v *TransactionsView) Encode() []byte {
	b := []byte{transactionStateVersion}
	for _, id := range slices.Sorted(maps.Keys(v.byID)) {
		t := v.byID[id]
		b = t.appendFields(kbin.AppendCompactString(b, id))
		b = kbin.AppendInt64(kbin.AppendInt64(b, t.Started), t.Updated)
		b = appendPartitions(b, t.Partitions)
	}
	return b
}

// RestoreTransactions reads what Encode wrote. It errors with ErrTransactionState.
func RestoreTransactions(data []byte) (*Transactions, error) {
	if len(data) == 0 || data[0] != transactionStateVersion {
		return nil, fmt.Errorf("%w: not of version %d", ErrTransactionState, transactionStateVersion)
	}
	ts := NewTransactions()
	last := ""
	r := kbin.Reader{Src: data[1:]}
	for len(r.Src) > 0 {
		id := r.CompactString()
		var t Transaction
		ok := t.readFields(&r)
		t.Started, t.Updated = r.Int64(), r.Int64()
		t.Partitions = readPartitions(&r)
		if r.Complete() != nil {
			return nil, fmt.Errorf("%w: cut off behind %d ids", ErrTransactionState, ts.Len())
		}
		switch rising := slices.IsSorted(t.Partitions); {
		case id <= last:
			return nil, fmt.Errorf("%w: id %q behind %q", ErrTransactionState, clip(id), clip(last))
		case !ok || !rising || t.Phase.idle() != (len(t.Partitions) == 0) || t.Phase.idle() != (t.Started < 0):
			return nil, fmt.Errorf("%w: id %q: %+v", ErrTransactionState, clip(id), t)
		}
		ts.set(id, &t)
		last = id
	}
	return ts, nil
}
