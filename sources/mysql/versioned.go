package mysql

import (
	"math"

	"github.com/splashdam/splashdam/connect"
)

// decodeVersioned decodes rows of a MariaDB table WITH SYSTEM VERSIONING, in whose
// binlog history is made of rows too: an update inserts the old row again, with
// its end, and a delete is an update of nothing but the end. What a SELECT shows
// is what is valid, and so are the rows that come out here.
func (t *table) decodeVersioned(e *rowsEvent, s *connect.Section, most int) error {
	var all connect.Section
	if err := t.decodeRows(e, &all, most); err != nil {
		return err
	}
	for row, op := range all.Op {
		before, after := op.HasBefore() && t.isValid(all.Before, row), op.HasAfter() && t.isValid(all.After, row)
		switch {
		case before && after:
			op = connect.Update
		case before:
			op = connect.Delete
		case after && op == connect.Create:
		default:
			continue
		}
		if op.HasBefore() {
			s.Before = t.columnsFor(e.before, s.Before, s.Rows())
		}
		if op.HasAfter() {
			s.After = t.columnsFor(e.after, s.After, s.Rows())
		}
		copyImage(s.Before, all.Before, row, op.HasBefore())
		copyImage(s.After, all.After, row, op.HasAfter())
		s.Op = append(s.Op, op)
	}
	return nil
}

// isValid is whether a row has no end yet, which is written as the highest there
// is: until MariaDB 11.4 that of 31 bits. An image without the end has the same as
// before.
func (t *table) isValid(columns []connect.Column, row int) bool {
	c := &columns[t.rowEnd]
	if c.IsAbsent(row) {
		return true
	}
	if c.Type.Kind == connect.Timestamp {
		end := c.Int(row)
		return end == math.MaxInt32*second+second-1 || end == math.MaxUint32*second+second-1
	}
	return c.Bits(row) == math.MaxUint64
}

func copyImage(to, from []connect.Column, row int, has bool) {
	for i := range to {
		if has {
			to[i].AppendFrom(&from[i], row)
		} else {
			to[i].AppendNull()
		}
	}
}
