package mysql

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/splashdam/splashdam/connect"
)

// maxDecimalDigits is the most that a DECIMAL has, and maxDecimalGroups in how
// many groups of nine they lie.
const maxDecimalDigits, maxDecimalGroups = 65, 9

// errDecimal is text that is no decimal number, or not of the column's type.
var errDecimal = errors.New("it is no decimal number of this precision")

// decimal is how a DECIMAL lies in a row: the digits before the point and those
// behind it in groups of nine, the first and the last with what is left over,
// each a big-endian number. The highest bit is set if it is not negative; if it
// is, all bits are flipped.
type decimal struct {
	groups [maxDecimalGroups]digitGroup
	used   int // of the groups
	size   int // in bytes
	scale  int
}

type digitGroup struct{ bytes, digits int }

// bytesOfDigits is how many bytes the digits of a group take.
var bytesOfDigits = [10]int{0, 1, 1, 2, 2, 3, 3, 4, 4, 4}

var powersOfTen = [10]uint64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// newDecimal lays out a type that exists.
func newDecimal(precision, scale int) decimal {
	d := decimal{scale: scale}
	add := func(digits int) {
		if digits > 0 {
			d.groups[d.used] = digitGroup{bytesOfDigits[digits], digits}
			d.size += bytesOfDigits[digits]
			d.used++
		}
	}
	whole := precision - scale
	add(whole % 9)
	for range whole / 9 {
		add(9)
	}
	for range scale / 9 {
		add(9)
	}
	add(scale % 9)
	return d
}

// split takes the groups at the start of b apart.
func (d *decimal) split(b []byte) (values [maxDecimalGroups]uint64, negative bool, err error) {
	if len(b) < d.size {
		return values, false, errShort
	}
	var flip byte
	if b[0]&0x80 == 0 {
		negative, flip = true, 0xff
	}
	for i, g := range d.groups[:d.used] {
		var v uint64
		for _, c := range b[:g.bytes] {
			v = v<<8 | uint64(c^flip)
		}
		if i == 0 {
			v ^= 0x80 << (8 * (g.bytes - 1))
		}
		if v >= powersOfTen[g.digits] {
			return values, false, fmt.Errorf("it has %d where %d digits are", v, g.digits)
		}
		values[i] = v
		b = b[g.bytes:]
	}
	return values, negative, nil
}

// readNumber is the reader of what fits into 128 bits.
func (d *decimal) readNumber(b []byte, to *connect.Column) (int, error) {
	values, negative, err := d.split(b)
	if err != nil {
		return 0, err
	}
	var low, high uint64
	for i, g := range d.groups[:d.used] {
		low, high = appendDigits(low, high, g.digits, values[i])
	}
	appendNumber(to, low, high, negative)
	return d.size, nil
}

// readText is the reader of what does not.
func (d *decimal) readText(b []byte, to *connect.Column) (int, error) {
	text, err := d.appendText(to.Data, b)
	if err != nil {
		return 0, err
	}
	to.Data = text
	return d.size, endText(to)
}

// appendText writes the value as a SELECT shows it.
func (d *decimal) appendText(dst, b []byte) ([]byte, error) {
	values, negative, err := d.split(b)
	if err != nil {
		return nil, err
	}
	var digits [maxDecimalDigits]byte
	n := 0
	for i, g := range d.groups[:d.used] {
		v := values[i]
		for k := n + g.digits - 1; k >= n; k-- {
			digits[k] = '0' + byte(v%10)
			v /= 10
		}
		n += g.digits
	}
	return appendDecimal(dst, negative, digits[:n-d.scale], digits[n-d.scale:n]), nil
}

// appendDecimal writes the digits before and behind the point without needless
// zeros in front, and zero without a sign.
func appendDecimal(dst []byte, negative bool, whole, fraction []byte) []byte {
	for len(whole) > 0 && whole[0] == '0' {
		whole = whole[1:]
	}
	isZero := func(digits []byte) bool {
		for _, d := range digits {
			if d != '0' {
				return false
			}
		}
		return true
	}
	if negative && !(len(whole) == 0 && isZero(fraction)) {
		dst = append(dst, '-')
	}
	if len(whole) == 0 {
		dst = append(dst, '0')
	}
	dst = append(dst, whole...)
	if len(fraction) > 0 {
		dst = append(append(dst, '.'), fraction...)
	}
	return dst
}

// appendDigits puts digits, no more than nine, behind those of a 128-bit number.
func appendDigits(low, high uint64, digits int, value uint64) (uint64, uint64) {
	power := powersOfTen[digits]
	carry, l := bits.Mul64(low, power)
	l, more := bits.Add64(l, value, 0)
	return l, high*power + carry + more
}

func appendNumber(to *connect.Column, low, high uint64, negative bool) {
	if negative {
		var carry uint64
		low, carry = bits.Add64(^low, 1, 0)
		high = ^high + carry
	}
	to.Append16(low, high)
}

// parseDecimal appends a decimal number as a SELECT shows it, with exactly as
// many digits behind the point as the column has.
func parseDecimal(text []byte, to *connect.Column) error {
	digits := text
	negative := len(digits) > 0 && digits[0] == '-'
	if negative {
		digits = digits[1:]
	}
	scale := to.Type.Scale
	point := len(digits)
	if scale > 0 {
		point -= scale + 1
		if point < 0 || digits[point] != '.' {
			return errDecimal
		}
	}
	whole, fraction := digits[:point], digits[len(digits)-scale:]
	for len(whole) > 0 && whole[0] == '0' { // there are more of ZEROFILL than the precision
		whole = whole[1:]
	}
	if len(digits) == 0 || len(whole) > to.Type.Precision-scale {
		return errDecimal
	}
	var low, high uint64
	for _, part := range [2][]byte{whole, fraction} {
		for _, d := range part {
			if d < '0' || d > '9' {
				return errDecimal
			}
			low, high = appendDigits(low, high, 1, uint64(d-'0'))
		}
	}
	if to.Type.Precision > connect.MaxDecimal128 {
		to.Data = appendDecimal(to.Data, negative, whole, fraction)
		return endText(to)
	}
	appendNumber(to, low, high, negative)
	return nil
}
