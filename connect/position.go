package connect

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Position is how far a source has read one of its own partitions (a server, a
// chunk of a table, a file), as Kafka Connect stores it: two JSON objects, of
// which Connect compares the first byte by byte. So a source writes a partition's
// object always the same way, without spaces.
type Position struct {
	Partition json.RawMessage
	Offset    json.RawMessage // nil: forget the partition
}

// maxPosition bounds one half of a position, in bytes.
const maxPosition = 1 << 20

// NewPosition encodes both halves. A nil offset forgets the partition.
func NewPosition(partition, offset any) (Position, error) {
	p, err := marshal(partition)
	if err != nil {
		return Position{}, fmt.Errorf("encoding a source partition: %w", err)
	}
	if offset == nil {
		return Position{Partition: p}, nil
	}
	o, err := marshal(offset)
	if err != nil {
		return Position{}, fmt.Errorf("encoding the position in %s: %w", p, err)
	}
	return Position{p, o}, nil
}

// marshal is json.Marshal that leaves <, > and & as they are, as Kafka Connect does:
// another spelling would be another partition.
func marshal(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// Validate is for what comes from outside: both halves are objects, written
// without spaces.
func (p Position) Validate() error {
	if err := validObject("source partition", p.Partition); err != nil {
		return err
	}
	if p.Offset == nil {
		return nil
	}
	return validObject("source offset", p.Offset)
}

func validObject(what string, text json.RawMessage) error {
	if len(text) > maxPosition {
		return fmt.Errorf("a %s of %d bytes is longer than allowed (%d)", what, len(text), maxPosition)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		return fmt.Errorf("a %s is not JSON: %w", what, err)
	}
	if compact.Len() == 0 || compact.Bytes()[0] != '{' {
		return fmt.Errorf("a %s is not a JSON object: %.60s", what, text)
	}
	return nil
}
