package connect

// Op is what happened to a row, by Debezium's letters.
type Op byte

const (
	Read     Op = 'r' // it was there when the table was copied
	Create   Op = 'c'
	Update   Op = 'u'
	Delete   Op = 'd'
	Truncate Op = 't' // every row of the table went; the row itself is empty
)

// HasBefore is whether a row of the kind has an image from before the change.
func (o Op) HasBefore() bool { return o == Update || o == Delete }

// HasAfter is whether a row of the kind has an image from after the change.
func (o Op) HasAfter() bool { return o == Read || o == Create || o == Update }

// Batch is rows that a source read, in the source's order, and the positions that
// hold between them. Rows of different tables lie in different sections; Order
// says how they follow one another. A batch may have no rows and only marks.
type Batch struct {
	Sections []*Section
	// Order has the section of each row of the batch: the n-th 2 in it is the n-th
	// row of section 2. Empty if there is only one section.
	Order []uint16
	Marks []Mark // ascending by Row
}

// MaxSections bounds the sections of a batch.
const MaxSections = 1 << 16

// Rows counts the rows of all sections.
func (b *Batch) Rows() int {
	n := 0
	for _, s := range b.Sections {
		n += s.Rows()
	}
	return n
}

// Mark says that after so many rows of the batch the source can go on from
// Positions. Partitions that it does not name stay where they are.
type Mark struct {
	Row       int
	Positions []Position
}

// Section is rows with one schema for one topic. Every slice and column that has
// an element a row has one for each, empty where the row's Op says that there is
// nothing.
type Section struct {
	Topic  string
	Schema *Schema
	Op     []Op     // a row
	Before []Column // a column per field, from before the change; nil if no row of the section has that
	After  []Column // likewise, from after it
	Time   []int64  // a row: when it happened, milliseconds since 1970, the record's timestamp
	Place  []Place  // a row
	// Origin is what the value says of where the row comes from, Debezium's source
	// block. Without it the value is the row alone, and null where the row went.
	Origin *Origin
}

func (s *Section) Rows() int { return len(s.Op) }

// Origin describes rows' origins by runs: neighbours that differ in nothing but
// a number that counts on from row to row share one row of Columns.
type Origin struct {
	Fields  []Field
	Columns []Column // a row each run
	Starts  []int32  // each run's first row in the section
	Counter int      // index of the field that counts on inside a run; -1 if none does
}
