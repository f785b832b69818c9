package broker

import (
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/txn"
)

// This file is how a producer's next transaction waits for the end of the one before it.
// The client is told of an end when that is decided, before the markers are written, and
// may begin the next transaction at once; clients that are sent away then look for a fault
// before they come back, franz-go for five seconds. So partitions that are to become part
// of a transaction wait, in their order, until the markers are there, as in Apache Kafka,
// where it is called add.partitions.to.txn.retry.backoff.max.ms.

// endingPatience is how long they wait: Kafka's default. Then the client is told
// CONCURRENT_TRANSACTIONS.
const endingPatience = 100 * time.Millisecond

// endings are those who wait, by the transactional id whose transaction is being ended: no
// more than there are requests. It belongs to the loop.
type endings map[string][]item

// enlistItem makes partitions part of a transaction.
type enlistItem struct {
	commandItem
	shard *Shard
	id    string
	adds  bool  // it does not only ask whether they are part of it
	since int64 // when it was decided on first, ms
}

func (s *Shard) newEnlistItem(id string, e txn.Enlistment, done func(error)) *enlistItem {
	return &enlistItem{shard: s, id: id, adds: !e.VerifyOnly, commandItem: commandItem{
		command: func(l *leading, p *pending) (record.Command, error) { return l.transactions.Enlist(id, e, p.now, p.at) },
		done:    done,
	}}
}

func (it *enlistItem) decide(l *leading, e *pending) (verdict, error) {
	if it.since == 0 {
		it.since = e.now
	}
	it.refused = nil
	v, err := it.commandItem.decide(l, e)
	if it.adds && errors.Is(it.refused, kerr.ConcurrentTransactions) && it.waited(e.now) < endingPatience {
		it.shard.endings[it.id] = append(it.shard.endings[it.id], it)
		return verdict{aside: true}, nil
	}
	return v, err
}

func (it *enlistItem) waited(now int64) time.Duration {
	return time.Duration(now-it.since) * time.Millisecond
}

// resume has those who wait for the end of a transaction decided on anew, before all who
// came later.
func (s *Shard) resume(id string) {
	waiting := s.endings[id]
	if len(waiting) == 0 {
		return
	}
	delete(s.endings, id)
	if err := s.queue.pushFront(waiting); err != nil {
		endChosen(waiting, err, everything)
	}
}

// dueEndings resumes those who have waited long enough.
func (s *Shard) dueEndings(now int64) {
	for id, waiting := range s.endings {
		if waiting[0].(*enlistItem).waited(now) >= endingPatience {
			s.resume(id)
		}
	}
}

// abandon ends those who wait and are chosen.
func (e endings) abandon(err error, chosen func(item) bool) {
	for id, waiting := range e {
		if kept := endChosen(waiting, err, chosen); len(kept) > 0 {
			e[id] = kept
		} else {
			delete(e, id)
		}
	}
}
