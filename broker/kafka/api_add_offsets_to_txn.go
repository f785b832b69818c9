package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AddOffsetsToTxn announces that a transaction will commit offsets to a group. Clients
// that rely on KIP-890 leave it to TxnOffsetCommit.
//
//	0
//	1    throttling happens after the answer (KIP-219)
//	2    PRODUCER_FENCED may be answered (KIP-588)
//	3    flexible
//	4    TRANSACTION_ABORTABLE may be answered (KIP-890)
func addOffsetsToTxnAPI() *api {
	return waiting(kmsg.AddOffsetsToTxn, 0, 4, "s 8 2 s", (*call).addOffsetsToTxn)
}

func (c *call) addOffsetsToTxn(ctx context.Context, req *kmsg.AddOffsetsToTxnRequest) kmsg.Response {
	resp := kmsg.NewPtrAddOffsetsToTxnResponse()
	err := c.may(kmsg.ACLOperationWrite, onTxnID, req.TransactionalID)
	if err == nil {
		err = c.may(kmsg.ACLOperationRead, onGroup, req.Group)
	}
	if err != nil {
		// nothing is done
	} else if req.Group == "" {
		err = fmt.Errorf("an empty group id: %w", kerr.InvalidGroupID)
	} else {
		err = c.backend.AddGroupToTransaction(ctx, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group)
	}
	resp.ErrorCode = c.fencedCode(err, req.Version, 2)
	return resp
}
