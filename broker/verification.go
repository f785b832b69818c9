package broker

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/kafka"
	"github.com/splashdam/splashdam/broker/partition"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/txn"
)

// This file is how the batches of a transaction wait for its coordinator, and keep their
// order. A batch comes into the queue as any other. The one that would begin a transaction
// in its partition is put aside while the coordinator is asked about it, at the head of a
// lane of its producer and partition; what comes behind it joins the lane. With the answer
// the whole lane goes back to the front of the queue, the head verified, and all of them are
// decided anew, as if they had just come: mostly the head begins the transaction and the
// others need nobody any more, but if a marker has outrun the answer, the head is asked about
// again and they are behind it again. So a batch is never decided on before one that came
// earlier, whatever the answers are and when they come.

// verificationTimeout is how long a coordinator may take. Who waits behind what it does not
// answer is told the same: it could not go before.
const verificationTimeout = 30 * time.Second

// transactionalItem is a batch of a transaction on its way into the log.
type transactionalItem struct {
	appendItem
	shard         *Shard
	id            string // of the transaction
	adds          bool   // the partition becomes part of it, unless it is (KIP-890)
	verifications int    // how often the coordinator was asked
}

func (it *transactionalItem) producer() producerOf {
	return producerOf{it.partition, it.batch.ProducerID()}
}

func (it *transactionalItem) decide(l *leading, e *pending) (verdict, error) {
	if it.shard.verifying.join(it) {
		return verdict{aside: true}, nil
	}
	v, err := it.appendItem.decide(l, e)
	if errors.Is(err, partition.ErrUnverified) && it.verifications < maxVerifications {
		it.shard.verify(it)
		return verdict{aside: true}, nil
	}
	return v, err
}

// verifying is what waits for coordinators: no more than there are requests, which are
// counted where they are read. It belongs to the loop.
type verifying struct {
	lanes map[producerOf]*lane
	asked uint64 // how many questions there were
}

type producerOf struct {
	partition record.PartitionID
	id        int64
}

// lane is the batches of one producer for one partition, in the order in which they came.
// The first of them is the one that the question is about.
type lane struct {
	items    []item
	question uint64
	asked    int64 // when, ms
}

// join puts a batch behind those of its producer that wait, if there are any.
func (v *verifying) join(it *transactionalItem) bool {
	q := v.lanes[it.producer()]
	if q == nil {
		return false
	}
	q.items = append(q.items, it)
	return true
}

// abandon ends the lanes that are chosen: all of a lane are batches, chosen as its head is.
func (v *verifying) abandon(err error, chosen func(item) bool) {
	for p, q := range v.lanes {
		if chosen(q.items[0]) {
			v.end(p, err)
		}
	}
}

func (v *verifying) end(p producerOf, err error) {
	q := v.lanes[p]
	delete(v.lanes, p)
	endChosen(q.items, err, everything)
}

// verify puts a batch aside and asks the coordinator of its transaction about it.
func (s *Shard) verify(it *transactionalItem) {
	s.verifying.asked++
	it.verifications++
	p := it.producer()
	a := &verificationAnswer{shard: s, producer: p, question: s.verifying.asked, verified: s.bounds(it.partition).HighWatermark}
	s.verifying.lanes[p] = &lane{items: []item{it}, question: a.question, asked: s.clock.now()}
	s.peers.Enlist(it.id, txn.Enlistment{
		Identity:   txn.Identity{Producer: p.id, Epoch: it.batch.ProducerEpoch()},
		Partitions: []record.PartitionID{it.partition}, VerifyOnly: !it.adds,
	}, func(err error) {
		a.err = err
		if err := s.submitNow(a); err != nil {
			s.logger.Debug("a coordinator's answer comes too late", "transactional_id", it.id, "cause", err) // the lane has been ended
		}
	})
}

// verificationAnswer is what a coordinator says, on its way to the batch that waits for it.
type verificationAnswer struct {
	shard    *Shard
	producer producerOf
	question uint64
	verified int64 // where the partition's end was when the question was put
	err      error
}

func (a *verificationAnswer) size() int       { return 0 }
func (a *verificationAnswer) early() bool     { return false }
func (a *verificationAnswer) refusable() bool { return false }
func (a *verificationAnswer) end(error)       {} // nobody waits for it but the lane, which is ended with the lead

func (a *verificationAnswer) decide(*leading, *pending) (verdict, error) {
	v := &a.shard.verifying
	q := v.lanes[a.producer]
	if q == nil || q.question != a.question {
		return verdict{}, nil // its time was up
	}
	delete(v.lanes, a.producer)
	head, back := q.items[0].(*transactionalItem), q.items
	if a.err != nil {
		head.end(unverified(head, a.err))
		back = back[1:]
	} else {
		head.verified = a.verified
	}
	if err := a.shard.queue.pushFront(back); err != nil {
		endChosen(back, err, everything)
	}
	return verdict{}, nil
}

// dueVerifications ends what has waited for too long.
func (s *Shard) dueVerifications(now int64) {
	for p, q := range s.verifying.lanes {
		if waited := time.Duration(now-q.asked) * time.Millisecond; waited >= verificationTimeout {
			err := fmt.Errorf("no answer in %v: %w", waited, kerr.CoordinatorNotAvailable)
			s.verifying.end(p, unverified(q.items[0].(*transactionalItem), err))
		}
	}
}

func unverified(it *transactionalItem, err error) error {
	return fmt.Errorf("partition %v transactional id %q: %w: %w", it.partition, it.id, kafka.ErrVerification, err)
}
