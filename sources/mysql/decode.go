package mysql

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/splashdam/splashdam/connect"
)

// Types of events with rows. Of MariaDB's compressed ones there are twins of both
// versions.
const (
	eventTableMap      = 19
	eventWriteRows1    = 23
	eventUpdateRows1   = 24
	eventDeleteRows1   = 25
	eventWriteRows2    = 30
	eventUpdateRows2   = 31
	eventDeleteRows2   = 32
	eventPartialUpdate = 39
	eventWriteZip1     = 166
	eventUpdateZip1    = 167
	eventDeleteZip1    = 168
	eventWriteZip2     = 169
	eventUpdateZip2    = 170
	eventDeleteZip2    = 171
)

// rowsEvent is a row event taken apart. Its slices are the event's, or the
// inflater's.
type rowsEvent struct {
	tableID uint64
	op      connect.Op
	columns int
	// before and after have a bit for each column that the images have, lowest
	// first; nil if the rows have no such image.
	before, after []byte
	images        []byte // of the rows that are not decoded yet
}

// isRowsEvent is whether parseRows reads the type of event, if only to refuse it.
func isRowsEvent(eventType byte) bool {
	_, _, _, ok := rowsEventForm(eventType)
	return ok || eventType == eventPartialUpdate
}

func rowsEventForm(eventType byte) (op connect.Op, version int, compressed, ok bool) {
	switch eventType {
	case eventWriteRows1, eventWriteRows2, eventWriteZip1, eventWriteZip2:
		op = connect.Create
	case eventUpdateRows1, eventUpdateRows2, eventUpdateZip1, eventUpdateZip2:
		op = connect.Update
	case eventDeleteRows1, eventDeleteRows2, eventDeleteZip1, eventDeleteZip2:
		op = connect.Delete
	default:
		return 0, 0, false, false
	}
	version = 1
	switch eventType {
	case eventWriteRows2, eventUpdateRows2, eventDeleteRows2, eventWriteZip2, eventUpdateZip2, eventDeleteZip2:
		version = 2
	}
	return op, version, eventType >= eventWriteZip1, true
}

// parseRows takes a row event, without its header and checksum, apart.
func parseRows(eventType byte, event []byte, f *inflater) (rowsEvent, error) {
	op, version, compressed, ok := rowsEventForm(eventType)
	if eventType == eventPartialUpdate {
		return rowsEvent{}, connect.Permanent(
			errors.New("a row event has changes of JSON documents and not the documents"),
			"run SET GLOBAL binlog_row_value_options='' and set it in the server's configuration too")
	}
	if !ok {
		return rowsEvent{}, fmt.Errorf("an event of type %d has no rows", eventType)
	}
	e := rowsEvent{op: op}
	c := cursor{rest: event}
	e.tableID = c.uint(6)
	c.uint(2) // flags
	if version == 2 {
		c.bytes(int(c.uint(2)) - 2) // what only partitions and NDB need
	}
	e.columns = c.count()
	bitmap := (e.columns + 7) / 8
	if op.HasBefore() {
		e.before = c.bytes(bitmap)
	}
	if op.HasAfter() {
		e.after = c.bytes(bitmap)
	}
	if c.err != nil {
		return rowsEvent{}, fmt.Errorf("row event of %d bytes: %w", len(event), c.err)
	}
	e.images = c.rest
	if compressed {
		var err error
		if e.images, err = f.rows(c.rest); err != nil {
			return rowsEvent{}, fmt.Errorf("compressed row event of %d bytes: %w", len(event), err)
		}
	}
	return e, nil
}

// decode takes up to most rows out of the event and appends them to the section:
// what happened, and the images. Columns that the section does not have yet are
// made; those that it has are of the table's schema. Rows are left if the event
// still has images then. After an error the section is of no use.
func (t *table) decode(e *rowsEvent, s *connect.Section, most int) error {
	if t.rowEnd >= 0 {
		return t.decodeVersioned(e, s, most)
	}
	return t.decodeRows(e, s, most)
}

func (t *table) decodeRows(e *rowsEvent, s *connect.Section, most int) error {
	if e.columns != len(t.columns) {
		return fmt.Errorf("row event of %s: it has %d columns, and the TABLE_MAP event before it %d", t.schema.Name, e.columns, len(t.columns))
	}
	t.before.use(e.before, t.columns)
	t.after.use(e.after, t.columns)
	if e.op == connect.Create && len(t.after.absent) > 0 {
		return t.errPartial()
	}
	s.Before = t.columnsFor(e.before, s.Before, s.Rows())
	s.After = t.columnsFor(e.after, s.After, s.Rows())
	for rows := 0; rows < most && len(e.images) > 0; rows++ {
		var err error
		if e.images, err = t.read(e.images, e.before, &t.before, s.Before, nil); err == nil {
			e.images, err = t.read(e.images, e.after, &t.after, s.After, s.Before)
		}
		if err != nil {
			return fmt.Errorf("row event of %s, %c, after %d rows: %w", t.schema.Name, e.op, rows, err)
		}
		s.Op = append(s.Op, e.op)
	}
	return nil
}

// columnsFor makes the columns of images that the section did not have so far,
// with its rows, which are empty there.
func (t *table) columnsFor(bitmap []byte, columns []connect.Column, rows int) []connect.Column {
	if bitmap == nil || columns != nil {
		return columns
	}
	columns = connect.NewColumns(t.schema.Fields)
	for range rows {
		appendNulls(columns)
	}
	return columns
}

func appendNulls(columns []connect.Column) {
	for i := range columns {
		columns[i].AppendNull()
	}
}

// errPartial is a new row that is not whole. What its columns have by default is
// nowhere in the binlog.
func (t *table) errPartial() error {
	var names []string
	for _, field := range t.after.absent {
		names = append(names, t.schema.Fields[field].Name)
	}
	return connect.Permanent(
		fmt.Errorf("row event of %s: the binlog does not say what a new row has in %.200s, as binlog_row_image was not FULL when it was written", t.schema.Name, strings.Join(names, ", ")),
		"run SET GLOBAL binlog_row_image=FULL, set it in the server's configuration too, and have no session set another; then "+copyAnew)
}

// read appends one image and returns what is behind it. Rows without the image
// are empty in columns that others need. What the image leaves out is as it was
// before, if that is known.
func (t *table) read(b, bitmap []byte, im *image, to, before []connect.Column) ([]byte, error) {
	if bitmap == nil {
		appendNulls(to)
		return b, nil
	}
	if len(im.present) == 0 {
		return nil, errors.New("it has no columns")
	}
	bitmapSize := (len(im.present) + 7) / 8
	if len(b) < bitmapSize {
		return nil, errShort
	}
	nulls, b := b[:bitmapSize], b[bitmapSize:]
	for place, c := range im.present {
		if nulls[place>>3]&(1<<(place&7)) != 0 {
			if c.field >= 0 {
				to[c.field].AppendNull()
			}
			continue
		}
		column := c.unused
		if c.field >= 0 {
			column = &to[c.field]
		} else {
			column.Reset()
		}
		n, err := c.read(b, column)
		if err != nil {
			return nil, t.inColumn(c, err)
		}
		b = b[n:]
	}
	for _, field := range im.absent {
		if before != nil {
			to[field].AppendFrom(&before[field], to[field].Rows())
		} else {
			to[field].AppendAbsent()
		}
	}
	return b, nil
}

func (t *table) inColumn(c column, err error) error {
	if c.field < 0 {
		return fmt.Errorf("a column that is left out: %w", err)
	}
	return fmt.Errorf("column %s: %w", t.schema.Fields[c.field].Name, err)
}

// image is which columns the images of an event have. The next event has mostly
// the same.
type image struct {
	bitmap  []byte
	present []column
	absent  []int // fields
}

func (im *image) use(bitmap []byte, columns []column) {
	if bitmap == nil || bytes.Equal(im.bitmap, bitmap) {
		return
	}
	im.bitmap = append(im.bitmap[:0], bitmap...)
	im.present, im.absent = im.present[:0], im.absent[:0]
	for i, c := range columns {
		switch {
		case bitmap[i>>3]&(1<<(i&7)) != 0:
			im.present = append(im.present, c)
		case c.field >= 0:
			im.absent = append(im.absent, c.field)
		}
	}
}
