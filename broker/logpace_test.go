package broker

import (
	"testing"
	"time"
)

func TestWhatIsLoggedOftenIsLoggedOnceInAWhileAndCounted(t *testing.T) {
	var l logPace
	now := time.Now()
	is := func(key any, at time.Time, omitted int, ok bool) {
		t.Helper()
		if o, k := l.admits(key, at); o != omitted || k != ok {
			t.Errorf("%v: %v with %d left out, want %v with %d", key, k, o, ok, omitted)
		}
	}
	is("a", now, 0, true)
	is("a", now.Add(time.Second), 0, false)
	is("b", now.Add(time.Second), 1, true)
	for n := range maxLogged - 2 {
		is(n, now.Add(2*time.Second), 0, true)
	}
	for n := range 1000 {
		is(-1-n, now.Add(3*time.Second), 0, false)
	}
	is("c", now.Add(logWindow), 1000, true)
	is("c", now.Add(2*logWindow-1), 0, false)
	is("a", now.Add(2*logWindow), 1, true)
}
