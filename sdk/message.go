package sdk

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Header is one header of a message. Keys may repeat; order is kept.
type Header struct {
	Key   string
	Value []byte
}

// Message is what services send and receive.
//
// To send one, set Topic, Value, and where they matter Key, Headers, Timestamp
// and ID. The SDK reads Key, Value and Headers until the send is over; until then
// they must not change. The fields below the line are set on receipt and are
// ignored when sending.
type Message struct {
	Topic string
	// Key chooses the partition, by the hash that Kafka's own clients use, and so
	// keeps messages of one key in one partition. Nil: any partition.
	Key   []byte
	Value []byte
	// Headers are the sender's own. Those by which the SDK speaks to brokers and
	// to itself (sd-id, sd-txn-...) are not among them: they are fields here, and
	// a message that carries one of them in Headers is refused.
	Headers []Header
	// Timestamp is when the message was made; the time of the send if zero. It
	// travels in ms.
	Timestamp time.Time
	// ID tells this message from all others, also from a second copy of itself
	// that a retry may have made: a consumer that remembers ids drops the double.
	// The SDK makes a UUID (version 7) if it is empty. A half message has its
	// transaction id here. Empty on receipt if the sender was no SDK.
	ID string

	// ---- set on receipt ----

	Partition int32
	Offset    int64
	// LeaderEpoch is the epoch of the leader that stored the message, -1 if unknown.
	LeaderEpoch int32
	// Attempt counts the times this consumer has run the handler on the message,
	// from 1. It starts again at 1 when the partition moves to another consumer.
	Attempt int

	// internal are the SDK's headers as they came.
	internal []Header
}

// Header returns the value of the first header called key.
func (m *Message) Header(key string) (value []byte, ok bool) {
	for _, h := range m.Headers {
		if h.Key == key {
			return h.Value, true
		}
	}
	return nil, false
}

// Place names where a received message lies, as topic-partition@offset.
func (m *Message) Place() string {
	return fmt.Sprintf("%s-%d@%d", m.Topic, m.Partition, m.Offset)
}

// The headers that carry business messages over the Kafka protocol. Any client
// may write and read them; docs/messages.md says how.
const (
	headerID           = "sd-id"
	headerTxnID        = "sd-txn-id"
	headerTxnState     = "sd-txn-state"
	headerTxnGroup     = "sd-txn-group"
	headerTxnTopic     = "sd-txn-topic"
	headerTxnPartition = "sd-txn-partition"
	headerCheckNumber  = "sd-check-number"

	headerTxnPrefix = "sd-txn-"
)

const (
	maxIDBytes    = 255 // an id fits a VARCHAR(255), see Fence
	maxTopicBytes = 249 // Kafka's limit
)

// reserved says whether a header is the SDK's own.
func reserved(key string) bool {
	return key == headerID || key == headerCheckNumber || strings.HasPrefix(key, headerTxnPrefix)
}

// validate finds what is wrong with a message before anything is sent.
func (m *Message) validate() error {
	switch {
	case m.Topic == "":
		return fmt.Errorf("%w: it names no topic", ErrInvalidMessage)
	case len(m.Topic) > maxTopicBytes:
		return fmt.Errorf("%w: the topic's name has %d bytes, at most %d are allowed", ErrInvalidMessage, len(m.Topic), maxTopicBytes)
	case len(m.ID) > maxIDBytes:
		return fmt.Errorf("%w: its id has %d bytes, at most %d are allowed", ErrInvalidMessage, len(m.ID), maxIDBytes)
	case int64(len(m.Key))+int64(len(m.Value)) > math.MaxInt32:
		return fmt.Errorf("%w: key and value have more than %d bytes", ErrInvalidMessage, math.MaxInt32)
	}
	for _, h := range m.Headers {
		if reserved(h.Key) {
			return fmt.Errorf("%w: header %q is written by the SDK; set Message.ID, or use a TransactionProducer", ErrInvalidMessage, h.Key)
		}
	}
	return nil
}

// record is the message as franz-go sends it, with extra headers behind the
// sender's own.
func (m *Message) record(now time.Time, extra ...kgo.RecordHeader) *kgo.Record {
	headers := make([]kgo.RecordHeader, 0, len(m.Headers)+len(extra))
	for _, h := range m.Headers {
		headers = append(headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	r := &kgo.Record{Topic: m.Topic, Key: m.Key, Value: m.Value, Headers: append(headers, extra...), Timestamp: m.Timestamp}
	if r.Timestamp.IsZero() {
		r.Timestamp = now
	}
	return r
}

// received is a fetched record as services see it. The bytes are shared with the
// record, which nobody else keeps.
func received(r *kgo.Record) *Message {
	m := &Message{
		Topic: r.Topic, Key: r.Key, Value: r.Value, Timestamp: r.Timestamp,
		Partition: r.Partition, Offset: r.Offset, LeaderEpoch: r.LeaderEpoch,
	}
	for _, h := range r.Headers {
		if !reserved(h.Key) {
			m.Headers = append(m.Headers, Header{h.Key, h.Value})
			continue
		}
		m.internal = append(m.internal, Header{h.Key, h.Value})
	}
	if m.ID = m.sd(headerTxnID); m.ID == "" {
		m.ID = m.sd(headerID)
	}
	return m
}

// sd is the value of one of the SDK's headers, "" if it is not there.
func (m *Message) sd(key string) string {
	for _, h := range m.internal {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

func text(key, value string) kgo.RecordHeader {
	return kgo.RecordHeader{Key: key, Value: []byte(value)}
}
