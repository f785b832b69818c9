package group

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/record"
)

// Token names a request that waits for its answer. The shell makes tokens, and
// uses none twice.
type Token uint64

// ProposalID names what a Coordinator asked to be persisted. Each Coordinator
// counts its own from 1.
type ProposalID uint64

// Client is who sent a request.
type Client struct {
	ID   string // client.id
	Host string // as Kafka prints it: "/127.0.0.1"
	// Principal is as whom it has logged in, with the type: "User:ANONYMOUS". It decides
	// which topics a regular expression shows.
	Principal string
}

// Effect is what a method of the Coordinator wants done: an Answer or a Persist.
// The effects of one call are carried out in order.
type Effect interface{ effect() }

// Answer is sent to the client that waits under the token. The response's Version
// is set; its ThrottleMillis is the shell's.
type Answer struct {
	Token    Token
	Response kmsg.Response
}

// Persist is proposed to the shard's log. The shell calls Done with the ID when
// the command has been applied, or when it is certain that it cannot be proposed.
type Persist struct {
	ID      ProposalID
	Command record.Command
	// Transaction, if not nil, is the transaction that the command is part of. The shell
	// takes the command only while that is open for sure, and calls Done with why not.
	Transaction *Transaction
}

// Transaction is a producer's transaction as a group meets it. Its coordinator has said
// that it is open when the high watermark of Partition, which is the group's of
// __consumer_offsets, was at Verified.
type Transaction struct {
	Partition record.PartitionID
	Producer  int64
	Epoch     int16
	Verified  int64
}

func (Answer) effect()  {}
func (Persist) effect() {}

// persistError maps the reason why something could not be persisted to what
// Kafka tells a member: errors about the log become errors about the coordinator.
// What carries no Kafka error at all makes clients look for the coordinator anew.
func persistError(err error) *kerr.Error {
	var k *kerr.Error
	if err == nil {
		return nil
	}
	if !errors.As(err, &k) {
		return kerr.CoordinatorNotAvailable
	}
	switch k {
	case kerr.UnknownTopicOrPartition, kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.RequestTimedOut:
		return kerr.CoordinatorNotAvailable
	case kerr.NotLeaderForPartition, kerr.KafkaStorageError:
		return kerr.NotCoordinator
	case kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidFetchSize:
		return kerr.UnknownServerError
	}
	return k
}

// code is an error's number on the wire, 0 for none.
func code(e *kerr.Error) int16 {
	if e == nil {
		return 0
	}
	return e.Code
}
