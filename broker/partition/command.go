package partition

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kbin"

	"github.com/splashdam/splashdam/broker/record"
)

// Kinds of commands, in the log for ever.
//
//	open       uuid topic id, i32 number
//	close      -
//	log start  i64 offset
//	sequence   i64 producer id, i16 epoch, i32 first sequence, i32 count
//	expire     i64 before, i32 n, n x i64 producer id
const (
	kindOpen     uint8 = 1
	kindClose    uint8 = 2
	kindLogStart uint8 = 3
	kindSequence uint8 = 4
	kindExpire   uint8 = 5
)

const commandVersion uint8 = 1

// ErrCommand is a command that this version does not know or that is damaged.
// The shard cannot go on: its state would no longer be that of its peers.
var ErrCommand = errors.New("unusable partition command")

// OpenCommand makes a partition, empty, as the given one of a topic. Opening an
// open partition changes nothing.
func OpenCommand(topic [16]byte, number int32) record.Command {
	c := record.NewCommand(record.OwnerPartition, kindOpen, commandVersion)
	return kbin.AppendInt32(kbin.AppendUuid(c, topic), number)
}

// CloseCommand ends a partition and forgets all about it. Closing one that is
// not open changes nothing.
func CloseCommand() record.Command {
	return record.NewCommand(record.OwnerPartition, kindClose, commandVersion)
}

// LogStartCommand moves the log start up to offset, at most to the high
// watermark, and never down.
func LogStartCommand(offset int64) record.Command {
	c := record.NewCommand(record.OwnerPartition, kindLogStart, commandVersion)
	return kbin.AppendInt64(c, offset)
}

// SequenceCommand counts a batch of held messages, count of them, in the
// sequences of its producer. The batch goes to a hidden partition and gets no
// offset in this one.
func SequenceCommand(producer int64, epoch int16, first, count int32) record.Command {
	c := record.NewCommand(record.OwnerPartition, kindSequence, commandVersion)
	c = kbin.AppendInt16(kbin.AppendInt64(c, producer), epoch)
	return kbin.AppendInt32(kbin.AppendInt32(c, first), count)
}

// ExpireProducersCommand forgets those of the producers that were last used at
// or before a time, in ms, and have no transaction open.
func ExpireProducersCommand(before int64, producers ...int64) record.Command {
	c := record.NewCommand(record.OwnerPartition, kindExpire, commandVersion)
	c = kbin.AppendArrayLen(kbin.AppendInt64(c, before), len(producers))
	for _, id := range producers {
		c = kbin.AppendInt64(c, id)
	}
	return c
}

// Apply carries out a committed command of OwnerPartition about partition p; now
// is the time in its entry. A command about a partition that is not open changes
// nothing: the partition was closed while the command was on its way. The only
// error is ErrCommand.
func (t *Table) Apply(p record.PartitionID, c record.Command, now int64) error {
	if len(c) < record.CommandHeaderSize || c.Owner() != record.OwnerPartition {
		return fmt.Errorf("%w: not a command of this owner", ErrCommand)
	}
	if c.Version() != commandVersion {
		return fmt.Errorf("%w: kind %d has version %d, this build knows %d", ErrCommand, c.Kind(), c.Version(), commandVersion)
	}
	r := kbin.Reader{Src: c.Payload()}
	switch c.Kind() {
	case kindOpen:
		topic, number := r.Uuid(), r.Int32()
		if err := wellFormed(&r, c, number >= 0 && p != 0 && !p.Hidden()); err != nil {
			return err
		}
		t.open(p, topic, number)
	case kindClose:
		if err := wellFormed(&r, c, true); err != nil {
			return err
		}
		t.partitions.Delete(p)
	case kindLogStart:
		offset := r.Int64()
		if err := wellFormed(&r, c, offset >= 0); err != nil {
			return err
		}
		if q := t.own(p); q != nil {
			q.truncate(offset)
		}
	case kindSequence:
		id, epoch, first, count := r.Int64(), r.Int16(), r.Int32(), r.Int32()
		if err := wellFormed(&r, c, id >= 0 && epoch >= 0 && first >= 0 && count > 0); err != nil {
			return err
		}
		if q := t.own(p); q != nil {
			q.producers.append(t.generation, id, epoch, appended{first: first, count: count, offset: -1, timestamp: now}, now)
		}
	case kindExpire:
		before, n := r.Int64(), r.Int32()
		ok := n >= 0 && int64(len(r.Src)) == int64(n)*8
		if err := wellFormed(&r, c, ok, len(r.Src)); err != nil {
			return err
		}
		if q := t.own(p); q != nil {
			for range n {
				if id := r.Int64(); q.expires(id, before) {
					q.producers.expire(t.generation, id)
				}
			}
		}
	default:
		return fmt.Errorf("%w: unknown kind %d", ErrCommand, c.Kind())
	}
	return nil
}

// wellFormed is the error for a payload that was cut off, has more bytes behind
// it than the rest that the caller goes on to read, or holds values that no
// constructor writes.
func wellFormed(r *kbin.Reader, c record.Command, ok bool, rest ...int) error {
	want := 0
	if len(rest) > 0 {
		want = rest[0]
	}
	if r.Complete() != nil || len(r.Src) != want || !ok {
		return fmt.Errorf("%w: kind %d with payload %x", ErrCommand, c.Kind(), c.Payload()[:min(64, len(c.Payload()))])
	}
	return nil
}
