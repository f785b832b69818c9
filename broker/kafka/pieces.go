package kafka

import (
	"encoding/binary"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// pieces is an answer that is being encoded: its own bytes, and records that lie where
// they were read and are not copied. The records must stay as they are until the answer
// has been sent.
type pieces struct {
	own  []byte
	cut  int // own is in list up to here
	list net.Buffers
	size int // bytes in list
}

// smallRecords is up to how many bytes of records are rather copied: a piece costs more.
const smallRecords = 8 << 10

func (p *pieces) lend(b []byte) {
	if len(b) <= smallRecords {
		p.own = append(p.own, b...)
		return
	}
	p.end()
	p.list = append(p.list, b)
	p.size += len(b)
}

// end puts what is own so far into the list.
func (p *pieces) end() {
	if n := len(p.own); n > p.cut {
		p.list = append(p.list, p.own[p.cut:n:n])
		p.size += n - p.cut
		p.cut = n
	}
}

func (p *pieces) int16(v int16)   { p.own = binary.BigEndian.AppendUint16(p.own, uint16(v)) }
func (p *pieces) int32(v int32)   { p.own = binary.BigEndian.AppendUint32(p.own, uint32(v)) }
func (p *pieces) int64(v int64)   { p.own = binary.BigEndian.AppendUint64(p.own, uint64(v)) }
func (p *pieces) uvarint(v int)   { p.own = binary.AppendUvarint(p.own, uint64(v)) }
func (p *pieces) noTags(yes bool) { p.tags(yes, 0) }

// tags begins a section of tagged fields, where the version has one.
func (p *pieces) tags(flexible bool, n int) {
	if flexible {
		p.uvarint(n)
	}
}

// length is of an array, or of bytes.
func (p *pieces) length(flexible bool, n int) {
	if flexible {
		p.uvarint(n + 1)
	} else {
		p.int32(int32(n))
	}
}

func (p *pieces) null(flexible bool) {
	if flexible {
		p.uvarint(0)
	} else {
		p.int32(-1)
	}
}

func (p *pieces) string(flexible bool, s string) {
	if flexible {
		p.uvarint(len(s) + 1)
	} else {
		p.int16(int16(len(s)))
	}
	p.own = append(p.own, s...)
}

// fetch encodes the body of an answer to Fetch, without copying its records. It is what
// AppendTo of r writes, which copies them all. Only what this server fills in is
// encoded.
func (p *pieces) fetch(r *kmsg.FetchResponse) {
	v, flexible := r.Version, r.IsFlexible()
	p.int32(r.ThrottleMillis)
	if v >= 7 {
		p.int16(r.ErrorCode)
		p.int32(r.SessionID)
	}
	p.length(flexible, len(r.Topics))
	for i := range r.Topics {
		t := &r.Topics[i]
		if v <= 12 {
			p.string(flexible, t.Topic)
		} else {
			p.own = append(p.own, t.TopicID[:]...)
		}
		p.length(flexible, len(t.Partitions))
		for j := range t.Partitions {
			p.fetchPartition(v, flexible, &t.Partitions[j])
		}
		p.noTags(flexible)
	}
	if v < 16 || len(r.Brokers) == 0 {
		p.noTags(flexible)
		return
	}
	p.tags(flexible, 1)
	var b pieces
	b.length(flexible, len(r.Brokers))
	for _, node := range r.Brokers {
		b.int32(node.NodeID)
		b.string(flexible, node.Host)
		b.int32(node.Port)
		if node.Rack == nil {
			b.null(flexible)
		} else {
			b.string(flexible, *node.Rack)
		}
		b.noTags(flexible)
	}
	p.tagged(0, b.own)
}

func (p *pieces) tagged(tag int, b []byte) {
	p.uvarint(tag)
	p.uvarint(len(b))
	p.own = append(p.own, b...)
}

func (p *pieces) fetchPartition(v int16, flexible bool, t *kmsg.FetchResponseTopicPartition) {
	p.int32(t.Partition)
	p.int16(t.ErrorCode)
	p.int64(t.HighWatermark)
	p.int64(t.LastStableOffset)
	if v >= 5 {
		p.int64(t.LogStartOffset)
	}
	if t.AbortedTransactions == nil {
		p.null(flexible)
	} else {
		p.length(flexible, len(t.AbortedTransactions))
		for _, a := range t.AbortedTransactions {
			p.int64(a.ProducerID)
			p.int64(a.FirstOffset)
			p.noTags(flexible)
		}
	}
	if v >= 11 {
		p.int32(t.PreferredReadReplica)
	}
	p.length(flexible, len(t.RecordBatches))
	p.lend(t.RecordBatches)
	if !flexible {
		return
	}
	d, l := t.DivergingEpoch, t.CurrentLeader
	diverges := d.Epoch != -1 || d.EndOffset != -1
	leads := l.LeaderID != -1 || l.LeaderEpoch != -1
	p.uvarint(btoi(diverges) + btoi(leads))
	if diverges {
		p.uvarint(0)
		p.uvarint(4 + 8 + 1)
		p.int32(d.Epoch)
		p.int64(d.EndOffset)
		p.noTags(flexible)
	}
	if leads {
		p.uvarint(1)
		p.uvarint(4 + 4 + 1)
		p.int32(l.LeaderID)
		p.int32(l.LeaderEpoch)
		p.noTags(flexible)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
