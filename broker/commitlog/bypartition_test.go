package commitlog

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/splashdam/splashdam/broker/record"
)

// byPartition does what a map does, for ids side by side and far apart.
func TestByPartitionIsAMap(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	ids := []record.PartitionID{record.FirstHidden, ^record.PartitionID(0)}
	for p := range record.PartitionID(3 * pageIDs) {
		ids = append(ids, p)
	}
	m, model := make(byPartition[int]), make(map[record.PartitionID]int)
	for i := range 20_000 {
		switch p := ids[rnd.IntN(len(ids))]; rnd.IntN(3) {
		case 0:
			v, isNew := m.at(p)
			if old, ok := model[p]; ok == isNew || *v != old {
				t.Fatalf("step %d: %v is %d, new %t; want %d, %t", i, p, *v, isNew, old, !ok)
			}
			*v, model[p] = i, i
		case 1:
			v, ok := m.get(p)
			if want, is := model[p]; v != want || ok != is {
				t.Fatalf("step %d: %v is %d, %t; want %d, %t", i, p, v, ok, want, is)
			}
		case 2:
			if i > 10_000 || rnd.IntN(8) == 0 {
				m.delete(p)
				delete(model, p)
			}
		}
		if m.len() != len(model) {
			t.Fatalf("step %d: %d values, want %d", i, m.len(), len(model))
		}
	}
	if got := maps.Collect(m.all()); !maps.Equal(got, model) {
		t.Errorf("%v, want %v", got, model)
	}
	if want := slices.Sorted(maps.Keys(model)); !slices.Equal(m.partitions(), want) {
		t.Errorf("%v, want %v", m.partitions(), want)
	}
	c := m.clone()
	for _, p := range m.partitions() {
		m.delete(p)
	}
	if len(m) != 0 {
		t.Errorf("%d pages hold nothing", len(m))
	}
	if got := maps.Collect(c.all()); !maps.Equal(got, model) {
		t.Errorf("the clone is %v, want %v", got, model)
	}
}
