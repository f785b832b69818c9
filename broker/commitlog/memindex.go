package commitlog

import (
	"cmp"
	"iter"
	"math"
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
type directory struct{ byPartition[directoryRow] }

func newDirectory() directory { return directory{make(byPartition[directoryRow])} }

// note takes a batch into account. It reports false, and changes nothing, for one
// that is not behind the partition's last.
func (d directory) note(p record.PartitionID, r row) bool {
	e, isNew := d.at(p)
	switch {
	case isNew:
		*e = directoryRow{partition: p, maxTime: r.maxTime}
	case r.base < e.next:
		return false
	}
	e.next, e.maxTime = r.next(), max(e.maxTime, r.maxTime)
	return true
}

// next is where a partition ends.
func (d directory) next(p record.PartitionID) int64 {
	e, _ := d.get(p)
	return e.next
}

// rows is the directory in no order: it is taken while readers wait.
func (d directory) rows() []directoryRow {
	list := make([]directoryRow, 0, d.len())
	for _, e := range d.all() {
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
	d := newDirectory()
	for _, e := range rows {
		d.put(e)
	}
	return d
}

func (d directory) put(e directoryRow) {
	at, _ := d.at(e.partition)
	*at = e
}

// memIndex is the index of a segment that is not sealed. Rows are only ever added, so
// what of gives stays good without the lock.
//
// Rows lie in the order of the log, and a partition has their numbers: adding one
// writes behind what was written last, whichever of thousands of partitions it is of,
// and its number into 4 bytes beside those before it.
type memIndex struct {
	rows    rowList
	numbers byPartition[rowNumbers]
	digest  Digest
	// holes is how many runs of damaged bytes it was made around.
	holes uint32
}

func newMemIndex() *memIndex { return &memIndex{numbers: make(byPartition[rowNumbers])} }

func (m *memIndex) add(p record.PartitionID, r row) {
	numbers, _ := m.numbers.at(p)
	numbers.add(m.rows.add(r))
}

// of is the rows of a partition as they are now.
func (m *memIndex) of(p record.PartitionID) memRows {
	numbers, _ := m.numbers.get(p)
	return numbers.in(m.rows)
}

// rowList is rows in pieces, none of which is ever moved: they are added under the
// log's lock, a million to a busy segment.
type rowList struct {
	pieces [][]row // full, or made to be
	n      int
}

const rowPiece = 1 << 10

func (l *rowList) add(r row) (number uint32) {
	i := l.n % rowPiece
	if i == 0 {
		l.pieces = append(l.pieces, make([]row, rowPiece))
	}
	l.pieces[l.n/rowPiece][i] = r
	l.n++
	return uint32(l.n - 1)
}

func (l *rowList) at(number uint32) *row { return &l.pieces[number/rowPiece][number%rowPiece] }

// rowNumbers is numbers in a rowList that rise, in pieces of which each can hold twice
// as many as the one before it, up to maxPiece.
type rowNumbers struct {
	full [][]uint32
	last []uint32
}

const firstPiece, maxPiece = 4, 1 << 14

func (n *rowNumbers) add(number uint32) {
	if len(n.last) == cap(n.last) {
		if len(n.last) > 0 {
			n.full = append(n.full, n.last)
		}
		n.last = make([]uint32, 0, max(firstPiece, min(2*cap(n.last), maxPiece)))
	}
	n.last = append(n.last, number)
}

func (n rowNumbers) in(l rowList) memRows {
	m := memRows{list: l, numbers: n.full[:len(n.full):len(n.full)]}
	if len(n.last) > 0 {
		m.numbers = append(m.numbers, n.last)
	}
	return m
}

// memRows is the rows of a partition in a memIndex, in order.
type memRows struct {
	list    rowList
	numbers [][]uint32 // no piece is empty
}

func (m memRows) empty() bool { return len(m.numbers) == 0 }

func (m memRows) first() row { return *m.list.at(m.numbers[0][0]) }

// all goes through the rows.
func (m memRows) all() iter.Seq[row] { return m.from(math.MinInt64) }

// from goes through the rows that hold offset or come behind it.
func (m memRows) from(offset int64) iter.Seq[row] {
	behind := func(number uint32) bool { return m.list.at(number).next() > offset }
	return func(do func(row) bool) {
		for _, piece := range m.numbers {
			if !behind(piece[len(piece)-1]) {
				continue
			}
			for _, number := range piece[sort.Search(len(piece), func(i int) bool { return behind(piece[i]) }):] {
				if !do(*m.list.at(number)) {
					return
				}
			}
		}
	}
}

// partitions lists those with rows, sorted.
func (m *memIndex) partitions() []record.PartitionID { return m.numbers.partitions() }
