package convert

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// drawText makes texts of all lengths with everything that needs care in them:
// escapes, all widths of UTF-8, and what is no UTF-8.
func drawText(t *rapid.T, name string) []byte {
	parts := []string{
		"a", "plain text that is longer than a word", `"`, `\`, "\n", "\x00", "\x1f", "\x7f", "<&>", "é", "日本", "𝄞", "\u2028", "\ufffd",
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

func TestTimestampsAreWrittenAsTimeFormatsThem(t *testing.T) {
	layouts := []string{
		"2006-01-02T15:04:05Z", "2006-01-02T15:04:05.0Z", "2006-01-02T15:04:05.00Z", "2006-01-02T15:04:05.000Z",
		"2006-01-02T15:04:05.0000Z", "2006-01-02T15:04:05.00000Z", "2006-01-02T15:04:05.000000Z",
	}
	rapid.Check(t, func(t *rapid.T) {
		micros := rapid.Int64Range(-62167219200_000000, 253402300799_999999).Draw(t, "micros") // years 0000 to 9999
		precision := rapid.IntRange(0, 6).Draw(t, "precision")
		want := time.UnixMicro(micros).UTC().Format(layouts[precision])
		if got := string(appendTimestamp(nil, micros, precision)); got != want {
			t.Fatalf("%d became %s instead of %s", micros, got, want)
		}
	})
}

func TestTimestampsBeyondTheYear9999HaveASign(t *testing.T) {
	for text, at := range map[string]time.Time{
		"+10000-01-01T00:00:00Z":  time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC),
		"+294247-01-09T00:00:00Z": time.Date(294247, 1, 9, 0, 0, 0, 0, time.UTC),
		"-0001-12-31T23:59:59Z":   time.Date(-1, 12, 31, 23, 59, 59, 0, time.UTC),
		"-12345-03-01T00:00:00Z":  time.Date(-12345, 3, 1, 0, 0, 0, 0, time.UTC),
	} {
		if got := string(appendTimestamp(nil, at.UnixMicro(), 0)); got != text {
			t.Errorf("%v became %s instead of %s", at, got, text)
		}
	}
}

func TestEveryDayIsTheDateThatTimeHasForIt(t *testing.T) {
	at := time.Date(-801, 1, 1, 0, 0, 0, 0, time.UTC)
	for days := at.Unix() / 86400; days < 365*900; days++ {
		year, month, day := civil(days)
		if year != int64(at.Year()) || month != int64(at.Month()) || day != int64(at.Day()) {
			t.Fatalf("day %d is %d-%d-%d instead of %v", days, year, month, day, at)
		}
		if back := daysOf(year, month, day); back != days {
			t.Fatalf("%v is day %d instead of %d", at, back, days)
		}
		at = at.AddDate(0, 0, 1)
	}
}
