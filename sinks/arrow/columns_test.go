package arrow

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/splashdam/splashdam/connect"
)

// everyKind has a field of each kind, and of each width that decimals have.
func everyKind() []connect.Field {
	types := []connect.Type{
		{Kind: connect.Bool}, {Kind: connect.Int8}, {Kind: connect.Int16}, {Kind: connect.Int32}, {Kind: connect.Int64},
		{Kind: connect.Uint8}, {Kind: connect.Uint16}, {Kind: connect.Uint32}, {Kind: connect.Uint64},
		{Kind: connect.Float32}, {Kind: connect.Float64},
		{Kind: connect.Decimal, Precision: 9, Scale: 2}, {Kind: connect.Decimal, Precision: 18, Scale: 0},
		{Kind: connect.Decimal, Precision: 38, Scale: 30}, {Kind: connect.Decimal, Precision: 65, Scale: 30},
		{Kind: connect.String}, {Kind: connect.Bytes}, {Kind: connect.JSON},
		{Kind: connect.Enum, Values: []string{"new", "paid"}}, {Kind: connect.Set, Values: []string{"a", "b"}},
		{Kind: connect.Date}, {Kind: connect.Time, Precision: 6}, {Kind: connect.DateTime, Precision: 6},
		{Kind: connect.Timestamp, Precision: 6}, {Kind: connect.Year}, {Kind: connect.Bits, Length: 12}, {Kind: connect.Geometry},
	}
	fields := make([]connect.Field, len(types))
	for i, t := range types {
		name := t.Kind.String()
		if t.Kind == connect.Decimal {
			name = fmt.Sprintf("decimal%d", t.Precision)
		}
		fields[i] = connect.Field{Name: name, ID: 2*i + 1, Type: t, Nullable: true}
	}
	return fields
}

// fill appends random rows to columns: extremes, nulls and what lies between.
func fill(rnd *rand.Rand, columns []connect.Column, rows int) {
	for i := range columns {
		for range rows {
			if rnd.IntN(5) == 0 {
				columns[i].AppendNull()
				continue
			}
			appendRandom(rnd, &columns[i])
		}
	}
}

func appendRandom(rnd *rand.Rand, c *connect.Column) {
	bits := [...]uint64{0, 1, math.MaxUint64, 1 << 63, 1<<63 - 1, rnd.Uint64(), rnd.Uint64N(1000), -rnd.Uint64N(1000)}[rnd.IntN(8)]
	switch c.Type.Kind {
	case connect.Date:
		c.Append4(uint32(rnd.IntN(60000) - 10000))
		return
	case connect.Year:
		c.Append4(1901 + rnd.Uint32N(255))
		return
	case connect.Time:
		c.Append8(uint64(rnd.Int64N(2*3020399_000000) - 3020399_000000))
		return
	case connect.DateTime, connect.Timestamp:
		c.Append8(uint64(rnd.Int64N(250_000_000_000_000_000) - 50_000_000_000_000_000))
		return
	case connect.Float32:
		c.Append4(math.Float32bits(rnd.Float32() - 0.5))
		return
	case connect.Float64:
		c.Append8(math.Float64bits(rnd.NormFloat64()))
		return
	case connect.JSON:
		c.AppendText(fmt.Appendf(nil, `{"n":%d}`, int64(bits)))
		return
	case connect.Bits:
		c.AppendText([]byte{byte(bits), byte(bits>>8) & 0xf})
		return
	case connect.Geometry:
		c.AppendText(fmt.Appendf([]byte{1, 2, 0, 0}, "\x01%d", bits))
		return
	case connect.Enum:
		c.AppendText([]byte(c.Type.Values[rnd.IntN(len(c.Type.Values))]))
		return
	case connect.Decimal:
		digits := [...]int64{0, 1, -1, 999_999_999, -999_999_999, rnd.Int64N(1000)}[rnd.IntN(6)]
		switch {
		case c.Layout() == connect.TextLayout:
			c.AppendText(fmt.Appendf(nil, "%d.%030d", digits, rnd.Uint64()))
		case c.Type.Precision == 38 && rnd.IntN(2) == 0:
			c.Append16(rnd.Uint64(), uint64(rnd.Int64N(1<<62)-1<<61))
		default:
			c.Append16(uint64(digits), uint64(digits>>63))
		}
		return
	}
	switch c.Layout() {
	case connect.BitLayout:
		c.AppendBool(bits&1 == 1)
	case connect.Fix1Layout:
		c.Append1(uint8(bits))
	case connect.Fix2Layout:
		c.Append2(uint16(bits))
	case connect.Fix4Layout:
		c.Append4(uint32(bits))
	case connect.Fix8Layout:
		c.Append8(bits)
	default:
		c.AppendText([]byte(strings.Repeat("é\x00", rnd.IntN(4))))
	}
}
