package connect

import (
	"encoding/binary"
	"math"

	"github.com/splashdam/splashdam/internal/invariant"
)

// Layout is how a column's values lie in memory, as in Arrow's format.
type Layout uint8

const (
	BitLayout  Layout = iota // a bit a value, lowest bit first
	Fix1Layout               // a byte a value; the wider ones little endian
	Fix2Layout
	Fix4Layout
	Fix8Layout
	Fix16Layout
	TextLayout // bytes one after another, and where each value ends
)

// Layout of the type's columns.
func (t Type) Layout() Layout {
	switch t.Kind {
	case Bool:
		return BitLayout
	case Int8, Uint8:
		return Fix1Layout
	case Int16, Uint16:
		return Fix2Layout
	case Int32, Uint32, Float32, Date, Year:
		return Fix4Layout
	case Int64, Uint64, Float64, Time, DateTime, Timestamp:
		return Fix8Layout
	case Decimal:
		if t.Precision <= MaxDecimal128 {
			return Fix16Layout
		}
	}
	return TextLayout
}

// Width of a value in bytes; 0 for bits and text.
func (l Layout) Width() int {
	if l == BitLayout || l == TextLayout {
		return 0
	}
	return 1 << (l - Fix1Layout)
}

// MaxColumnText bounds the text of one column of one batch, in bytes, because
// where a value ends is a 32-bit number, as in Arrow. Who fills a column keeps
// batches far below it.
const MaxColumnText = math.MaxInt32

// Column is values of one type, one a row. Values are appended and read by the
// method of the column's layout; another one is a bug and panics. The buffers may
// be read and handed on, but belong to the column, whose Reset uses them again.
// Not safe for concurrent use.
type Column struct {
	Type Type
	// Valid has a bit a row, lowest bit first, set where there is a value. It is
	// empty as long as every row has one.
	Valid []byte
	// Absent has a bit a row, set where the source did not say what the value is,
	// as in an image without the columns that did not change. It need not be null,
	// though it is not valid here. Empty as long as there is no such row.
	Absent []byte
	// Data is the values in the column's layout. Those of nulls are zero, or no text.
	Data []byte
	// Ends is where the values lie in Data: value i in [Ends[i], Ends[i+1]). Text
	// only, and empty without rows.
	Ends []int32

	layout               Layout
	rows, nulls, absents int
}

// NewColumn returns an empty column.
func NewColumn(t Type) Column { return Column{Type: t, layout: t.Layout()} }

// NewColumns returns an empty column for each field.
func NewColumns(fields []Field) []Column {
	columns := make([]Column, len(fields))
	for i, f := range fields {
		columns[i] = NewColumn(f.Type)
	}
	return columns
}

func (c *Column) Layout() Layout { return c.layout }
func (c *Column) Rows() int      { return c.rows }

// Nulls is how many rows have no value, the absent ones among them.
func (c *Column) Nulls() int { return c.nulls }

// Reset empties the column and keeps its buffers.
func (c *Column) Reset() {
	c.Valid, c.Absent, c.Data, c.Ends = c.Valid[:0], c.Absent[:0], c.Data[:0], c.Ends[:0]
	c.rows, c.nulls, c.absents = 0, 0, 0
}

// Truncate drops the rows behind the first so many, and text without an end.
func (c *Column) Truncate(rows int) {
	for row := rows; row < c.rows; row++ {
		if c.IsNull(row) {
			c.nulls--
		}
		if c.IsAbsent(row) {
			c.absents--
		}
	}
	c.rows = min(rows, c.rows)
	if c.Valid = c.Valid[:0]; c.nulls > 0 {
		c.Valid = cutBits(c.Valid[:(c.rows+7)/8], c.rows)
	}
	if c.Absent = c.Absent[:0]; c.absents > 0 {
		c.Absent = cutBits(c.Absent[:(c.rows+7)/8], c.rows)
	}
	switch {
	case c.layout == BitLayout:
		c.Data = cutBits(c.Data[:(c.rows+7)/8], c.rows)
	case c.layout != TextLayout:
		c.Data = c.Data[:c.rows*c.layout.Width()]
	case c.rows == 0:
		c.Data, c.Ends = c.Data[:0], c.Ends[:0]
	default:
		c.Ends = c.Ends[:c.rows+1]
		c.Data = c.Data[:c.Ends[c.rows]]
	}
}

// IsNull is whether the row has no value: null, or absent.
func (c *Column) IsNull(row int) bool { return c.nulls > 0 && !bit(c.Valid, row) }

// IsAbsent is whether nobody knows what the row's value is.
func (c *Column) IsAbsent(row int) bool { return c.absents > 0 && bit(c.Absent, row) }

func (c *Column) AppendBool(v bool) {
	c.is(BitLayout)
	c.Data = pushBit(c.Data, c.rows, v)
	c.valid()
}

// Append1 takes the bits of a value that is a byte wide, whatever the kind makes
// of them; Append2 to Append8 those of wider ones.
func (c *Column) Append1(v uint8) {
	c.is(Fix1Layout)
	c.Data = append(c.Data, v)
	c.valid()
}

func (c *Column) Append2(v uint16) {
	c.is(Fix2Layout)
	c.Data = binary.LittleEndian.AppendUint16(c.Data, v)
	c.valid()
}

func (c *Column) Append4(v uint32) {
	c.is(Fix4Layout)
	c.Data = binary.LittleEndian.AppendUint32(c.Data, v)
	c.valid()
}

func (c *Column) Append8(v uint64) {
	c.is(Fix8Layout)
	c.Data = binary.LittleEndian.AppendUint64(c.Data, v)
	c.valid()
}

// Append16 takes a 128-bit number, two's complement.
func (c *Column) Append16(low, high uint64) {
	c.is(Fix16Layout)
	c.Data = binary.LittleEndian.AppendUint64(c.Data, low)
	c.Data = binary.LittleEndian.AppendUint64(c.Data, high)
	c.valid()
}

// AppendText copies v.
func (c *Column) AppendText(v []byte) {
	c.is(TextLayout)
	c.Data = append(c.Data, v...)
	c.EndText()
}

// EndText ends the row's text at the end of Data, to which the caller has
// appended it, and so saves a copy.
func (c *Column) EndText() {
	c.is(TextLayout)
	c.end()
	c.valid()
}

// AppendNull adds a row without a value.
func (c *Column) AppendNull() {
	if c.nulls == 0 {
		c.Valid = repeatBit(c.Valid[:0], c.rows, true)
	}
	switch c.layout {
	case BitLayout:
		c.Data = pushBit(c.Data, c.rows, false)
	case TextLayout:
		c.end()
	default:
		c.Data = append(c.Data, zeros[:c.layout.Width()]...)
	}
	c.Valid = pushBit(c.Valid, c.rows, false)
	c.nulls++
	c.present()
}

// AppendAbsent adds a row of which the source did not say the value.
func (c *Column) AppendAbsent() {
	if c.absents == 0 {
		c.Absent = repeatBit(c.Absent[:0], c.rows, false)
	}
	c.absents++
	c.AppendNull()
	row := c.rows - 1
	c.Absent[row>>3] |= 1 << (row & 7)
}

// AppendFrom adds another column's row. Both have the same layout.
func (c *Column) AppendFrom(other *Column, row int) {
	c.is(other.layout)
	switch {
	case other.IsAbsent(row):
		c.AppendAbsent()
	case other.IsNull(row):
		c.AppendNull()
	case c.layout == BitLayout:
		c.AppendBool(other.Bool(row))
	case c.layout == TextLayout:
		c.AppendText(other.Text(row))
	default:
		w := c.layout.Width()
		c.Data = append(c.Data, other.Data[row*w:row*w+w]...)
		c.valid()
	}
}

func (c *Column) Bool(row int) bool {
	c.is(BitLayout)
	return bit(c.Data, row)
}

// Bits returns the value of a row of a layout one to eight bytes wide, not
// extended by its sign.
func (c *Column) Bits(row int) uint64 {
	switch c.layout {
	case Fix1Layout:
		return uint64(c.Data[row])
	case Fix2Layout:
		return uint64(binary.LittleEndian.Uint16(c.Data[row*2:]))
	case Fix4Layout:
		return uint64(binary.LittleEndian.Uint32(c.Data[row*4:]))
	}
	c.is(Fix8Layout)
	return binary.LittleEndian.Uint64(c.Data[row*8:])
}

// Int returns the same as a signed number.
func (c *Column) Int(row int) int64 {
	v := c.Bits(row)
	unused := 64 - 8*c.layout.Width()
	return int64(v<<unused) >> unused
}

// Bits128 returns a 128-bit number, two's complement.
func (c *Column) Bits128(row int) (low, high uint64) {
	c.is(Fix16Layout)
	return binary.LittleEndian.Uint64(c.Data[row*16:]), binary.LittleEndian.Uint64(c.Data[row*16+8:])
}

// Text returns a row's bytes, which belong to the column.
func (c *Column) Text(row int) []byte {
	c.is(TextLayout)
	return c.Data[c.Ends[row]:c.Ends[row+1]]
}

func (c *Column) is(l Layout) {
	if c.layout != l {
		invariant.That(false, "a column of %v was used as one of layout %d", c.Type.Kind, l)
	}
}

// valid ends a row that has a value.
func (c *Column) valid() {
	if c.nulls > 0 {
		c.Valid = pushBit(c.Valid, c.rows, true)
	}
	c.present()
}

// present ends a row that the source did say something about.
func (c *Column) present() {
	if c.absents > 0 {
		c.Absent = pushBit(c.Absent, c.rows, false)
	}
	c.rows++
}

func (c *Column) end() {
	if len(c.Ends) == 0 {
		c.Ends = append(c.Ends, 0)
	}
	if len(c.Data) > MaxColumnText {
		invariant.That(false, "a column of one batch has %d bytes of text", len(c.Data))
	}
	c.Ends = append(c.Ends, int32(len(c.Data)))
}

var zeros [16]byte

func bit(bits []byte, i int) bool { return bits[i>>3]&(1<<(i&7)) != 0 }

// pushBit sets bit i, the first that bits do not have yet.
func pushBit(bits []byte, i int, v bool) []byte {
	if i>>3 == len(bits) {
		bits = append(bits, 0)
	}
	if v {
		bits[i>>3] |= 1 << (i & 7)
	}
	return bits
}

// cutBits clears what is behind the first n bits in the last byte of them, where
// pushBit expects zeros.
func cutBits(bits []byte, n int) []byte {
	if n&7 != 0 {
		bits[n>>3] &= 1<<(n&7) - 1
	}
	return bits
}

func repeatBit(bits []byte, n int, v bool) []byte {
	for i := range n {
		bits = pushBit(bits, i, v)
	}
	return bits
}
