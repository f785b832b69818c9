package mysql

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/splashdam/splashdam/connect"
)

// reader appends the value at the start of b to the column, and says how long it
// was there.
type reader func(b []byte, to *connect.Column) (int, error)

// errColumnFull is more text than a column of a batch can hold.
var errColumnFull = errors.New("the text of one column of a batch passes 2 GiB")

// reader is the column's, whose declaration became typ.
func (w wire) reader(t sqlType, typ connect.Type, cs charset) reader {
	switch w.code {
	case codeTiny:
		return readTiny
	case codeShort:
		return readShort
	case codeInt24:
		if t.unsigned {
			return readUnsigned24
		}
		return readSigned24
	case codeLong, codeFloat:
		return readLong
	case codeLongLong, codeDouble:
		return readLongLong
	case codeDecimal:
		d := newDecimal(typ.Precision, typ.Scale)
		if typ.Precision > connect.MaxDecimal128 {
			return d.readText
		}
		return d.readNumber
	case codeYear:
		return readYear
	case codeDate, codeNewDate:
		return readDate
	case codeTime2:
		return time2Reader(w.precision)
	case codeDatetime2:
		return datetime2Reader(w.precision)
	case codeTimestamp2:
		return timestamp2Reader(w.precision)
	case codeTime:
		return oldTimeReader(t.precision)
	case codeDatetime:
		return oldDatetimeReader(t.precision)
	case codeTimestamp:
		return oldTimestampReader(t.precision)
	case codeBit:
		if typ.Kind == connect.Bool {
			return readBool
		}
		return bitsReader(w.size)
	case codeEnum:
		return enumReader(w.size, typ.Values)
	case codeSet:
		return setReader(w.size, typ.Values)
	case codeJSON:
		return jsonReader(w.size)
	case codeBlobZip:
		return unzipReader(w.size, cs)
	case codeVarcharZip:
		return unzipReader(lengthBefore(w.size), cs)
	case codeBlob:
		return textReader(w.size, cs)
	case codeGeometry, codeVector:
		return textReader(w.size, charset{1, appendBytes})
	case codeString:
		switch t.name {
		case "binary":
			return paddedReader(w.size, appendBytes)
		case "uuid":
			return paddedReader(w.size, appendUUID)
		case "inet4":
			return paddedReader(w.size, appendInet4)
		case "inet6":
			return paddedReader(w.size, appendInet6)
		}
	}
	return textReader(lengthBefore(w.size), cs)
}

// lengthBefore is how many bytes say the length of text that has up to so many.
func lengthBefore(most int) int {
	if most > 255 {
		return 2
	}
	return 1
}

func readTiny(b []byte, to *connect.Column) (int, error) {
	if len(b) < 1 {
		return 0, errShort
	}
	to.Append1(b[0])
	return 1, nil
}

func readShort(b []byte, to *connect.Column) (int, error) {
	if len(b) < 2 {
		return 0, errShort
	}
	to.Append2(binary.LittleEndian.Uint16(b))
	return 2, nil
}

func readUnsigned24(b []byte, to *connect.Column) (int, error) {
	if len(b) < 3 {
		return 0, errShort
	}
	to.Append4(little24(b))
	return 3, nil
}

func readSigned24(b []byte, to *connect.Column) (int, error) {
	if len(b) < 3 {
		return 0, errShort
	}
	to.Append4(uint32(int32(little24(b)<<8) >> 8))
	return 3, nil
}

func little24(b []byte) uint32 { return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 }

func readLong(b []byte, to *connect.Column) (int, error) {
	if len(b) < 4 {
		return 0, errShort
	}
	to.Append4(binary.LittleEndian.Uint32(b))
	return 4, nil
}

func readLongLong(b []byte, to *connect.Column) (int, error) {
	if len(b) < 8 {
		return 0, errShort
	}
	to.Append8(binary.LittleEndian.Uint64(b))
	return 8, nil
}

func readYear(b []byte, to *connect.Column) (int, error) {
	if len(b) < 1 {
		return 0, errShort
	}
	year := uint32(b[0])
	if year > 0 {
		year += 1900
	}
	to.Append4(year)
	return 1, nil
}

func readBool(b []byte, to *connect.Column) (int, error) {
	if len(b) < 1 {
		return 0, errShort
	}
	to.AppendBool(b[0]&1 != 0)
	return 1, nil
}

// bitsReader is for bits in so many bytes, highest first.
func bitsReader(size int) reader {
	return func(b []byte, to *connect.Column) (int, error) {
		if len(b) < size {
			return 0, errShort
		}
		appendBits(b[:size], to)
		return size, nil
	}
}

func appendBits(highestFirst []byte, to *connect.Column) {
	for i := len(highestFirst) - 1; i >= 0; i-- {
		to.Data = append(to.Data, highestFirst[i])
	}
	to.EndText()
}

// enumReader is for the number of a member, counted from 1; 0 is the value that
// an invalid one became.
func enumReader(size int, members []string) reader {
	return func(b []byte, to *connect.Column) (int, error) {
		if len(b) < size {
			return 0, errShort
		}
		n := int(littleUint(b[:size]))
		if n > len(members) {
			return 0, fmt.Errorf("it has member %d of an enum of %d", n, len(members))
		}
		if n > 0 {
			to.Data = append(to.Data, members[n-1]...)
		}
		return size, endText(to)
	}
}

// setReader is for a bit a member.
func setReader(size int, members []string) reader {
	return func(b []byte, to *connect.Column) (int, error) {
		if len(b) < size {
			return 0, errShort
		}
		in := littleUint(b[:size])
		if in>>len(members) != 0 {
			return 0, fmt.Errorf("it has the members %b of a set of %d", in, len(members))
		}
		begin := len(to.Data)
		for ; in != 0; in &= in - 1 {
			if len(to.Data) > begin {
				to.Data = append(to.Data, ',')
			}
			to.Data = append(to.Data, members[bits.TrailingZeros64(in)]...)
		}
		return size, endText(to)
	}
}

func littleUint(b []byte) uint64 {
	var v uint64
	for i, b := range b {
		v |= uint64(b) << (8 * i)
	}
	return v
}

// textReader is for text behind its length, which has so many bytes.
func textReader(lengthBytes int, cs charset) reader {
	return func(b []byte, to *connect.Column) (int, error) {
		text, n, err := counted(b, lengthBytes)
		if err != nil {
			return 0, err
		}
		to.Data = cs.appendUTF8(to.Data, text)
		return n, endText(to)
	}
}

// counted is the bytes behind their length, and how long both are.
func counted(b []byte, lengthBytes int) ([]byte, int, error) {
	if len(b) < lengthBytes {
		return nil, 0, errShort
	}
	n := int(littleUint(b[:lengthBytes]))
	if n > len(b)-lengthBytes {
		return nil, 0, errShort
	}
	return b[lengthBytes : lengthBytes+n], lengthBytes + n, nil
}

// endText ends the value that was appended to the column's data.
func endText(to *connect.Column) error {
	if len(to.Data) > connect.MaxColumnText {
		return errColumnFull
	}
	to.EndText()
	return nil
}

// paddedReader is for binary strings of a fixed size, which lose the zero bytes
// at their end on the way.
func paddedReader(size int, appendValue func(dst, b []byte) []byte) reader {
	padded := make([]byte, size)
	return func(b []byte, to *connect.Column) (int, error) {
		value, n, err := counted(b, lengthBefore(size))
		if err != nil {
			return 0, err
		}
		if len(value) > size {
			return 0, fmt.Errorf("it has %d bytes of at most %d", len(value), size)
		}
		clear(padded[copy(padded, value):])
		to.Data = appendValue(to.Data, padded)
		return n, endText(to)
	}
}
