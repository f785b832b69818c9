package runtime

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/splashdam/splashdam/connect"
)

// Whatever order records are acknowledged in, positions are stored in the source's
// order, each only when every record before it is acknowledged, and batches are
// acknowledged in their order, each once.
func TestPositionsHoldOnlyAfterEveryRecordBeforeThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a acks
		type record struct {
			stretch *stretch
			number  int // of the stretch
		}
		var inFlight []record
		open := map[int]int{} // records not acknowledged, by stretch
		var wantPositions, gotPositions, wantAcks, gotAcks []string
		stretches := 0
		finish := func() {
			positions, ack := a.finish()
			for _, p := range positions {
				gotPositions = append(gotPositions, string(p.Offset))
			}
			for _, f := range ack {
				f(nil)
			}
			for n := range stretches {
				if open[n] > 0 && slices.Contains(gotPositions, fmt.Sprint(n)) {
					t.Fatalf("position %d was given out with %d records in flight", n, open[n])
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"rows": func(t *rapid.T) {
				s, n := a.begin(), stretches
				stretches++
				for range rapid.IntRange(0, 4).Draw(t, "records") {
					s.waiting.Add(1)
					open[n]++
					inFlight = append(inFlight, record{s, n})
				}
				s.positions = []connect.Position{{Partition: []byte("{}"), Offset: fmt.Append(nil, n)}}
				wantPositions = append(wantPositions, fmt.Sprint(n))
				if rapid.Bool().Draw(t, "ends a batch") {
					s.ack = func(error) { gotAcks = append(gotAcks, fmt.Sprint(n)) }
					wantAcks = append(wantAcks, fmt.Sprint(n))
				}
				s.waiting.Add(-1)
			},
			"acknowledged": func(t *rapid.T) {
				if len(inFlight) == 0 {
					t.Skip("nothing is in flight")
				}
				i := rapid.IntRange(0, len(inFlight)-1).Draw(t, "which")
				inFlight[i].stretch.waiting.Add(-1)
				open[inFlight[i].number]--
				inFlight = slices.Delete(inFlight, i, i+1)
			},
			"": func(*rapid.T) { finish() },
		})
		for _, r := range inFlight {
			r.stretch.waiting.Add(-1)
			open[r.number]--
		}
		finish()
		if !slices.Equal(gotPositions, wantPositions) || !slices.Equal(gotAcks, wantAcks) {
			t.Fatalf("positions %v, want %v; acks %v, want %v", gotPositions, wantPositions, gotAcks, wantAcks)
		}
	})
}

func TestOnlyTheNewestPositionOfAPartitionIsStored(t *testing.T) {
	p := func(partition, offset string) connect.Position {
		return connect.Position{Partition: []byte(partition), Offset: []byte(offset)}
	}
	got := newest([]connect.Position{p("a", "1"), p("b", "1"), p("a", "2"), p("c", "1"), p("b", "2"), p("a", "3")})
	want := []connect.Position{p("a", "3"), p("b", "2"), p("c", "1")}
	if !slices.EqualFunc(got, want, func(a, b connect.Position) bool {
		return string(a.Partition) == string(b.Partition) && string(a.Offset) == string(b.Offset)
	}) {
		t.Errorf("%s", got)
	}
}
