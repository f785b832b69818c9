package sdk

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// CheckFunc answers what became of the local transaction that goes with a half
// message, of this producer or of another of its group. It must not guess: Commit
// only if the local transaction is committed, Rollback only if it is not and never
// will be. The latter takes a fence, since the transaction may still be running:
// see Fence. While it cannot tell, it answers Unknown, and the cluster asks again.
//
// It is called from several goroutines. ctx ends after 10 s.
type CheckFunc func(ctx context.Context, q Question) Outcome

// Question is the cluster asking about a half message.
type Question struct {
	ID        string // of the message and its transaction
	Topic     string // where the message is held
	Partition int32
	Group     string
	// Number counts the questions about this message, from 1.
	Number int
	// Message is the held message: key, value, the sender's headers, timestamp, ID,
	// and the topic and partition for which it was prepared. It has no offset.
	Message *Message
}

const (
	checkSuffix = ".check" // of the topic of questions, and of the group that reads it

	checkSession     = 6 * time.Second
	checkTimeout     = 10 * time.Second
	checkConcurrency = 8
	// checkTries is how often one question is worked on; the cluster repeats it.
	checkTries = 3
)

// newChecker is the member of the group <group>.check.
func (p *TransactionProducer) newChecker() (*Consumer, error) {
	c, err := NewConsumer(p.config.brokers, p.group+checkSuffix, []string{p.group + checkSuffix}, p.answer,
		WithConcurrency(checkConcurrency), WithSessionTimeout(checkSession),
		// The topic appears with the first half message of the group; questions
		// come six seconds later.
		withMetadataAge(2*time.Second, 30*time.Second))
	if err != nil {
		return nil, err
	}
	like := p.config.clientConfig
	like.metadataLeast, like.metadataMost = c.config.metadataLeast, c.config.metadataMost
	like.listen = func(e Event) {
		if f, ok := e.(FetchFailed); ok && errors.Is(f.Err, kerr.UnknownTopicOrPartition) {
			return // nothing was prepared yet
		}
		p.config.listen(e)
	}
	c.config.clientConfig = like
	kopts, err := c.config.options(c.group, c.topics)
	if err != nil {
		return nil, err
	}
	c.options = append(kopts, c.rebalanceOptions()...)
	return c, nil
}

// answer handles one question: it decides, and then the question's offset is
// committed. What is not decided is asked again by the cluster.
func (p *TransactionProducer) answer(ctx context.Context, m *Message) error {
	q, err := question(m)
	if err != nil {
		p.config.listen(QuestionFailed{Group: p.group, ID: m.ID, Err: err})
		return nil
	}
	asking, cancel := context.WithTimeout(ctx, checkTimeout)
	outcome := p.check(asking, q)
	cancel()
	if outcome != Commit && outcome != Rollback {
		return nil
	}
	_, err = p.Half(q.Topic, q.Partition, q.ID).decide(ctx, outcome)
	if err == nil {
		return nil
	}
	if Retryable(err) && m.Attempt < checkTries {
		return err
	}
	p.config.listen(QuestionFailed{Group: p.group, ID: q.ID, Err: err})
	return nil
}

var errQuestion = errors.New("not a question about a half message")

// question reads one. What is in the headers was written by the broker, but anyone
// with permission can write to the topic.
func question(m *Message) (Question, error) {
	q := Question{ID: m.ID, Topic: m.sd(headerTxnTopic), Group: m.sd(headerTxnGroup)}
	partition, err := strconv.ParseInt(m.sd(headerTxnPartition), 10, 32)
	if err != nil || partition < 0 {
		return q, fmt.Errorf("%w: header %s is %q", errQuestion, headerTxnPartition, m.sd(headerTxnPartition))
	}
	q.Partition = int32(partition)
	if q.Number, err = strconv.Atoi(m.sd(headerCheckNumber)); err != nil || q.Number < 1 {
		return q, fmt.Errorf("%w: header %s is %q", errQuestion, headerCheckNumber, m.sd(headerCheckNumber))
	}
	for _, h := range []struct{ key, value string }{{headerTxnID, q.ID}, {headerTxnTopic, q.Topic}, {headerTxnGroup, q.Group}} {
		if h.value == "" {
			return q, fmt.Errorf("%w: header %s is missing", errQuestion, h.key)
		}
	}
	held := *m
	held.Topic, held.Partition, held.Offset, held.LeaderEpoch, held.Attempt = q.Topic, q.Partition, -1, -1, 0
	q.Message = &held
	return q, nil
}
