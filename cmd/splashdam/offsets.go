package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// offsetHelp documents the language; it is rpk's, and nearly kcat's.
const offsetHelp = `Offsets, -o:
  start        from the beginning (the default without a group)
  end          from the end: what comes from now on
  :end         from the beginning to what is now the end, then quit
  +N           from N after the beginning
  -N           from N before the end
  N, N:        from offset N
  :N           from the beginning up to offset N, then quit
  N:M          from offset N up to offset M, then quit
  @T, @T:      from time T
  @:T          from the beginning up to time T, then quit
  @T:U         from time T up to time U, then quit

  An upper bound is not included. Before a colon any beginning but a time may stand,
  and :end behind any.

  A time is 13 digits (ms since 1970), 9 or 10 digits (seconds), a day (2026-02-14), an
  RFC 3339 time (2026-02-14T08:00:00Z), a duration, or "end" as U. Durations have
  the units ms, s, m, h, d, w. As T they are relative to now (-1h: an hour ago); as U
  they are relative to T where that is a date or a number, else to now.

  @-1h:end         the last hour
  @-48h:-24h       from two days ago to one day ago
  @2026-02-14:1h   the first hour of that day (UTC)`

// bound is one end of what is to be read, before the cluster was asked.
type bound struct {
	kind boundKind
	n    int64 // offset, distance, or ms since the epoch
}

type boundKind int

const (
	atStart    boundKind = iota // of the partition
	atEnd                       // of the partition, now
	afterStart                  // n after the start
	beforeEnd                   // n before the end
	atOffset                    // n
	atTime                      // first message at or behind n ms
	never                       // as an upper bound: go on
)

// span is what to read of each partition: from, up to but not including to.
type span struct{ from, to bound }

// bounded reports whether reading it ever ends.
func (s span) bounded() bool { return s.to.kind != never }

// parseSpan reads the language of offsetHelp. now is what durations refer to.
func parseSpan(s string, now time.Time) (span, error) {
	if rest, ok := strings.CutPrefix(s, "@"); ok {
		sp, err := parseTimeSpan(rest, now)
		if err != nil {
			return span{}, fmt.Errorf("-o %s: %w", s, err)
		}
		return sp, nil
	}
	from, to, closed := strings.Cut(s, ":")
	sp := span{from: bound{kind: atStart}, to: bound{kind: never}}
	var err error
	if from != "" || !closed {
		if sp.from, err = parseFrom(from); err != nil {
			return span{}, fmt.Errorf("-o %s: %w", s, err)
		}
	}
	if to != "" {
		if sp.to, err = parseTo(to); err != nil {
			return span{}, fmt.Errorf("-o %s: %w", s, err)
		}
	}
	if sp.from.kind == atOffset && sp.to.kind == atOffset && sp.from.n > sp.to.n {
		return span{}, fmt.Errorf("-o %s: %d lies behind %d", s, sp.from.n, sp.to.n)
	}
	return sp, nil
}

var errOffset = errors.New("not an offset: start, end, +N, -N, N, N:M, :end or @time (see --help)")

func parseFrom(s string) (bound, error) {
	switch s {
	case "start":
		return bound{kind: atStart}, nil
	case "end":
		return bound{kind: atEnd}, nil
	case "":
		return bound{}, errOffset
	}
	kind, digits := atOffset, s
	switch s[0] {
	case '+':
		kind, digits = afterStart, s[1:]
	case '-':
		kind, digits = beforeEnd, s[1:]
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil {
		return bound{}, fmt.Errorf("%q is %w", s, errOffset)
	}
	return bound{kind: kind, n: int64(n)}, nil
}

func parseTo(s string) (bound, error) {
	if s == "end" {
		return bound{kind: atEnd}, nil
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return bound{}, fmt.Errorf("%q is neither an offset nor end", s)
	}
	return bound{kind: atOffset, n: int64(n)}, nil
}

// parseTimeSpan reads what stands behind the @. An RFC 3339 time has colons of
// its own, so all places where the two may part are tried.
func parseTimeSpan(s string, now time.Time) (span, error) {
	sp := span{from: bound{kind: atStart}, to: bound{kind: never}}
	if s == "" || s == ":" {
		return sp, errors.New("there is no time behind the @")
	}
	if from, err := parseTime(strings.TrimSuffix(s, ":"), now); err == nil {
		sp.from = bound{kind: atTime, n: from.at.UnixMilli()}
		return sp, nil
	}
	var firstErr error
	for i := range len(s) {
		if s[i] != ':' {
			continue
		}
		got, err := parseTimes(s[:i], s[i+1:], now)
		if err == nil {
			return got, nil
		}
		if firstErr == nil {
			firstErr = err
		}
	}
	if firstErr == nil {
		_, firstErr = parseTime(s, now)
	}
	return sp, firstErr
}

func parseTimes(a, b string, now time.Time) (span, error) {
	sp := span{from: bound{kind: atStart}, to: bound{kind: never}}
	base := now
	if a != "" {
		from, err := parseTime(a, now)
		if err != nil {
			return sp, err
		}
		sp.from = bound{kind: atTime, n: from.at.UnixMilli()}
		if !from.relative {
			base = from.at
		}
	}
	if b == "end" {
		sp.to = bound{kind: atEnd}
		return sp, nil
	}
	to, err := parseTime(b, base)
	if err != nil {
		return sp, err
	}
	sp.to = bound{kind: atTime, n: to.at.UnixMilli()}
	if sp.from.kind == atTime && sp.from.n > sp.to.n {
		return sp, fmt.Errorf("%s lies behind %s", a, b)
	}
	return sp, nil
}

type moment struct {
	at       time.Time
	relative bool // written as a duration
}

// errTime is a word that is not a time.
var errTime = errors.New("not a time: 13 digits, 9 or 10 digits, a day, RFC 3339 or a duration (see --help)")

func parseTime(s string, base time.Time) (moment, error) {
	if n, err := strconv.ParseUint(s, 10, 63); err == nil {
		switch len(s) {
		case 13:
			return moment{at: time.UnixMilli(int64(n))}, nil
		case 10, 9:
			return moment{at: time.Unix(int64(n), 0)}, nil
		}
		return moment{}, fmt.Errorf("%q is %w", s, errTime)
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339Nano} {
		if t, err := time.Parse(layout, s); err == nil {
			return moment{at: t}, nil
		}
	}
	if d, err := parseDuration(s); err == nil {
		return moment{at: base.Add(d), relative: true}, nil
	}
	return moment{}, fmt.Errorf("%q is %w", s, errTime)
}

// maxDays bounds a duration in days, far inside what time.Duration can hold.
const maxDays = 100 * 366

// parseDuration is time.ParseDuration, with days and weeks, which topics outlive.
func parseDuration(s string) (time.Duration, error) {
	for _, unit := range []struct {
		suffix string
		days   int64
	}{{"d", 1}, {"w", 7}} {
		digits, ok := strings.CutSuffix(s, unit.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 32)
		if err != nil || n*unit.days > maxDays || n*unit.days < -maxDays {
			return 0, fmt.Errorf("%q is not a duration", s)
		}
		return time.Duration(n*unit.days) * 24 * time.Hour, nil
	}
	return time.ParseDuration(s)
}
