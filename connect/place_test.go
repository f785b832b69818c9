package connect

import (
	"cmp"
	"testing"

	"pgregory.net/rapid"
)

func drawPlace(t *rapid.T) Place {
	return Place{rapid.Uint32().Draw(t, "task"), rapid.Uint32().Draw(t, "epoch"), rapid.Uint64().Draw(t, "file"),
		rapid.Uint64().Draw(t, "end"), rapid.Uint64().Draw(t, "row")}
}

func TestPlaceIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPlace(t)
		if back, err := ParsePlace(p.Append(nil)); err != nil || back != p {
			t.Fatalf("%v was read as %v, %v", p, back, err)
		}
	})
}

func TestOnePlaceIsWrittenInOneWayOnly(t *testing.T) {
	for _, text := range []string{
		"", "1", "1.2.3.4", "1.2.3.4.5.6", "1.2.3.4.", ".1.2.3.4", "1..3.4.5", "01.2.3.4.5", "1.2.3.4.+5", "1.2.3.4.5 ",
		"-1.2.3.4.5", "4294967296.2.3.4.5", "1.4294967296.3.4.5", "1.2.18446744073709551616.4.5", "1.2.3.4.99999999999999999999999",
	} {
		if p, err := ParsePlace([]byte(text)); err == nil {
			t.Errorf("%q was read as %v", text, p)
		}
	}
}

func TestPlacesAreOrderedByEpochThenFileThenEndThenRow(t *testing.T) {
	ascending := []Place{
		{0, 0, 0, 0, 0}, {0, 0, 0, 0, 1}, {0, 0, 0, 1, 0}, {0, 0, 1, 0, 0}, {0, 0, 1, 0, 7}, {0, 1, 0, 0, 0},
	}
	for i, a := range ascending {
		for j, b := range ascending {
			if got := a.Compare(b); got != cmp.Compare(i, j) {
				t.Errorf("%v and %v compare as %d", a, b, got)
			}
		}
	}
}

func FuzzParsePlace(f *testing.F) {
	f.Add([]byte("0.1.12.4567.2"))
	f.Add([]byte("0.0.0.0.18446744073709551615"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := ParsePlace(text)
		if err == nil && p.String() != string(text) {
			t.Errorf("%q was read as %v", text, p)
		}
	})
}

func BenchmarkPlace(b *testing.B) {
	text := Place{0, 1, 117, 93_412_887, 12}.Append(nil)
	b.ReportAllocs()
	for b.Loop() {
		p, err := ParsePlace(text)
		if err != nil {
			b.Fatal(err)
		}
		text = p.Append(text[:0])
	}
}
