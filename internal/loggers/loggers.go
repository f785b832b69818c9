// Package loggers has the loggers of a program's parts, by their names. The level of each
// may be changed while the program runs (KIP-412); a part that has none of its own has the
// level of the root. Nothing is kept over a restart.
//
// The names and levels are those that Kafka's tools show: Root, and FATAL, ERROR, WARN,
// INFO, DEBUG and TRACE, of which slog has no first and no last.
package loggers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync/atomic"

	"github.com/splashdam/splashdam/internal/invariant"
)

// Root is the logger whose level counts for those that have none of their own.
const Root = "root"

// Levels beyond slog's own.
const (
	Trace = slog.LevelDebug - 4
	Fatal = slog.LevelError + 4
)

// Levels are the names of all levels, the most important first.
var Levels = []string{"FATAL", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"}

// Why a level cannot be changed.
var (
	ErrUnknown = errors.New("there is no such logger")
	ErrLevel   = errors.New("there is no such level")
	ErrRoot    = errors.New("the root logger must have a level")
)

// ParseLevel is the level of a name, in capitals, or ErrLevel.
func ParseLevel(name string) (slog.Level, error) {
	i := slices.Index(Levels, name)
	if i < 0 {
		return 0, fmt.Errorf("%q is none of %v: %w", name, Levels, ErrLevel)
	}
	return Fatal - slog.Level(4*i), nil
}

// LevelName is the name of a level, or of the next one that is less important.
func LevelName(l slog.Level) string {
	i := (int(Fatal-l) + 3) / 4
	return Levels[min(max(i, 0), len(Levels)-1)]
}

// unset is the level of a logger that has none of its own.
const unset = math.MinInt64

// Set is the loggers of one program. It may be used concurrently.
type Set struct {
	out   slog.Handler
	names []string // rising, with Root
	// levels are changed while others log. The map itself never is.
	levels map[string]*atomic.Int64
}

// New makes loggers for the root, at a level, and for parts, which have none of their own.
// What is logged, and out takes, goes there.
func New(out slog.Handler, root slog.Level, parts ...string) *Set {
	s := &Set{out: out, names: slices.Sorted(slices.Values(append([]string{Root}, parts...))), levels: make(map[string]*atomic.Int64)}
	for _, name := range s.names {
		s.levels[name] = new(atomic.Int64)
		s.levels[name].Store(unset)
	}
	s.levels[Root].Store(int64(root))
	return s
}

// Of is the logger of a part, whose name is the attribute "logger" of all that it logs.
func (s *Set) Of(part string) *slog.Logger {
	own := s.levels[part]
	invariant.That(own != nil && part != Root, "no part is called %q", part)
	return slog.New(&handler{s.out.WithAttrs([]slog.Attr{slog.String("logger", part)}), own, s.levels[Root]})
}

// Names lists the loggers, rising.
func (s *Set) Names() []string { return s.names }

// Level is that of a logger, its own or the root's, by its name.
func (s *Set) Level(name string) string {
	own := s.levels[name]
	invariant.That(own != nil, "no logger is called %q", name)
	return LevelName(level(own, s.levels[Root]))
}

// Change is a logger's new level; with "" it has the root's again.
type Change struct{ Name, Level string }

// Check errors if a change cannot be made: ErrUnknown, ErrLevel, ErrRoot.
func (s *Set) Check(c Change) error {
	if s.levels[c.Name] == nil {
		return fmt.Errorf("logger %q is none of %v: %w", c.Name, s.names, ErrUnknown)
	}
	if c.Level == "" {
		if c.Name == Root {
			return fmt.Errorf("logger %q: %w", c.Name, ErrRoot)
		}
		return nil
	}
	if _, err := ParseLevel(c.Level); err != nil {
		return fmt.Errorf("logger %q: %w", c.Name, err)
	}
	return nil
}

// Change makes changes that Check lets pass.
func (s *Set) Change(changes []Change) {
	for _, c := range changes {
		err := s.Check(c)
		invariant.That(err == nil, "%v", err)
		l := int64(unset)
		if c.Level != "" {
			parsed, _ := ParseLevel(c.Level)
			l = int64(parsed)
		}
		s.levels[c.Name].Store(l)
	}
}

func level(own, root *atomic.Int64) slog.Level {
	l := own.Load()
	if l == unset {
		l = root.Load()
	}
	return slog.Level(l)
}

// handler asks for the level each time.
type handler struct {
	slog.Handler
	own, root *atomic.Int64
}

func (h *handler) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= level(h.own, h.root) && h.Handler.Enabled(ctx, l)
}

func (h *handler) WithAttrs(as []slog.Attr) slog.Handler {
	return &handler{h.Handler.WithAttrs(as), h.own, h.root}
}

func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.Handler.WithGroup(name), h.own, h.root}
}
