package convert

import (
	"math"
	"strconv"

	"github.com/splashdam/splashdam/connect"
)

const (
	secondMicros = 1_000_000
	dayMicros    = 24 * 60 * 60 * secondMicros
)

// appendTimestamp appends microseconds since 1970 as ISO 8601 has them, in UTC,
// with so many digits of the second's fraction.
func appendTimestamp(to []byte, micros int64, precision int) []byte {
	days, rest := micros/dayMicros, micros%dayMicros
	if rest < 0 {
		days, rest = days-1, rest+dayMicros
	}
	year, month, day := civil(days)
	switch {
	case year < 0:
		to = append(to, '-')
		year = -year
	case year > 9999:
		to = append(to, '+')
	}
	if year > 9999 {
		to = strconv.AppendInt(to, year, 10)
	} else {
		to = appendPair(appendPair(to, year/100), year%100)
	}
	to = appendPair(append(to, '-'), month)
	to = appendPair(append(to, '-'), day)
	seconds, fraction := rest/secondMicros, rest%secondMicros
	to = appendPair(append(to, 'T'), seconds/3600)
	to = appendPair(append(to, ':'), seconds/60%60)
	to = appendPair(append(to, ':'), seconds%60)
	if precision > 0 {
		end := len(to) + 1 + precision
		to = append(to, '.')
		to = appendPair(appendPair(appendPair(to, fraction/10000), fraction/100%100), fraction%100)[:end]
	}
	return append(to, 'Z')
}

func appendPair(to []byte, n int64) []byte { return append(to, byte('0'+n/10), byte('0'+n%10)) }

// parseTimestamp reads what appendTimestamp writes, and the same with another zone
// or another number of digits of the second's fraction.
func parseTimestamp(c *connect.Column, text []byte) fault {
	year, rest, ok := parseYear(text)
	const clock = len("-01-02T15:04:05")
	if !ok || len(rest) <= clock || rest[0] != '-' || rest[3] != '-' || rest[6] != 'T' || rest[9] != ':' || rest[12] != ':' {
		return badTime
	}
	month, day := twoDigits(rest[1:]), twoDigits(rest[4:])
	hour, minute, second := twoDigits(rest[7:]), twoDigits(rest[10:]), twoDigits(rest[13:])
	if month < 1 || month > 12 || day < 1 || day > daysIn(year, month) || hour > 23 || minute > 59 || second > 59 {
		return badTime
	}
	rest = rest[clock:]
	var micros int64
	if rest[0] == '.' {
		digits := scanDigits(rest, 1) - 1
		if digits == 0 {
			return badTime
		}
		unit := int64(secondMicros)
		for i, d := range rest[1 : digits+1] {
			if d != '0' && i >= c.Type.Precision {
				return tooFine
			}
			unit /= 10
			micros += int64(d-'0') * unit
		}
		rest = rest[digits+1:]
	}
	zone, ok := parseZone(rest)
	if !ok {
		return badTime
	}
	seconds := daysOf(year, month, day)*86400 + hour*3600 + minute*60 + second - zone
	const most = math.MaxInt64/secondMicros - 1
	if seconds > most || seconds < -most {
		return outOfRange
	}
	c.Append8(uint64(seconds*secondMicros + micros))
	return 0
}

// parseYear reads four digits, or a sign and more of them.
func parseYear(text []byte) (year int64, rest []byte, ok bool) {
	if len(text) < 5 {
		return 0, nil, false
	}
	if text[0] != '-' && text[0] != '+' {
		year = twoDigits(text)*100 + twoDigits(text[2:])
		return year, text[4:], year <= 9999
	}
	const longest = 7 // longer than any year that has microseconds in 64 bits
	end := scanDigits(text, 1)
	if end < 5 || end > 1+longest {
		return 0, nil, false
	}
	for _, d := range text[1:end] {
		year = year*10 + int64(d-'0')
	}
	if text[0] == '-' {
		year = -year
	}
	return year, text[end:], true
}

// parseZone reads how many seconds a clock is before UTC.
func parseZone(text []byte) (seconds int64, ok bool) {
	if len(text) == 1 && text[0] == 'Z' {
		return 0, true
	}
	if len(text) != len("+01:00") || text[0] != '+' && text[0] != '-' || text[3] != ':' {
		return 0, false
	}
	hours, minutes := twoDigits(text[1:]), twoDigits(text[4:])
	if seconds = hours*3600 + minutes*60; text[0] == '-' {
		seconds = -seconds
	}
	return seconds, hours <= 18 && minutes <= 59
}

// twoDigits reads a number of two digits; more than any such one if they are none.
func twoDigits(text []byte) int64 {
	tens, unit := text[0]-'0', text[1]-'0'
	if tens > 9 || unit > 9 {
		return 1 << 20
	}
	return int64(tens)*10 + int64(unit)
}

// civil and daysOf turn days since 1970-01-01 into a date of the Gregorian
// calendar and back. They count years from March, so that the leap day comes last,
// in cycles of 400 years.
func civil(days int64) (year, month, day int64) {
	days += 719468 // since 0000-03-01
	cycle := days / 146097
	if days < 0 {
		cycle = (days - 146096) / 146097
	}
	inCycle := days - cycle*146097
	yearOfCycle := (inCycle - inCycle/1460 + inCycle/36524 - inCycle/146096) / 365
	dayOfYear := inCycle - (365*yearOfCycle + yearOfCycle/4 - yearOfCycle/100)
	m := (5*dayOfYear + 2) / 153
	day = dayOfYear - (153*m+2)/5 + 1
	year = yearOfCycle + cycle*400
	if month = m + 3; month > 12 {
		month, year = month-12, year+1
	}
	return year, month, day
}

func daysOf(year, month, day int64) int64 {
	if month <= 2 {
		year, month = year-1, month+12
	}
	cycle := year / 400
	if year < 0 {
		cycle = (year - 399) / 400
	}
	yearOfCycle := year - cycle*400
	dayOfYear := (153*(month-3)+2)/5 + day - 1
	return cycle*146097 + yearOfCycle*365 + yearOfCycle/4 - yearOfCycle/100 + dayOfYear - 719468
}

// daysIn is how many days a month has.
func daysIn(year, month int64) int64 {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}
