package convert

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

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
