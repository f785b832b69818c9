package convert

import (
	"fmt"

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
