package sdk

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// What a service may want to tell apart. What the cluster refused is, besides, a
// *kerr.Error of franz-go in the chain.
var (
	// ErrInvalidMessage is a message that was not sent because it cannot be right.
	ErrInvalidMessage = errors.New("invalid message")
	// ErrInDoubt is a send or a transaction whose end is not known. A message sent
	// may be stored or not: sending it again is safe where consumers drop doubles
	// by Message.ID. A half message in doubt is settled by its check-back.
	ErrInDoubt = errors.New("in doubt")
	// ErrDecided is a decision that came after the opposite one: the message was
	// rolled back and cannot be committed, or the other way round. The first
	// decision stands.
	ErrDecided = errors.New("the opposite was decided before")
	// ErrFenced is a local transaction that came too late: a checker has declared
	// its half message rolled back. Roll the local transaction back.
	ErrFenced = errors.New("fenced by a check-back")
	// ErrNotHeld is a decision for a half message that the partition does not have:
	// it was never prepared there, or it is so old that it was forgotten.
	ErrNotHeld = errors.New("no such half message in this partition")
	// ErrNoHalfMessages is a half message for a topic that would show it at once.
	ErrNoHalfMessages = errors.New("the topic does not hold messages back")
	// ErrClosed is a call to a producer after Close.
	ErrClosed = errors.New("closed")
	// ErrRevoked is the cause (context.Cause) with which a handler's context ends
	// when its partition has gone to another consumer before it was through, or
	// when the consumer stops. The message will be delivered again.
	ErrRevoked = errors.New("the partition was taken away")
)

// Retryable says whether the same call may succeed later without anybody changing
// anything: a leader was moving, a broker did not answer, a buffer was full. A
// send that is ErrInDoubt is retryable too, and may store the message twice.
func Retryable(err error) bool {
	switch {
	case err == nil, errors.Is(err, ErrInvalidMessage), errors.Is(err, ErrDecided), errors.Is(err, ErrFenced),
		errors.Is(err, ErrNotHeld), errors.Is(err, ErrNoHalfMessages), errors.Is(err, ErrClosed):
		return false
	case errors.Is(err, ErrInDoubt), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, kgo.ErrRecordTimeout), errors.Is(err, kgo.ErrRecordRetries), errors.Is(err, kgo.ErrMaxBuffered):
		return true
	}
	var refused *kerr.Error
	if errors.As(err, &refused) {
		return refused.Retriable
	}
	var network net.Error
	return errors.As(err, &network)
}

// sendError adds to a failed send what to do about it.
func sendError(topic string, err error) error {
	var advice string
	switch {
	case errors.Is(err, kgo.ErrClientClosed):
		return fmt.Errorf("sending to topic %q: %w: %w", topic, ErrInDoubt, ErrClosed)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, kgo.ErrRecordTimeout), errors.Is(err, kgo.ErrRecordRetries),
		errors.Is(err, kerr.RequestTimedOut), errors.Is(err, kerr.NotEnoughReplicasAfterAppend):
		return fmt.Errorf("sending to topic %q: %w: %w (it may be stored or not; send it again if a double does no harm)", topic, ErrInDoubt, err)
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		advice = "create the topic first; producers of this SDK do not create topics"
	case errors.Is(err, kerr.MessageTooLarge):
		advice = "send less, or raise max.message.bytes of the topic"
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
		advice = "this client's principal needs permission to write"
	case errors.Is(err, kgo.ErrMaxBuffered):
		advice = "slow down, or wait for sends under way"
	case errors.Is(err, kerr.InvalidRecord):
		advice = "the topic's message.type takes messages of another kind"
	default:
		return fmt.Errorf("sending to topic %q: %w", topic, err)
	}
	return fmt.Errorf("sending to topic %q: %w (%s)", topic, err, advice)
}
