package connect

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A column holds what a slice of optional values holds, however values, nulls and
// absent ones follow one another, and after a Reset as well.
func TestColumnAgreesWithASliceOfValues(t *testing.T) {
	types := []Type{
		{Kind: Bool}, {Kind: Int8}, {Kind: Uint16}, {Kind: Date}, {Kind: Timestamp},
		{Kind: Decimal, Precision: 38}, {Kind: Decimal, Precision: 65}, {Kind: String},
	}
	rapid.Check(t, func(t *rapid.T) {
		c := NewColumn(rapid.SampledFrom(types).Draw(t, "type"))
		for range rapid.IntRange(1, 3).Draw(t, "uses") {
			c.Reset()
			var model []string
			for range rapid.IntRange(0, 40).Draw(t, "rows") {
				switch v := rapid.Uint64().Draw(t, "value"); rapid.IntRange(0, 4).Draw(t, "what") {
				case 4:
					n := rapid.IntRange(0, len(model)).Draw(t, "left")
					if c.Layout() == TextLayout {
						c.Data = append(c.Data, "without an end"...)
					}
					c.Truncate(n)
					model = model[:n]
				case 0:
					c.AppendNull()
					model = append(model, "null")
				case 1:
					c.AppendAbsent()
					model = append(model, "absent")
				default:
					model = append(model, appendValue(&c, v))
				}
			}
			checkColumn(t, &c, model)
			other := NewColumn(c.Type)
			for row := range c.Rows() {
				other.AppendFrom(&c, row)
			}
			checkColumn(t, &other, model)
		}
	})
}

// appendValue appends v, cut to the column's width, and returns it as text.
func appendValue(c *Column, v uint64) string {
	switch c.Layout() {
	case BitLayout:
		c.AppendBool(v&1 == 1)
		return fmt.Sprint(v&1 == 1)
	case Fix1Layout:
		c.Append1(uint8(v))
		return fmt.Sprint(uint8(v))
	case Fix2Layout:
		c.Append2(uint16(v))
		return fmt.Sprint(uint16(v))
	case Fix4Layout:
		c.Append4(uint32(v))
		return fmt.Sprint(uint32(v))
	case Fix8Layout:
		c.Append8(v)
		return fmt.Sprint(v)
	case Fix16Layout:
		c.Append16(v, ^v)
		return fmt.Sprint(v, ^v)
	}
	text := strings.Repeat("é", int(v%3))
	c.AppendText([]byte(text))
	return text
}

func checkColumn(t *rapid.T, c *Column, model []string) {
	if c.Rows() != len(model) {
		t.Fatalf("%d rows instead of %d", c.Rows(), len(model))
	}
	nulls := 0
	for row, want := range model {
		var got string
		switch {
		case c.IsAbsent(row):
			got = "absent"
			if !c.IsNull(row) {
				t.Fatalf("row %d is absent and has a value", row)
			}
		case c.IsNull(row):
			got = "null"
		case c.Layout() == BitLayout:
			got = fmt.Sprint(c.Bool(row))
		case c.Layout() == Fix16Layout:
			low, high := c.Bits128(row)
			got = fmt.Sprint(low, high)
		case c.Layout() == TextLayout:
			got = string(c.Text(row))
		default:
			got = fmt.Sprint(c.Bits(row))
		}
		if got != want {
			t.Fatalf("row %d is %s instead of %s", row, got, want)
		}
		if c.IsNull(row) {
			nulls++
		}
	}
	if c.Nulls() != nulls {
		t.Fatalf("%d nulls counted instead of %d", c.Nulls(), nulls)
	}
}

func TestIntExtendsTheSignOfEveryWidth(t *testing.T) {
	for _, kind := range []Kind{Int8, Int16, Int32, Int64} {
		c := NewColumn(Type{Kind: kind})
		appendValue(&c, ^uint64(0))
		appendValue(&c, 100)
		if a, b := c.Int(0), c.Int(1); a != -1 || b != 100 {
			t.Errorf("%v: -1 and 100 became %d and %d", kind, a, b)
		}
	}
}

func TestColumnUsedAsOneOfAnotherLayoutPanics(t *testing.T) {
	for name, use := range map[string]func(c *Column){
		"append": func(c *Column) { c.Append8(1) },
		"read":   func(c *Column) { c.Text(0) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("nothing happened")
				}
			}()
			c := NewColumn(Type{Kind: Int32})
			c.Append4(1)
			use(&c)
		})
	}
}

func TestEveryKindHasANameAndALayout(t *testing.T) {
	for k := Kind(1); k < kinds; k++ {
		if back, ok := ParseKind(k.String()); !ok || back != k {
			t.Errorf("kind %d is called %q, which is read as %v", k, k.String(), back)
		}
	}
	if k, ok := ParseKind("datum"); ok {
		t.Errorf("datum is %v", k)
	}
}

func TestAppendingRowsToAResetColumnAllocatesNothing(t *testing.T) {
	number, text := NewColumn(Type{Kind: Int64}), NewColumn(Type{Kind: String})
	value := bytes.Repeat([]byte("x"), 20)
	fill := func() {
		number.Reset()
		text.Reset()
		for range 1000 {
			number.Append8(1)
			text.AppendText(value)
			text.AppendNull()
		}
	}
	fill()
	if n := testing.AllocsPerRun(10, fill); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
