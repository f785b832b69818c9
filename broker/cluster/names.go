package cluster

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// The internal topics, by Kafka's names. Groups and transactional ids hash to
// their partitions.
const (
	ConsumerOffsets  = "__consumer_offsets"
	TransactionState = "__transaction_state"
)

// IsInternal reports whether a name belongs to an internal topic, be it there or
// not.
func IsInternal(name string) bool { return name == ConsumerOffsets || name == TransactionState }

// MaxTopicName is the longest name of a topic, in bytes. Kafka makes names of
// files from it, and its clients know the limit.
const MaxTopicName = 249

// CheckTopicName applies Kafka's rules for names of topics. The error carries
// kerr.InvalidTopicException.
func CheckTopicName(name string) error {
	if why := nameFault(name); why != "" {
		return fmt.Errorf("topic name %q: %s: %w", shortened(name), why, kerr.InvalidTopicException)
	}
	return nil
}

func nameFault(name string) string {
	switch {
	case name == "":
		return "it is empty"
	case name == "." || name == "..":
		return "it must not be \".\" or \"..\""
	case len(name) > MaxTopicName:
		return fmt.Sprintf("it is longer than %d characters", MaxTopicName)
	}
	for i := range len(name) {
		if !legalInName(name[i]) {
			return "only ASCII letters, digits, '.', '_' and '-' are allowed"
		}
	}
	return ""
}

func legalInName(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-'
}

// collide reports whether two names are the same once '.' is taken for '_', as
// names of Kafka's metrics do.
func collide(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && !(isDot(a[i]) && isDot(b[i])) {
			return false
		}
	}
	return true
}

func isDot(c byte) bool { return c == '.' || c == '_' }

// shortened keeps what a client sent from filling a log line.
func shortened(s string) string {
	const most = 300
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
