package record

import "testing"

func TestPartitionsPrintWithWhatTheyAre(t *testing.T) {
	for p, want := range map[PartitionID]string{
		0: "p0", FirstHidden - 1: "p2147483647", Halves: "h0", Halves + 5: "h5",
	} {
		if got := p.String(); got != want {
			t.Errorf("%d prints as %s, want %s", uint32(p), got, want)
		}
		if p.Hidden() != (want[0] == 'h') {
			t.Errorf("%s: hidden is %v", want, p.Hidden())
		}
	}
}
