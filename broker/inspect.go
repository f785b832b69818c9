package broker

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/broker/kafka"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/txn"
)

// This file looks into what clients send. One batch whose records are not what its
// header says would stop every consumer of its partition, so each is looked into
// before it is taken, as Kafka does.

const (
	// maxInflated bounds what a client's compressed batch may become, in bytes. A
	// larger one is refused with MESSAGE_TOO_LARGE, on which producers split it.
	maxInflated = 64 << 20
	// maxRecordErrors is how many records of one batch are blamed by name.
	maxRecordErrors = 1000
)

// recordErrors blames records of a batch, which fails as a whole (KIP-467).
type recordErrors struct {
	records []kafka.RecordError
	code    *kerr.Error
}

func (e *recordErrors) add(record int, err error) {
	e.records = append(e.records, kafka.RecordError{Record: int32(record), Message: err.Error()})
}

func (e *recordErrors) full() bool { return len(e.records) >= maxRecordErrors }

func (e *recordErrors) Error() string {
	return fmt.Sprintf("record %d of the batch: %s (%d of its records are refused)", e.records[0].Record, e.records[0].Message, len(e.records))
}

func (e *recordErrors) Unwrap() error { return e.code }

// orNil is e as an error, if it blames anything.
func (e *recordErrors) orNil() error {
	if len(e.records) == 0 {
		return nil
	}
	return e
}

var errNoKey = errors.New("it has no key, and the topic is compacted: nothing could ever replace it")

// inspect checks the records of a batch for a topic that takes it as it is.
func (b *Broker) inspect(batch record.Batch, topic string, settings cluster.TopicSettings) error {
	bad := &recordErrors{code: kerr.InvalidRecord}
	i := 0
	err := b.inflate(batch, func() error {
		return batch.Iterate(maxInflated, func(r record.Record) bool {
			switch {
			case settings.Compacted && r.Key == nil:
				bad.add(i, errNoKey)
			case hasHeader(r, txn.HeaderState):
				bad.add(i, fmt.Errorf("it has the header %s, but topic %q has message.type=normal: create the topic with message.type=transaction", txn.HeaderState, topic))
			}
			i++
			return !bad.full()
		})
	})
	if err != nil {
		return err
	}
	return bad.orNil()
}

func hasHeader(r record.Record, name string) bool {
	_, ok := r.Header(name)
	return ok
}

// inflate runs look, which inflates a batch that a client sent, if it is compressed.
// No more run at a time than there are processors: memory is taken for what the
// machine can work on, not for what clients send at once.
func (b *Broker) inflate(batch record.Batch, look func() error) error {
	if batch.Codec() != record.None {
		b.inflating <- struct{}{}
		defer func() { <-b.inflating }()
	}
	switch err := look(); {
	case errors.Is(err, record.ErrTooLarge):
		return fmt.Errorf("%w: %w", err, kerr.MessageTooLarge)
	case err != nil:
		return fmt.Errorf("%w: %w", err, kerr.InvalidRecord)
	}
	return nil
}

// recompress makes of a batch, which was inspected, what its topic keeps: the batch
// itself, unless the topic's compression.type names another codec.
func (b *Broker) recompress(batch record.Batch, settings cluster.TopicSettings) (record.Batch, error) {
	with, other := settings.Recompress(batch.Codec())
	if !other {
		return batch, nil
	}
	b.inflating <- struct{}{}
	defer func() { <-b.inflating }()
	batch, err := batch.Compressed(with, maxInflated)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, kerr.InvalidRecord)
	}
	if len(batch) > settings.MaxMessageBytes {
		return nil, fmt.Errorf("a batch is %d bytes as compression.type=%v has it, larger than max.message.bytes=%d: %w", len(batch), with.Codec, settings.MaxMessageBytes, kerr.MessageTooLarge)
	}
	return batch, nil
}
