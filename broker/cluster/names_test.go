package cluster

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

func TestTopicNamesFollowKafka(t *testing.T) {
	for name, ok := range map[string]bool{
		"a":                        true,
		"Orders.v2_eu-west":        true,
		"...":                      true,
		strings.Repeat("x", 249):   true,
		strings.Repeat("x", 250):   false,
		strings.Repeat("x", 70000): false,
		"":                         false,
		".":                        false,
		"..":                       false,
		"a b":                      false,
		"a/b":                      false,
		"a\x00":                    false,
		"naïve":                    false,
		"topic:1":                  false,
	} {
		want := kerr.InvalidTopicException
		if ok {
			want = nil
		}
		wantKafka(t, CheckTopicName(name), want)
	}
}

func TestNamesCollideByDotAndUnderscoreOnly(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"a.b", "a_b", true},
		{"a.b_c", "a_b.c", true},
		{"a.b", "a-b", false},
		{"a.b", "a.bc", false},
		{"a.b", "A_b", false},
	} {
		if got := collide(c.a, c.b); got != c.want {
			t.Errorf("collide(%q, %q) = %v", c.a, c.b, got)
		}
	}
}
