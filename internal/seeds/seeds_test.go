package seeds

import "testing"

func TestTheSeedThatIsNamedIsTheOnlyOne(t *testing.T) {
	t.Setenv("SPLASHDAM_TEST_LONG", "")
	t.Setenv("SPLASHDAM_TEST_SEED", "42")
	if first, count := Range(t, 5, 9); first != 42 || count != 1 {
		t.Errorf("%d from %d on", count, first)
	}
	t.Setenv("SPLASHDAM_TEST_SEED", "")
	a, count := Range(t, 5, 9)
	if b, _ := Range(t, 5, 9); a == b || count != 5 {
		t.Errorf("%d from %d on, then from %d on", count, a, b)
	}
	t.Setenv("SPLASHDAM_TEST_LONG", "1")
	if _, count := Range(t, 5, 9); count != 9 {
		t.Errorf("%d in a long run", count)
	}
}
