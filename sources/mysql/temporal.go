package mysql

import (
	"errors"

	"github.com/splashdam/splashdam/connect"
)

// errTime is a time or date of which some part is out of its range.
var errTime = errors.New("it is no time")

const (
	second = 1_000_000 // in microseconds, in which all times are counted
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour
)

// fractionSteps is how many microseconds the last digit stands for, by the digits
// of a fraction, and fractionBytes how many bytes they take.
var (
	fractionSteps = [maxFraction + 1]int64{second, 100_000, 10_000, 1000, 100, 10, 1}
	fractionBytes = [maxFraction + 1]int{0, 1, 1, 2, 2, 3, 3}
)

// dayNumber counts days since 1970. It is false of what is no day of the
// calendar: 0000-00-00, 2024-00-00 and, as ALLOW_INVALID_DATES lets in, 2024-02-31.
// Of the year 0 no day counts, though some of it are in the calendar.
func dayNumber(year, month, dayOfMonth int) (int32, bool) {
	if year < 1 || month < 1 || month > 12 || dayOfMonth < 1 || dayOfMonth > daysIn(year, month) {
		return 0, false
	}
	// Years begin in March here, so that the day that comes and goes is the last.
	if month <= 2 {
		year--
		month += 12
	}
	return int32(365*year + year/4 - year/100 + year/400 + (153*(month-3)+2)/5 + dayOfMonth - 719469), true
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// clock is microseconds since midnight.
func clock(h, m, s int, micros int64) (int64, error) {
	if h > 23 || m > 59 || s > 59 || micros >= second {
		return 0, errTime
	}
	return int64(h)*hour + int64(m)*minute + int64(s)*second + micros, nil
}

// appendDate appends a day, or null if it is none.
func appendDate(to *connect.Column, year, month, dayOfMonth int) {
	if n, ok := dayNumber(year, month, dayOfMonth); ok {
		to.Append4(uint32(n))
	} else {
		to.AppendNull()
	}
}

// appendDatetime appends a day with a time, or null if the day is none.
func appendDatetime(to *connect.Column, year, month, dayOfMonth, h, m, s int, micros int64) error {
	at, err := clock(h, m, s, micros)
	if err != nil || month > 12 || dayOfMonth > 31 {
		return errTime
	}
	if n, ok := dayNumber(year, month, dayOfMonth); ok {
		to.Append8(uint64(int64(n)*day + at))
	} else {
		to.AppendNull()
	}
	return nil
}

// appendDuration appends a time that may be longer than a day.
func appendDuration(to *connect.Column, negative bool, h, m, s int, micros int64) error {
	if m > 59 || s > 59 || micros >= second {
		return errTime
	}
	v := int64(h)*hour + int64(m)*minute + int64(s)*second + micros
	if negative {
		v = -v
	}
	to.Append8(uint64(v))
	return nil
}

// appendTimestamp appends seconds since 1970, of which 0 means no time at all.
func appendTimestamp(to *connect.Column, seconds uint32, micros int64) error {
	if micros >= second {
		return errTime
	}
	if seconds == 0 && micros == 0 {
		to.AppendNull()
	} else {
		to.Append8(uint64(int64(seconds)*second + micros))
	}
	return nil
}

func readDate(b []byte, to *connect.Column) (int, error) {
	if len(b) < 3 {
		return 0, errShort
	}
	v := int(little24(b))
	if v>>5&15 > 12 {
		return 0, errTime
	}
	appendDate(to, v>>9, v>>5&15, v&31)
	return 3, nil
}

func bigUint(b []byte) uint64 {
	var v uint64
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v
}

// withFraction is seconds in so many bytes and the fraction behind them, which is
// as many digits as fit the bytes, in twos.
type withFraction struct {
	size  int   // of both
	bits  int   // of the fraction
	steps int64 // microseconds of the fraction's last digit
}

func newWithFraction(bytes, digits int) withFraction {
	n := fractionBytes[digits]
	return withFraction{bytes + n, 8 * n, fractionSteps[2*n]}
}

// split takes both apart.
func (f withFraction) split(v uint64) (whole, micros int64) {
	return int64(v >> f.bits), int64(v&(1<<f.bits-1)) * f.steps
}

// time2Reader is for TIME: hours, minutes and seconds in 10, 6 and 6 bits and the
// fraction, as one number that is zero in the middle of its range.
func time2Reader(digits int) reader {
	f := newWithFraction(3, digits)
	zero := int64(1) << (8*f.size - 1)
	return func(b []byte, to *connect.Column) (int, error) {
		if len(b) < f.size {
			return 0, errShort
		}
		v := int64(bigUint(b[:f.size])) - zero
		negative := v < 0
		if negative {
			v = -v
		}
		hms, micros := f.split(uint64(v))
		return f.size, appendDuration(to, negative, int(hms>>12), int(hms>>6&63), int(hms&63), micros)
	}
}

// datetime2Reader is for DATETIME: 13 times the year plus the month, day, hours,
// minutes and seconds in 5, 5, 6 and 6 bits, the highest bit set.
func datetime2Reader(digits int) reader {
	f := newWithFraction(5, digits)
	return func(b []byte, to *connect.Column) (int, error) {
		if len(b) < f.size {
			return 0, errShort
		}
		v, micros := f.split(bigUint(b[:f.size]))
		v -= 1 << 39
		if v < 0 {
			return 0, errTime
		}
		months := int(v >> 22)
		return f.size, appendDatetime(to, months/13, months%13, int(v>>17&31), int(v>>12&31), int(v>>6&63), int(v&63), micros)
	}
}

func timestamp2Reader(digits int) reader {
	f := newWithFraction(4, digits)
	return func(b []byte, to *connect.Column) (int, error) {
		if len(b) < f.size {
			return 0, errShort
		}
		seconds, micros := f.split(bigUint(b[:f.size]))
		return f.size, appendTimestamp(to, uint32(seconds), micros)
	}
}

// oldTimeReader is for TIME as MariaDB 5.3 had it: without a fraction the digits
// of the clock as a number, with one the count of its steps above the lowest.
func oldTimeReader(digits int) reader {
	if digits == 0 {
		return func(b []byte, to *connect.Column) (int, error) {
			if len(b) < 3 {
				return 0, errShort
			}
			v := int(int32(little24(b)<<8) >> 8)
			negative := v < 0
			if negative {
				v = -v
			}
			return 3, appendDuration(to, negative, v/10000, v/100%100, v%100, 0)
		}
	}
	const above = 839 * hour // the first that is too high, and so is the lowest with a minus
	size, step := [maxFraction + 1]int{3, 4, 4, 5, 5, 5, 6}[digits], fractionSteps[digits]
	return func(b []byte, to *connect.Column) (int, error) {
		if len(b) < size {
			return 0, errShort
		}
		v := int64(bigUint(b[:size]))*step - above
		if v > above {
			return 0, errTime
		}
		to.Append8(uint64(v))
		return size, nil
	}
}

// oldDatetimeReader likewise; with a fraction the months since the year 0 count
// 13 a year and 32 days each.
func oldDatetimeReader(digits int) reader {
	if digits == 0 {
		return func(b []byte, to *connect.Column) (int, error) {
			if len(b) < 8 {
				return 0, errShort
			}
			v := littleUint(b[:8])
			if v > 9999_12_31_23_59_59 {
				return 0, errTime
			}
			date, at := int(v/1_000_000), int(v%1_000_000)
			return 8, appendDatetime(to, date/10000, date/100%100, date%100, at/10000, at/100%100, at%100, 0)
		}
	}
	size, step := [maxFraction + 1]int{5, 6, 6, 7, 7, 7, 8}[digits], fractionSteps[digits]
	return func(b []byte, to *connect.Column) (int, error) {
		if len(b) < size {
			return 0, errShort
		}
		v := bigUint(b[:size])
		perSecond := uint64(second / step)
		micros := int64(v%perSecond) * step
		v /= perSecond
		s, v := int(v%60), v/60
		m, v := int(v%60), v/60
		h, v := int(v%24), v/24
		d, months := int(v%32), v/32
		if months > 9999*13+12 {
			return 0, errTime
		}
		return size, appendDatetime(to, int(months/13), int(months%13), d, h, m, s, micros)
	}
}

// oldTimestampReader likewise; it differs from TIMESTAMP in how many bytes an odd
// number of digits takes and in the order of the bytes without a fraction.
func oldTimestampReader(digits int) reader {
	size, step := 4+fractionBytes[digits], fractionSteps[digits]
	return func(b []byte, to *connect.Column) (int, error) {
		if len(b) < size {
			return 0, errShort
		}
		if digits == 0 {
			return size, appendTimestamp(to, uint32(littleUint(b[:4])), 0)
		}
		return size, appendTimestamp(to, uint32(bigUint(b[:4])), int64(bigUint(b[4:size]))*step)
	}
}

// parseDate appends a day as a SELECT shows it.
func parseDate(text []byte, to *connect.Column) error {
	n, rest, err := parseNumbers(text, "0000-00-00")
	if err != nil || len(rest) > 0 {
		return errTime
	}
	appendDate(to, n[0], n[1], n[2])
	return nil
}

// parseDatetime appends a DATETIME or TIMESTAMP, with or without a fraction.
func parseDatetime(text []byte, to *connect.Column) error {
	n, rest, err := parseNumbers(text, "0000-00-00 00:00:00")
	if err != nil {
		return err
	}
	micros, err := parseFraction(rest)
	if err != nil {
		return err
	}
	return appendDatetime(to, n[0], n[1], n[2], n[3], n[4], n[5], micros)
}

// parseTime appends a TIME, whose hours may have three digits.
func parseTime(text []byte, to *connect.Column) error {
	negative := len(text) > 0 && text[0] == '-'
	if negative {
		text = text[1:]
	}
	pattern := "00:00:00"
	if len(text) > 3 && text[3] == ':' {
		pattern = "000:00:00"
	}
	n, rest, err := parseNumbers(text, pattern)
	if err != nil {
		return err
	}
	micros, err := parseFraction(rest)
	if err != nil {
		return err
	}
	return appendDuration(to, negative, n[0], n[1], n[2], micros)
}

// parseNumbers reads the numbers of a pattern in which zeros stand for digits.
func parseNumbers(text []byte, pattern string) (numbers [6]int, rest []byte, err error) {
	if len(text) < len(pattern) {
		return numbers, nil, errTime
	}
	n := 0
	for i := range len(pattern) {
		d := text[i] - '0'
		switch {
		case pattern[i] == '0' && d <= 9:
			numbers[n] = numbers[n]*10 + int(d)
		case pattern[i] != '0' && pattern[i] == text[i]:
			n++
		default:
			return numbers, nil, errTime
		}
	}
	return numbers, text[len(pattern):], nil
}

// parseFraction reads a second's fraction with its point, or nothing.
func parseFraction(text []byte) (micros int64, err error) {
	if len(text) == 0 {
		return 0, nil
	}
	if text[0] != '.' || len(text) == 1 || len(text) > 1+maxFraction {
		return 0, errTime
	}
	for _, d := range text[1:] {
		if d < '0' || d > '9' {
			return 0, errTime
		}
		micros = micros*10 + int64(d-'0')
	}
	return micros * fractionSteps[len(text)-1], nil
}
