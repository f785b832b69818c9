package convert

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// drawText makes texts of all lengths with everything that needs care in them:
// escapes, all widths of UTF-8, and what is no UTF-8.
func drawText(t *rapid.T, name string) []byte {
	parts := []string{
		"a", "plain text that is longer than a word", `"`, `\`, "\n", "\x00", "\x1f", "\x7f", "<&>", "é", "日本", "𝄞", "\u2028", "\u2029", "\ufffd",
		"\xff", "\xc3", "\xed\xa0\x80", "\xf0\x9d\x84", "12345678", "\b\f\r\t",
	}
	return []byte(strings.Join(rapid.SliceOfN(rapid.SampledFrom(parts), 0, 12).Draw(t, name), ""))
}

func marshalled(t interface{ Fatal(...any) }, v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func TestStringsAreWrittenAsEncodingJSONWritesThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := drawText(t, "text")
		if got, want := appendString(nil, text), marshalled(t, string(text)); !bytes.Equal(got, want) {
			t.Fatalf("%q became %s instead of %s", text, got, want)
		}
	})
	for c := range 256 { // each byte at every place of a word
		for before := range 9 {
			text := []byte(strings.Repeat("x", before) + string([]byte{byte(c)}) + "yyyyyyyyy")
			if got, want := appendString(nil, text), marshalled(t, string(text)); !bytes.Equal(got, want) {
				t.Fatalf("%q became %s instead of %s", text, got, want)
			}
		}
	}
}
