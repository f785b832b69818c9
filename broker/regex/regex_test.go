package regex

import (
	"strings"
	"testing"
)

func TestAnExpressionMatchesWholeNames(t *testing.T) {
	re, err := Compile("a|b.")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"a": true, "bc": true, "ab": false, "b": false, "xa": false, "a\n": false} {
		if re.MatchString(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

func TestAnExpressionIsBoundedInWhatItUnfoldsTo(t *testing.T) {
	for _, good := range []string{"", "orders-.*", strings.Repeat("a{1000}", 2), strings.Repeat("orders|", 1000)} {
		if _, err := Compile(good); err != nil {
			t.Errorf("%.20q: %v", good, err)
		}
	}
	for _, bad := range []string{"(", strings.Repeat("a{1000}", 3), strings.Repeat("[a-z]{1000}", 3000), strings.Repeat("a", maxBytes+1)} {
		if _, err := Compile(bad); err == nil {
			t.Errorf("%.20q is taken", bad)
		}
	}
}
