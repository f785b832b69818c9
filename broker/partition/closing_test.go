package partition

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

// TestAPartitionThatIsClosingTakesNothing sees that no batch can come to lie behind
// the end of its partition in the log.
func TestAPartitionThatIsClosingTakesNothing(t *testing.T) {
	table := NewTable()
	openPartition(t, table, 1)
	l := Lead(table, 1)
	appends := func() error {
		_, err := l.Append(1, sequenced(-1, -1, -1, 1), 5)
		return err
	}
	l.Close(1, 5)
	if err := appends(); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Fatalf("a batch for a partition that is being closed: %v", err)
	}
	// The entry with the end was dropped.
	l.Dropped(5)
	if err := appends(); err != nil {
		t.Fatal(err)
	}
	l.Close(1, 6)
	if err := table.Apply(1, CloseCommand(), 0); err != nil {
		t.Fatal(err)
	}
	l.Applied(6)
	if len(l.closing) != 0 {
		t.Errorf("remembered of what is closed: %v", l.closing)
	}
	if err := appends(); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Fatalf("a batch for a partition that is closed: %v", err)
	}
}
