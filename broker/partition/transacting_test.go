package partition

import (
	"errors"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/record"
)

// began is a leader whose partition 1 has a transaction of producer 1, epoch 3, at
// offset 0, and one of producer 2 that ended at offset 2.
func began(t *testing.T) (*Table, *Leading) {
	table := NewTable()
	openPartition(t, table, 1)
	for i, b := range []record.Batch{
		inTransaction(1, 3, 0, 1), inTransaction(2, 0, 0, 1),
		record.BuildMarker(2, 0, record.Marker{Commit: true, Coordinator: 5}, 1),
	} {
		table.ApplyBatch(1, at(int64(i), b), 1, 1)
	}
	return table, Lead(table, 1)
}

func TestATransactionBeginsOnlyWithItsCoordinatorsWord(t *testing.T) {
	for name, test := range map[string]struct {
		batch    record.Batch
		verified int64
		err      error
	}{
		"the next of an open one":              {inTransaction(1, 3, 1, 1), Unverified, nil},
		"of a fenced epoch":                    {inTransaction(1, 2, 1, 1), 9, kerr.InvalidProducerEpoch},
		"outside of the open one":              {sequenced(1, 3, 1, 1), Unverified, kerr.InvalidTxnState},
		"the first, nobody was asked":          {inTransaction(3, 0, 0, 1), Unverified, ErrUnverified},
		"the first":                            {inTransaction(3, 0, 0, 1), 0, nil},
		"the second, asked before the end":     {inTransaction(2, 0, 1, 1), 2, ErrUnverified},
		"the second, asked behind the end":     {inTransaction(2, 0, 1, 1), 3, nil},
		"behind one that is over, without any": {sequenced(2, 0, 1, 1), Unverified, nil},
	} {
		_, l := began(t)
		if _, err := l.AppendVerified(1, test.batch, test.verified, 9); !errors.Is(err, test.err) || (err == nil) != (test.err == nil) {
			t.Errorf("%s: %v, want %v", name, err, test.err)
		}
	}
}

func TestABatchBehindAMarkerInFlightNeedsTheCoordinatorsWordAgain(t *testing.T) {
	table, l := began(t)
	b, err := l.End(1, End{Producer: 1, Epoch: 3, Coordinator: 5}, 1, 9)
	if err != nil || b.BaseOffset() != 3 {
		t.Fatal(b, err)
	}
	for _, verified := range []int64{Unverified, 3} {
		if _, err := l.AppendVerified(1, inTransaction(1, 3, 1, 1), verified, 10); !errors.Is(err, ErrUnverified) {
			t.Errorf("verified at %d: %v", verified, err)
		}
	}
	if err := l.Verify(1, 1, 3, 3); !errors.Is(err, ErrUnverified) {
		t.Error(err)
	}
	l.Dropped(9)
	if _, err := l.Append(1, inTransaction(1, 3, 1, 1), 9); err != nil {
		t.Errorf("the marker was never written: %v", err)
	}
	l.Dropped(9)
	b, err = l.End(1, End{Producer: 1, Epoch: 3, Coordinator: 5}, 1, 9)
	if err != nil {
		t.Fatal(err)
	}
	table.ApplyBatch(1, b, 1, 2)
	l.Applied(9)
	if _, err := l.Append(1, inTransaction(1, 3, 1, 1), 10); !errors.Is(err, ErrUnverified) {
		t.Errorf("behind the marker: %v", err)
	}
	if _, err := l.AppendVerified(1, inTransaction(1, 3, 1, 1), 4, 10); err != nil {
		t.Error(err)
	}
	if _, err := l.Append(1, inTransaction(1, 3, 2, 1), 10); err != nil {
		t.Errorf("what follows a first batch in flight: %v", err)
	}
}

func TestAMarkerOfAnOldCoordinatorOrEpochEndsNothing(t *testing.T) {
	for name, test := range map[string]struct {
		end End
		err error
	}{
		"of an older coordinator":            {End{Producer: 2, Epoch: 0, Coordinator: 4}, kerr.TransactionCoordinatorFenced},
		"of the same":                        {End{Producer: 2, Epoch: 0, Coordinator: 5}, nil},
		"of a newer one":                     {End{Producer: 2, Epoch: 0, Coordinator: 6}, nil},
		"of an older epoch":                  {End{Producer: 1, Epoch: 2, Coordinator: 6}, kerr.InvalidProducerEpoch},
		"of the epoch":                       {End{Producer: 1, Epoch: 3, Coordinator: 1}, nil},
		"of the next":                        {End{Producer: 1, Epoch: 4, Coordinator: 1, Bumped: true}, nil},
		"of the next, which has come before": {End{Producer: 1, Epoch: 3, Coordinator: 1, Bumped: true}, ErrEnded},
		"of a producer that is not known":    {End{Producer: 9, Epoch: 1, Coordinator: 1}, nil},
	} {
		table, l := began(t)
		b, err := l.End(1, test.end, 7, 9)
		if !errors.Is(err, test.err) || (err == nil) != (test.err == nil) {
			t.Errorf("%s: %v, want %v", name, err, test.err)
		}
		if err != nil {
			continue
		}
		table.ApplyBatch(1, b, 1, 2)
		l.Applied(9)
		if slices.ContainsFunc(table.Producers(1), func(p Producer) bool { return p.ID == test.end.Producer && p.Transaction != noTransaction }) {
			t.Errorf("%s: it is open still", name)
		}
		restored, err := Restore(table.View().Encode())
		if err != nil {
			t.Fatal(err)
		}
		test.end.Coordinator = 0
		if _, err := Lead(restored, 2).End(1, test.end, 7, 9); !errors.Is(err, kerr.TransactionCoordinatorFenced) {
			t.Errorf("%s: a coordinator before it is heard after a restart: %v", name, err)
		}
	}
}

func TestDescribedProducersSayWhatIsOpen(t *testing.T) {
	table, _ := began(t)
	got := map[int64]Producer{}
	for _, p := range table.Producers(1) {
		got[p.ID] = p
	}
	want := map[int64]Producer{
		1: {ID: 1, Epoch: 3, LastSequence: 0, LastUsed: 1, Coordinator: -1, Transaction: 0},
		2: {ID: 2, Epoch: 0, LastSequence: 0, LastUsed: 1, Coordinator: 5, Transaction: -1},
	}
	if len(got) != 2 || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("%+v, want %+v", got, want)
	}
}
