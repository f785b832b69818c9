package convert

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// The functions of this file walk over JSON. Each takes the text and where it is,
// and returns where it stopped: behind what it was for, or at the fault.

// fault is why a text cannot be read; 0 if it can.
type fault uint8

const (
	truncated fault = iota + 1
	badSyntax
	badControl
	badEscape
	badUTF8
	tooDeep
	wrongType
	outOfRange
	tooFine
	badBase64
	unexpectedNull
	memberTwice
	unknownField
	noObject
	noKey
	badOp
	badImage
	badTime
	noBlock
	trailing
)

func (f fault) Error() string { return faults[f] }

var faults = [...]string{
	truncated:      "the text ends too early",
	badSyntax:      "this is not JSON",
	badControl:     "a control character is not escaped",
	badEscape:      "an escape is unknown, or half of a surrogate pair",
	badUTF8:        "the text is not UTF-8",
	tooDeep:        "values are nested too deeply",
	wrongType:      "the value has another form than the field's type",
	outOfRange:     "the value does not fit the field's type",
	tooFine:        "the value has more digits behind the point than the field's type",
	badBase64:      "the text is not base64",
	unexpectedNull: "the field must not be null",
	memberTwice:    "it is there twice",
	unknownField:   "the schema has no such field",
	noObject:       "an object is missing",
	noKey:          "the row went, and neither it nor a key is there to say which",
	badOp:          "the op is none of r, c, u, d and t",
	badImage:       "there is a row after the change that took it away, or none after another one",
	badTime:        "the text is not a time in the form 2006-01-02T15:04:05Z",
	noBlock:        "there is no schema block in front",
	trailing:       "something follows the value",
}

// maxDepth is how deep values may be nested.
const maxDepth = 64

func skipSpace(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// scanString goes from behind the opening quote to the closing one, and says
// whether there are escapes in between.
func scanString(b []byte, i int) (end int, escaped bool, f fault) {
	start := i
	var seen uint64 // every byte of the text or-ed, to find out whether one is not ASCII
	for {
		mark := -1
		for ; i+8 <= len(b); i += 8 {
			word := binary.LittleEndian.Uint64(b[i:])
			if marks := breaks(word); marks != 0 {
				n := bits.TrailingZeros64(marks) >> 3
				seen |= word & (1<<(8*n) - 1)
				mark = i + n
				break
			}
			seen |= word
		}
		if mark < 0 {
			for ; i < len(b); i++ {
				c := b[i]
				if c < ' ' || c == '"' || c == '\\' {
					break
				}
				seen |= uint64(c)
			}
			if mark = i; i == len(b) {
				return i, false, truncated
			}
		}
		i = mark
		switch b[i] {
		case '"':
			if seen&highs != 0 && !utf8.Valid(b[start:i]) {
				return start, false, badUTF8
			}
			return i, escaped, 0
		case '\\':
			escaped = true
			if i, f = scanEscape(b, i); f != 0 {
				return i, false, f
			}
		default:
			return i, false, badControl
		}
	}
}

// scanEscape goes over one escape, or the two of a surrogate pair.
func scanEscape(b []byte, i int) (int, fault) {
	if i+1 >= len(b) {
		return i, truncated
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2, 0
	case 'u':
		high, f := hex4(b, i)
		switch {
		case f != 0:
			return i, f
		case high < 0xd800 || high > 0xdfff:
			return i + 6, 0
		}
		low, f := hex4(b, i+6)
		if f != 0 || high > 0xdbff || low < 0xdc00 || low > 0xdfff {
			return i, badEscape // half of a pair is no character
		}
		return i + 12, 0
	}
	return i, badEscape
}

// hex4 reads \u and four digits.
func hex4(b []byte, i int) (rune, fault) {
	if i+6 > len(b) {
		return 0, truncated
	}
	if b[i] != '\\' || b[i+1] != 'u' {
		return 0, badEscape
	}
	var r rune
	for _, c := range b[i+2 : i+6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, badEscape
		}
		r = r<<4 | rune(c)
	}
	return r, 0
}

// unescape appends what stands between the quotes of a string that scanString
// has gone over.
func unescape(to, text []byte) []byte {
	for i := 0; i < len(text); {
		c := text[i]
		if c != '\\' {
			n := plain(text[i:])
			n = max(n, 1) // not ASCII
			to = append(to, text[i:i+n]...)
			i += n
			continue
		}
		switch c = text[i+1]; c {
		case 'b':
			to = append(to, '\b')
		case 'f':
			to = append(to, '\f')
		case 'n':
			to = append(to, '\n')
		case 'r':
			to = append(to, '\r')
		case 't':
			to = append(to, '\t')
		case 'u':
			r, _ := hex4(text, i)
			i += 6
			if r >= 0xd800 && r <= 0xdbff {
				low, _ := hex4(text, i)
				r = (r-0xd800)<<10 + (low - 0xdc00) + 0x10000
				i += 6
			}
			to = utf8.AppendRune(to, r)
			continue
		default: // a quote, a slash
			to = append(to, c)
		}
		i += 2
	}
	return to
}

// scanNumber goes over a number.
func scanNumber(b []byte, i int) (int, fault) {
	if i < len(b) && b[i] == '-' {
		i++
	}
	first := i
	if i = scanDigits(b, i); i == first || b[first] == '0' && i > first+1 {
		return numberFault(b, i)
	}
	if i < len(b) && b[i] == '.' {
		first = i + 1
		if i = scanDigits(b, first); i == first {
			return numberFault(b, i)
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		first = i
		if i = scanDigits(b, first); i == first {
			return numberFault(b, i)
		}
	}
	return i, 0
}

func numberFault(b []byte, i int) (int, fault) {
	if i == len(b) {
		return i, truncated
	}
	return i, badSyntax
}

func scanDigits(b []byte, i int) int {
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return i
}

// scanWord goes over true, false or null.
func scanWord(b []byte, i int, word string) (int, fault) {
	for k := range len(word) {
		if i+k == len(b) {
			return i + k, truncated
		}
		if b[i+k] != word[k] {
			return i, badSyntax
		}
	}
	return i + len(word), 0
}

// skipValue goes over one value of any kind, and makes sure that it is one.
func skipValue(b []byte, i int) (int, fault) {
	var arrays uint64 // a bit for each container around i, the innermost lowest: set for an array
	depth := 0
	for {
		// Here a value begins.
		i = skipSpace(b, i)
		if i == len(b) {
			return i, truncated
		}
		var f fault
		switch c := b[i]; c {
		case '"':
			if i, _, f = scanString(b, i+1); f == 0 {
				i++
			}
		case '{', '[':
			if depth == maxDepth {
				return i, tooDeep
			}
			array := c == '['
			i = skipSpace(b, i+1)
			switch {
			case i == len(b):
				return i, truncated
			case b[i] == c+2: // the closing one
				i++
			case array:
				depth, arrays = depth+1, arrays<<1|1
				continue
			default:
				depth, arrays = depth+1, arrays<<1
				if i, f = skipKey(b, i); f != 0 {
					return i, f
				}
				continue
			}
		case 't':
			i, f = scanWord(b, i, "true")
		case 'f':
			i, f = scanWord(b, i, "false")
		case 'n':
			i, f = scanWord(b, i, "null")
		default:
			if c != '-' && c-'0' > 9 {
				return i, badSyntax
			}
			i, f = scanNumber(b, i)
		}
		if f != 0 {
			return i, f
		}
		// Here a value has ended, and maybe with it what is around it.
		for {
			if depth == 0 {
				return i, 0
			}
			i = skipSpace(b, i)
			if i == len(b) {
				return i, truncated
			}
			array := arrays&1 == 1
			c := b[i]
			if c == ',' {
				if i++; !array {
					if i, f = skipKey(b, skipSpace(b, i)); f != 0 {
						return i, f
					}
				}
				break
			}
			if array && c != ']' || !array && c != '}' {
				return i, badSyntax
			}
			i++
			depth, arrays = depth-1, arrays>>1
		}
	}
}

// skipKey goes over a member's name and the colon behind it.
func skipKey(b []byte, i int) (int, fault) {
	if i == len(b) {
		return i, truncated
	}
	if b[i] != '"' {
		return i, badSyntax
	}
	i, _, f := scanString(b, i+1)
	if f != 0 {
		return i, f
	}
	return skipColon(b, i+1)
}

func skipColon(b []byte, i int) (int, fault) {
	i = skipSpace(b, i)
	if i == len(b) {
		return i, truncated
	}
	if b[i] != ':' {
		return i, badSyntax
	}
	return i + 1, 0
}

// skipComma goes from behind a member to the next one's name, or behind the end of
// the object.
func skipComma(b []byte, i int) (next int, more bool, f fault) {
	if i+1 < len(b) && b[i] == ',' && b[i+1] == '"' { // as a rule
		return i + 1, true, 0
	}
	i = skipSpace(b, i)
	if i == len(b) {
		return i, false, truncated
	}
	switch b[i] {
	case ',':
		return skipSpace(b, i+1), true, 0
	case '}':
		return i + 1, false, 0
	}
	return i, false, badSyntax
}
