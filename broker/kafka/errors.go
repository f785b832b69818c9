package kafka

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/record"
)

// codes maps errors that carry no Kafka code of their own; the first match counts.
var codes = []struct {
	err  error
	code *kerr.Error
}{
	// Clients send a corrupt message again. One that was made wrong stays wrong.
	{record.ErrContent, kerr.InvalidRecord},
	{record.ErrCut, kerr.InvalidRecord}, // as in Kafka, where it is no batch
	{record.ErrBatch, kerr.CorruptMessage},
	// Kafka's ProduceRequest.validateRecords; the code for old formats is for
	// topics that cannot store what the client asks for.
	{record.ErrMagic, kerr.InvalidRecord},
	{context.DeadlineExceeded, kerr.RequestTimedOut},
	// The connection is leaving: whether it was done is not known, as at a timeout.
	{context.Canceled, kerr.RequestTimedOut},
	{ErrDrained, kerr.RequestTimedOut},
	{ErrOverdue, kerr.RequestTimedOut},
}

// Code is the Kafka code of an error: one that it carries, else by the table,
// else UNKNOWN_SERVER_ERROR; 0 for nil.
func Code(err error) int16 {
	if err == nil {
		return 0
	}
	if k, ok := errors.AsType[*kerr.Error](err); ok {
		return k.Code
	}
	for _, e := range codes {
		if errors.Is(err, e.err) {
			return e.code.Code
		}
	}
	return kerr.UnknownServerError.Code
}

// code is Code; where that does not say what happened, an event does.
func (c *call) code(err error) int16 {
	code := Code(err)
	if code == kerr.UnknownServerError.Code {
		c.events.failed(c.request(), err)
	}
	return code
}

// message is the whole text of an error for an ErrorMessage field, nil for none.
func message(err error) *string {
	if err == nil {
		return nil
	}
	s := err.Error()
	return &s
}

// isCode says whether an error carries a Kafka error.
func isCode(err error, k *kerr.Error) bool {
	e, ok := errors.AsType[*kerr.Error](err)
	return ok && e.Code == k.Code
}
