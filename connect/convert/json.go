package convert

import (
	"encoding/binary"
	"math"
	"strconv"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/internal/invariant"
)

// appendValue appends a value of a column as JSON.
func appendValue(to []byte, c *connect.Column, row int, decimals connect.Decimals) []byte {
	if c.IsNull(row) {
		return append(to, "null"...)
	}
	switch c.Type.Kind {
	case connect.Bool:
		return strconv.AppendBool(to, c.Bool(row))
	case connect.Int8, connect.Int16, connect.Int32, connect.Int64, connect.Date, connect.Time, connect.Year:
		return strconv.AppendInt(to, c.Int(row), 10)
	case connect.Uint8, connect.Uint16, connect.Uint32, connect.Uint64:
		return strconv.AppendUint(to, c.Bits(row), 10)
	case connect.Float32:
		return appendFloat(to, float64(math.Float32frombits(uint32(c.Bits(row)))), 32)
	case connect.Float64:
		return appendFloat(to, math.Float64frombits(c.Bits(row)), 64)
	case connect.Decimal:
		return appendDecimal(to, c, row, decimals)
	case connect.String, connect.JSON, connect.Enum, connect.Set:
		return appendString(to, c.Text(row))
	case connect.Bytes, connect.Bits:
		return appendBase64(to, c.Text(row))
	case connect.DateTime:
		micros := c.Int(row)
		if inMillis(c.Type) {
			micros = floorDiv(micros, 1000)
		}
		return strconv.AppendInt(to, micros, 10)
	case connect.Timestamp:
		to = appendTimestamp(append(to, '"'), c.Int(row), c.Type.Precision)
		return append(to, '"')
	case connect.Geometry:
		text := c.Text(row)
		if len(text) < 4 {
			invariant.That(false, "a geometry of %d bytes has no SRID", len(text))
		}
		to = appendBase64(append(to, `{"wkb":`...), text[4:])
		to = append(to, `,"srid":`...)
		to = strconv.AppendUint(to, uint64(binary.LittleEndian.Uint32(text)), 10)
		return append(to, '}')
	}
	invariant.That(false, "nobody said how JSON has a %v", c.Type.Kind)
	return to
}

// inMillis is whether records have times of the type in milliseconds: Debezium's
// Timestamp, while finer ones are its MicroTimestamp.
func inMillis(t connect.Type) bool { return t.Kind == connect.DateTime && t.Precision <= 3 }

// floorDiv divides towards the past, so that a fraction before 1970 is cut and
// not rounded up.
func floorDiv(n, by int64) int64 {
	q := n / by
	if n%by < 0 {
		q--
	}
	return q
}

// appendFloat appends the shortest text that is read as the same number. What is
// no number in JSON becomes a string, as Java's writers have it.
func appendFloat(to []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(to, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(to, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(to, `"-Infinity"`...)
	}
	format := byte('f')
	if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(to, f, format, -1, bits)
}
