package commitlog

import (
	"slices"
	"testing"
)

func TestRowsInMemoryAreNeverMoved(t *testing.T) {
	var m memRows
	var want []row
	var first *row
	const n = 5 * maxPiece
	for i := range n {
		m = m.add(row{base: int64(i)})
		want = append(want, row{base: int64(i)})
		if first == nil {
			first = &m.last[0]
		}
	}
	if first != &m.full[0][0] {
		t.Error("the first row was moved")
	}
	if got := slices.Collect(m.all()); !slices.Equal(got, want) {
		t.Errorf("%d rows, want %d, or in another order", len(got), len(want))
	}
	if len(m.full) > 20 {
		t.Errorf("%d pieces for %d rows", len(m.full)+1, n)
	}
}
