package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/broker/kafka"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/txn"
)

// This file carries out what is due about undecided half messages. A question is
// written first and noted afterwards, so that it is put at least once whatever
// crashes in between.

func halfPolicy(s *cluster.BrokerSettings) txn.Policy {
	p := txn.DefaultPolicy()
	p.Immunity = time.Duration(s.HalfMessageImmunityMs) * time.Millisecond
	p.Interval = time.Duration(s.HalfMessageCheckIntervalMs) * time.Millisecond
	p.Checks = s.HalfMessageCheckMax
	return p
}

// actOnHalves does one lot of due actions and returns when each has succeeded or
// failed. What failed is due again.
func (b *Broker) actOnHalves(ctx context.Context, s *Shard, actions []txn.Action) {
	var done []txn.Action
	results := make(chan askedResult, len(actions))
	asking := 0
	for _, a := range actions {
		if a.Kind == txn.Ask {
			asking++
			b.ask(ctx, s, a, func(err error) { results <- askedResult{a, err} })
		} else {
			done = append(done, a)
		}
	}
	for range asking {
		select {
		case r := <-results:
			if r.err == nil {
				done = append(done, r.action)
				continue
			}
			s.logger.Warn("putting the question about a half message", "id", r.action.Key.ID, "number", r.action.Number, "cause", r.err)
			s.giveBack(ctx, r.action)
		case <-ctx.Done():
			return
		}
	}
	s.noteActions(ctx, done)
}

type askedResult struct {
	action txn.Action
	err    error
}

// giveBack makes an action due again. If the lead is lost meanwhile, it is due for
// the next leader anyway.
func (s *Shard) giveBack(ctx context.Context, a txn.Action) {
	err := s.call(ctx, func(l *leading) {
		if l != nil {
			l.halves.Failed(a, s.clock.now())
		}
	})
	if err != nil {
		s.logger.Debug("giving back what is due about a half message", "cause", err)
	}
}

// ask appends the question to the group's check topic: the message as it was
// prepared, and the headers that say what to answer and where.
func (b *Broker) ask(ctx context.Context, s *Shard, a txn.Action, done func(error)) {
	q, group, err := b.question(s, a)
	if err == nil {
		err = b.ensureCheckTopic(ctx, group) // it may have been deleted
	}
	if err != nil {
		done(err)
		return
	}
	topic := txn.CheckTopic(group)
	to := kafka.AppendRequest{Topic: topic, Partition: txn.QuestionPartition(a.Key.ID, a.Number), Batch: q, Acks: -1}
	b.Append(to, func(r kafka.Appended) { done(r.Err) })
}

func (b *Broker) question(s *Shard, a txn.Action) (record.Batch, string, error) {
	s.mu.RLock()
	h, ok := s.halves.Get(a.Key)
	s.mu.RUnlock()
	if !ok {
		return nil, "", errors.New("it is no longer known")
	}
	t, number, ok := b.view().Partition(a.Key.Target)
	if !ok {
		return nil, "", fmt.Errorf("its partition %s: %w", a.Key.Target, kerr.UnknownTopicOrPartition)
	}
	r, held, err := s.held(h.Held)
	if err != nil {
		return nil, "", err
	}
	headers := make([]record.Header, 0, len(r.Headers)+4)
	for _, hd := range r.Headers {
		if hd.Key != txn.HeaderState {
			headers = append(headers, hd)
		}
	}
	r.Headers = append(headers,
		record.Header{Key: txn.HeaderTopic, Value: []byte(t.Name)},
		record.Header{Key: txn.HeaderPartition, Value: []byte(strconv.Itoa(int(number)))},
		record.Header{Key: txn.HeaderNumber, Value: []byte(strconv.Itoa(a.Number))},
	)
	return single(record.Compression{Codec: held.Codec()}, held.BaseTimestamp(), r), h.Group, nil
}

// noteActions makes what was done part of the log.
func (s *Shard) noteActions(ctx context.Context, actions []txn.Action) {
	done := make(chan error, len(actions))
	waiting := 0
	for _, a := range actions {
		it := &commandItem{
			about: a.Key.Target,
			command: func(l *leading, e *pending) (record.Command, error) {
				return l.halves.Act(a, e.now, e.at), nil
			},
			done: func(err error) { done <- err },
		}
		if err := s.submit(it); err != nil {
			return // the lead is lost: the next leader finds all of it due
		}
		waiting++
	}
	for range waiting {
		select {
		case err := <-done:
			if err != nil {
				s.logger.Warn("noting what was done about a half message", "cause", err)
			}
		case <-ctx.Done():
			return
		}
	}
}
