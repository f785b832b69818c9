package mysql

import (
	"testing"
	"time"

	"github.com/splashdam/splashdam/connect"
)

func TestEveryDayOfTheCalendarHasItsNumber(t *testing.T) {
	days := 0
	for at := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() < 10000; at = at.AddDate(0, 0, 1) {
		n, ok := dayNumber(at.Year(), int(at.Month()), at.Day())
		if !ok || int64(n) != at.Unix()/(24*60*60) {
			t.Fatalf("%s is day %d (%v)", at.Format(time.DateOnly), n, ok)
		}
		days++
	}
	known := 0
	for year := range 10000 {
		for month := range 16 {
			for dayOfMonth := range 32 {
				if _, ok := dayNumber(year, month, dayOfMonth); ok {
					known++
				}
			}
		}
	}
	if days != 3652059 || known != days {
		t.Errorf("%d of %d days have a number", known, days)
	}
}

func TestWhatIsNoTimeIsAnError(t *testing.T) {
	for kind, texts := range map[connect.Kind][]string{
		connect.Date:     {"", "2024-02-3", "2024-02-033", "2024/02/03", "20240203", "x024-02-03"},
		connect.DateTime: {"2024-02-03", "2024-02-03 04:05", "2024-02-03 24:00:00", "2024-02-03 04:60:00", "2024-02-03 04:05:60", "2024-02-03T04:05:06", "2024-02-03 04:05:06.", "2024-02-03 04:05:06.1234567", "2024-02-03 04:05:06.x"},
		connect.Time:     {"", "-", "1:00:00", "12:60:00", "12:00:60", "1234:00:00", "12:00:00,1", "12:00:00.-1"},
	} {
		for _, text := range texts {
			column := connect.NewColumn(connect.Type{Kind: kind})
			cell := cell{&column}
			if err := cell.Scan([]byte(text)); err == nil {
				t.Errorf("%v %q is %s", kind, text, show(&column, 0))
			}
		}
	}
	for name, test := range map[string]struct {
		read  reader
		bytes string
	}{
		"a 13th month":                 {readDate, "\xa3\x11\x0f"},
		"a 60th minute":                {time2Reader(0), "\x80\x0f\x00"},
		"a 100th hundredth":            {time2Reader(2), "\x80\x00\x00\x64"},
		"a 24th hour":                  {datetime2Reader(0), "\x99\xb2\x05\x80\x00"},
		"less than the first moment":   {datetime2Reader(0), "\x00\x00\x00\x00\x00"},
		"ten thousand ten-thousandths": {timestamp2Reader(4), "\x00\x00\x00\x01\x27\x10"},
		"a time of old above all":      {oldTimeReader(6), "\xff\xff\xff\xff\xff\xff"},
		"a 60th second of old":         {oldTimeReader(0), "\x3c\x00\x00"},
		"a year of old above all":      {oldDatetimeReader(0), "\xff\xff\xff\xff\xff\xff\xff\x7f"},
		"months of old above all":      {oldDatetimeReader(6), "\xff\xff\xff\xff\xff\xff\xff\xff"},
	} {
		kind := connect.DateTime
		if name == "a 13th month" {
			kind = connect.Date
		}
		column := connect.NewColumn(connect.Type{Kind: kind})
		if _, err := test.read([]byte(test.bytes), &column); err == nil {
			t.Errorf("%s is no error", name)
		}
		if _, err := test.read([]byte(test.bytes[1:]), &column); err == nil {
			t.Errorf("%s: a byte less is no error", name)
		}
	}
}
