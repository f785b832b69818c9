package txn

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/splashdam/splashdam/broker/record"
)

// Headers by which any Kafka client uses half messages (docs/messages.md).
const (
	HeaderID    = "sd-txn-id"    // names the half message, unique in its partition
	HeaderState = "sd-txn-state" // prepare, commit or rollback
	HeaderGroup = "sd-txn-group" // whose instances are asked
	// On questions, beside id and group:
	HeaderTopic     = "sd-txn-topic"     // where to send the decision
	HeaderPartition = "sd-txn-partition" // and to which partition
	HeaderNumber    = "sd-check-number"  // the how-manieth question, from 1
)

// Limits of what the headers may hold, in bytes. A check topic's name has to fit.
const (
	maxID    = 255
	maxGroup = 240
)

// Decision is what a record wants done about a half message.
type Decision uint8

const (
	Prepare Decision = iota + 1
	Commit
	Rollback
)

func (d Decision) String() string {
	switch d {
	case Prepare:
		return "prepare"
	case Commit:
		return "commit"
	case Rollback:
		return "rollback"
	}
	return fmt.Sprintf("decision %d", uint8(d))
}

// Request is what a record's headers ask for.
type Request struct {
	Decision Decision
	ID       string
	// Group is required for a prepare.
	Group string
}

// ErrHeaders is a record whose headers do not make a request.
var ErrHeaders = errors.New("not a half message")

// ParseHeaders reads a record's headers. It errors with ErrHeaders and a text that
// names the header and what it must be.
func ParseHeaders(headers []record.Header) (Request, error) {
	var r Request
	seen := make(map[string]bool, 3)
	for _, h := range headers {
		switch h.Key {
		case HeaderID, HeaderState, HeaderGroup:
		default:
			continue
		}
		if seen[h.Key] {
			return r, fmt.Errorf("%w: the header %s is there twice", ErrHeaders, h.Key)
		}
		seen[h.Key] = true
		v := string(h.Value)
		switch h.Key {
		case HeaderID:
			r.ID = v
		case HeaderGroup:
			r.Group = v
		case HeaderState:
			switch v {
			case "prepare":
				r.Decision = Prepare
			case "commit":
				r.Decision = Commit
			case "rollback":
				r.Decision = Rollback
			default:
				return r, fmt.Errorf("%w: the header %s is %q; it must be prepare, commit or rollback", ErrHeaders, HeaderState, clip(v))
			}
		}
	}
	switch {
	case r.Decision == 0:
		return r, fmt.Errorf("%w: the topic has message.type=transaction, so every record needs the header %s (prepare, commit or rollback)", ErrHeaders, HeaderState)
	case r.ID == "" || len(r.ID) > maxID:
		return r, fmt.Errorf("%w: the header %s must have 1 to %d bytes, it has %d", ErrHeaders, HeaderID, maxID, len(r.ID))
	case !utf8.ValidString(r.ID): // databases and tools take it for text
		return r, fmt.Errorf("%w: the header %s is %q; it must be UTF-8", ErrHeaders, HeaderID, clip(r.ID))
	case r.Decision == Prepare && !validGroup(r.Group):
		return r, fmt.Errorf("%w: the header %s is %q; it must be 1 to %d letters, digits, '.', '_' or '-', since %q is a topic's name", ErrHeaders, HeaderGroup, clip(r.Group), maxGroup, CheckTopic("GROUP"))
	}
	return r, nil
}

func validGroup(g string) bool {
	if g == "" || len(g) > maxGroup {
		return false
	}
	for _, c := range []byte(g) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "..."
	}
	return s
}

// Hash identifies the content of a prepared message.
type Hash [16]byte

// BodyHash hashes key and value, null told from empty.
func BodyHash(key, value []byte) Hash {
	h := sha256.New()
	for _, b := range [][]byte{key, value} {
		var n [9]byte
		if b != nil {
			n[0] = 1
		}
		for i := range 8 {
			n[1+i] = byte(len(b) >> (8 * i))
		}
		h.Write(n[:])
		h.Write(b)
	}
	return Hash(h.Sum(nil)[:16])
}
