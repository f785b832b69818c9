package convert

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math"
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
		low, high = negate128(low, high)
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

// parseDecimal reads a decimal number's text, which may have an exponent.
func parseDecimal(c *connect.Column, text []byte, into *Rows) fault {
	if end, f := scanNumber(text, 0); f != 0 || end != len(text) {
		return wrongType
	}
	number, negative := bytes.CutPrefix(text, []byte{'-'})
	shift := c.Type.Scale // how many digits the number has less behind the point than the type
	if i := bytes.IndexAny(number, "eE"); i >= 0 {
		shift += exponent(number[i+1:])
		number = number[:i]
	}
	digits := into.scratch[:0]
	behind := false
	for _, d := range number {
		switch {
		case d == '.':
			behind = true
			continue
		case behind:
			shift--
		}
		if len(digits) > 0 || d != '0' {
			digits = append(digits, d)
		}
	}
	into.scratch = digits
	switch {
	case len(digits) == 0:
	case shift < 0:
		cut := max(len(digits)+shift, 0)
		for _, d := range digits[cut:] {
			if d != '0' {
				return tooFine
			}
		}
		digits = digits[:cut]
	case len(digits)+shift > c.Type.Precision:
		return outOfRange
	default:
		for range shift {
			digits = append(digits, '0')
		}
		into.scratch = digits
	}
	return appendDigits(c, digits, negative)
}

// exponent reads a number's exponent. Where it is so high or low that no type has
// such values, it may be another such one.
func exponent(text []byte) (n int) {
	digits := bytes.TrimLeft(text, "+-")
	for _, d := range digits {
		n = min(n*10+int(d-'0'), 1<<20)
	}
	if text[0] == '-' {
		return -n
	}
	return n
}

// appendDigits appends a decimal whose digits, without zeros in front, end with
// the last one of its scale.
func appendDigits(c *connect.Column, digits []byte, negative bool) fault {
	if len(digits) > c.Type.Precision {
		return outOfRange
	}
	negative = negative && len(digits) > 0
	if c.Layout() == connect.TextLayout {
		if negative {
			c.Data = append(c.Data, '-')
		}
		start := len(c.Data)
		if c.Data = append(c.Data, digits...); len(digits) == 0 {
			c.Data = append(c.Data, '0')
		}
		c.Data = insertPoint(c.Data, start, c.Type.Scale)
		c.EndText()
		return 0
	}
	var low, high uint64
	for _, d := range digits {
		carry, product := bits.Mul64(low, 10)
		var c uint64
		low, c = bits.Add64(product, uint64(d-'0'), 0)
		high = high*10 + carry + c
	}
	if negative {
		low, high = negate128(low, high)
	}
	c.Append16(low, high)
	return 0
}

func negate128(low, high uint64) (uint64, uint64) {
	low, borrow := bits.Sub64(0, low, 0)
	high, _ = bits.Sub64(0, high, borrow)
	return low, high
}

// maxUnscaled bounds a decimal's number, in bytes: more than maxPrecision has.
const maxUnscaled = 512

// parseUnscaled reads what appendUnscaled128 and appendUnscaledText write.
func parseUnscaled(c *connect.Column, text []byte, into *Rows) fault {
	number, f := decodeBase64(into.scratch[:0], text)
	into.scratch = number
	if f != 0 {
		return f
	}
	if len(number) == 0 || len(number) > maxUnscaled {
		return outOfRange
	}
	if number = minimal(number); c.Layout() == connect.TextLayout {
		return parseWide(c, number, into)
	}
	if len(number) > 16 {
		return outOfRange
	}
	var word [16]byte
	negative := number[0] >= 0x80
	if negative {
		binary.BigEndian.PutUint64(word[:], math.MaxUint64)
		binary.BigEndian.PutUint64(word[8:], math.MaxUint64)
	}
	copy(word[16-len(number):], number)
	high, low := binary.BigEndian.Uint64(word[:]), binary.BigEndian.Uint64(word[8:])
	magnitudeLow, magnitudeHigh := low, high
	if negative {
		magnitudeLow, magnitudeHigh = negate128(low, high)
	}
	limit := &powers[c.Type.Precision]
	if _, below := bits.Sub64(magnitudeLow, limit.low, 0); magnitudeHigh > limit.high || magnitudeHigh == limit.high && below == 0 {
		return outOfRange
	}
	c.Append16(low, high)
	return 0
}

// powers of 10, as 128 bits each.
var powers = func() (p [connect.MaxDecimal128 + 1]struct{ low, high uint64 }) {
	p[0].low = 1
	for i := 1; i < len(p); i++ {
		carry, low := bits.Mul64(p[i-1].low, 10)
		p[i].low, p[i].high = low, p[i-1].high*10+carry
	}
	return p
}()

// parseWide appends a number of any length to a column of text.
func parseWide(c *connect.Column, number []byte, into *Rows) fault {
	negative := number[0] >= 0x80
	if negative {
		negate(number)
	}
	var space [maxUnscaled / 8]uint64
	words := space[:0] // lowest first
	for end := len(number); end > 0; end -= 8 {
		var word [8]byte
		begin := max(end-8, 0)
		copy(word[8-(end-begin):], number[begin:end])
		words = append(words, binary.BigEndian.Uint64(word[:]))
	}
	var chunks [maxUnscaled*8/63 + 1]uint64 // of 19 digits, lowest first; each has more than 63 bits
	n := 0
	for {
		for len(words) > 0 && words[len(words)-1] == 0 {
			words = words[:len(words)-1]
		}
		if len(words) == 0 {
			break
		}
		var rest uint64
		for i := range slices.Backward(words) {
			words[i], rest = bits.Div64(rest, words[i], chunkBase)
		}
		chunks[n] = rest
		n++
	}
	digits := into.scratch[:0]
	for i := range slices.Backward(chunks[:n]) {
		if i == n-1 {
			digits = strconv.AppendUint(digits, chunks[i], 10)
		} else {
			digits = appendPadded(digits, chunks[i], chunk)
		}
	}
	into.scratch = digits
	return appendDigits(c, digits, negative)
}
