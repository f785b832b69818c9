package convert

import (
	"bytes"
	"slices"
	"strconv"
	"time"

	"github.com/splashdam/splashdam/connect"
)

// JSON writes rows as the keys and values of records. Not safe for concurrent use.
//
//	j.Begin(batch, time.Now())
//	for each row of the batch, in its order:
//	    key, value = j.Key(…, section, row, op), j.Value(…, section, row, op)
//
// Op is the row's own but for an update that changes the key (KeyChanged): it
// becomes a Delete of the old key and a Create of the new one, so that both keys
// have a record.
//
// A record has no key where there is nothing to append: the table has no primary
// key, or the row is a Truncate. It has no value for a Delete or a Truncate in a
// section without an Origin.
type JSON struct {
	tables   map[*connect.Schema]*table
	sections []section // the batch's, and room for more
	end      []byte    // of every value of the batch
}

// maxTables bounds the schemas that a JSON remembers what it made of them.
const maxTables = 4096

// table is what a schema says about every row of it.
type table struct {
	members [][]byte // ,"name": of each field
}

// section is a section of the batch, and the last text of an origin in it.
type section struct {
	*connect.Section
	table   *table
	run     int // whose text it is; -1: none yet
	origin  []byte
	counter int // where in origin the counter's number belongs; -1 without one
	first   int64
}

// Begin is called before the rows of a batch. The batch stays unchanged until the
// next Begin. Now is what values say of when they were written.
func (j *JSON) Begin(b *connect.Batch, now time.Time) {
	if j.tables == nil || len(j.tables) >= maxTables {
		j.tables = map[*connect.Schema]*table{}
	}
	for i, s := range b.Sections {
		t := j.tables[s.Schema]
		if t == nil {
			t = newTable(s.Schema)
			j.tables[s.Schema] = t
		}
		if i == len(j.sections) {
			j.sections = append(j.sections, section{})
		}
		own := &j.sections[i]
		own.Section, own.table, own.run = s, t, -1
	}
	for i := range j.sections[len(b.Sections):] {
		j.sections[len(b.Sections)+i].Section = nil // let go of the former batch's
	}

	j.end = append(j.end[:0], `,"ts_ms":`...)
	j.end = strconv.AppendInt(j.end, now.UnixMilli(), 10)
	j.end = append(j.end, `,"ts_us":`...)
	j.end = strconv.AppendInt(j.end, now.UnixMicro(), 10)
	j.end = append(j.end, `,"ts_ns":`...)
	j.end = strconv.AppendInt(j.end, now.UnixNano(), 10)
	j.end = append(j.end, '}')
}

func newTable(s *connect.Schema) *table {
	t := &table{members: make([][]byte, len(s.Fields))}
	for i, f := range s.Fields {
		t.members[i] = append(appendString([]byte{','}, []byte(f.Name)), ':')
	}
	return t
}

// KeyChanged is whether a row is an update from one key to another.
func (j *JSON) KeyChanged(section, row int) bool {
	s := &j.sections[section]
	if s.Op[row] != connect.Update || s.Before == nil {
		return false
	}
	for _, i := range s.Schema.Key {
		before, after := &s.Before[i], &s.After[i]
		if !before.IsAbsent(row) && !after.IsAbsent(row) && !sameValue(before, after, row) {
			return true
		}
	}
	return false
}

// sameValue compares the values of two columns of one type in a row.
func sameValue(a, b *connect.Column, row int) bool {
	if a.IsNull(row) || b.IsNull(row) {
		return a.IsNull(row) && b.IsNull(row)
	}
	switch a.Layout() {
	case connect.BitLayout:
		return a.Bool(row) == b.Bool(row)
	case connect.TextLayout:
		return bytes.Equal(a.Text(row), b.Text(row))
	case connect.Fix16Layout:
		aLow, aHigh := a.Bits128(row)
		bLow, bHigh := b.Bits128(row)
		return aLow == bLow && aHigh == bHigh
	}
	return a.Bits(row) == b.Bits(row)
}

// Key appends a row's key: that of the row as it is after the change or, for a
// Delete, was before it.
func (j *JSON) Key(to []byte, section, row int, op connect.Op) []byte {
	s := &j.sections[section]
	if len(s.Schema.Key) == 0 || op == connect.Truncate {
		return to
	}
	start := len(to)
	for _, i := range s.Schema.Key {
		to = append(to, s.table.members[i]...)
		to = appendValue(to, s.keyColumn(i, row, op), row, s.Schema.Decimals)
	}
	return closeObject(to, start)
}

// keyColumn finds the image that has a column of the key. An update's later image
// may lack it where it did not change.
func (s *section) keyColumn(i, row int, op connect.Op) *connect.Column {
	if op == connect.Delete || op == connect.Update && s.After[i].IsAbsent(row) {
		return &s.Before[i]
	}
	return &s.After[i]
}

// Value appends a row's value.
func (j *JSON) Value(to []byte, section, row int, op connect.Op) []byte {
	s := &j.sections[section]
	if s.Origin == nil {
		if !op.HasAfter() {
			return to
		}
		return s.appendRow(to, s.After, row)
	}
	to = append(to, `{"before":`...)
	if op.HasBefore() && s.Before != nil {
		to = s.appendRow(to, s.Before, row)
	} else {
		to = append(to, "null"...)
	}
	to = append(to, `,"after":`...)
	if op.HasAfter() {
		to = s.appendRow(to, s.After, row)
	} else {
		to = append(to, "null"...)
	}
	to = append(to, `,"source":`...)
	to = s.appendOrigin(to, row)
	to = append(to, `,"transaction":null,"op":"`...)
	to = append(to, byte(op), '"')
	return append(to, j.end...)
}

// appendRow appends the columns that the source said something about.
func (s *section) appendRow(to []byte, columns []connect.Column, row int) []byte {
	start := len(to)
	for i := range columns {
		c := &columns[i]
		if !c.IsAbsent(row) {
			to = append(to, s.table.members[i]...)
			to = appendValue(to, c, row, s.Schema.Decimals)
		}
	}
	return closeObject(to, start)
}

// closeObject makes an object of members that begin at start, with commas in front.
func closeObject(to []byte, start int) []byte {
	if len(to) == start {
		return append(to, "{}"...)
	}
	to[start] = '{'
	return append(to, '}')
}

// appendOrigin appends the source block. Rows of a run differ in one number of it,
// so the rest is written once a run.
func (s *section) appendOrigin(to []byte, row int) []byte {
	if starts := s.Origin.Starts; s.run < 0 || row < int(starts[s.run]) || s.run+1 < len(starts) && row >= int(starts[s.run+1]) {
		run, found := slices.BinarySearch(starts, int32(row))
		if !found {
			run--
		}
		s.writeOrigin(run)
	}
	if s.counter < 0 {
		return append(to, s.origin...)
	}
	to = append(to, s.origin[:s.counter]...)
	to = strconv.AppendInt(to, s.first+int64(row)-int64(s.Origin.Starts[s.run]), 10)
	return append(to, s.origin[s.counter:]...)
}

func (s *section) writeOrigin(run int) {
	o := s.Origin
	s.run, s.counter, s.origin = run, -1, s.origin[:0]
	for i, f := range o.Fields {
		s.origin = append(appendString(append(s.origin, ','), []byte(f.Name)), ':')
		c := &o.Columns[i]
		if i == o.Counter && !c.IsNull(run) {
			s.counter, s.first = len(s.origin), c.Int(run)
			continue
		}
		s.origin = appendValue(s.origin, c, run, connect.DecimalsString)
	}
	s.origin = closeObject(s.origin, 0)
}
