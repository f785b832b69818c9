package partition

import (
	"fmt"
	"testing"

	"github.com/splashdam/splashdam/broker/record"
)

// BenchmarkAdmit is what a batch of an idempotent producer costs the shard's loop:
// decided on, applied, settled. One entry of 100 batches is in flight.
func BenchmarkAdmit(b *testing.B) {
	const perEntry = 100
	for _, partitions := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("partitions=%d", partitions), func(b *testing.B) {
			table := NewTable()
			for p := range partitions {
				openPartition(b, table, record.PartitionID(p+1))
			}
			l := Lead(table, 1)
			batches := make([]record.Batch, perEntry)
			sequences := make([]int32, partitions)
			b.ReportAllocs()
			next, at := 0, record.Index(1)
			for i := range batches {
				batches[i] = sequenced(7, 0, 0, 1)
			}
			for n := 0; n < b.N; n += perEntry {
				first := next
				for i := range batches {
					p := next % partitions
					next++
					setSequence(batches[i], sequences[p])
					sequences[p]++
					if d, err := l.Append(record.PartitionID(p+1), batches[i], at); err != nil || d.Duplicate {
						b.Fatal(d, err)
					}
				}
				for i := range batches {
					table.ApplyBatch(record.PartitionID((first+i)%partitions+1), batches[i], 1, 1)
				}
				l.Applied(at)
				at++
			}
		})
	}
}

// BenchmarkDecide is the leader's decision alone, taken back so that nothing grows.
func BenchmarkDecide(b *testing.B) {
	table := NewTable()
	openPartition(b, table, 1)
	l := Lead(table, 1)
	first := sequenced(7, 0, 0, 1)
	if _, err := l.Append(1, first, 1); err != nil {
		b.Fatal(err)
	}
	table.ApplyBatch(1, first, 1, 1)
	l.Applied(1)
	for name, batch := range map[string]record.Batch{
		"next": sequenced(7, 0, 1, 1), "repeat": sequenced(7, 0, 0, 1), "plain": sequenced(-1, -1, -1, 1),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				m := l.Mark()
				if _, err := l.Append(1, batch, 2); err != nil {
					b.Fatal(err)
				}
				l.Undo(m)
			}
		})
	}
}
