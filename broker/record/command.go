package record

import "fmt"

// Owner says which part of a shard's state a command changes, and so which
// package reads it.
type Owner uint8

const (
	OwnerShard     Owner = 1
	OwnerPartition Owner = 2
	OwnerCluster   Owner = 3
	OwnerGroup     Owner = 4
	OwnerTxn       Owner = 5 // half messages
	// OwnerTransaction is the coordinator of Kafka transactions.
	OwnerTransaction Owner = 6
)

// Command is what a KindCommand part holds: owner, type and version of the
// payload, one byte each, and the payload in the owner's encoding.
type Command []byte

// CommandHeaderSize is the length of a command without payload, in bytes.
const CommandHeaderSize = 3

// NewCommand begins a command; the owner appends the payload.
func NewCommand(o Owner, kind, version uint8) Command { return Command{byte(o), kind, version} }

// ParseCommand checks that b is long enough to be a command.
func ParseCommand(b []byte) (Command, error) {
	if len(b) < CommandHeaderSize {
		return nil, fmt.Errorf("%w: a command of %d bytes", ErrEntry, len(b))
	}
	return Command(b), nil
}

func (c Command) Owner() Owner    { return Owner(c[0]) }
func (c Command) Kind() uint8     { return c[1] }
func (c Command) Version() uint8  { return c[2] }
func (c Command) Payload() []byte { return c[CommandHeaderSize:] }
