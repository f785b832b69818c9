package loggers

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
)

func set() (*Set, *bytes.Buffer) {
	var out bytes.Buffer
	return New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: Trace}), slog.LevelInfo, "network", "log"), &out
}

// heard lists the levels at which a logger is heard.
func heard(l *slog.Logger) (names []string) {
	for _, name := range Levels {
		level, err := ParseLevel(name)
		if err != nil {
			panic(err)
		}
		if l.Enabled(context.Background(), level) {
			names = append(names, name)
		}
	}
	return names
}

func TestALoggerHasItsOwnLevelOrTheRoots(t *testing.T) {
	s, _ := set()
	network, log := s.Of("network"), s.Of("log").With("shard", 1).WithGroup("g")
	if !slices.Equal(s.Names(), []string{"log", "network", Root}) {
		t.Errorf("%q", s.Names())
	}
	for _, c := range []struct {
		changes            []Change
		network, log, root string
	}{
		{nil, "INFO", "INFO", "INFO"},
		{[]Change{{"log", "TRACE"}}, "INFO", "TRACE", "INFO"},
		{[]Change{{Root, "ERROR"}}, "ERROR", "TRACE", "ERROR"},
		{[]Change{{"log", ""}, {"network", "FATAL"}}, "FATAL", "ERROR", "ERROR"},
		{[]Change{{Root, "DEBUG"}, {"network", ""}}, "DEBUG", "DEBUG", "DEBUG"},
		{[]Change{{"log", "WARN"}}, "DEBUG", "WARN", "DEBUG"},
	} {
		s.Change(c.changes)
		for name, l := range map[string]*slog.Logger{c.network: network, c.log: log} {
			if want := Levels[:slices.Index(Levels, name)+1]; !slices.Equal(heard(l), want) {
				t.Errorf("after %v: heard at %q, want %q", c.changes, heard(l), want)
			}
		}
		if got := [3]string{s.Level("network"), s.Level("log"), s.Level(Root)}; got != [3]string{c.network, c.log, c.root} {
			t.Errorf("after %v: %q", c.changes, got)
		}
	}
}

func TestChangesThatCannotBeMadeSayWhy(t *testing.T) {
	s, _ := set()
	for _, c := range []struct {
		change Change
		want   error
	}{
		{Change{"nobody", "INFO"}, ErrUnknown}, {Change{"nobody", ""}, ErrUnknown}, {Change{"", "INFO"}, ErrUnknown},
		{Change{"network", "info"}, ErrLevel}, {Change{"network", "OFF"}, ErrLevel}, {Change{Root, ""}, ErrRoot},
		{Change{"network", ""}, nil}, {Change{Root, "FATAL"}, nil},
	} {
		if err := s.Check(c.change); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%v: %v, want %v", c.change, err, c.want)
		}
	}
}

func TestALineSaysWhoseItIs(t *testing.T) {
	s, out := set()
	s.Of("network").Info("hello")
	s.Of("network").Debug("nobody hears that")
	if got := out.String(); !strings.Contains(got, "level=INFO msg=hello logger=network") || strings.Contains(got, "nobody") {
		t.Errorf("%q", got)
	}
	quiet := New(slog.DiscardHandler, Trace, "network")
	if len(heard(quiet.Of("network"))) > 0 {
		t.Error("it is heard where nothing is taken")
	}
}

func TestALevelBetweenTwoGoesByTheNameOfTheLessImportant(t *testing.T) {
	for l, want := range map[slog.Level]string{Fatal + 1: "FATAL", Fatal: "FATAL", 9: "ERROR", 8: "ERROR", 7: "WARN", 1: "INFO", 0: "INFO", -1: "DEBUG", -8: "TRACE", -99: "TRACE"} {
		if got := LevelName(l); got != want {
			t.Errorf("%d is %s, want %s", l, got, want)
		}
	}
}
