package kafka

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/regex"
)

// ListTransactions names the transactional ids that this node coordinates (KIP-664).
//
//	0    by state and by producer id
//	1    by how long the transaction is open (KIP-994)
//	2    by a regular expression for the id (KIP-1152)
func listTransactionsAPI() *api {
	return waiting(kmsg.ListTransactions, 0, 2, "(s) (8) 8:1 S:2", (*call).listTransactions)
}

var transactionStates = []string{"Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort"}

func (c *call) listTransactions(_ context.Context, req *kmsg.ListTransactionsRequest) kmsg.Response {
	resp := kmsg.NewPtrListTransactionsResponse()
	for _, s := range req.StateFilters {
		if !slices.Contains(transactionStates, s) {
			resp.UnknownStateFilters = append(resp.UnknownStateFilters, s)
		}
	}
	pattern, err := transactionPattern(req)
	var all []TransactionState
	if err == nil {
		all, err = c.backend.Transactions()
	}
	if resp.ErrorCode = c.code(err); err != nil {
		return resp
	}
	now := time.Now().UnixMilli()
	states, producers := setOf(req.StateFilters), setOf(req.ProducerIDFilters)
	for _, t := range all {
		switch {
		case len(states) > 0 && !states[t.State]:
		case len(producers) > 0 && !producers[t.Producer]:
		case req.Version >= 1 && req.DurationFilterMillis >= 0 && (t.Started < 0 || now-t.Started <= req.DurationFilterMillis):
		case !c.allows(kmsg.ACLOperationDescribe, onTxnID, t.ID):
		case pattern != nil && !pattern.MatchString(t.ID):
		default:
			x := kmsg.NewListTransactionsResponseTransactionState()
			x.TransactionalID, x.ProducerID, x.TransactionState = t.ID, t.Producer, t.State
			resp.TransactionStates = append(resp.TransactionStates, x)
		}
	}
	return resp
}

// setOf is what is in a list of any length.
func setOf[K comparable](list []K) map[K]bool {
	set := make(map[K]bool, len(list))
	for _, k := range list {
		set[k] = true
	}
	return set
}

// transactionPattern is what whole ids must match, nil if any id will do.
func transactionPattern(req *kmsg.ListTransactionsRequest) (*regexp.Regexp, error) {
	if req.Version < 2 || req.TransactionalIDPattern == nil || *req.TransactionalIDPattern == "" {
		return nil, nil
	}
	re, err := regex.Compile(*req.TransactionalIDPattern)
	if err != nil {
		return nil, fmt.Errorf("the pattern for transactional ids: %w: %w", err, kerr.InvalidRegularExpression)
	}
	return re, nil
}
