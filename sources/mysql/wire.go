package mysql

import "fmt"

// code is how the binlog calls a type.
type code byte

const (
	codeTiny       code = 1
	codeShort      code = 2
	codeLong       code = 3
	codeFloat      code = 4
	codeDouble     code = 5
	codeTimestamp  code = 7 // codes 7, 11 and 12 are of tables made by MariaDB before 10.1, or made as then
	codeLongLong   code = 8
	codeInt24      code = 9
	codeDate       code = 10
	codeTime       code = 11
	codeDatetime   code = 12
	codeYear       code = 13
	codeNewDate    code = 14
	codeVarchar    code = 15
	codeBit        code = 16
	codeTimestamp2 code = 17
	codeDatetime2  code = 18
	codeTime2      code = 19
	codeBlobZip    code = 140 // MariaDB: COMPRESSED
	codeVarcharZip code = 141
	codeVector     code = 242
	codeJSON       code = 245
	codeDecimal    code = 246
	codeEnum       code = 247
	codeSet        code = 248
	codeBlob       code = 252
	codeVarString  code = 253
	codeString     code = 254
	codeGeometry   code = 255
)

// wire is how a column's values lie in row events.
type wire struct {
	code code
	// size is of the value itself for enum, set and bit; the most bytes of text and
	// binary strings; of the length before the value for blobs, json and geometry.
	size int
	// precision is decimal: digits, with scale; times: of the second's fraction;
	// bit: bits.
	precision, scale int
}

// wireOf takes what a TABLE_MAP event says of a type beyond its code.
func wireOf(c code, meta *cursor) (wire, error) {
	w := wire{code: c}
	switch c {
	case codeTiny, codeShort, codeInt24, codeLong, codeLongLong, codeYear,
		codeDate, codeNewDate, codeTime, codeDatetime, codeTimestamp:
	case codeFloat, codeDouble:
		meta.uint(1) // its width, which the code says already
	case codeTime2, codeDatetime2, codeTimestamp2:
		w.precision = int(meta.uint(1))
	case codeDecimal:
		w.precision, w.scale = int(meta.uint(1)), int(meta.uint(1))
	case codeBit:
		w.precision = int(meta.uint(1))
		w.precision += 8 * int(meta.uint(1))
		w.size = (w.precision + 7) / 8
	case codeVarchar, codeVarString, codeVarcharZip:
		w.size = int(meta.uint(2))
	case codeString:
		// Bits 4 and 5 of the first byte are set unless the length needs them.
		real, size := byte(meta.uint(1)), int(meta.uint(1))
		if real&0x30 != 0x30 {
			size |= int(real&0x30^0x30) << 4
			real |= 0x30
		}
		w.code, w.size = code(real), size
		switch {
		case w.code == codeString:
		case w.code == codeEnum && (size == 1 || size == 2):
		case w.code == codeSet && (size >= 1 && size <= 4 || size == 8):
		default:
			return w, fmt.Errorf("a string of type %d and %d bytes is unknown", real, size)
		}
	case codeBlob, codeBlobZip, codeJSON, codeGeometry, codeVector:
		w.size = int(meta.uint(1))
		if w.size < 1 || w.size > 4 {
			return w, fmt.Errorf("a length of %d bytes is unknown", w.size)
		}
	default:
		return w, fmt.Errorf("type %d is unknown", c)
	}
	return w, meta.err
}

// isNumeric is whether the event says of the column whether it has a sign.
func (w wire) isNumeric() bool {
	switch w.code {
	case codeTiny, codeShort, codeInt24, codeLong, codeLongLong, codeFloat, codeDouble, codeDecimal, codeYear:
		return true
	}
	return false
}

// isText is whether the event says of the column in which character set it is.
func (w wire) isText(mariadb bool) bool {
	switch w.code {
	case codeString, codeVarString, codeVarchar, codeBlob, codeBlobZip, codeVarcharZip, codeVector:
		return true
	case codeGeometry:
		return mariadb
	}
	return false
}

func (w wire) isChoice() bool { return w.code == codeEnum || w.code == codeSet }

// sqlType is the declaration that the column must have had. What the event cannot
// say is taken from what is declared.
func (w wire) sqlType(charsetName string, cs charset, unsigned bool, members []string, declared columnDeclaration) (sqlType, error) {
	t := sqlType{unsigned: unsigned, precision: w.precision, scale: w.scale, members: members}
	text := func(name, binaryName string, size int) {
		t.name, t.length = name, size/cs.width
		if charsetName == "binary" {
			t.name = binaryName
		}
	}
	switch w.code {
	case codeTiny:
		t.name = "tinyint"
	case codeShort:
		t.name = "smallint"
	case codeInt24:
		t.name = "mediumint"
	case codeLong:
		t.name = "int"
	case codeLongLong:
		t.name = "bigint"
	case codeFloat:
		t.name = "float"
	case codeDouble:
		t.name = "double"
	case codeDecimal:
		t.name = "decimal"
	case codeYear:
		t.name = "year"
	case codeDate, codeNewDate:
		t.name = "date"
	case codeTime2:
		t.name = "time"
	case codeDatetime2:
		t.name = "datetime"
	case codeTimestamp2:
		t.name = "timestamp"
	case codeTime, codeDatetime, codeTimestamp:
		t.name = map[code]string{codeTime: "time", codeDatetime: "datetime", codeTimestamp: "timestamp"}[w.code]
		if declared.dataType != t.name {
			return t, fmt.Errorf("it is a %s as MariaDB 5.3 wrote it, and how many digits of the second's fraction that has stands only in information_schema, which has a %q", t.name, declared.dataType)
		}
		t.precision = declared.fraction
	case codeBit:
		t.name = "bit"
	case codeEnum:
		t.name = "enum"
	case codeSet:
		t.name = "set"
	case codeJSON:
		t.name = "json"
	case codeGeometry:
		t.name = "geometry"
	case codeVector:
		t.name = "vector"
	case codeBlob, codeBlobZip:
		text("text", "blob", 0)
	case codeVarchar, codeVarString:
		text("varchar", "varbinary", w.size)
		if t.name == "varbinary" && declared.dataType == "vector" {
			t.name = "vector"
		}
	case codeVarcharZip:
		text("varchar", "varbinary", w.size-1) // a byte says whether and how it is compressed
	case codeString:
		text("char", "binary", w.size)
		if sizes := map[string]int{"uuid": 16, "inet6": 16, "inet4": 4}; t.name == "binary" && sizes[declared.dataType] == w.size {
			t.name = declared.dataType
		}
	}
	return t, nil
}
