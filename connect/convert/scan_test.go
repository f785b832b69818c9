package convert

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"pgregory.net/rapid"
)

var escapes = regexp.MustCompile(`\\(u[0-9a-fA-F]{4}|.)`)

// strictlyValid is what skipValue takes, said in another way: what encoding/json
// takes, without what it mends (bad UTF-8, halves of surrogate pairs) and without
// what is nested too deeply.
func strictlyValid(text []byte) bool {
	if !json.Valid(text) || !utf8.Valid(text) {
		return false
	}
	depth := 0
	for d := json.NewDecoder(bytes.NewReader(text)); ; {
		token, err := d.Token()
		if err != nil {
			break
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			if depth++; depth > maxDepth {
				return false
			}
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
	end, half := 0, rune(0) // of the escape before, and the surrogate that it was
	for _, at := range escapes.FindAllIndex(text, -1) {
		r := rune(0)
		if escape := string(text[at[0]:at[1]]); len(escape) == 6 {
			n, _ := strconv.ParseUint(escape[2:], 16, 32)
			r = rune(n)
		}
		low := r >= 0xdc00 && r <= 0xdfff
		if half != 0 && (at[0] != end || !low) || half == 0 && low {
			return false
		}
		end, half = at[1], 0
		if utf16.IsSurrogate(r) && !low {
			half = r
		}
	}
	return half == 0
}

func checkSkip(t interface{ Errorf(string, ...any) }, text []byte) {
	end, f := skipValue(text, 0)
	if f == 0 && skipSpace(text, end) < len(text) {
		f = trailing
	}
	if want := strictlyValid(text); (f == 0) != want {
		t.Errorf("%q: valid %v, but %q at %d", text, want, faults[f], end)
	}
	if end > len(text) {
		t.Errorf("%q ends at %d", text, end)
	}
}

// documents are beginnings for fuzzing, and cases of their own.
var documents = []string{
	``, ` `, `null`, `nul`, `nulls`, `true`, `false`, `truefalse`, `0`, `-0`, `-`, `01`, `1.`, `1.5`, `.5`, `1e`, `1e+`, `1E-07`, `+1`, `--1`,
	`""`, `"`, `"a`, `"\`, `"\n\/\"\\\b\f\r\t"`, `"\x"`, `"\u00e9"`, `"\u00g9"`, `"\u00"`, `"\ud834\udd1e"`, `"\ud834"`, `"\udd1e"`, `"\ud834\ud834"`,
	`"\ud834\n"`, `"\ud834x\udd1e"`, "\"a\nb\"", "\"\x7f\"", "\"\xff\"", "\"\xed\xa0\x80\"", `"é日𝄞"`, "\"aaaaaaaa\xc3\"", `"aaaaaaaa\u0041aaaaaaaé"`,
	`[]`, `[ ]`, `[1,]`, `[,1]`, `[1 2]`, `[1,2`, `[1}`, `{}`, `{ }`, `{"a":1}`, `{"a" : 1 , "b":[{},[]]}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`, `{"a":1]`,
	`{"a":1 "b":2}`, `{,}`, `1 1`, ` [ 1 , "x" , null ] `, "\v1", "\ufeff1", strings.Repeat("[", 64) + strings.Repeat("]", 64),
	strings.Repeat("[", 65) + strings.Repeat("]", 65), strings.Repeat(`{"a":`, 64) + `[1]` + strings.Repeat("}", 64),
	strings.Repeat(`[{"a":`, 32) + `"x"` + strings.Repeat("}]", 32), strings.Repeat(`[{"a":`, 32) + `"x"` + strings.Repeat("]}", 32),
}

func TestValuesAreSkippedIfEncodingJSONTakesThem(t *testing.T) {
	for _, text := range documents {
		checkSkip(t, []byte(text))
		for cut := range len(text) {
			checkSkip(t, []byte(text[:cut]))
			checkSkip(t, []byte(text[cut:]))
		}
	}
}

func FuzzSkipValue(f *testing.F) {
	for _, text := range documents {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) { checkSkip(t, text) })
}

func TestStringsAreReadAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := bytes.ToValidUTF8(drawText(t, "text"), nil)
		written := appendString(nil, text)
		if rapid.Bool().Draw(t, "in ASCII") {
			written = []byte(strconv.QuoteToASCII(string(text)))
			if !json.Valid(written) { // Go has escapes that JSON does not know
				t.Skip()
			}
		}
		end, escaped, f := scanString(written, 1)
		if f != 0 || end != len(written)-1 || escaped != bytes.Contains(written, []byte{'\\'}) {
			t.Fatalf("%s: %q, escaped %v, up to %d", written, faults[f], escaped, end)
		}
		if got := unescape(nil, written[1:end]); !bytes.Equal(got, text) {
			t.Fatalf("%q was read as %q", text, got)
		}
	})
}

func TestEveryFaultHasASentence(t *testing.T) {
	for f := truncated; f <= trailing; f++ {
		if faults[f] == "" {
			t.Errorf("fault %d has none", f)
		}
	}
	if len(faults) != int(trailing)+1 {
		t.Errorf("%d sentences for %d faults", len(faults)-1, trailing)
	}
}
