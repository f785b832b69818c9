package partition

import (
	"reflect"
	"testing"

	"github.com/splashdam/splashdam/broker/record"
)

// A story is batches one behind the other, and what is stable and aborted then.
func TestTransactionsEndWhereKafkaSaysTheyDo(t *testing.T) {
	const commit, abort = record.MarkerCommit, record.MarkerAbort
	for _, test := range []struct {
		name    string
		batches []record.Batch
		stable  int64
		aborted []Aborted
	}{
		{"none", []record.Batch{sequenced(1, 0, 0, 3)}, 3, nil},
		{"one that is open", []record.Batch{sequenced(-1, -1, -1, 2), inTransaction(1, 0, 0, 1), sequenced(2, 0, 0, 1)}, 2, nil},
		{"one that is committed", []record.Batch{inTransaction(1, 0, 0, 2), marker(1, 0, commit)}, 3, nil},
		{"one that is aborted", []record.Batch{inTransaction(1, 0, 0, 2), inTransaction(1, 0, 2, 2), marker(1, 0, abort)}, 5, []Aborted{{1, 0, 4, 5}}},
		{"a marker that ends nothing", []record.Batch{sequenced(1, 0, 0, 1), marker(1, 0, abort), marker(2, 0, abort)}, 3, nil},
		{"a marker of another producer", []record.Batch{inTransaction(1, 0, 0, 1), marker(2, 0, abort)}, 0, nil},
		{"a control batch of another kind", []record.Batch{inTransaction(1, 0, 0, 1), marker(1, 0, 2)}, 0, nil},
		{"a batch outside of its producer's transaction", []record.Batch{inTransaction(1, 0, 0, 1), sequenced(1, 0, 1, 1), marker(1, 0, abort)}, 3, []Aborted{{1, 0, 2, 3}}},
		{"one that ends before an older one", []record.Batch{
			inTransaction(1, 0, 0, 1), inTransaction(2, 0, 0, 1), marker(2, 0, abort),
		}, 0, []Aborted{{2, 1, 2, 0}}},
		{"the oldest of three that ends", []record.Batch{
			inTransaction(1, 0, 0, 1), inTransaction(2, 0, 0, 1), inTransaction(3, 0, 0, 1), marker(1, 0, abort),
		}, 1, []Aborted{{1, 0, 3, 1}}},
		{"the one in the middle that ends", []record.Batch{
			inTransaction(1, 0, 0, 1), inTransaction(2, 0, 0, 1), inTransaction(3, 0, 0, 1), marker(2, 0, commit), marker(1, 0, abort),
		}, 2, []Aborted{{1, 0, 4, 2}}},
		{"the next of the same producer", []record.Batch{
			inTransaction(1, 0, 0, 1), marker(1, 0, abort), inTransaction(1, 0, 1, 1), marker(1, 0, commit), inTransaction(1, 0, 2, 1),
		}, 4, []Aborted{{1, 0, 1, 2}}},
	} {
		table := NewTable()
		openPartition(t, table, 1)
		for i, b := range test.batches {
			bounds, _ := table.Bounds(1)
			table.ApplyBatch(1, at(bounds.HighWatermark, b), 1, int64(i))
		}
		b, _ := table.Bounds(1)
		if b.LastStable != test.stable {
			t.Errorf("%s: the last stable offset is %d, want %d", test.name, b.LastStable, test.stable)
		}
		if got := table.Aborted(1, 0, b.HighWatermark); len(got)+len(test.aborted) > 0 && !reflect.DeepEqual(got, test.aborted) {
			t.Errorf("%s: %v are aborted, want %v", test.name, got, test.aborted)
		}
	}
}

func TestTheLogStartTakesAbortedTransactionsAlongAndPassesOpenOnes(t *testing.T) {
	table := NewTable()
	openPartition(t, table, 1)
	for i, b := range []record.Batch{
		inTransaction(1, 0, 0, 1), inTransaction(2, 0, 0, 1), marker(1, 0, record.MarkerAbort), inTransaction(3, 0, 0, 1), marker(3, 0, record.MarkerAbort),
	} {
		table.ApplyBatch(1, at(int64(i), b), 1, 1)
	}
	for _, step := range []struct {
		start, stable int64
		aborted       int
	}{{0, 1, 2}, {1, 1, 2}, {2, 2, 2}, {3, 3, 1}, {4, 4, 1}, {5, 5, 0}} {
		if err := table.Apply(1, LogStartCommand(step.start), 1); err != nil {
			t.Fatal(err)
		}
		b, _ := table.Bounds(1)
		if n := len(table.Aborted(1, 0, 100)); b.LastStable != step.stable || n != step.aborted {
			t.Errorf("from %d on: stable up to %d, %d aborted, want %d and %d", step.start, b.LastStable, n, step.stable, step.aborted)
		}
		if r, err := Restore(table.View().Encode()); err != nil {
			t.Error(err)
		} else if again, _ := r.Bounds(1); again != b {
			t.Errorf("restored it is %+v, was %+v", again, b)
		}
	}
}

func TestAMarkerOfANewerEpochFencesItsProducer(t *testing.T) {
	table := NewTable()
	openPartition(t, table, 1)
	table.ApplyBatch(1, at(0, inTransaction(1, 3, 0, 2)), 1, 1)
	table.ApplyBatch(1, at(2, marker(1, 4, record.MarkerCommit)), 1, 2)
	l := Lead(table, 1)
	for what, refused := range map[string]record.Batch{
		"of the old epoch": inTransaction(1, 3, 2, 1), "that goes on with its sequences": inTransaction(1, 4, 2, 1),
	} {
		if _, err := l.Append(1, refused, 9); err == nil {
			t.Errorf("a batch %s is taken", what)
		}
	}
	if d, err := l.AppendVerified(1, inTransaction(1, 4, 0, 1), 3, 9); err != nil || d.BaseOffset != 3 {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestAProducerWithAnOpenTransactionIsNotForgotten(t *testing.T) {
	table := NewTable()
	openPartition(t, table, 1)
	table.ApplyBatch(1, at(0, inTransaction(1, 0, 0, 1)), 1, 1)
	table.ApplyBatch(1, at(1, sequenced(2, 0, 0, 1)), 1, 1)
	l := Lead(table, 1)
	list := l.ExpiredProducers(10_000_000, 1000, 10)
	if len(list) != 1 || !reflect.DeepEqual(expired(list[0].Command), []int64{2}) {
		t.Errorf("proposed is %v", list)
	}
	// Nor by a command that somebody proposed before it began.
	if err := table.Apply(1, ExpireProducersCommand(100, 1, 2), 5); err != nil {
		t.Fatal(err)
	}
	if n := len(table.find(1).producers.byID); n != 1 || table.find(1).producers.byID[1] == nil {
		t.Errorf("%d producers are left", n)
	}
	table.ApplyBatch(1, at(2, marker(1, 0, record.MarkerAbort)), 1, 6)
	if list := l.ExpiredProducers(20_000_000, 1000, 10); len(list) != 1 {
		t.Errorf("behind its end proposed is %v", list)
	}
}

func TestACrowdedPartitionForgetsThoseThatWereIdleForTheLongest(t *testing.T) {
	table := NewTable()
	openPartition(t, table, 1)
	l := Lead(table, 1)
	l.crowd.limit = 10
	write := func(producer int64, first int32, now int64) error {
		b := sequenced(producer, 0, first, 1)
		_, err := l.Append(1, b, 1)
		if err == nil {
			table.ApplyBatch(1, b, 1, now)
			l.Applied(1)
		}
		return err
	}
	for i := range int64(20) {
		if err := write(i, 0, 100+i); err != nil {
			t.Fatal(err)
		}
	}
	if err := write(0, 1, 200); err != nil { // the first one is not idle
		t.Fatal(err)
	}
	if err := write(20, 0, 201); err == nil {
		t.Error("a partition of twice as many producers takes one more")
	}
	if list := l.ExpiredProducers(1000, 1_000_000, 3); len(list) != 1 || !reflect.DeepEqual(expired(list[0].Command), []int64{1, 2, 3}) {
		t.Errorf("of at most three, proposed is %v", list)
	}
	if list := l.ExpiredProducers(1500, 1_000_000, 100); len(list) != 0 {
		t.Errorf("before it can have been carried out, proposed is %v", list)
	}
	list := l.ExpiredProducers(2000, 1_000_000, 100)
	if len(list) != 1 || !reflect.DeepEqual(expired(list[0].Command), []int64{1, 2, 3, 4, 5, 6, 7, 8, 9}) {
		t.Fatalf("proposed is %v", list)
	}
	if err := table.Apply(1, list[0].Command, 300); err != nil {
		t.Fatal(err)
	}
	if n := len(table.find(1).producers.byID); n != 10 || table.find(1).producers.byID[0] == nil {
		t.Errorf("%d producers are left", n)
	}
	if list := l.ExpiredProducers(5000, 1_000_000, 100); len(list) != 0 || len(l.crowd.due) > 0 {
		t.Errorf("then proposed is %v", list)
	}
	// What was forgotten goes on where it likes.
	if err := write(5, 1, 400); err != nil {
		t.Error(err)
	}
}
