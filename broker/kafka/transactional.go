package kafka

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// This file has the errors of transactions as the versions of the APIs know them.

// transactionalProduceError is what a producer hears of its transaction's coordinator.
// Clients before version 12 do not try again what they could, but for
// NOT_ENOUGH_REPLICAS, which makes them look for no other leader either.
func transactionalProduceError(err error, version int16) error {
	if !errors.Is(err, ErrVerification) {
		return err
	}
	switch {
	case errors.Is(err, kerr.ProducerFenced):
		return fmt.Errorf("%w: %w", kerr.InvalidProducerEpoch, err)
	case errors.Is(err, kerr.InvalidTxnState) && version >= 11:
		return fmt.Errorf("%w: %w", kerr.TransactionAbortable, err)
	case errors.Is(err, kerr.ConcurrentTransactions) && version >= 12:
		return err
	case errors.Is(err, kerr.ConcurrentTransactions), coordinatorElsewhere(err):
		return fmt.Errorf("%w: %w", kerr.NotEnoughReplicas, err)
	}
	return err
}

func coordinatorElsewhere(err error) bool {
	return errors.Is(err, kerr.NotCoordinator) || errors.Is(err, kerr.CoordinatorNotAvailable) || errors.Is(err, kerr.CoordinatorLoadInProgress)
}

// fencedCode is the code of an error, where versions before since know PRODUCER_FENCED
// as INVALID_PRODUCER_EPOCH (KIP-588).
func (c *call) fencedCode(err error, version, since int16) int16 {
	code := c.code(err)
	if code == kerr.ProducerFenced.Code && version < since {
		return kerr.InvalidProducerEpoch.Code
	}
	return code
}
