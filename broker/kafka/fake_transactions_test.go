package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fakeTransactions notes what it is asked, and answers with what a test has set.
type fakeTransactions struct {
	asked []string
	err   error // of every request
	known []TransactionState
}

func (f *fakeTransactions) ask(format string, args ...any) error {
	f.asked = append(f.asked, fmt.Sprintf(format, args...))
	return f.err
}

func (f *fake) TransactionCoordinator(_ context.Context, id string) (int32, error) {
	return f.coordinator, f.transactions.ask("coordinator %s", id)
}

func (f *fake) InitTransactionalID(_ context.Context, id string, timeoutMs int32, producer int64, epoch int16) (int64, int16, error) {
	return 7, 3, f.transactions.ask("init %s %d %d/%d", id, timeoutMs, producer, epoch)
}

func (f *fake) AddToTransaction(_ context.Context, id string, producer int64, epoch int16, ps []TopicPartition, verifyOnly bool) error {
	return f.transactions.ask("add %s %d/%d %v %t", id, producer, epoch, ps, verifyOnly)
}

func (f *fake) AddGroupToTransaction(_ context.Context, id string, producer int64, epoch int16, group string) error {
	return f.transactions.ask("group %s %d/%d %s", id, producer, epoch, group)
}

func (f *fake) EndTransaction(_ context.Context, id string, producer int64, epoch int16, commit, bumps bool) (int64, int16, error) {
	if bumps {
		epoch++
	}
	return producer, epoch, f.transactions.ask("end %s %d/%d %t", id, producer, epoch, commit)
}

func (f *fake) TxnOffsetCommit(_ context.Context, _ Client, req *kmsg.TxnOffsetCommitRequest) *kmsg.TxnOffsetCommitResponse {
	r := kmsg.NewPtrTxnOffsetCommitResponse()
	for _, t := range req.Topics {
		rt := kmsg.NewTxnOffsetCommitResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			rp := kmsg.NewTxnOffsetCommitResponseTopicPartition()
			rp.Partition, rp.ErrorCode = p.Partition, Code(f.transactions.ask("commit %s %s:%d=%d", req.Group, t.Topic, p.Partition, p.Offset))
			rt.Partitions = append(rt.Partitions, rp)
		}
		r.Topics = append(r.Topics, rt)
	}
	return r
}

func (f *fake) WriteMarkers(_ context.Context, topic string, p int32, m MarkerRequest) error {
	return f.transactions.ask("marker %s:%d %+v", topic, p, m)
}

func (f *fake) Producers(topic string, p int32) ([]ProducerState, error) {
	return []ProducerState{{ID: 7, Epoch: 3, LastSequence: 9, LastUsed: 1000, Coordinator: 2, Transaction: 40}}, f.transactions.ask("producers %s:%d", topic, p)
}

func (f *fake) Transaction(_ context.Context, id string) (TransactionState, error) {
	for _, t := range f.transactions.known {
		if t.ID == id {
			return t, nil
		}
	}
	return TransactionState{}, kerr.TransactionalIDNotFound
}

func (f *fake) Transactions() ([]TransactionState, error) {
	return f.transactions.known, f.transactions.err
}
