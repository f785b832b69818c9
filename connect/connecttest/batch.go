package connecttest

import (
	"fmt"
	"strings"

	"github.com/splashdam/splashdam/connect"
)

// wellFormed is what the contract says about the shape of a batch.
func wellFormed(b *connect.Batch) error {
	rows := b.Rows()
	if len(b.Order) != 0 && len(b.Order) != rows {
		return fmt.Errorf("%d rows and an order of %d", rows, len(b.Order))
	}
	if len(b.Order) == 0 && len(b.Sections) > 1 {
		return fmt.Errorf("%d sections without an order", len(b.Sections))
	}
	counts := make([]int, len(b.Sections))
	for _, s := range b.Order {
		if int(s) >= len(counts) {
			return fmt.Errorf("section %d of %d", s, len(counts))
		}
		counts[s]++
	}
	last := 0
	for _, m := range b.Marks {
		if m.Row < last || m.Row > rows {
			return fmt.Errorf("a mark at row %d, after one at %d, of %d rows", m.Row, last, rows)
		}
		last = m.Row
	}
	for i, s := range b.Sections {
		if len(b.Order) > 0 && counts[i] != s.Rows() {
			return fmt.Errorf("section %d has %d rows, and the order %d", i, s.Rows(), counts[i])
		}
		if err := wellFormedSection(s); err != nil {
			return fmt.Errorf("section %d, topic %s: %w", i, s.Topic, err)
		}
	}
	return nil
}

func wellFormedSection(s *connect.Section) error {
	n := s.Rows()
	if s.Topic == "" || s.Schema == nil {
		return fmt.Errorf("a section needs a topic and a schema")
	}
	if len(s.Time) != n || len(s.Place) != n {
		return fmt.Errorf("%d rows, %d times and %d places", n, len(s.Time), len(s.Place))
	}
	for _, image := range [][]connect.Column{s.Before, s.After} {
		if image == nil {
			continue
		}
		if len(image) != len(s.Schema.Fields) {
			return fmt.Errorf("%d columns for %d fields", len(image), len(s.Schema.Fields))
		}
		for i := range image {
			f := s.Schema.Fields[i]
			if !image[i].Type.Equal(f.Type) {
				return fmt.Errorf("field %s is %+v and its column %+v", f.Name, f.Type, image[i].Type)
			}
			if image[i].Rows() != n {
				return fmt.Errorf("column %s has %d rows of %d", f.Name, image[i].Rows(), n)
			}
		}
	}
	for row, op := range s.Op {
		if op.HasBefore() && s.Before == nil || op.HasAfter() && s.After == nil {
			return fmt.Errorf("row %d has the op %c and no image for it", row, op)
		}
		for i, f := range s.Schema.Fields {
			if op.HasAfter() && !f.Nullable && s.After[i].IsNull(row) && !s.After[i].IsAbsent(row) {
				return fmt.Errorf("row %d has no %s, which is never null", row, f.Name)
			}
		}
	}
	return nil
}

// eachRow calls f with every row in the batch's order.
func eachRow(b *connect.Batch, f func(s *connect.Section, row int)) {
	next := make([]int, len(b.Sections))
	for n := range b.Rows() {
		section := 0
		if len(b.Order) > 0 {
			section = int(b.Order[n])
		}
		f(b.Sections[section], next[section])
		next[section]++
	}
}

// describeRow is a row as text; equal rows have equal texts.
func describeRow(s *connect.Section, row int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %c", s.Topic, s.Op[row])
	for _, image := range [][]connect.Column{s.Before, s.After} {
		b.WriteString(" {")
		for i := range image {
			fmt.Fprintf(&b, " %s=%s", s.Schema.Fields[i].Name, describeValue(&image[i], row))
		}
		b.WriteString(" }")
	}
	return b.String()
}

func describeBatch(b *connect.Batch) string {
	var text strings.Builder
	eachRow(b, func(s *connect.Section, row int) {
		fmt.Fprintf(&text, "%v %s\n", s.Place[row], describeRow(s, row))
	})
	for _, m := range b.Marks {
		fmt.Fprintf(&text, "mark %d", m.Row)
		for _, p := range m.Positions {
			fmt.Fprintf(&text, " %s%s", p.Partition, p.Offset)
		}
		text.WriteByte('\n')
	}
	return text.String()
}

func describeValue(c *connect.Column, row int) string {
	switch {
	case c.IsAbsent(row):
		return "(absent)"
	case c.IsNull(row):
		return "null"
	}
	switch c.Layout() {
	case connect.BitLayout:
		return fmt.Sprint(c.Bool(row))
	case connect.Fix16Layout:
		low, high := c.Bits128(row)
		return fmt.Sprintf("%x:%x", high, low)
	case connect.TextLayout:
		return fmt.Sprintf("%q", c.Text(row))
	}
	return fmt.Sprint(c.Int(row))
}
