package convert

import (
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
	"unsafe"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/internal/invariant"
)

// form is how JSON has a field's values.
type form uint8

const (
	asBool          form = iota + 1
	asSigned             // an integer
	asUnsigned           //
	asFloat32            // a number, or one of three strings
	asFloat64            //
	asText               // a string
	asBase64             // a string
	asBits               // base64, lowest byte first
	asUnscaled           // a decimal: base64 of a number in two's complement, big endian
	asDecimalText        // a string
	asDecimalNumber      // a number
	asTimestamp          // a string, ISO 8601
	asMillis             // an integer that becomes microseconds
	asNanos              // an integer that becomes microseconds
	asGeometry           // an object
	asRaw                // any value, which is kept as JSON
)

// formOf is the form in which JSON writes values of a type.
func formOf(t connect.Type, decimals connect.Decimals) form {
	switch t.Kind {
	case connect.Bool:
		return asBool
	case connect.Int8, connect.Int16, connect.Int32, connect.Int64, connect.Date, connect.Time, connect.Year:
		return asSigned
	case connect.Uint8, connect.Uint16, connect.Uint32, connect.Uint64:
		return asUnsigned
	case connect.Float32:
		return asFloat32
	case connect.Float64:
		return asFloat64
	case connect.Decimal:
		return [...]form{asUnscaled, asDecimalText, asDecimalNumber}[decimals]
	case connect.String, connect.JSON, connect.Enum, connect.Set:
		return asText
	case connect.Bytes:
		return asBase64
	case connect.Bits:
		return asBits
	case connect.DateTime:
		if inMillis(t) {
			return asMillis
		}
		return asSigned
	case connect.Timestamp:
		return asTimestamp
	case connect.Geometry:
		return asGeometry
	}
	invariant.That(false, "nobody said how JSON has a %v", t.Kind)
	return 0
}

// limitOf is the highest integer that a column of the type holds.
func limitOf(t connect.Type) uint64 {
	unsigned := t.Kind >= connect.Uint8 && t.Kind <= connect.Uint64
	width := 8 * t.Layout().Width()
	switch {
	case width == 0 || width > 64:
		return 0
	case unsigned:
		return math.MaxUint64 >> (64 - width)
	}
	return math.MaxUint64 >> (65 - width)
}

// parse reads a value into a column.
func (m *member) parse(b []byte, i int, c *connect.Column, into *Rows) (int, fault) {
	if i == len(b) {
		return i, truncated
	}
	if b[i] == 'n' {
		end, f := scanWord(b, i, "null")
		switch {
		case f != 0:
			return end, f
		case !m.field.Nullable:
			return i, unexpectedNull
		}
		c.AppendNull()
		return end, 0
	}
	switch m.form {
	case asBool:
		word := "false"
		if b[i] == 't' {
			word = "true"
		} else if b[i] != 'f' {
			return i, wrongType
		}
		end, f := scanWord(b, i, word)
		if f == 0 {
			c.AppendBool(word == "true")
		}
		return end, f
	case asSigned:
		n, negative, end, f := scanInteger(b, i)
		switch {
		case f != 0:
			return end, f
		case !negative && n > m.limit || negative && n > m.limit+1:
			return i, outOfRange
		case negative:
			n = -n
		}
		appendInteger(c, n)
		return end, 0
	case asUnsigned:
		n, negative, end, f := scanInteger(b, i)
		switch {
		case f != 0:
			return end, f
		case negative || n > m.limit:
			return i, outOfRange
		}
		appendInteger(c, n)
		return end, 0
	case asMillis, asNanos:
		return m.parseScaled(b, i, c)
	case asFloat32, asFloat64:
		return m.parseFloat(b, i, c)
	case asDecimalNumber:
		end, f := scanNumber(b, i)
		if f != 0 || end == i {
			return i, wrongType
		}
		if f = parseDecimal(c, b[i:end], into); f != 0 {
			return i, f
		}
		return end, 0
	case asGeometry:
		return parseGeometry(b, i, c, into)
	case asRaw:
		end, f := skipValue(b, i)
		if f == 0 {
			c.AppendText(b[i:end])
		}
		return end, f
	}
	if b[i] != '"' {
		return i, wrongType
	}
	end, escaped, f := scanString(b, i+1)
	if f != 0 {
		return end, f
	}
	text := b[i+1 : end]
	if m.form == asText {
		if escaped {
			c.Data = unescape(c.Data, text)
			c.EndText()
		} else {
			c.AppendText(text)
		}
		return end + 1, 0
	}
	if escaped {
		into.key = unescape(into.key[:0], text)
		text = into.key
	}
	switch m.form {
	case asBase64:
		c.Data, f = decodeBase64(c.Data, text)
		if f == 0 {
			c.EndText()
		}
	case asBits:
		f = parseBits(c, text)
	case asUnscaled:
		f = parseUnscaled(c, text, into)
	case asDecimalText:
		f = parseDecimal(c, text, into)
	case asTimestamp:
		f = parseTimestamp(c, text)
	}
	if f != 0 {
		return i, f
	}
	return end + 1, 0
}

// appendInteger appends the lower bytes of a number that fits the column.
func appendInteger(c *connect.Column, n uint64) {
	switch c.Layout() {
	case connect.Fix8Layout:
		c.Append8(n)
	case connect.Fix4Layout:
		c.Append4(uint32(n))
	case connect.Fix2Layout:
		c.Append2(uint16(n))
	default:
		c.Append1(uint8(n))
	}
}

// scanInteger reads an integer of up to 64 bits and its sign.
func scanInteger(b []byte, i int) (n uint64, negative bool, end int, f fault) {
	start := i
	if b[i] == '-' {
		negative = true
		i++
	}
	first := i
	if i+8 <= len(b) {
		if word := binary.LittleEndian.Uint64(b[i:]); eightDigits(word) {
			n = ofEightDigits(word)
			i += 8
		}
	}
	for i < len(b) {
		d := uint64(b[i] - '0')
		if d > 9 {
			break
		}
		if i-first >= 19 && n > (math.MaxUint64-d)/10 {
			return 0, false, start, outOfRange
		}
		n = n*10 + d
		i++
	}
	switch {
	case i == len(b):
		return 0, false, i, truncated
	case i == first || b[i] == '.' || b[i]|0x20 == 'e':
		return 0, false, start, wrongType
	case b[first] == '0' && i > first+1:
		return 0, false, start, badSyntax
	}
	return n, negative, i, 0
}

// eightDigits is whether every byte of a word is a digit: its upper half is 3, and
// stays 3 when 6 is added.
func eightDigits(word uint64) bool {
	const upper = 0xf0 * ones
	return word&upper|(word+6*ones)&upper>>4 == 0x33*ones
}

// ofEightDigits adds up digits, of which the lowest byte is the first, by twos,
// fours and eights.
func ofEightDigits(word uint64) uint64 {
	word -= '0' * ones
	word = word*10 + word>>8
	const pairs = 0x000000ff_000000ff
	return ((word&pairs)*(100+1_000_000<<32) + (word>>16&pairs)*(1+10_000<<32)) >> 32
}

// parseScaled reads a time in another unit than microseconds.
func (m *member) parseScaled(b []byte, i int, c *connect.Column) (int, fault) {
	n, negative, end, f := scanInteger(b, i)
	if f != 0 {
		return end, f
	}
	if m.form == asNanos {
		if n%1000 != 0 {
			return i, tooFine
		}
		n /= 1000
	} else {
		var high uint64
		if high, n = bits.Mul64(n, 1000); high != 0 {
			return i, outOfRange
		}
	}
	if !negative && n > m.limit || negative && n > m.limit+1 {
		return i, outOfRange
	}
	if negative {
		n = -n
	}
	c.Append8(n)
	return end, 0
}

// parseFloat reads a number, or what appendFloat writes for something that is none.
func (m *member) parseFloat(b []byte, i int, c *connect.Column) (int, fault) {
	var value float64
	end := i
	if b[i] == '"' {
		for _, special := range []struct {
			text  string
			value float64
		}{{`"NaN"`, math.NaN()}, {`"Infinity"`, math.Inf(1)}, {`"-Infinity"`, math.Inf(-1)}} {
			if hasPrefix(b[i:], special.text) {
				value, end = special.value, i+len(special.text)
			}
		}
		if end == i {
			return i, wrongType
		}
	} else {
		var f fault
		if end, f = scanNumber(b, i); f != 0 {
			if end == i {
				f = wrongType
			}
			return end, f
		}
		size := 64
		if m.form == asFloat32 {
			size = 32
		}
		// The string does not outlive the call, and nobody writes to b meanwhile.
		var err error
		if value, err = strconv.ParseFloat(unsafe.String(&b[i], end-i), size); err != nil {
			return i, outOfRange
		}
	}
	if m.form == asFloat32 {
		c.Append4(math.Float32bits(float32(value)))
	} else {
		c.Append8(math.Float64bits(value))
	}
	return end, 0
}
