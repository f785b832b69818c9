package main

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

var noon = time.Date(2026, 2, 14, 12, 0, 0, 0, time.UTC)

func ms(year int, month time.Month, day, hour int) int64 {
	return time.Date(year, month, day, hour, 0, 0, 0, time.UTC).UnixMilli()
}

func TestOffsetsMeanWhatTheHelpSays(t *testing.T) {
	start, end, open := bound{kind: atStart}, bound{kind: atEnd}, bound{kind: never}
	offset := func(n int64) bound { return bound{atOffset, n} }
	at := func(ms int64) bound { return bound{atTime, ms} }
	for _, c := range []struct {
		in   string
		want span
	}{
		{"start", span{start, open}},
		{"end", span{end, open}},
		{":end", span{start, end}},
		{"start:end", span{start, end}},
		{"+5", span{bound{afterStart, 5}, open}},
		{"-5", span{bound{beforeEnd, 5}, open}},
		{"-5:end", span{bound{beforeEnd, 5}, end}},
		{"0", span{offset(0), open}},
		{"7", span{offset(7), open}},
		{"7:", span{offset(7), open}},
		{":7", span{start, offset(7)}},
		{"7:9", span{offset(7), offset(9)}},
		{"7:end", span{offset(7), end}},
		{"@1771070400000", span{at(1771070400000), open}},
		{"@1771070400", span{at(1771070400000), open}},
		{"@2026-02-14", span{at(ms(2026, 2, 14, 0)), open}},
		{"@2026-02-14:", span{at(ms(2026, 2, 14, 0)), open}},
		{"@:2026-02-14", span{start, at(ms(2026, 2, 14, 0))}},
		{"@2026-02-14T08:00:00Z", span{at(ms(2026, 2, 14, 8)), open}},
		{"@2026-02-14T08:00:00Z:", span{at(ms(2026, 2, 14, 8)), open}},
		{"@2026-02-14T08:00:00+02:00", span{at(ms(2026, 2, 14, 6)), open}},
		{"@2026-02-14T08:00:00Z:2026-02-14T09:00:00Z", span{at(ms(2026, 2, 14, 8)), at(ms(2026, 2, 14, 9))}},
		{"@2026-02-14T08:00:00.5Z:end", span{at(ms(2026, 2, 14, 8) + 500), end}},
		{"@-1h", span{at(ms(2026, 2, 14, 11)), open}},
		{"@-1h:end", span{at(ms(2026, 2, 14, 11)), end}},
		{"@-48h:-24h", span{at(ms(2026, 2, 12, 12)), at(ms(2026, 2, 13, 12))}},
		{"@-2d:-1d", span{at(ms(2026, 2, 12, 12)), at(ms(2026, 2, 13, 12))}},
		{"@-1w", span{at(ms(2026, 2, 7, 12)), open}},
		{"@2026-02-14:1h", span{at(ms(2026, 2, 14, 0)), at(ms(2026, 2, 14, 1))}},
		{"@:-1h", span{start, at(ms(2026, 2, 14, 11))}},
	} {
		got, err := parseSpan(c.in, noon)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
		} else if got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.in, got, c.want)
		}
	}
}

func TestOffsetsThatMeanNothingAreRefused(t *testing.T) {
	for _, in := range []string{
		"", "begin", "5:4", "5:x", "x:5", "--5", "+-5", "+", "-", "-1:-2", "99999999999999999999",
		"@", "@:", "@tomorrow", "@12", "@-1h:-2h", "@2026-02-14:2026-02-13", "@2026-02-30", "@1y", "@-999999999d",
	} {
		if got, err := parseSpan(in, noon); err == nil {
			t.Errorf("%q was taken for %+v", in, got)
		}
	}
}

func FuzzOffsets(f *testing.F) {
	for _, s := range []string{"start", ":end", "-5:end", "7:9", "@-1h:end", "@2026-02-14T08:00:00Z:1h", "@::", ":", "@1771070400000:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		sp, err := parseSpan(s, noon)
		if err != nil {
			return
		}
		if sp.from.kind == never {
			t.Fatalf("%q begins nowhere", s)
		}
		if sp.from.kind == sp.to.kind && (sp.from.kind == atOffset || sp.from.kind == atTime) && sp.from.n > sp.to.n {
			t.Fatalf("%q ends before it begins: %+v", s, sp)
		}
		if sp.from.kind != atTime && sp.from.n < 0 {
			t.Fatalf("%q: a negative offset: %+v", s, sp)
		}
	})
}

// A partition with offsets 10 to 19, of which 15 is the first at or behind noon.
func TestSpansAreResolvedInsideWhatThereIs(t *testing.T) {
	listed := func(offset int64) kadm.ListedOffsets {
		return kadm.ListedOffsets{"t": {0: {Topic: "t", Offset: offset}}}
	}
	for _, c := range []struct {
		in       string
		byTime   int64
		from, to int64
	}{
		{"start", 0, 10, 20},
		{"end", 0, 20, 20},
		{":end", 0, 10, 20},
		{"+3:end", 0, 13, 20},
		{"+30:end", 0, 20, 20},
		{"-3:end", 0, 17, 20},
		{"-30:end", 0, 10, 20},
		{"12:14", 0, 12, 14},
		{"3:14", 0, 10, 14},
		{"12:99", 0, 12, 20},
		{"50:99", 0, 50, 50},
		{":5", 0, 10, 5},
		{"@-1h", 15, 15, 20},
		{"@-1h", -1, 20, 20},
		{"@:-1h", 15, 10, 15},
		{"@:-1h", -1, 10, 20},
	} {
		sp, err := parseSpan(c.in, noon)
		if err != nil {
			t.Fatal(err)
		}
		b := listedBounds{start: listed(10), end: listed(20), from: listed(c.byTime), to: listed(c.byTime)}
		from, to, err := b.resolve("t", 0, sp)
		if err != nil || from != c.from || sp.bounded() && to != c.to {
			t.Errorf("%s: got [%d, %d) %v, want [%d, %d)", c.in, from, to, err, c.from, c.to)
		}
	}
	sp, err := parseSpan("50", noon)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := (listedBounds{start: listed(10), end: listed(20)}).resolve("t", 0, sp); err == nil {
		t.Error("to wait for offset 50 where the next is 20 was accepted")
	}
	if _, _, err := (listedBounds{start: listed(10), end: listed(20)}).resolve("t", 1, sp); err == nil {
		t.Error("a partition that the broker left out was accepted")
	}
}
