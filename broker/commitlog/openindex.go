package commitlog

import (
	"cmp"
	"iter"
	"slices"
	"sort"

	"github.com/splashdam/splashdam/broker/record"
)

// row says where a batch is and all that must be right about its first bytes,
// which the batch's own checksum does not cover.
type row struct {
	base    int64  // first offset
	count   uint32 // offsets: last offset delta + 1
	size    uint32 // bytes
	at      Address
	maxTime int64 // ms
	epoch   int32
	crc     uint32
	attrs   uint16
}

func (r row) next() int64 { return r.base + int64(r.count) }

func rowOf(b record.Batch, at Address) row {
	return row{
		base:    b.BaseOffset(),
		count:   uint32(b.LastOffsetDelta()) + 1,
		size:    uint32(len(b)),
		at:      at,
		maxTime: b.MaxTimestamp(),
		epoch:   b.LeaderEpoch(),
		crc:     b.CRC(),
		attrs:   uint16(b.Attributes()),
	}
}

// directoryRow is where a partition stands: behind its last batch, and the highest
// timestamp of any batch so far.
type directoryRow struct {
	partition record.PartitionID
	next      int64
	maxTime   int64
}

// directory is where all partitions of the shard stand.
type directory map[record.PartitionID]directoryRow

// note takes a batch into account. It reports false, and changes nothing, for one
// that is not behind the partition's last.
func (d directory) note(p record.PartitionID, r row) bool {
	e, ok := d[p]
	switch {
	case !ok:
		e = directoryRow{partition: p, maxTime: r.maxTime}
	case r.base < e.next:
		return false
	}
	e.next, e.maxTime = r.next(), max(e.maxTime, r.maxTime)
	d[p] = e
	return true
}

// rows is the directory in no order: it is taken while readers wait.
func (d directory) rows() []directoryRow {
	list := make([]directoryRow, 0, len(d))
	for _, e := range d {
		list = append(list, e)
	}
	return list
}

// sortRows brings rows in the order of an index.
func sortRows(list []directoryRow) []directoryRow {
	slices.SortFunc(list, func(a, b directoryRow) int { return cmp.Compare(a.partition, b.partition) })
	return list
}

func directoryOf(rows []directoryRow) directory {
	d := make(directory, len(rows))
	for _, e := range rows {
		d[e.partition] = e
	}
	return d
}

// memIndex is the index of a segment that is not sealed. Rows are only ever added, so
// a copy of a partition's memRows stays good without the lock.
type memIndex struct {
	rows   map[record.PartitionID]memRows
	digest Digest
	// holes is how many runs of damaged bytes it was made around.
	holes uint32
}

func newMemIndex() *memIndex { return &memIndex{rows: make(map[record.PartitionID]memRows)} }

func (m *memIndex) add(p record.PartitionID, r row) { m.rows[p] = m.rows[p].add(r) }

// memRows is the rows of a partition, in order, in pieces of which each can hold twice
// as many as the one before it, up to maxPiece. So no row is ever moved: one busy
// partition has a million of them in a segment, and they are added under the log's lock.
// The piece that grows is at hand in the map, for of thousands of partitions nothing else
// is in the processor's cache.
type memRows struct {
	full [][]row
	last []row
}

const maxPiece = 1 << 14

func (m memRows) add(r row) memRows {
	if len(m.last) == cap(m.last) {
		if len(m.last) > 0 {
			m.full = append(m.full, m.last)
		}
		m.last = make([]row, 0, max(1, min(2*cap(m.last), maxPiece)))
	}
	m.last = append(m.last, r)
	return m
}

// pieces are all rows, in order.
func (m memRows) pieces(to [][]row) [][]row {
	to = append(to, m.full...)
	if len(m.last) > 0 {
		to = append(to, m.last)
	}
	return to
}

// all goes through the rows.
func (m memRows) all() iter.Seq[row] {
	return func(do func(row) bool) {
		for _, piece := range m.pieces(nil) {
			for _, r := range piece {
				if !do(r) {
					return
				}
			}
		}
	}
}

// partitions lists those with rows, sorted.
func (m *memIndex) partitions() []record.PartitionID {
	list := make([]record.PartitionID, 0, len(m.rows))
	for p := range m.rows {
		list = append(list, p)
	}
	slices.Sort(list)
	return list
}

// from is the rows that hold offset or come behind it.
func from(rows []row, offset int64) []row {
	return rows[sort.Search(len(rows), func(i int) bool { return rows[i].next() > offset }):]
}
