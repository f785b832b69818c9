package sdk

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Outcome is the end of a local transaction, and so of its half message. The zero
// value is Unknown.
type Outcome int8

const (
	// Unknown decides nothing: the message stays held, and the group is asked.
	Unknown Outcome = iota
	// Commit lets consumers see the message.
	Commit
	// Rollback means that nobody ever sees it.
	Rollback
)

func (o Outcome) String() string {
	switch o {
	case Commit:
		return "commit"
	case Rollback:
		return "rollback"
	}
	return "unknown"
}

const statePrepare = "prepare"

// groupName is what the broker takes for sd-txn-group.
var groupName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,240}$`)

// Tx is a half message to the local transaction that it goes with.
type Tx struct {
	ID        string // the transaction's and the message's
	Topic     string
	Partition int32
}

// TransactionProducer sends half messages: messages that are stored, but that
// nobody can see until their sender's local transaction has ended. The sender
// prepares the message, does its local transaction, and then decides. If it never
// does, because it died or because it does not know, the cluster asks the live
// producers of the group (CheckFunc), and one of them decides.
//
// The topic needs message.type=transaction. A half message does not hold up other
// messages of its partition. A TransactionProducer may be used by many goroutines.
type TransactionProducer struct {
	config producerConfig
	group  string
	check  CheckFunc
	client *kgo.Client
	kinds  *kinds
	direct *direct
	asked  *Consumer

	stop    context.CancelFunc
	stopped chan struct{} // closed when no question is being answered any more

	mu     sync.Mutex
	failed error // why questions are no longer answered
	closed bool
}

// NewTransactionProducer makes a producer of a group of services that can answer
// for one another, because they share the database in which their local
// transactions happen. It answers questions from now on, until Close, through
// check, several at a time.
func NewTransactionProducer(brokers []string, group string, check CheckFunc, opts ...ProducerOption) (*TransactionProducer, error) {
	switch {
	case !groupName.MatchString(group):
		return nil, fmt.Errorf("new transaction producer: the group's name %.40q must be 1 to 240 letters, digits, '.', '_' or '-', since %q is a topic's name", group, "GROUP"+checkSuffix)
	case check == nil:
		return nil, fmt.Errorf("new transaction producer of group %q: no check function: without one, messages stay held when a sender dies", group)
	}
	p := &TransactionProducer{
		config: newProducerConfig(brokers, opts), group: group, check: check, stopped: make(chan struct{}),
	}
	kopts, err := p.config.options()
	if err != nil {
		return nil, fmt.Errorf("new transaction producer of group %q: %w", group, err)
	}
	if p.asked, err = p.newChecker(); err != nil {
		return nil, fmt.Errorf("new transaction producer of group %q: %w", group, err)
	}
	if p.client, err = kgo.NewClient(kopts...); err != nil {
		return nil, fmt.Errorf("new transaction producer of group %q: %w", group, err)
	}
	p.kinds = &kinds{client: p.client}
	p.direct = newDirect(p.client, p.config.deadline/4)
	p.answerQuestions()
	return p, nil
}

// Send prepares the message, runs the local transaction, and decides as local
// says. The error of local is part of Send's.
//
// If local returns Unknown, with or without an error, the message stays held until
// somebody answers the check-back. So does it when the decision cannot be
// delivered: then the error is ErrInDoubt, the local transaction stands, and there
// is nothing to do, least of all to send the message again. The result's Offset is
// that of the committed message, -1 if it is not committed.
//
// If Send fails before local has run, nothing has happened that anyone will see: at
// worst a message is held of which the check function knows nothing, so that it
// must answer Rollback.
func (p *TransactionProducer) Send(ctx context.Context, m *Message, local func(ctx context.Context, tx Tx) (Outcome, error)) (Result, error) {
	h, err := p.Prepare(ctx, m)
	if err != nil {
		return Result{}, err
	}
	outcome, err := local(ctx, Tx{ID: h.ID, Topic: h.Topic, Partition: h.Partition})
	if err != nil {
		err = fmt.Errorf("local transaction of half message %q, outcome %v: %w", h.ID, outcome, err)
	}
	// A caller who gave up has a local transaction that ended all the same.
	res, derr := h.decide(context.WithoutCancel(ctx), outcome)
	return res, errors.Join(err, derr)
}

// SendWithDB is Send with the local transaction in a database that has the fence's
// table (Fence.CreateTable). It begins the transaction, runs work in it, marks it
// in the table and commits it; then it commits the message. When work or anything
// before the commit fails, the transaction is rolled back, and so is the message.
// When the commit itself fails, its outcome is not known: the error is ErrInDoubt,
// and the check-back, with Fence.CheckDB as the check function, reads from the
// table what happened.
//
// Sending again with the same Message.ID, key and value is harmless: work takes
// effect once.
func (p *TransactionProducer) SendWithDB(ctx context.Context, db *sql.DB, m *Message, work func(ctx context.Context, tx *sql.Tx) error) (Result, error) {
	return p.Send(ctx, m, func(ctx context.Context, t Tx) (Outcome, error) {
		return p.config.fence.run(ctx, db, t.ID, work)
	})
}

// Prepare stores a message that nobody can see until it is decided. It waits until
// the cluster has committed it.
func (p *TransactionProducer) Prepare(ctx context.Context, m *Message) (*Half, error) {
	if err := m.validate(); err != nil {
		return nil, err
	}
	if err := p.usable(); err != nil {
		return nil, fmt.Errorf("preparing a message for topic %q: %w", m.Topic, err)
	}
	ctx, cancel := context.WithTimeout(ctx, p.config.deadline)
	defer cancel()
	now := time.Now()
	h := &Half{producer: p, ID: m.ID, Topic: m.Topic}
	if h.ID == "" {
		h.ID = newID(now)
	}
	r := m.record(now, h.headers(statePrepare)...)
	err := p.kinds.holding(ctx, m.Topic)
	if err == nil {
		r.Partition, err = p.direct.partition(ctx, m.Topic, m.Key, h.ID)
	}
	if err == nil {
		_, err = p.direct.store(ctx, r)
	}
	if err != nil {
		return nil, fmt.Errorf("preparing message %q for topic %q: %w", h.ID, m.Topic, prepareAdvice(err))
	}
	h.Partition = r.Partition
	return h, nil
}

func prepareAdvice(err error) error {
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("%w (create the topic first, with message.type=transaction)", err)
	case errors.Is(err, kerr.MessageTooLarge):
		return fmt.Errorf("%w (send less, or raise max.message.bytes of the topic)", err)
	case errors.Is(err, ErrInDoubt):
		return fmt.Errorf("%w (if it is held, the check-back will ask about it)", err)
	}
	return err
}

// Half names a half message that was prepared before, so that it can be decided by
// another process than the one that prepared it.
func (p *TransactionProducer) Half(topic string, partition int32, id string) *Half {
	return &Half{producer: p, ID: id, Topic: topic, Partition: partition}
}

// Half is a message that is held. Deciding twice the same way is harmless.
type Half struct {
	producer *TransactionProducer

	ID        string
	Topic     string
	Partition int32
}

// Commit lets consumers see the message. When it returns they can, and the result
// has the message's offset.
func (h *Half) Commit(ctx context.Context) (Result, error) { return h.decide(ctx, Commit) }

// Rollback drops the message.
func (h *Half) Rollback(ctx context.Context) error {
	_, err := h.decide(ctx, Rollback)
	return err
}

// headers are those of the prepare and of the decision.
func (h *Half) headers(state string) []kgo.RecordHeader {
	return []kgo.RecordHeader{text(headerTxnID, h.ID), text(headerTxnState, state), text(headerTxnGroup, h.producer.group)}
}

// decide stores the decision in the partition where the message is held.
func (h *Half) decide(ctx context.Context, o Outcome) (Result, error) {
	res := Result{Topic: h.Topic, Partition: h.Partition, Offset: -1, ID: h.ID}
	if o != Commit && o != Rollback {
		return res, nil
	}
	ctx, cancel := context.WithTimeout(ctx, h.producer.config.deadline)
	defer cancel()
	offset, err := h.producer.direct.store(ctx, &kgo.Record{
		Topic: h.Topic, Partition: h.Partition, Headers: h.headers(o.String()), Timestamp: time.Now(),
	})
	if err != nil {
		return res, fmt.Errorf("%v of half message %q in topic %q partition %d: %w", o, h.ID, h.Topic, h.Partition, decisionError(err))
	}
	if o == Commit {
		res.Offset = offset
	}
	return res, nil
}

// The broker refuses decisions with INVALID_RECORD, which every Kafka client takes
// for final; its words tell the reasons apart.
const (
	refusedDecided = "decided otherwise"
	refusedUnknown = "no such half message"
)

// decisionError tells the broker's reasons to refuse a decision apart. What may be
// mended by time is left to the check-back.
func decisionError(err error) error {
	var r *refusal
	switch {
	case errors.As(err, &r) && strings.Contains(r.message, refusedDecided):
		return fmt.Errorf("%w: %w", ErrDecided, err)
	case errors.As(err, &r) && strings.Contains(r.message, refusedUnknown):
		return fmt.Errorf("%w: %w", ErrNotHeld, err)
	case errors.Is(err, ErrInDoubt):
		return fmt.Errorf("%w (the message stays held unless the decision arrived; the check-back will settle it)", err)
	case Retryable(err):
		return fmt.Errorf("%w: %w (the message stays held; the check-back will settle it)", ErrInDoubt, err)
	}
	return err
}

// usable says why no message should be prepared.
func (p *TransactionProducer) usable() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return ErrClosed
	case p.failed != nil:
		return fmt.Errorf("this producer no longer answers questions: %w", p.failed)
	}
	return nil
}

// Close stops answering questions, when those being answered are, and disconnects.
// Call it when no send is under way. Held messages of this producer are settled by
// the others of its group.
func (p *TransactionProducer) Close(ctx context.Context) error {
	p.mu.Lock()
	closed := p.closed
	p.closed = true
	p.mu.Unlock()
	if closed {
		return nil
	}
	p.stop()
	var err error
	select {
	case <-p.stopped:
		p.mu.Lock()
		err = p.failed
		p.mu.Unlock()
	case <-ctx.Done():
		err = fmt.Errorf("closing the transaction producer of group %q: a check function is still running: %w", p.group, context.Cause(ctx))
	}
	p.client.Close()
	return err
}
