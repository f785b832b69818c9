package record

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
)

// ByPartition does what a map does, for ids side by side and far apart.
func TestByPartitionIsAMap(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	ids := []PartitionID{FirstHidden, ^PartitionID(0)}
	for p := range PartitionID(3 * pageIDs) {
		ids = append(ids, p)
	}
	m, model := make(ByPartition[int]), make(map[PartitionID]int)
	for i := range 20_000 {
		switch p := ids[rnd.IntN(len(ids))]; rnd.IntN(3) {
		case 0:
			v, isNew := m.At(p)
			if old, ok := model[p]; ok == isNew || *v != old {
				t.Fatalf("step %d: %v is %d, new %t; want %d, %t", i, p, *v, isNew, old, !ok)
			}
			*v, model[p] = i, i
		case 1:
			v, ok := m.Get(p)
			if want, is := model[p]; v != want || ok != is {
				t.Fatalf("step %d: %v is %d, %t; want %d, %t", i, p, v, ok, want, is)
			}
		case 2:
			if i > 10_000 || rnd.IntN(8) == 0 {
				m.Delete(p)
				delete(model, p)
			}
		}
		if m.Len() != len(model) {
			t.Fatalf("step %d: %d values, want %d", i, m.Len(), len(model))
		}
	}
	if got := maps.Collect(m.All()); !maps.Equal(got, model) {
		t.Errorf("%v, want %v", got, model)
	}
	if want := slices.Sorted(maps.Keys(model)); !slices.Equal(m.IDs(), want) {
		t.Errorf("%v, want %v", m.IDs(), want)
	}
	c := m.Clone()
	for _, p := range m.IDs() {
		m.Delete(p)
	}
	if len(m) != 0 {
		t.Errorf("%d pages hold nothing", len(m))
	}
	if got := maps.Collect(c.All()); !maps.Equal(got, model) {
		t.Errorf("the clone is %v, want %v", got, model)
	}
}
