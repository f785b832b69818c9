package convert

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math/bits"
	"slices"
	"strconv"
	"unsafe"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/internal/invariant"
)

// appendDecimal appends a value of a Decimal column as the schema's records have it.
func appendDecimal(to []byte, c *connect.Column, row int, as connect.Decimals) []byte {
	wide := c.Layout() == connect.TextLayout
	switch as {
	case connect.DecimalsPrecise:
		var space [64]byte
		var number []byte
		if wide {
			number = appendUnscaledText(space[:0], c.Text(row), c.Type.Scale)
		} else {
			number = appendUnscaled128(space[:0], c, row)
		}
		to = base64.StdEncoding.AppendEncode(append(to, '"'), number)
		return append(to, '"')
	case connect.DecimalsString:
		to = append(to, '"')
		if wide {
			to = append(to, c.Text(row)...)
		} else {
			to = appendDecimalText(to, c, row)
		}
		return append(to, '"')
	}
	if wide {
		return appendFloat(to, parseFloat(c.Text(row)), 64)
	}
	start := len(to)
	to = appendDecimalText(to, c, row)
	return appendFloat(to[:start], parseFloat(to[start:]), 64)
}

// parseFloat reads a decimal number whose text is known to be one.
func parseFloat(text []byte) float64 {
	// The string does not outlive the call, and nobody writes to text meanwhile.
	f, err := strconv.ParseFloat(unsafe.String(unsafe.SliceData(text), len(text)), 64)
	if err != nil {
		invariant.That(false, "a column of decimals has the text %.80q", text)
	}
	return f
}

// appendUnscaled128 appends the digits of a value without its point, as a number:
// two's complement, big endian, in as few bytes as hold its sign.
func appendUnscaled128(to []byte, c *connect.Column, row int) []byte {
	low, high := c.Bits128(row)
	var number [16]byte
	binary.BigEndian.PutUint64(number[:], high)
	binary.BigEndian.PutUint64(number[8:], low)
	return append(to, minimal(number[:])...)
}

// minimal cuts the leading bytes that only repeat the sign.
func minimal(number []byte) []byte {
	for len(number) > 1 && (number[0] == 0 && number[1] < 0x80 || number[0] == 0xff && number[1] >= 0x80) {
		number = number[1:]
	}
	return number
}

// chunk is as many decimal digits as fit a word, and chunkBase what they count to.
const (
	chunk     = 19
	chunkBase = 10_000_000_000_000_000_000
)

// appendDecimalText appends a 128-bit value with all digits of its scale.
func appendDecimalText(to []byte, c *connect.Column, row int) []byte {
	low, high := c.Bits128(row)
	if int64(high) < 0 {
		to = append(to, '-')
		var borrow uint64
		low, borrow = bits.Sub64(0, low, 0)
		high, _ = bits.Sub64(0, high, borrow)
	}
	// Below 2^127 the upper half is less than chunkBase, so the quotient fits.
	head, tail := bits.Div64(high, low, chunkBase)
	start := len(to)
	if head > 0 {
		to = strconv.AppendUint(to, head, 10)
		to = appendPadded(to, tail, chunk)
	} else {
		to = strconv.AppendUint(to, tail, 10)
	}
	return insertPoint(to, start, c.Type.Scale)
}

// appendPadded appends a number with zeros in front, width digits in all.
func appendPadded(to []byte, n uint64, width int) []byte {
	start := len(to)
	to = append(to, zeros[:width]...)
	for i := start + width - 1; n > 0; i-- {
		to[i] = byte('0' + n%10)
		n /= 10
	}
	return to
}

const zeros = "0000000000000000000"

// insertPoint puts a point before the last scale digits of those that begin at
// start, with zeros in front where there are not enough.
func insertPoint(to []byte, start, scale int) []byte {
	if scale == 0 {
		return to
	}
	for len(to)-start <= scale {
		to = slices.Insert(to, start, '0')
	}
	return slices.Insert(to, len(to)-scale, '.')
}

// appendUnscaledText is appendUnscaled128 for decimals that are kept as text.
func appendUnscaledText(to, text []byte, scale int) []byte {
	digits, negative := bytes.CutPrefix(text, []byte{'-'})
	whole, fraction, _ := bytes.Cut(digits, []byte{'.'})
	if len(whole) == 0 || len(fraction) > scale {
		invariant.That(false, "a column of decimals with %d digits behind the point has the text %.80q", scale, text)
	}
	var space [4]uint64 // enough for MySQL's 65 digits
	words := space[:0]  // lowest first
	add := func(d byte) {
		if d -= '0'; d > 9 {
			invariant.That(false, "a column of decimals has the text %.80q", text)
		}
		carry := uint64(d)
		for i := range words {
			high, low := bits.Mul64(words[i], 10)
			var c uint64
			words[i], c = bits.Add64(low, carry, 0)
			carry = high + c
		}
		if carry > 0 {
			words = append(words, carry)
		}
	}
	for _, d := range whole {
		add(d)
	}
	for _, d := range fraction {
		add(d)
	}
	for range scale - len(fraction) {
		add('0')
	}
	start := len(to)
	to = append(to, 0) // for the sign
	for _, w := range slices.Backward(words) {
		to = binary.BigEndian.AppendUint64(to, w)
	}
	number := to[start:]
	if negative {
		negate(number)
	}
	return append(to[:start], minimal(number)...)
}

// negate changes the sign of a big-endian number.
func negate(number []byte) {
	carry := byte(1)
	for i := len(number) - 1; i >= 0; i-- {
		number[i] = ^number[i] + carry
		if number[i] != 0 {
			carry = 0
		}
	}
}
