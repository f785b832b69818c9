package convert

import (
	"bytes"
	"fmt"
	"math"
	"slices"

	"github.com/splashdam/splashdam/connect"
	"pgregory.net/rapid"
)

// drawType makes a type of any kind.
func drawType(t *rapid.T) connect.Type {
	kinds := []connect.Kind{}
	for k := connect.Bool; k <= connect.Geometry; k++ {
		kinds = append(kinds, k)
	}
	kind := connect.Type{Kind: rapid.SampledFrom(kinds).Draw(t, "kind")}
	switch kind.Kind {
	case connect.Decimal:
		kind.Precision = rapid.IntRange(1, 80).Draw(t, "precision")
		kind.Scale = rapid.IntRange(0, kind.Precision).Draw(t, "scale")
	case connect.Time, connect.DateTime, connect.Timestamp:
		kind.Precision = rapid.IntRange(0, 6).Draw(t, "precision")
	case connect.Bits:
		kind.Length = rapid.IntRange(1, 64).Draw(t, "length")
	case connect.String, connect.Bytes:
		kind.Length = rapid.IntRange(0, 300).Draw(t, "length")
	case connect.Enum, connect.Set:
		kind.Values = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "new", "", "é"}), 1, 4, rapid.ID).Draw(t, "values")
	}
	return kind
}

// drawSchema makes a schema of a few fields, some with names that need care.
func drawSchema(t *rapid.T) *connect.Schema {
	names := []string{"id", "name", "prix é", `quoted "x"`, "back\\slash", "line\nend", "before", "op", "", "日本", "a name longer than eight bytes", "<b>"}
	s := &connect.Schema{Name: "shop.app.t" + rapid.StringMatching("[0-9]").Draw(t, "table")}
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, 8, rapid.ID).Draw(t, "names") {
		s.Fields = append(s.Fields, connect.Field{Name: name, Type: drawType(t), Nullable: rapid.Bool().Draw(t, "nullable")})
	}
	indexes := make([]int, len(s.Fields))
	for i := range indexes {
		indexes[i] = i
	}
	s.Key = rapid.SliceOfNDistinct(rapid.SampledFrom(indexes), 0, 3, rapid.ID).Draw(t, "key")
	s.Decimals = connect.Decimals(rapid.IntRange(0, 2).Draw(t, "decimals"))
	return s
}

// describe is a schema as text, to compare and to show.
func describe(s *connect.Schema) string { return fmt.Sprintf("%+v", *s) }

// drawValue appends a value to a column, in the one form in which it is read back.
func drawValue(t *rapid.T, c *connect.Column, decimals connect.Decimals) {
	switch kind := c.Type; kind.Kind {
	case connect.Bool:
		c.AppendBool(rapid.Bool().Draw(t, "bool"))
	case connect.Float32:
		f := rapid.Float32().Draw(t, "float")
		if rapid.IntRange(0, 9).Draw(t, "special") == 0 {
			f = rapid.SampledFrom([]float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))}).Draw(t, "which")
		}
		c.Append4(math.Float32bits(f))
	case connect.Float64:
		f := rapid.Float64().Draw(t, "float")
		if rapid.IntRange(0, 9).Draw(t, "special") == 0 {
			f = rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1)}).Draw(t, "which")
		}
		c.Append8(math.Float64bits(f))
	case connect.Decimal:
		digits := kind.Precision
		if decimals == connect.DecimalsDouble {
			digits = min(digits, 15)
		}
		appendDecimalValue(c, drawUnscaled(t, digits))
	case connect.String, connect.JSON, connect.Enum, connect.Set:
		c.AppendText(bytes.ToValidUTF8(drawText(t, "text"), nil))
	case connect.Bytes:
		c.AppendText(rapid.SliceOfN(rapid.Byte(), 0, 30).Draw(t, "bytes"))
	case connect.Geometry:
		c.AppendText(rapid.SliceOfN(rapid.Byte(), 4, 30).Draw(t, "geometry"))
	case connect.Bits:
		length := (kind.Length + 7) / 8
		value := rapid.SliceOfN(rapid.Byte(), length, length).Draw(t, "bits")
		value[length-1] &= 0xff >> (8*length - kind.Length)
		c.AppendText(value)
	case connect.DateTime, connect.Timestamp:
		unit := int64(1) // the values are multiples of
		for range 6 - kind.Precision {
			unit *= 10
		}
		if kind.Kind == connect.DateTime {
			unit = min(unit, 1000)
			if kind.Precision > 3 {
				unit = 1
			}
		}
		at := rapid.Int64Range(-9_223_372_036_000_000_000, 9_223_372_036_000_000_000).Draw(t, "time")
		c.Append8(uint64(floorDiv(at, unit) * unit))
	default:
		appendInteger(c, rapid.Uint64().Draw(t, "integer"))
	}
}

// drawSection makes a section with a few rows of all kinds.
func drawSection(t *rapid.T) *connect.Section {
	schema := drawSchema(t)
	s := &connect.Section{
		Topic: "shop.app.t", Schema: schema, Before: connect.NewColumns(schema.Fields), After: connect.NewColumns(schema.Fields),
	}
	if rapid.Bool().Draw(t, "origin") {
		s.Origin = orders().Origin
	}
	row := func(columns []connect.Column, exists bool) {
		for i := range columns {
			switch what := rapid.IntRange(0, 5).Draw(t, "what"); {
			case !exists:
				columns[i].AppendNull()
			case what == 0 && !slices.Contains(schema.Key, i):
				columns[i].AppendAbsent()
			case what == 1 && schema.Fields[i].Nullable:
				columns[i].AppendNull()
			default:
				drawValue(t, &columns[i], schema.Decimals)
			}
		}
	}
	for range rapid.IntRange(0, 6).Draw(t, "rows") {
		op := rapid.SampledFrom([]connect.Op{connect.Read, connect.Create, connect.Update, connect.Delete, connect.Truncate}).Draw(t, "op")
		s.Op = append(s.Op, op)
		row(s.Before, op.HasBefore())
		row(s.After, op.HasAfter())
	}
	return s
}
