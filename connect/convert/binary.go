package convert

import (
	"encoding/base64"
	"encoding/binary"
	"math"

	"github.com/splashdam/splashdam/connect"
)

func appendBase64(to, data []byte) []byte {
	return append(base64.StdEncoding.AppendEncode(append(to, '"'), data), '"')
}

var strictBase64 = base64.StdEncoding.Strict()

// decodeBase64 appends the bytes that a text stands for. The decoder passes over
// the ends of lines, so a text with some is longer than it has to be.
func decodeBase64(to, text []byte) ([]byte, fault) {
	out, err := strictBase64.AppendDecode(to, text)
	if err != nil || len(text) != strictBase64.EncodedLen(len(out)-len(to)) {
		return to, badBase64
	}
	return out, 0
}

// parseBits fills up what is shorter than the type with zeros.
func parseBits(c *connect.Column, text []byte) fault {
	start := len(c.Data)
	var f fault
	if c.Data, f = decodeBase64(c.Data, text); f != 0 {
		return f
	}
	length := (c.Type.Length + 7) / 8
	unused := 8*length - c.Type.Length
	value := c.Data[start:]
	if len(value) > length || len(value) == length && value[length-1]>>(8-unused) != 0 {
		return outOfRange
	}
	for range length - len(value) {
		c.Data = append(c.Data, 0)
	}
	c.EndText()
	return 0
}

// parseGeometry reads {"wkb":"…","srid":n}, in any order. No SRID is 0.
func parseGeometry(b []byte, i int, c *connect.Column, into *Rows) (int, fault) {
	start := len(c.Data)
	c.Data = append(c.Data, 0, 0, 0, 0)
	hasWKB, hasSRID := false, false
	i, more, f := openObject(b, i)
	if f == noObject {
		f = wrongType
	}
	for more && f == 0 {
		var name []byte
		at := i
		if name, i, f = scanKey(b, i, into); f != 0 {
			break
		}
		switch string(name) {
		case "wkb":
			if hasWKB {
				return at, memberTwice
			}
			hasWKB = true
			if i == len(b) || b[i] != '"' {
				return i, wrongType
			}
			end, escaped, f := scanString(b, i+1)
			if f != 0 {
				return end, f
			}
			text := b[i+1 : end]
			if escaped {
				into.key = unescape(into.key[:0], text)
				text = into.key
			}
			if c.Data, f = decodeBase64(c.Data, text); f != 0 {
				return i, f
			}
			i = end + 1
		case "srid":
			if hasSRID {
				return at, memberTwice
			}
			hasSRID = true
			if i < len(b) && b[i] == 'n' {
				i, f = scanWord(b, i, "null")
				break
			}
			if i == len(b) {
				return i, truncated
			}
			n, negative, end, f := scanInteger(b, i)
			if f != 0 {
				return end, f
			}
			if negative || n > math.MaxUint32 {
				return i, outOfRange
			}
			binary.LittleEndian.PutUint32(c.Data[start:], uint32(n))
			i = end
		default:
			i, f = skipValue(b, i)
		}
		if f == 0 {
			i, more, f = skipComma(b, i)
		}
	}
	switch {
	case f != 0:
		return i, f
	case !hasWKB:
		return i, wrongType
	}
	c.EndText()
	return i, 0
}
