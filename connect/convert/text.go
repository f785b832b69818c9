package convert

import (
	"encoding/binary"
	"math/bits"
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
