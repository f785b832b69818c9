package partition

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kbin"

	"github.com/splashdam/splashdam/broker/record"
)

// The table's part of a snapshot. Partitions are in the order of their ids,
// producers in that of theirs, so equal tables have equal encodings.
//
//	u8 version
//	i32 n, n x partition:
//	    u32 id
//	    uuid topic id, i32 number            zero for hidden partitions
//	    i64 log start, i64 end, i64 max timestamp, i64 max expired producer
//	    i32 n, n x { i32 epoch, i64 start }
//	    i32 n, n x producer:
//	        i64 id, i16 epoch, i32 next sequence, i32 accepted, i64 last used,
//	        i64 first offset of its open transaction, -1 if there is none,
//	        i64 offset behind its last marker, 0 if there was none, i32 that one's coordinator epoch,
//	        i8 n, n x { i32 first sequence, i32 count, i64 offset, i64 timestamp }
//	    i32 n, n x aborted transaction:
//	        i64 producer, i64 first offset, i64 last offset, i64 last stable offset
const stateVersion = 1

// The least that one element takes, in bytes: bounds what a count may claim.
const (
	minPartition = 4 + 16 + 4 + 4*8 + 4 + 4 + 4
	minEpoch     = 4 + 8
	minProducer  = 8 + 2 + 4 + 4 + 8 + 8 + 8 + 4 + 1
	abortedSize  = 4 * 8
)

// ErrState is a snapshot that cannot be read.
var ErrState = errors.New("unusable partition state")

// View is a table as it was at one moment.
type View struct {
	partitions []viewed
}

type viewed struct {
	id record.PartitionID
	*partition
}

// View fixes the present state. It copies a pointer per partition; what changes
// later is changed on copies.
func (t *Table) View() *View {
	v := &View{partitions: make([]viewed, 0, t.partitions.Len())}
	for id, p := range t.partitions.All() {
		v.partitions = append(v.partitions, viewed{id, p})
	}
	t.generation++
	return v
}

// Encode writes the state for Restore. It may run while the table changes, but
// not twice at once.
func (v *View) Encode() []byte {
	slices.SortFunc(v.partitions, func(a, b viewed) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	out := make([]byte, 0, 5+len(v.partitions)*(minPartition+minEpoch))
	out = append(out, stateVersion)
	out = kbin.AppendArrayLen(out, len(v.partitions))
	for _, p := range v.partitions {
		out = p.encode(out)
	}
	return out
}

func (v viewed) encode(out []byte) []byte {
	out = kbin.AppendUint32(out, uint32(v.id))
	out = kbin.AppendUuid(out, v.topic)
	out = kbin.AppendInt32(out, v.number)
	out = kbin.AppendInt64(out, v.logStart)
	out = kbin.AppendInt64(out, v.end)
	out = kbin.AppendInt64(out, v.maxTimestamp)
	out = kbin.AppendInt64(out, v.producers.maxExpired)
	out = kbin.AppendArrayLen(out, len(v.epochs))
	for _, e := range v.epochs {
		out = kbin.AppendInt64(kbin.AppendInt32(out, e.epoch), e.start)
	}
	out = kbin.AppendArrayLen(out, len(v.producers.byID))
	if len(v.producers.byID) > 0 { // most have none, and to go through an empty map costs as much as the rest
		for _, id := range slices.Sorted(maps.Keys(v.producers.byID)) {
			out = v.producers.byID[id].encode(kbin.AppendInt64(out, id))
		}
	}
	out = kbin.AppendArrayLen(out, len(v.transactions.aborted))
	for _, a := range v.transactions.aborted {
		for _, n := range []int64{a.Producer, a.First, a.Last, a.Stable} {
			out = kbin.AppendInt64(out, n)
		}
	}
	return out
}

func (p *producer) encode(out []byte) []byte {
	out = kbin.AppendInt16(out, p.epoch)
	out = kbin.AppendInt32(out, p.next)
	out = kbin.AppendInt32(out, p.accepted)
	out = kbin.AppendInt64(out, p.lastUsed)
	out = kbin.AppendInt64(out, p.transaction)
	out = kbin.AppendInt32(kbin.AppendInt64(out, p.ended), p.coordinator)
	out = kbin.AppendInt8(out, int8(p.n))
	for _, a := range p.window[:p.n] {
		out = kbin.AppendInt32(kbin.AppendInt32(out, a.first), a.count)
		out = kbin.AppendInt64(kbin.AppendInt64(out, a.offset), a.timestamp)
	}
	return out
}

// Restore reads what Encode wrote. It errors with ErrState for anything else.
func Restore(data []byte) (*Table, error) {
	if len(data) == 0 {
		return nil, fmt.Errorf("%w: empty", ErrState)
	}
	if v := data[0]; v != stateVersion {
		return nil, fmt.Errorf("%w: version %d, this build reads %d", ErrState, v, stateVersion)
	}
	d := decoder{Reader: kbin.Reader{Src: data[1:]}}
	t := NewTable()
	var last record.PartitionID
	for i := range d.count("partitions", minPartition) {
		id := record.PartitionID(d.Uint32())
		d.must(id != 0 && (i == 0 || id > last), "partition %v behind %v", id, last)
		last = id
		p := d.partition()
		if d.err != nil {
			return nil, fmt.Errorf("%w: partition %v: %w", ErrState, id, d.err)
		}
		t.put(id, p)
	}
	d.must(d.Complete() == nil, "cut off")
	d.must(len(d.Src) == 0, "%d bytes behind the end", len(d.Src))
	if d.err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, d.err)
	}
	return t, nil
}

// decoder reads a state and keeps the first thing that is wrong with it.
type decoder struct {
	kbin.Reader
	err error
}

func (d *decoder) must(ok bool, format string, args ...any) {
	if !ok && d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
}

// count reads how many elements of at least size bytes follow, 0 if so many
// cannot.
func (d *decoder) count(what string, size int64) int {
	n := d.Int32()
	if n < 0 || int64(n)*size > int64(len(d.Src)) {
		d.must(false, "%d %s in %d bytes", n, what, len(d.Src))
		return 0
	}
	return int(n)
}

func (d *decoder) partition() *partition {
	p := &partition{
		topic:        d.Uuid(),
		number:       d.Int32(),
		logStart:     d.Int64(),
		end:          d.Int64(),
		maxTimestamp: d.Int64(),
		producers:    producers{maxExpired: d.Int64()},
	}
	d.must(d.Complete() == nil, "cut off")
	d.must(p.number >= 0, "number %d", p.number)
	d.must(0 <= p.logStart && p.logStart <= p.end, "log start %d, end %d", p.logStart, p.end)
	d.must(p.producers.maxExpired >= noProducer, "expired producer %d", p.producers.maxExpired)
	n := d.count("epochs", minEpoch)
	d.must(n <= maxEpochs, "%d epochs", n)
	for range n {
		e := epochStart{d.Int32(), d.Int64()}
		d.must(e.epoch >= 0 && 0 <= e.start && e.start < p.end, "epoch %d at %d, end %d", e.epoch, e.start, p.end)
		if k := len(p.epochs); k > 0 {
			prev := p.epochs[k-1]
			d.must(e.epoch > prev.epoch && e.start > prev.start, "epoch %d at %d behind %d at %d", e.epoch, e.start, prev.epoch, prev.start)
		}
		p.epochs = append(p.epochs, e)
	}
	if n := d.count("producers", minProducer); n > 0 {
		p.producers.byID = make(map[int64]*producer, n)
		last := noProducer
		for range n {
			id := d.Int64()
			d.must(id > last, "producer %d behind %d", id, last)
			last = id
			s := d.producer()
			p.producers.byID[id] = s
			d.must(noTransaction <= s.transaction && s.transaction < p.end, "transaction of producer %d from %d on", id, s.transaction)
			d.must(0 <= s.ended && s.ended <= p.end && (s.transaction == noTransaction || s.ended <= s.transaction), "last marker of producer %d before %d", id, s.ended)
			if s.transaction != noTransaction {
				p.transactions.open = append(p.transactions.open, s.transaction)
			}
			if d.err != nil {
				break
			}
		}
	}
	slices.Sort(p.transactions.open)
	for i, first := range p.transactions.open {
		d.must(i == 0 || first > p.transactions.open[i-1], "two transactions from %d on", first)
	}
	for range d.count("aborted transactions", abortedSize) {
		a := Aborted{d.Int64(), d.Int64(), d.Int64(), d.Int64()}
		ok := a.Producer > noProducer && 0 <= a.First && a.First < a.Last && p.logStart <= a.Last && a.Last < p.end && 0 <= a.Stable && a.Stable <= a.Last+1
		if n := len(p.transactions.aborted); n > 0 {
			ok = ok && a.Last > p.transactions.aborted[n-1].Last
		}
		d.must(ok, "aborted transaction %+v", a)
		p.transactions.aborted = append(p.transactions.aborted, a)
	}
	d.must(d.Complete() == nil, "cut off")
	return p
}

func (d *decoder) producer() *producer {
	p := &producer{
		standing: standing{epoch: d.Int16(), next: d.Int32(), accepted: d.Int32()},
		lastUsed: d.Int64(),
	}
	p.transaction, p.ended, p.coordinator, p.n = d.Int64(), d.Int64(), d.Int32(), int(d.Int8())
	d.must(p.epoch >= 0 && p.next >= 0 && p.accepted >= 0 && p.accepted <= sequences/2,
		"producer at epoch %d, sequence %d, %d accepted", p.epoch, p.next, p.accepted)
	fenced := p.n == 0 && p.next == 0 && p.accepted == 0
	if p.n < 0 || p.n > Window || (p.n == 0 || p.accepted == 0) && !fenced {
		d.must(false, "%d batches of a producer", p.n)
		return p
	}
	for i := range p.n {
		a := appended{d.Int32(), d.Int32(), d.Int64(), d.Int64()}
		d.must(a.first >= 0 && a.count > 0 && a.offset >= -1, "%d sequences from %d at offset %d", a.count, a.first, a.offset)
		p.window[i] = a
	}
	return p
}
