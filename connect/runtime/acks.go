package runtime

import (
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/splashdam/splashdam/connect"
)

// acks turns acknowledgements of single records, which come in any order, into
// positions to store and batches to acknowledge, in the source's order. It has no
// lock: its owner has one.
type acks struct {
	unfinished []*stretch
}

// stretch is the rows between two marks, or between a mark and the batch's end.
type stretch struct {
	// waiting counts the records that are not acknowledged, and one more as long as
	// the stretch has not got all of them. At zero the rest is as it will be.
	waiting   atomic.Int64
	produced  func(*kgo.Record, error) // hears what became of each record
	positions []connect.Position
	ack       func(error) // of the batch that ends here
}

// begin starts the next stretch.
func (a *acks) begin() *stretch {
	s := &stretch{}
	s.waiting.Store(1)
	a.unfinished = append(a.unfinished, s)
	return s
}

// finish takes what is complete from the front: the positions that hold now, the
// newest of a partition last, and the batches' acknowledgements to call once
// those are stored.
func (a *acks) finish() (positions []connect.Position, ack []func(error)) {
	n := 0
	for _, s := range a.unfinished {
		if s.waiting.Load() > 0 {
			break
		}
		positions = append(positions, s.positions...)
		if s.ack != nil {
			ack = append(ack, s.ack)
		}
		n++
	}
	left := copy(a.unfinished, a.unfinished[n:])
	clear(a.unfinished[left:])
	a.unfinished = a.unfinished[:left]
	return positions, ack
}

// abandon ends everything that is not finished.
func (a *acks) abandon() (ack []func(error)) {
	for _, s := range a.unfinished {
		if s.ack != nil {
			ack = append(ack, s.ack)
		}
	}
	a.unfinished = nil
	return ack
}

// newest keeps the last position of each partition, in the order of the first.
func newest(positions []connect.Position) []connect.Position {
	at := make(map[string]int, len(positions))
	kept := positions[:0]
	for _, p := range positions {
		if i, ok := at[string(p.Partition)]; ok {
			kept[i] = p
			continue
		}
		at[string(p.Partition)] = len(kept)
		kept = append(kept, p)
	}
	return kept
}
