package convert

import (
	"encoding/binary"
	"math/bits"
	"strconv"
	"unicode/utf8"
)

// Eight bytes at once: every byte of a word is compared with one value by
// arithmetic that leaves its highest bit set where it fits. The lowest bit that is
// set is exact; those above it may be borrowed from it.
const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// breaks marks the bytes that end a run of plain text in a JSON string: quotes,
// backslashes and control characters.
func breaks(word uint64) uint64 {
	return ((word - ' '*ones) | ((word ^ '"'*ones) - ones) | ((word ^ '\\'*ones) - ones)) &^ word & highs
}

// plain is how many bytes at the beginning of text a JSON string has as they are,
// going only by ASCII.
func plain(text []byte) int {
	i := 0
	for ; i+8 <= len(text); i += 8 {
		word := binary.LittleEndian.Uint64(text[i:])
		if marks := breaks(word) | word&highs; marks != 0 {
			return i + bits.TrailingZeros64(marks)>>3
		}
	}
	for ; i < len(text); i++ {
		if c := text[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			break
		}
	}
	return i
}

const hexDigits = "0123456789abcdef"

// appendString appends text as a JSON string, as encoding/json does without HTML
// in mind: what is not UTF-8 becomes U+FFFD.
func appendString(to, text []byte) []byte {
	to = append(to, '"')
	for {
		n := plain(text)
		to = append(to, text[:n]...)
		if n == len(text) {
			return append(to, '"')
		}
		to, n = appendEscaped(to, text[n:])
		text = text[len(text)-n:]
	}
}

// appendEscaped appends the first character of text and says how many bytes are
// left behind it.
func appendEscaped(to, text []byte) ([]byte, int) {
	c, size := text[0], 1
	switch {
	case c == '"' || c == '\\':
		to = append(to, '\\', c)
	case c == '\b':
		to = append(to, `\b`...)
	case c == '\f':
		to = append(to, `\f`...)
	case c == '\n':
		to = append(to, `\n`...)
	case c == '\r':
		to = append(to, `\r`...)
	case c == '\t':
		to = append(to, `\t`...)
	case c < ' ':
		to = append(to, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
	default:
		var r rune
		r, size = utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && size == 1:
			to = append(to, `\ufffd`...)
		case r == '\u2028' || r == '\u2029': // line ends in JavaScript
			to = append(to, '\\', 'u', '2', '0', '2', hexDigits[r&15])
		default:
			to = append(to, text[:size]...)
		}
	}
	return to, len(text) - size
}

const (
	secondMicros = 1_000_000
	dayMicros    = 24 * 60 * 60 * secondMicros
)

// appendTimestamp appends microseconds since 1970 as ISO 8601 has them, in UTC,
// with so many digits of the second's fraction.
func appendTimestamp(to []byte, micros int64, precision int) []byte {
	days, rest := micros/dayMicros, micros%dayMicros
	if rest < 0 {
		days, rest = days-1, rest+dayMicros
	}
	year, month, day := civil(days)
	switch {
	case year < 0:
		to = append(to, '-')
		year = -year
	case year > 9999:
		to = append(to, '+')
	}
	if year > 9999 {
		to = strconv.AppendInt(to, year, 10)
	} else {
		to = appendPair(appendPair(to, year/100), year%100)
	}
	to = appendPair(append(to, '-'), month)
	to = appendPair(append(to, '-'), day)
	seconds, fraction := rest/secondMicros, rest%secondMicros
	to = appendPair(append(to, 'T'), seconds/3600)
	to = appendPair(append(to, ':'), seconds/60%60)
	to = appendPair(append(to, ':'), seconds%60)
	if precision > 0 {
		end := len(to) + 1 + precision
		to = append(to, '.')
		to = appendPair(appendPair(appendPair(to, fraction/10000), fraction/100%100), fraction%100)[:end]
	}
	return append(to, 'Z')
}

func appendPair(to []byte, n int64) []byte { return append(to, byte('0'+n/10), byte('0'+n%10)) }

// civil and daysOf turn days since 1970-01-01 into a date of the Gregorian
// calendar and back. They count years from March, so that the leap day comes last,
// in cycles of 400 years.
func civil(days int64) (year, month, day int64) {
	days += 719468 // since 0000-03-01
	cycle := days / 146097
	if days < 0 {
		cycle = (days - 146096) / 146097
	}
	inCycle := days - cycle*146097
	yearOfCycle := (inCycle - inCycle/1460 + inCycle/36524 - inCycle/146096) / 365
	dayOfYear := inCycle - (365*yearOfCycle + yearOfCycle/4 - yearOfCycle/100)
	m := (5*dayOfYear + 2) / 153
	day = dayOfYear - (153*m+2)/5 + 1
	year = yearOfCycle + cycle*400
	if month = m + 3; month > 12 {
		month, year = month-12, year+1
	}
	return year, month, day
}

func daysOf(year, month, day int64) int64 {
	if month <= 2 {
		year, month = year-1, month+12
	}
	cycle := year / 400
	if year < 0 {
		cycle = (year - 399) / 400
	}
	yearOfCycle := year - cycle*400
	dayOfYear := (153*(month-3)+2)/5 + day - 1
	return cycle*146097 + yearOfCycle*365 + yearOfCycle/4 - yearOfCycle/100 + dayOfYear - 719468
}

// daysIn is how many days a month has.
func daysIn(year, month int64) int64 {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}
