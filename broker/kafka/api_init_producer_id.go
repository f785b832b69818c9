package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// InitProducerId gives an idempotent producer its id.
//
//	0
//	1    throttling happens after the answer (KIP-219)
//	2    flexible
//	3    the id and epoch the producer has, of which it wants the next (KIP-360)
//	4    PRODUCER_FENCED may be answered (KIP-588)
//	5    TRANSACTION_ABORTABLE may be answered (KIP-890)
func initProducerIDAPI() *api {
	return waiting(kmsg.InitProducerID, 0, 5, "S 4 8:3 2:3", (*call).initProducerID)
}

func (c *call) initProducerID(ctx context.Context, req *kmsg.InitProducerIDRequest) kmsg.Response {
	resp := kmsg.NewPtrInitProducerIDResponse()
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	id, epoch, err := c.producerID(ctx, req)
	if err != nil {
		resp.ErrorCode = c.code(err)
		if req.Version < 4 && resp.ErrorCode == kerr.ProducerFenced.Code {
			resp.ErrorCode = kerr.InvalidProducerEpoch.Code
		}
		return resp
	}
	resp.ProducerID, resp.ProducerEpoch = id, epoch
	return resp
}

func (c *call) producerID(ctx context.Context, req *kmsg.InitProducerIDRequest) (int64, int16, error) {
	switch {
	case req.TransactionalID != nil && *req.TransactionalID == "":
		return 0, 0, fmt.Errorf("an empty transactional id: %w", kerr.InvalidRequest)
	case (req.ProducerID < 0) != (req.ProducerEpoch < 0):
		return 0, 0, fmt.Errorf("producer id %d with epoch %d: %w", req.ProducerID, req.ProducerEpoch, kerr.InvalidRequest)
	}
	if req.TransactionalID != nil {
		if err := c.may(kmsg.ACLOperationWrite, onTxnID, *req.TransactionalID); err != nil {
			return 0, 0, err
		}
		return c.backend.InitTransactionalID(ctx, *req.TransactionalID, req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch)
	}
	if err := c.mayProduce(); err != nil {
		return 0, 0, err
	}
	return c.backend.InitProducerID(ctx)
}

// mayProduce errors unless the client may be an idempotent producer: who may write to
// any topic may (KIP-679).
func (c *call) mayProduce() error {
	if c.allowsCluster(kmsg.ACLOperationIdempotentWrite) || c.maySomewhere(kmsg.ACLOperationWrite, onTopic) {
		return nil
	}
	return c.mayCluster(kmsg.ACLOperationIdempotentWrite)
}
