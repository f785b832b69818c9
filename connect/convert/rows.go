package convert

import (
	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/internal/invariant"
)

// Rows is what a Plan has made of records, a row each but for those that say
// nothing new. The zero Rows is ready for use by one Plan at a time. Not safe for
// concurrent use.
type Rows struct {
	// Columns has a column per field of the schema: the row after the change or, for a
	// Delete, before it. What the record did not say is absent: columns that did not
	// change, all but the key where nobody sent the row that went, and all after a
	// Truncate.
	Columns   []connect.Column
	Op        []connect.Op
	Offset    []int64 // of the records
	Timestamp []int64 // of the records, milliseconds since 1970
	Place     []connect.Place
	Placed    []bool // whether the record had a place
	// Base is the offset of the first record, Next the one behind the last, also of
	// those that made no row. Both are 0 as long as there was none.
	Base, Next int64

	plan    *Plan
	begun   bool
	repeats repeats
	text    int    // what the columns have of it at most, in bytes
	scratch []byte // a value on its way
	key     []byte // a member's name that had escapes
	field   int    // which one is to blame
	said    int    // how many fields of the row that is read have been there
}

// maxText bounds the text of all columns of one Rows, in bytes.
const maxText = connect.MaxColumnText / 2

// Len counts the rows.
func (r *Rows) Len() int { return len(r.Op) }

// Reset empties the rows and keeps their memory. After it another Plan may use them.
func (r *Rows) Reset() {
	for i := range r.Columns {
		r.Columns[i].Reset()
	}
	r.Op, r.Offset, r.Timestamp = r.Op[:0], r.Offset[:0], r.Timestamp[:0]
	r.Place, r.Placed = r.Place[:0], r.Placed[:0]
	r.Base, r.Next, r.begun, r.text = 0, 0, false, 0
}

func (r *Rows) use(p *Plan) {
	if r.plan == p {
		return
	}
	invariant.That(len(r.Op) == 0, "rows of schema %s were given to a plan for %s", r.schemaID(), p.Schema.ID)
	r.plan, r.Columns = p, connect.NewColumns(p.Schema.Fields)
}

func (r *Rows) schemaID() string {
	if r.plan == nil {
		return ""
	}
	return r.plan.Schema.ID
}

// pass notes that a record was read.
func (r *Rows) pass(record *connect.Record) {
	if !r.begun {
		r.Base, r.begun = record.Offset, true
	}
	r.Next = record.Offset + 1
}

// end ends a row: what the record did not say of it is absent.
func (r *Rows) end(record *connect.Record, op connect.Op, place connect.Place, placed bool) {
	if row := len(r.Op); r.said < len(r.Columns) {
		for i := range r.Columns {
			if r.Columns[i].Rows() == row {
				r.Columns[i].AppendAbsent()
			}
		}
	}
	r.Op = append(r.Op, op)
	r.Offset = append(r.Offset, record.Offset)
	r.Timestamp = append(r.Timestamp, record.Timestamp)
	r.Place = append(r.Place, place)
	r.Placed = append(r.Placed, placed)
}

// undo takes back what there is of a row that has not ended.
func (r *Rows) undo() {
	for i := range r.Columns {
		r.Columns[i].Truncate(len(r.Op))
	}
}
