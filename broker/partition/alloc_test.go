package partition

import (
	"testing"

	"github.com/splashdam/splashdam/broker/record"
)

func TestADecisionAllocatesNothing(t *testing.T) {
	table := NewTable()
	openPartition(t, table, 1)
	l := Lead(table, 1)
	first := sequenced(7, 0, 0, 1)
	decide(t, l, first)
	table.ApplyBatch(1, first, 1, 1)
	l.Applied(1000)
	decide(t, l, sequenced(8, 0, 0, 1)) // stays in flight
	for name, batch := range map[string]record.Batch{
		"the next": sequenced(7, 0, 1, 1), "a repeat": sequenced(7, 0, 0, 1), "a repeat in flight": sequenced(8, 0, 0, 1),
		"one without producer": sequenced(-1, -1, -1, 1),
	} {
		n := testing.AllocsPerRun(100, func() {
			m := l.Mark()
			decide(t, l, batch)
			l.Undo(m)
		})
		if n != 0 {
			t.Errorf("deciding on %s allocates %.0f times", name, n)
		}
	}
}

func decide(t testing.TB, l *Leading, b record.Batch) {
	if _, err := l.Append(1, b, 1000); err != nil {
		t.Fatal(err)
	}
}
