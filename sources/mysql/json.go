package mysql

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/splashdam/splashdam/connect"
)

// errJSON is a document that is not in MySQL's binary format.
var errJSON = errors.New("the JSON document is damaged")

// maxJSONDepth is how deep MySQL lets documents be nested.
const maxJSONDepth = 100

// Types of values in a document.
const (
	jsonSmallObject = 0
	jsonLargeObject = 1
	jsonSmallArray  = 2
	jsonLargeArray  = 3
	jsonLiteral     = 4
	jsonInt16       = 5
	jsonUint16      = 6
	jsonInt32       = 7
	jsonUint32      = 8
	jsonInt64       = 9
	jsonUint64      = 10
	jsonDouble      = 11
	jsonString      = 12
	jsonOpaque      = 15
)

// jsonReader is for MySQL's JSON behind its length, which has so many bytes.
func jsonReader(lengthBytes int) reader {
	return func(b []byte, to *connect.Column) (int, error) {
		document, n, err := counted(b, lengthBytes)
		if err != nil {
			return 0, err
		}
		text, err := appendJSON(to.Data, document)
		if err != nil {
			return 0, err
		}
		to.Data = text
		return n, endText(to)
	}
}

// appendJSON writes a document as a SELECT shows it, to the byte.
func appendJSON(dst, document []byte) ([]byte, error) {
	if len(document) == 0 { // INSERT IGNORE of nothing into a column that must not be null
		return append(dst, "null"...), nil
	}
	w := jsonText{dst: dst, unread: len(document)}
	if err := w.value(document[0], document[1:], 0); err != nil {
		return nil, err
	}
	return w.dst, nil
}

// jsonText is a document on its way to text.
type jsonText struct {
	dst []byte
	// unread bounds the work: no byte of a document belongs to two values, so more
	// than all of them is a document that refers to a value many times.
	unread int
}

// take is the n bytes at the place of b, read once.
func (w *jsonText) take(b []byte, place, n uint64) ([]byte, error) {
	if n > uint64(w.unread) || place > uint64(len(b)) || n > uint64(len(b))-place {
		return nil, errJSON
	}
	w.unread -= int(n)
	return b[place : place+n], nil
}

// value writes the value of a type that begins where b does, inside so many
// arrays and objects.
func (w *jsonText) value(kind byte, b []byte, depth int) error {
	switch kind {
	case jsonSmallObject, jsonLargeObject, jsonSmallArray, jsonLargeArray:
		return w.container(kind, b, depth+1)
	case jsonString:
		text, err := w.counted(b)
		if err == nil {
			w.dst = appendQuoted(w.dst, text)
		}
		return err
	case jsonOpaque:
		if len(b) == 0 {
			return errJSON
		}
		value, err := w.counted(b[1:])
		if err != nil {
			return err
		}
		return w.opaque(code(b[0]), value)
	}
	size := scalarSize(kind)
	if size == 0 {
		return errJSON
	}
	v, err := w.take(b, 0, uint64(size))
	if err != nil {
		return err
	}
	return w.scalar(kind, littleUint(v))
}

func scalarSize(kind byte) int {
	switch kind {
	case jsonLiteral:
		return 1
	case jsonInt16, jsonUint16:
		return 2
	case jsonInt32, jsonUint32:
		return 4
	case jsonInt64, jsonUint64, jsonDouble:
		return 8
	}
	return 0
}

func (w *jsonText) scalar(kind byte, v uint64) error {
	switch kind {
	case jsonLiteral:
		if v > 2 {
			return errJSON
		}
		w.dst = append(w.dst, [...]string{"null", "true", "false"}[v]...)
	case jsonInt16:
		w.dst = strconv.AppendInt(w.dst, int64(int16(v)), 10)
	case jsonInt32:
		w.dst = strconv.AppendInt(w.dst, int64(int32(v)), 10)
	case jsonInt64:
		w.dst = strconv.AppendInt(w.dst, int64(v), 10)
	case jsonDouble:
		d := math.Float64frombits(v)
		if math.IsNaN(d) || math.IsInf(d, 0) {
			return errJSON
		}
		w.dst = appendDouble(w.dst, d)
	default:
		w.dst = strconv.AppendUint(w.dst, v, 10)
	}
	return nil
}

// container writes an array or object: how many elements there are and how many
// bytes; of objects the place and length of each key; the type and place of each
// value, or the value itself if it is short; then the keys and values. The large
// form has wider numbers.
func (w *jsonText) container(kind byte, b []byte, depth int) error {
	if depth > maxJSONDepth {
		return errJSON
	}
	large, object := kind == jsonLargeObject || kind == jsonLargeArray, kind == jsonSmallObject || kind == jsonLargeObject
	wide := 2
	if large {
		wide = 4
	}
	if len(b) < 2*wide {
		return errJSON
	}
	count, size := littleUint(b[:wide]), littleUint(b[wide:2*wide])
	keySize, valueSize := uint64(0), uint64(1+wide)
	if object {
		keySize = uint64(wide + 2)
	}
	if size > uint64(len(b)) {
		return errJSON
	}
	b = b[:size]
	head, err := w.take(b, 0, uint64(2*wide)+count*(keySize+valueSize))
	if err != nil {
		return err
	}
	keys := head[2*wide:]
	values := keys[count*keySize:]
	begin, end := byte('['), byte(']')
	if object {
		begin, end = '{', '}'
	}
	w.dst = append(w.dst, begin)
	for i := range count {
		if i > 0 {
			w.dst = append(w.dst, ", "...)
		}
		if object {
			k := keys[i*keySize:]
			key, err := w.take(b, littleUint(k[:wide]), littleUint(k[wide:wide+2]))
			if err != nil {
				return err
			}
			w.dst = append(appendQuoted(w.dst, key), ": "...)
		}
		v := values[i*valueSize : (i+1)*valueSize]
		if size := scalarSize(v[0]); size > 0 && size <= wide {
			err = w.scalar(v[0], littleUint(v[1:1+size]))
		} else if place := littleUint(v[1:]); place > uint64(len(b)) {
			err = errJSON
		} else {
			err = w.value(v[0], b[place:], depth)
		}
		if err != nil {
			return err
		}
	}
	w.dst = append(w.dst, end)
	return nil
}

// counted is the bytes behind their length, of which each byte has seven bits,
// the lowest first, and says whether there is another one.
func (w *jsonText) counted(b []byte) ([]byte, error) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > math.MaxUint32 {
		return nil, errJSON
	}
	v, err := w.take(b, 0, uint64(size)+n)
	if err != nil {
		return nil, err
	}
	return v[size:], nil
}

// opaque writes what SQL has and JSON has not.
func (w *jsonText) opaque(c code, b []byte) error {
	switch c {
	case codeDecimal:
		return w.decimal(b)
	case codeDate, codeTime, codeDatetime, codeTimestamp:
		if len(b) != 8 {
			return errJSON
		}
		w.dst = append(w.dst, '"')
		w.dst = appendPackedTime(w.dst, c, int64(binary.LittleEndian.Uint64(b)))
	default:
		w.dst = strconv.AppendUint(append(w.dst, `"base64:type`...), uint64(c), 10)
		w.dst = append(w.dst, ':')
		w.dst = base64.StdEncoding.AppendEncode(w.dst, b)
	}
	w.dst = append(w.dst, '"')
	return nil
}

func (w *jsonText) decimal(b []byte) error {
	if len(b) < 2 {
		return errJSON
	}
	precision, scale := int(b[0]), int(b[1])
	if precision < 1 || precision > maxDecimalDigits || scale > precision {
		return errJSON
	}
	d := newDecimal(precision, scale)
	text, err := d.appendText(w.dst, b[2:])
	if err != nil {
		return err
	}
	w.dst = text
	return nil
}

// appendPackedTime writes a date or time of 64 bits: for dates 13 times the year
// plus the month, and the day in 5 bits, then hours, minutes, seconds and
// microseconds in (of dates 5) 6, 6 and 24 bits.
func appendPackedTime(dst []byte, c code, v int64) []byte {
	if v < 0 {
		v = -v
		dst = append(dst, '-')
	}
	months, days := v>>46, v>>41&31
	h, m, s, micros := v>>36, v>>30&63, v>>24&63, v&(1<<24-1)
	if c != codeTime {
		dst = append(appendPadded(dst, months/13, 4), '-')
		dst = append(appendPadded(dst, months%13, 2), '-')
		dst = appendPadded(dst, days, 2)
		if c == codeDate {
			return dst
		}
		dst, h = append(dst, ' '), h&31
	}
	dst = append(appendPadded(dst, h&1023, 2), ':')
	dst = append(appendPadded(dst, m, 2), ':')
	dst = append(appendPadded(dst, s, 2), '.')
	return appendPadded(dst, micros, 6)
}

// appendPadded writes a number with at least so many digits.
func appendPadded(dst []byte, v int64, width int) []byte {
	for ; width > 1 && uint64(v) < powersOfTen[width-1]; width-- {
		dst = append(dst, '0')
	}
	return strconv.AppendInt(dst, v, 10)
}

// appendDouble writes the shortest number that reads the same, by MySQL's rule of
// when an exponent is shorter, and so that it cannot be taken for an integer.
func appendDouble(dst []byte, v float64) []byte {
	var buffer [32]byte
	e := strconv.AppendFloat(buffer[:0], v, 'e', -1, 64) // -d.ddde-xx
	mantissa, exponentText, _ := bytes.Cut(e, []byte{'e'})
	exponent, _ := strconv.Atoi(string(exponentText))
	digits := len(mantissa) - 1 // without the point
	if v < 0 || mantissa[0] == '-' {
		digits--
	}
	digits = max(digits, 1)
	if exponent >= -15 && (exponent < 15 || digits > exponent+1) {
		begin := len(dst)
		dst = strconv.AppendFloat(dst, v, 'f', -1, 64)
		if bytes.IndexByte(dst[begin:], '.') < 0 {
			dst = append(dst, ".0"...)
		}
		return dst
	}
	dst = append(append(dst, mantissa...), 'e')
	return strconv.AppendInt(dst, int64(exponent), 10)
}

// appendQuoted writes a string as JSON, with as few escapes as there can be.
func appendQuoted(dst, text []byte) []byte {
	if !utf8.Valid(text) {
		text = appendUTF8(nil, text)
	}
	dst = append(dst, '"')
	plain := 0
	for i, c := range text {
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, text[plain:i]...)
		plain = i + 1
		if short := shortEscapes[c]; short != 0 {
			dst = append(dst, '\\', short)
		} else {
			dst = append(dst, '\\', 'u', '0', '0', '0'+c>>4, "0123456789abcdef"[c&15])
		}
	}
	return append(append(dst, text[plain:]...), '"')
}

var shortEscapes = [128]byte{'"': '"', '\\': '\\', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}
