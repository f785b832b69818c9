package invariant

import "testing"

func TestWhatHoldsIsSilent(t *testing.T) { That(true, "never seen") }

func TestWhatDoesNotHoldPanicsWithItsMessage(t *testing.T) {
	defer func() {
		if got, want := recover(), "invariant violated: 3 is not 4"; got != want {
			t.Errorf("panicked with %v, want %q", got, want)
		}
	}()
	That(false, "%d is not %d", 3, 4)
}
