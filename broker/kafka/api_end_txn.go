package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// EndTxn commits or aborts a transaction.
//
//	0
//	1    throttling happens after the answer (KIP-219)
//	2    PRODUCER_FENCED may be answered (KIP-588)
//	3    flexible
//	4    TRANSACTION_ABORTABLE may be answered (KIP-890)
//	5    the producer goes on with the id and epoch in the answer (KIP-890)
func endTxnAPI() *api {
	return waiting(kmsg.EndTxn, 0, 5, "s 8 2 1", (*call).endTxn)
}

func (c *call) endTxn(ctx context.Context, req *kmsg.EndTxnRequest) kmsg.Response {
	resp := kmsg.NewPtrEndTxnResponse()
	if err := c.may(kmsg.ACLOperationWrite, onTxnID, req.TransactionalID); err != nil {
		resp.ProducerID, resp.ProducerEpoch, resp.ErrorCode = -1, -1, c.code(err)
		return resp
	}
	id, epoch, err := c.backend.EndTransaction(ctx, req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit, req.Version >= 5)
	resp.ProducerID, resp.ProducerEpoch = id, epoch
	if err != nil {
		resp.ProducerID, resp.ProducerEpoch = -1, -1
	}
	resp.ErrorCode = c.fencedCode(err, req.Version, 2)
	return resp
}
