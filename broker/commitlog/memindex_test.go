package commitlog

import (
	"slices"
	"testing"

	"github.com/splashdam/splashdam/broker/record"
)

func TestRowsInMemoryAreNeverMoved(t *testing.T) {
	m := newMemIndex()
	want := map[int][]row{}
	m.add(0, row{base: 0, count: 1})
	want[0] = append(want[0], row{base: 0, count: 1})
	first, before := m.rows.at(0), m.of(0)
	const n = 5 * maxPiece
	for i := 1; i < n; i++ {
		p := i * i % 3 // 0 or 1
		m.add(record.PartitionID(p), row{base: int64(i), count: 1})
		want[p] = append(want[p], row{base: int64(i), count: 1})
	}
	if first != m.rows.at(0) {
		t.Error("the first row was moved")
	}
	if got := slices.Collect(before.all()); len(got) != 1 || got[0] != want[0][0] {
		t.Errorf("what was taken when there was one row has %d", len(got))
	}
	for p, want := range want {
		rows := m.of(record.PartitionID(p))
		if got := slices.Collect(rows.all()); !slices.Equal(got, want) {
			t.Errorf("partition %d: %d rows, want %d, or in another order", p, len(got), len(want))
		}
		for _, i := range []int{0, 1, len(want) / 3, len(want) - 1} {
			if got := slices.Collect(rows.from(want[i].base)); !slices.Equal(got, want[i:]) {
				t.Errorf("partition %d: %d rows from offset %d on, want %d", p, len(got), want[i].base, len(want)-i)
			}
		}
		if len(rows.numbers) > 20 {
			t.Errorf("partition %d: %d pieces for %d rows", p, len(rows.numbers), len(want))
		}
	}
	if !m.of(2).empty() || m.of(1).empty() {
		t.Error("a partition without rows has some, or the other way round")
	}
}
